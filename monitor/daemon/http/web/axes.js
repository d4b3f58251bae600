// What the plots share: SVG in units of CSS pixels, and the way from values to places.

import { s } from "./dom.js";

export const LEFT = 58;
export const RIGHT = 14;

export const range = (count) => Array.from({ length: count }, (_, i) => i);
export const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
export const clip = (value, low, high) => Math.min(high, Math.max(low, value));

export function frame(width, height, label) {
  return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
}

export const scale = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);

// Round numbers from low to high, some `count` of them.
export function ticks(low, high, count = 4) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((f) => f * power >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return range(Math.floor(high / step + 1e-9) - first + 1).map((i) => (first + i) * step);
}

const plain = (value) => String(Number(value.toPrecision(6)));

export function axisY(y, values, right, format = plain) {
  return values.map((value) => [
    s("line", { x1: LEFT, x2: right, y1: y(value), y2: y(value), class: "grid" }),
    s("text", { x: LEFT - 8, y: y(value) + 4, class: "tick end" }, format(value)),
  ]);
}

export const title = (text, top) => s("text", { x: LEFT, y: top - 8, class: "axis" }, text);
