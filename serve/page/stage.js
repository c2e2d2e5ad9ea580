// The stage: an image in the making with the tokens that the last step computed, and the steps so
// far.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (k.startsWith("on")) node.addEventListener(k.slice(2), v);
    else if (v !== undefined && v !== false) node.setAttribute(k, v === true ? "" : v);
  }
  node.append(...children);
  return node;
}

// Pane is an image in the making.
export class Pane {
  constructor(label, grid, alt) {
    this.grid = grid;
    this.img = element("img", { alt, hidden: true });
    this.over = element("canvas", { class: "over", width: 480, height: 480, "aria-hidden": "true" });
    this.frame = element("div", { class: "frame" }, this.img, this.over, element("span", { class: "tag" }, label));
    this.node = element("div", { class: "pane" }, this.frame);
    this.line = element("canvas", { width: 1200, height: 52, role: "img" });
    this.caption = element("span", {}, label);
    this.timeline = element("div", { class: "timeline" }, this.caption, this.line);
    this.steps = [];
    this.label = label;
  }

  show(base64) {
    if (!base64) return;
    this.img.src = "data:image/png;base64," + base64;
    this.img.hidden = false;
  }

  step(event) {
    this.show(event.b64_json);
    this.total = event.steps_total;
    event.ratios.forEach((percent, i) => { this.steps[event.ratios_from + i] = percent / 100; });
    this.drawTokens(event.computed);
    this.drawLine();
  }

  // drawTokens lights the tokens that were computed and shades those that were reused.
  drawTokens(computed) {
    const c = this.over.getContext("2d");
    const side = this.over.width / this.grid;
    c.clearRect(0, 0, this.over.width, this.over.height);
    computed.forEach((percent, i) => {
      const x = (i % this.grid) * side, y = Math.floor(i / this.grid) * side, gap = side * 0.07;
      c.beginPath();
      c.roundRect(x + gap, y + gap, side - 2 * gap, side - 2 * gap, side * 0.16);
      if (percent > 0) {
        c.fillStyle = `rgb(30 205 182 / ${0.05 + 0.4 * percent / 100})`;
        c.fill();
        c.strokeStyle = `rgb(20 190 168 / ${0.2 + 0.75 * percent / 100})`;
        c.lineWidth = 2.5;
      } else {
        c.strokeStyle = "rgb(140 140 160 / .3)";
        c.lineWidth = 1.5;
      }
      c.stroke();
    });
  }

  clearTokens() {
    this.over.getContext("2d").clearRect(0, 0, this.over.width, this.over.height);
  }

  // drawLine draws a bar for each step, as high as the share of the tokens that it computed.
  drawLine() {
    const c = this.line.getContext("2d");
    const { width, height } = this.line;
    c.clearRect(0, 0, width, height);
    const w = width / this.total;
    const gap = w > 8 ? w * 0.12 : 0;
    for (let i = 0; i < this.steps.length; i++) {
      const share = this.steps[i];
      c.fillStyle = css(share > 0.999 ? "--accent" : "--second");
      const h = Math.max(6, share * height);
      c.fillRect(i * w + gap, height - h, w - 2 * gap, h);
    }
    const ratio = this.steps.reduce((a, b) => a + b, 0) / Math.max(1, this.steps.length);
    const text = `${this.label}: step ${this.steps.length} of ${this.total}, ${Math.round(100 * ratio)} % of the tokens computed`;
    this.caption.textContent = text;
    this.line.setAttribute("aria-label", text);
  }

  finish(event) {
    this.show(event.b64_json);
    this.clearTokens();
    this.caption.textContent = `${this.label}: ${Math.round(100 * event.computed_token_ratio)} % of the tokens computed`;
  }
}

// wipe shows two images of the same size over one another, divided by a line that can be moved.
export function wipe(left, right) {
  const frame = element("div", { class: "frame wipe" },
    element("img", { src: right.src, alt: right.alt }),
    element("img", { class: "top", src: left.src, alt: left.alt }),
    element("div", { class: "edge" }),
    element("span", { class: "tag" }, left.label),
    element("span", { class: "tag right" }, right.label));
  const slider = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `${left.label} against ${right.label}` });
  const move = (at) => { slider.value = at; frame.style.setProperty("--at", at + "%"); };
  slider.addEventListener("input", () => move(slider.value));
  frame.addEventListener("pointermove", (e) => {
    const box = frame.getBoundingClientRect();
    move(Math.round(100 * Math.min(1, Math.max(0, (e.clientX - box.left) / box.width))));
  });
  return element("div", { class: "pane" }, frame, slider);
}
