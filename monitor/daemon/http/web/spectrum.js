// The plots over the score code: what was seen, against the reference. Each takes its width and gives an <svg>.

import { LEFT, RIGHT, axisY, clip, frame, range, scale, ticks, title } from "./axes.js";
import { s, times } from "./dom.js";

// Steps of `values` per bin, from the left edge to the right one; gaps where a value is not above `low`.
function steps(lefts, rights, values, y, low) {
  let open = false;
  return values
    .map((value, b) => {
      if (!(value > low)) {
        open = false;
        return "";
      }
      const start = `${open ? "L" : "M"}${lefts[b].toFixed(1)} ${y(value).toFixed(1)}`;
      open = true;
      return `${start}L${rights[b].toFixed(1)} ${y(value).toFixed(1)}`;
    })
    .join("");
}

// Codes on a logarithmic axis that has a place for 0; the last bin, which is open, is as wide as its neighbour.
function codeAxis(edges, width) {
  const start = Math.max(1, edges[1] / 2);
  const place = (code) => Math.log10(1 + code / start);
  const most = edges.length - 2;
  const end = 2 * place(edges[most]) - place(edges[most - 1]);
  const x = scale(0, end, LEFT, width - RIGHT);
  const at = (code) => x(Math.min(place(code), end));
  const decades = range(7).flatMap((p) => [1, 3].map((f) => f * 10 ** p));
  return {
    at,
    lefts: edges.slice(0, -1).map(at),
    rights: edges.slice(1).map(at),
    widths: edges.slice(1).map((edge, b) => Math.min(place(edge), end) - place(edges[b])),
    ticks: [0, ...decades.filter((code) => place(code) < end && at(code) - LEFT > 34)],
  };
}

const SURE = 0.3; // a ratio's error from which on it does not set the scale
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const superscript = (power) => `10${[...String(power)].map((c) => (c === "-" ? "⁻" : SUPERSCRIPTS[c])).join("")}`;

/**
 * The scores of some lumi sections over the reference, with their ratio below.
 * @param {number} width
 * @param {object} data from `summed`
 * @param {number} tolerance of a rate, relative
 */
export function distribution(width, data, tolerance) {
  const height = 430;
  const [top, middle, second, bottom] = [26, 270, 300, 396];
  const svg = frame(width, height, `Scores of lumi sections ${data.first.ls} to ${data.last.ls} and the reference`);
  const axis = codeAxis(data.edges, width);
  svg.append(
    ...shares(data, axis, width - RIGHT, top, middle),
    ...ratios(data, axis, width - RIGHT, { top, second, bottom }, tolerance),
    ...data.cuts.flatMap((cut, k) => [
      s("line", { x1: axis.at(cut), x2: axis.at(cut), y1: top, y2: bottom, class: "cut" }),
      s("text", { x: axis.at(cut) + 5, y: top + 12 + 15 * k, class: "cut-label" }, `cut ${cut}`),
    ]),
    ...codes(axis, width - RIGHT, bottom, height),
  );
  return svg;
}

function shares(data, axis, right, top, bottom) {
  const density = (p) => p.map((share, b) => share / axis.widths[b]);
  const shown = density(data.counts.map((count) => count / data.n));
  const expected = density(data.expected);
  const present = [...shown, ...expected].filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...present)));
  const high = Math.ceil(Math.log10(Math.max(...present)) + 0.1);
  const y = scale(low, high, bottom, top);
  const logY = (value) => y(Math.max(Math.log10(value), low));
  const powers = range(high - low + 1).map((i) => low + i);
  const outline = steps(axis.lefts, axis.rights, expected, logY, 0);
  return [
    title("share of crossings per unit of log score", top),
    ...axisY(y, powers, right, superscript).flat(),
    s("path", { d: `${outline}L${right} ${bottom}L${LEFT} ${bottom}Z`, class: "reference" }),
    s("path", { d: outline, class: "reference-line" }),
    s("path", { d: steps(axis.lefts, axis.rights, shown, logY, 0), class: "live" }),
  ];
}

