// The gallery: what was generated on this device, newest first.

import { element } from "./stage.js";

const storeName = "tokencache.gallery", most = 36;

function load() {
  try {
    return JSON.parse(localStorage.getItem(storeName)) ?? [];
  } catch {
    return [];
  }
}

export class Gallery {
  constructor(list, { show, again, compare }) {
    this.list = list;
    this.actions = { show, again, compare };
    this.items = load();
    this.marked = null;
    this.draw();
  }

  add(item) {
    this.items = [item, ...this.items].slice(0, most);
    this.save();
    this.draw();
  }

  clear() {
    this.items = [];
    this.save();
    this.draw();
  }

  // save keeps the images on this device, but for the oldest where there is no room for all.
  save() {
    for (;;) {
      try {
        localStorage.setItem(storeName, JSON.stringify(this.items));
        return;
      } catch {
        if (this.items.length <= 1) return; // the newest is shown, if not kept
        this.items.pop();
      }
    }
  }

  draw() {
    document.getElementById("empty").hidden = this.items.length > 0;
    document.getElementById("clear").hidden = this.items.length === 0;
    this.list.replaceChildren(...this.items.map((item) => this.card(item)));
  }

  card(item) {
    const label = `${item.request.prompt}, ${item.facts.policy}, seed ${item.facts.seed}`;
    const pick = element("button", {
      type: "button", "aria-pressed": String(this.marked === item), "aria-label": "Compare " + label,
      onclick: () => this.pick(item),
    }, "Compare");
    return element("li", {},
      element("button", { type: "button", class: "show", "aria-label": "Show " + label, onclick: () => this.actions.show(item) },
        element("img", { src: item.src, alt: "" })),
      element("div", { class: "meta" }, element("b", {}, item.request.prompt),
        element("span", { class: "dim" }, `${item.facts.policy} · seed ${item.facts.seed} · ${Math.round(100 * item.facts.computed_token_ratio)} %`)),
      element("div", { class: "tools" },
        element("button", { type: "button", "aria-label": "Again with the seed of " + label, onclick: () => this.actions.again(item) }, "Again"),
        pick,
        element("a", { href: item.src, download: `${item.request.prompt.replaceAll(/\W+/g, "-")}-${item.facts.seed}.png`, "aria-label": "Download " + label }, "Save")));
  }

  // pick chooses the first image of a comparison, and with the second shows it.
  pick(item) {
    if (this.marked && this.marked !== item) {
      this.actions.compare(this.marked, item);
      this.marked = null;
    } else {
      this.marked = this.marked === item ? null : item;
    }
    this.draw();
  }
}
