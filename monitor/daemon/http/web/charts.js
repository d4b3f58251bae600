// The plots, as SVG in units of CSS pixels. Each takes its width and data and gives an <svg>.

import { s, small, times } from "./dom.js";

const LEFT = 58;
const RIGHT = 14;

const range = (count) => Array.from({ length: count }, (_, i) => i);
const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const clip = (value, low, high) => Math.min(high, Math.max(low, value));

function frame(width, height, label) {
  return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
}

const scale = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);

// Round numbers from low to high, some `count` of them.
export function ticks(low, high, count = 4) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((f) => f * power >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return range(Math.floor(high / step + 1e-9) - first + 1).map((i) => (first + i) * step);
}

const plain = (value) => String(Number(value.toPrecision(6)));

function axisY(y, values, right, format = plain) {
  return values.map((value) => [
    s("line", { x1: LEFT, x2: right, y1: y(value), y2: y(value), class: "grid" }),
    s("text", { x: LEFT - 8, y: y(value) + 4, class: "tick end" }, format(value)),
  ]);
}

const title = (text, top) => s("text", { x: LEFT, y: top - 8, class: "axis" }, text);

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

// The scores of some lumi sections over the reference, with their ratio below. `data` comes from `summed`.
export function distribution(width, data, tolerance) {
  const height = 430;
  const [top, middle, second, bottom] = [26, 270, 300, 396];
  const right = width - RIGHT;
  const svg = frame(width, height, `Scores of lumi sections ${data.first.ls} to ${data.last.ls} and the reference`);
  const axis = codeAxis(data.edges, width);
  const density = (p) => p.map((share, b) => share / axis.widths[b]);
  const seen = data.counts.map((count) => count / data.n);
  const shown = density(seen);
  const expected = density(data.expected);
  const present = [...shown, ...expected].filter((value) => value > 0);
  const low = 10 ** Math.floor(Math.log10(Math.min(...present)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...present)) + 0.1);
  const y = scale(Math.log10(low), Math.log10(high), middle, top);
  const logY = (value) => y(Math.log10(Math.max(value, low)));
  const powers = range(Math.round(Math.log10(high / low)) + 1).map((i) => Math.log10(low) + i);
  const sup = (power) => `10${[...String(power)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("")}`;
  svg.append(title("share of crossings per unit of log score", top), ...axisY(y, powers, right, sup).flat());
  const outline = steps(axis.lefts, axis.rights, expected, logY, 0);
  svg.append(s("path", { d: `${outline}L${right} ${middle}L${LEFT} ${middle}Z`, class: "reference" }));
  svg.append(s("path", { d: outline, class: "reference-line" }));
  svg.append(s("path", { d: steps(axis.lefts, axis.rights, shown, logY, 0), class: "live" }));

  const pulls = data.counts.map((count, b) => {
    const wanted = data.expected[b] * data.n;
    return wanted > 0 ? { ratio: count / wanted, error: Math.sqrt(Math.max(count, 1)) / wanted } : null;
  });
  const reach = Math.max(2 * tolerance, ...pulls.filter((p) => p && p.error < 0.3).map((p) => Math.abs(p.ratio - 1)));
  const span = clip(1.15 * reach, 0.1, 1);
  const r = scale(1 - span, 1 + span, bottom, second);
  svg.append(title("ratio to the reference", second), ...axisY(r, ticks(1 - span, 1 + span, 4), right).flat());
  svg.append(
    s("rect", {
      x: LEFT,
      width: right - LEFT,
      y: r(1 + tolerance),
      height: r(1 - tolerance) - r(1 + tolerance),
      class: "band",
    }),
    s("line", { x1: LEFT, x2: right, y1: r(1), y2: r(1), class: "one" }),
  );
  pulls.forEach((pull, b) => {
    if (!pull) return;
    const x = (axis.lefts[b] + axis.rights[b]) / 2;
    const inside = Math.abs(pull.ratio - 1) <= span;
    const at = r(clip(pull.ratio, 1 - span, 1 + span));
    const [up, down] = [pull.ratio + pull.error, pull.ratio - pull.error].map((v) => r(clip(v, 1 - span, 1 + span)));
    const text = `codes ${data.edges[b]} to ${data.edges[b + 1] - 1}: ${times(pull.ratio)} ± ${pull.error.toFixed(2)}`;
    svg.append(
      s("line", { x1: axis.lefts[b], x2: axis.rights[b], y1: at, y2: at, class: inside ? "live" : "live off" }),
      s("line", { x1: x, x2: x, y1: up, y2: down, class: "error" }),
      s(
        "rect",
        {
          x: axis.lefts[b],
          width: Math.max(2, axis.rights[b] - axis.lefts[b]),
          y: top,
          height: bottom - top,
          class: "hover",
        },
        s("title", {}, text),
      ),
    );
  });
  data.cuts.forEach((cut, k) => {
    svg.append(
      s("line", { x1: axis.at(cut), x2: axis.at(cut), y1: top, y2: bottom, class: "cut" }),
      s("text", { x: axis.at(cut) + 5, y: top + 12 + 15 * k, class: "cut-label" }, `cut ${cut}`),
    );
  });
  svg.append(
    ...axis.ticks.map((code) =>
      s("text", { x: axis.at(code), y: bottom + 17, class: "tick middle" }, code.toLocaleString("en")),
    ),
  );
  svg.append(s("text", { x: right, y: height - 2, class: "axis end" }, "score code"));
  return svg;
}