function ratios(data, axis, right, { top, second, bottom }, tolerance) {
  const found = data.counts.map((count, b) => {
    const wanted = data.expected[b] * data.n;
    return wanted > 0 ? { b, ratio: count / wanted, error: Math.sqrt(Math.max(count, 1)) / wanted } : null;
  });
  const shown = found.filter(Boolean);
  const sure = shown.filter(({ error }) => error < SURE);
  const reach = Math.max(2 * tolerance, ...sure.map(({ ratio }) => Math.abs(ratio - 1)));
  const span = clip(1.15 * reach, 0.1, 1);
  const y = scale(1 - span, 1 + span, bottom, second);
  const into = (value) => y(clip(value, 1 - span, 1 + span));
  const band = { x: LEFT, width: right - LEFT, y: y(1 + tolerance), height: y(1 - tolerance) - y(1 + tolerance) };
  return [
    title("ratio to the reference", second),
    ...axisY(y, ticks(1 - span, 1 + span, 4), right).flat(),
    s("rect", { ...band, class: "band" }),
    s("line", { x1: LEFT, x2: right, y1: y(1), y2: y(1), class: "one" }),
    ...shown.flatMap(({ b, ratio, error }) => {
      const [left, end] = [axis.lefts[b], axis.rights[b]];
      const x = (left + end) / 2;
      const inside = Math.abs(ratio - 1) <= span;
      const text = `codes ${data.edges[b]} to ${data.edges[b + 1] - 1}: ${times(ratio)} ± ${error.toFixed(2)}`;
      const over = { x: left, width: Math.max(2, end - left), y: top, height: bottom - top, class: "hover" };
      return [
        s("line", { x1: left, x2: end, y1: into(ratio), y2: into(ratio), class: inside ? "live" : "live off" }),
        s("line", { x1: x, x2: x, y1: into(ratio + error), y2: into(ratio - error), class: "error" }),
        s("rect", over, s("title", {}, text)),
      ];
    }),
  ];
}

// The codes below a plot.
const codes = (axis, right, bottom, height) => [
  ...axis.ticks.map((code) =>
    s("text", { x: axis.at(code), y: bottom + 17, class: "tick middle" }, code.toLocaleString("en")),
  ),
  s("text", { x: right, y: height - 2, class: "axis end" }, "score code"),
];

/** How a `Proposal` would change the ratio to the reference: what is deployed, and what would be. */
export function evidence(width, proposal) {
  if (!proposal.seen.length) return null;
  const height = 190;
  const [top, bottom] = [26, 156];
  const right = width - RIGHT;
  const svg = frame(width, height, "Ratio to the reference with the deployed and with the proposed payload");
  const axis = codeAxis(proposal.edges, width);
  const ratio = (p) => p.map((share, b) => (proposal.p_ref[b] > 0 ? share / proposal.p_ref[b] : null));
  const [before, after] = [ratio(proposal.seen), ratio(proposal.predicted)];
  const errors = proposal.squares.map((square, b) => Math.sqrt(square) / (proposal.p_ref[b] || 1));
  const certain = (list) => list.filter((value, b) => value !== null && errors[b] < SURE);
  const span = clip(
    1.2 * Math.max(0.1, ...[...certain(before), ...certain(after)].map((v) => Math.abs(v - 1))),
    0.1,
    1,
  );
  const y = scale(1 - span, 1 + span, bottom, top);
  const into = (value) => y(clip(value, 1 - span, 1 + span));
  svg.append(
    title("ratio to the reference: deployed, proposed", top),
    ...axisY(y, ticks(1 - span, 1 + span, 4), right).flat(),
  );
  svg.append(s("line", { x1: LEFT, x2: right, y1: y(1), y2: y(1), class: "one" }));
  after.forEach((value, b) => {
    if (value === null) return;
    const x = (axis.lefts[b] + axis.rights[b]) / 2;
    svg.append(
      s("line", { x1: x, x2: x, y1: into(value + errors[b]), y2: into(value - errors[b]), class: "error line1" }),
    );
  });
  svg.append(s("path", { d: steps(axis.lefts, axis.rights, before, into, 0), class: "line line0" }));
  svg.append(s("path", { d: steps(axis.lefts, axis.rights, after, into, 0), class: "line line1" }));
  svg.append(...codes(axis, right, bottom, height));
  return svg;
}
