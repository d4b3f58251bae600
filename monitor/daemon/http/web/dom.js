// Elements from data. Text is always a text node: nothing that comes over the wire is read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** A row of a table; a cell that is no element becomes one. */
export const row = (...cells) =>
  h(
    "tr",
    {},
    cells.map((cell) => (cell instanceof Node ? cell : h("td", {}, cell))),
  );

export const number = (text) => h("td", { class: "number" }, text);

// Number formats of the page.

export function small(value, digits = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && size < 5e-5) return "0.0000";
  return size < 0.1 ? value.toFixed(4) : size < 100 ? value.toFixed(digits) : Math.round(value).toLocaleString("en");
}

export const times = (value) => (Number.isFinite(value) ? `× ${value.toFixed(2)}` : "–");

export const short = (id) => (id ? id.slice(0, 12) : "unknown");

export const clock = (seconds) =>
  new Date(1000 * seconds).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
