// Small charts of the last hour, as SVG.

import { bytes } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 64];
const HOUR = 3_600_000;

const CHARTS = [
  { name: "Upload", of: (p) => p.upload_rate, word: (n) => `${bytes(n)}/s`, least: 1024 },
  { name: "Backlog", of: (p) => p.pending, word: (n) => `${Math.round(n)} ${Math.round(n) === 1 ? "file" : "files"}`, least: 4 },
  { name: "Frames", of: (p) => p.frame_rate, word: (n) => `${n.toFixed(1)}/s`, least: 5 },
  { name: "Spool", of: (p) => p.spool, word: (n) => bytes(n), least: 1024 * 1024 },
];

function node(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function chart({ name, of, word, least }, points) {
  const figure = document.createElement("section");
  figure.className = "chart";
  const head = document.createElement("header");
  const [label, value] = [document.createElement("span"), document.createElement("strong")];
  const values = points.map(of);
  const most = Math.max(least, ...values);
  label.textContent = name;
  value.textContent = values.length ? word(values.at(-1)) : "–";
  head.append(label, value);
  // From the first point on, and at most an hour.
  const end = points.at(-1)?.at ?? 0;
  const span = Math.min(HOUR, Math.max(120_000, end - (points[0]?.at ?? end)));
  const xy = points.map((p, i) => [WIDTH * (1 - (end - p.at) / span), HEIGHT - 2 - (HEIGHT - 6) * (values[i] / most)]);
  const path = xy.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const text = values.length ? `${name}: now ${word(values.at(-1))}, peak ${word(Math.max(...values))}` : `${name}: nothing yet`;
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": text });
  svg.append(node("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }));
  if (xy.length > 1) {
    svg.append(node("path", { class: "area", d: `${path}L${xy.at(-1)[0].toFixed(1)} ${HEIGHT}L${xy[0][0].toFixed(1)} ${HEIGHT}Z` }));
    svg.append(node("path", { class: "curve", d: path }));
  }
  const foot = document.createElement("footer");
  const [from, peak] = [document.createElement("span"), document.createElement("span")];
  from.textContent = `${Math.round(span / 60_000)} min ago`;
  peak.textContent = values.length ? `peak ${word(Math.max(...values))}` : "";
  foot.append(from, peak);
  figure.append(head, svg, foot);
  return figure;
}

export function draw(root, points) {
  root.replaceChildren(...CHARTS.map((kind) => chart(kind, points)));
}
