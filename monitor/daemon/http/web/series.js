// The plots lumi section by lumi section, one over the other, as one <svg>.

import { LEFT, RIGHT, axisY, clip, frame, path, scale, ticks, title } from "./axes.js";
import { s, small, times } from "./dom.js";

const EACH = 112; // of one plot, in CSS pixels
const GAP = 34;
const TOP = 24;
const BELOW = 38; // for the marks' labels and the lumi sections
const FEWEST = 20; // lumi sections that the axis has room for

/**
 * Plots of the same lumi sections. The pointer, or the arrow keys, read one out.
 * @param {number} width
 * @param {object[]} points `Divergences`, oldest first
 * @param {Panel[]} panels
 * @param {{at: number, text: string, kind: string}[]} marks over all plots, at the index of a point
 * @param {(point: ?object) => void} tell is given the point that is read out, or null
 *
 * @typedef {object} Panel
 * @property {string} title
 * @property {{values: number[], errors?: number[]}[]} lines a value for each point
 * @property {number[]} [limits]
 * @property {[number, number]} [band]
 * @property {number[]} [from] values that the axis holds in any case
 * @property {number} [floor] where the axis begins
 */
export function series(width, points, panels, marks, tell) {
  const height = panels.length * (EACH + GAP) + BELOW;
  const right = width - RIGHT;
  const titles = panels.map((panel) => panel.title).join(", ");
  const svg = frame(width, height, `${titles} of ${points.length} lumi sections`);
  const x = scale(-0.5, Math.max(points.length, FEWEST) - 0.5, LEFT, right);
  panels.forEach((panel, k) => svg.append(...plot(panel, TOP + k * (EACH + GAP), right, x)));
  svg.append(...markLines(marks, x, height - BELOW), ...sections(points, x, width, height - 4));
  readOut(svg, points, x, height - BELOW, tell);
  return svg;
}

function plot(panel, top, right, x) {
  const bottom = top + EACH;
  const { low, high } = extent(panel);
  const y = scale(low, high, bottom, top);
  const into = (value) => y(clip(value, low, high));
  const across = { x: LEFT, width: right - LEFT };
  const [from, to] = panel.band ?? [];
  return [
    title(panel.title, top),
    ...axisY(y, ticks(low, high, 4), right).flat(),
    ...(panel.band ? [s("rect", { ...across, y: into(to), height: into(from) - into(to), class: "band" })] : []),
    ...(panel.limits ?? []).map((limit) =>
      s("line", { x1: LEFT, x2: right, y1: into(limit), y2: into(limit), class: "limit" }),
    ),
    ...panel.lines.flatMap((line, i) => curve(line, i, x, into)),
  ];
}

// A line with the spread of its errors behind it, and a dot at its end.
function curve(line, i, x, into) {
  const all = line.values.map((value, j) => [x(j), value, line.errors?.[j] ?? 0]);
  const seen = all.filter(([, value]) => Number.isFinite(value));
  if (!seen.length) return [];
  const drawn = [];
  if (line.errors) {
    const upper = seen.map(([at, value, error]) => [at, into(value + error)]);
    const lower = seen.map(([at, value, error]) => [at, into(value - error)]).reverse();
    drawn.push(s("path", { d: `${path([...upper, ...lower])}Z`, class: `spread line${i}` }));
  }
  const [at, value] = seen.at(-1);
  drawn.push(s("path", { d: path(seen.map(([place, v]) => [place, into(v)])), class: `line line${i}` }));
  drawn.push(s("circle", { cx: at, cy: into(value), r: 3.5, class: `dot line${i}` }));
  return drawn;
}

// A line for each mark; a label where there is room.
function markLines(marks, x, bottom) {
  let taken = -Infinity;
  return marks.flatMap((mark) => {
    const at = x(mark.at - 0.5);
    const half = 3.5 * mark.text.length;
    const line = s(
      "line",
      { x1: at, x2: at, y1: TOP, y2: bottom, class: `mark ${mark.kind}` },
      s("title", {}, mark.text),
    );
    if (at - half <= taken) return [line];
    taken = at + half;
    return [line, s("text", { x: at, y: bottom + 12, class: `mark-label middle ${mark.kind}` }, mark.text)];
  });
}

function sections(points, x, width, y) {
  const every = Math.max(1, Math.ceil(points.length / Math.max(2, Math.floor(width / 90))));
  const label = (point, i) =>
    i > 0 && points[i - 1].run !== point.run ? `run ${point.run}` : i % every === 0 ? point.ls : null;
  const labels = points.map((point, i) => [i, label(point, i)]).filter(([, text]) => text !== null);
  return [
    ...labels.map(([i, text]) => s("text", { x: x(i), y, class: "tick middle" }, text)),
    s("text", { x: LEFT - 8, y, class: "axis end" }, "LS"),
  ];
}

function readOut(svg, points, x, bottom, tell) {
  const hair = s("line", { y1: TOP, y2: bottom, class: "hair", visibility: "hidden" });
  svg.append(hair);
  let chosen = points.length - 1;
  const show = (i) => {
    chosen = clip(i, 0, points.length - 1);
    hair.setAttribute("x1", x(chosen));
    hair.setAttribute("x2", x(chosen));
    hair.setAttribute("visibility", "visible");
    tell(points[chosen]);
  };
  const hide = () => {
    hair.setAttribute("visibility", "hidden");
    tell(null);
  };
  svg.addEventListener("pointermove", (event) => {
    const place = (event.clientX - svg.getBoundingClientRect().left - LEFT) / (x(1) - x(0));
    if (points.length) show(Math.floor(place));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !points.length) return;
    event.preventDefault();
    show(chosen + step);
  });
}

// From where to where a panel goes: over its limits and band, and what is seen beyond them.
function extent(panel) {
  const values = panel.lines.flatMap((line) => line.values).filter(Number.isFinite);
  const fixed = [...(panel.limits ?? []), ...(panel.band ?? []), ...(panel.from ?? [])];
  let low = Math.min(...fixed, ...values);
  let high = Math.max(...fixed, ...values);
  if (!Number.isFinite(low)) [low, high] = [0, 1];
  const room = 0.12 * (high - low || 1);
  return { low: panel.floor === undefined ? low - room : panel.floor, high: high + room };
}

/** A `Divergences` in words. */
export const readout = (point) =>
  `run ${point.run}, LS ${point.ls}, generation ${point.generation}: ` +
  `KL ${small(point.kl)} ± ${small(point.kl_error)}, PSI ${small(point.psi)}, rates ${point.ratios.map(times).join(", ")} of expected` +
  (point.pileup === null ? "" : `, pile-up ${point.pileup.toFixed(1)}`);
