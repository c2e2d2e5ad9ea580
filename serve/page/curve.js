// The curve of speed and quality: a dot for each policy, and the slider that chooses one.

const space = "http://www.w3.org/2000/svg";
const box = { left: 42, right: 312, top: 16, bottom: 122 };

function add(parent, name, attributes, text) {
  const node = document.createElementNS(space, name);
  for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

// stops returns what the slider can choose of a model: nothing, and its policies for its sampling,
// slowest first. Those that another beats in speed and quality are not on the curve.
export function stops(details) {
  const same = (a, b) => a.sampler === b.sampler && a.steps === b.steps && a.guidance === b.guidance;
  const list = (details.policies ?? []).filter((p) => same(p.for, details.sampling) && p.psnr_db);
  list.sort((a, b) => a.speed - b.speed);
  for (const p of list) p.beaten = list.some((q) => q !== p && q.speed >= p.speed && q.psnr_db >= p.psnr_db);
  return [{ name: "none", speed: 1 }, ...list.filter((p) => !p.beaten), ...list.filter((p) => p.beaten)];
}

export function draw(svg, list, chosen, choose) {
  svg.replaceChildren();
  const known = list.filter((p) => p.psnr_db).map((p) => p.psnr_db);
  const low = Math.floor(Math.min(40, ...known) / 10) * 10;
  const high = Math.ceil((Math.max(50, ...known) + 4) / 10) * 10;
  const fastest = Math.max(2, ...list.map((p) => p.speed));
  const x = (speed) => box.left + ((speed - 1) / (fastest - 1)) * (box.right - box.left);
  const y = (psnr) => box.bottom - (((psnr ?? high) - low) / (high - low)) * (box.bottom - box.top);
  for (let db = low; db <= high; db += 10) {
    add(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: y(db), y2: y(db) });
    add(svg, "text", { x: box.left - 12, y: y(db) + 3.5, "text-anchor": "end" }, db === high ? "same" : `${db}`);
  }
  for (let speed = 1; speed <= fastest; speed++) add(svg, "text", { x: x(speed), y: 141, "text-anchor": "middle" }, speed + "×");
  add(svg, "polyline", { class: "path", points: list.filter((p) => !p.beaten).map((p) => `${x(p.speed)},${y(p.psnr_db)}`).join(" ") });
  list.forEach((p, i) => {
    const on = i === chosen;
    const dot = add(svg, "circle", { class: `dot ${on ? "on" : p.beaten ? "off" : ""}`, cx: x(p.speed), cy: y(p.psnr_db), r: on ? 7 : p.beaten ? 3.5 : 4.5 });
    add(dot, "title", {}, `${p.name}: ${p.speed.toFixed(1)}×`);
    dot.addEventListener("click", () => choose(i));
  });
}

export function describe(p) {
  if (p.name === "none") return "Uncached: every token is computed";
  return `${p.name}: ${p.speed.toFixed(1)}× fewer operations, ${p.psnr_db.toFixed(1)} dB to uncached`;
}