// Lumi section by lumi section: `panels` of {title, lines: [{values, errors?}], limits, band, format}, and `marks`
// of {at, text, kind} over all of them. The pointer, or the arrow keys, read one lumi section out through `tell`.
export function series(width, points, panels, marks, tell) {
  const each = 112;
  const gap = 34;
  const height = panels.length * (each + gap) + 38;
  const right = width - RIGHT;
  const svg = frame(
    width,
    height,
    `${panels.map((panel) => panel.title).join(", ")} of ${points.length} lumi sections`,
  );
  const x = scale(-0.5, Math.max(points.length - 0.5, 19.5), LEFT, right);
  panels.forEach((panel, k) => {
    const top = 24 + k * (each + gap);
    const bottom = top + each;
    const { low, high } = extent(panel);
    const y = scale(low, high, bottom, top);
    const into = (value) => y(clip(value, low, high));
    svg.append(title(panel.title, top), ...axisY(y, ticks(low, high, 4), right).flat());
    if (panel.band)
      svg.append(
        s("rect", {
          x: LEFT,
          width: right - LEFT,
          y: into(panel.band[1]),
          height: into(panel.band[0]) - into(panel.band[1]),
          class: "band",
        }),
      );
    for (const limit of panel.limits ?? [])
      svg.append(s("line", { x1: LEFT, x2: right, y1: into(limit), y2: into(limit), class: "limit" }));
    panel.lines.forEach((line, i) => {
      const all = line.values.map((value, j) => [x(j), value, line.errors?.[j] ?? 0]);
      const seen = all.filter(([, value]) => Number.isFinite(value));
      if (line.errors && seen.length) {
        const upper = seen.map(([at, value, error]) => [at, into(value + error)]);
        const lower = seen.map(([at, value, error]) => [at, into(value - error)]).reverse();
        svg.append(s("path", { d: `${path([...upper, ...lower])}Z`, class: `spread line${i}` }));
      }
      svg.append(s("path", { d: path(seen.map(([at, value]) => [at, into(value)])), class: `line line${i}` }));
      const [at, value] = seen.at(-1) ?? [];
      if (value !== undefined) svg.append(s("circle", { cx: at, cy: into(value), r: 3.5, class: `dot line${i}` }));
    });
  });
  const bottom = height - 38;
  let taken = -Infinity;
  for (const mark of marks) {
    const at = x(mark.at - 0.5);
    svg.append(
      s("line", { x1: at, x2: at, y1: 24, y2: bottom, class: `mark ${mark.kind}` }, s("title", {}, mark.text)),
    );
    if (at - 3.5 * mark.text.length > taken) {
      svg.append(s("text", { x: at, y: bottom + 12, class: `mark-label middle ${mark.kind}` }, mark.text));
      taken = at + 3.5 * mark.text.length;
    }
  }
  const every = Math.max(1, Math.ceil(points.length / Math.max(2, Math.floor(width / 90))));
  points.forEach((point, i) => {
    const turned = i > 0 && points[i - 1].run !== point.run;
    if (turned) svg.append(s("text", { x: x(i), y: height - 4, class: "tick middle" }, `run ${point.run}`));
    else if (i % every === 0) svg.append(s("text", { x: x(i), y: height - 4, class: "tick middle" }, point.ls));
  });
  svg.append(s("text", { x: LEFT - 8, y: height - 4, class: "axis end" }, "LS"));
  const hair = s("line", { y1: 24, y2: bottom, class: "hair", visibility: "hidden" });
  svg.append(hair);
  const show = (i) => {
    hair.setAttribute("x1", x(i));
    hair.setAttribute("x2", x(i));
    hair.setAttribute("visibility", "visible");
    tell(points[i]);
  };
  let chosen = points.length - 1;
  svg.addEventListener("pointermove", (event) => {
    const place = (event.clientX - svg.getBoundingClientRect().left - LEFT) / (x(1) - x(0));
    if (points.length) show((chosen = clip(Math.floor(place), 0, points.length - 1)));
  });
  const hide = () => {
    hair.setAttribute("visibility", "hidden");
    tell(null);
  };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !points.length) return;
    event.preventDefault();
    show((chosen = clip(chosen + step, 0, points.length - 1)));
  });
  return svg;
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

// How a proposal would change the ratio to the reference: what is deployed, and what would be.
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
  const certain = (list) => list.filter((value, b) => value !== null && errors[b] < 0.3);
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
  svg.append(
    ...axis.ticks.map((code) =>
      s("text", { x: axis.at(code), y: bottom + 17, class: "tick middle" }, code.toLocaleString("en")),
    ),
  );
  svg.append(s("text", { x: right, y: height - 2, class: "axis end" }, "score code"));
  return svg;
}

export const readout = (point) =>
  `run ${point.run}, LS ${point.ls}, generation ${point.generation}: KL ${small(point.kl)} ± ${small(point.kl_error)}, ` +
  `PSI ${small(point.psi)}, rates ${point.ratios.map(times).join(", ")} of expected` +
  (point.pileup === null ? "" : `, pile-up ${point.pileup.toFixed(1)}`);
