// What is known of a stream, as elements. Pure: data in, elements out.

import { clock, h, number, row, s, short } from "./dom.js";
import { grouped } from "./state.js";
import { ANNOUNCEMENT } from "./words.js";

const SIGNS = {
  ok: "M28 52 44 68 74 34",
  watch: "M50 26V56M50 72V73",
  bad: "M32 32 68 68M68 32 32 68",
  act: "M38 38C38 22 64 22 62 40 61 50 50 48 50 60M50 74V75",
  work: "M70 40A24 24 0 1 0 73 56M73 26V42H57",
  frozen: "M38 30V70M62 30V70",
  unknown: "M30 50H70",
};

const BODIES = {
  ok: s.bind(null, "circle", { cx: 50, cy: 50, r: 46, class: "body" }),
  watch: s.bind(null, "path", { d: "M50 4 98 92H2Z", class: "body" }),
  bad: s.bind(null, "path", { d: "M30 4H70L96 30V70L70 96H30L4 70V30Z", class: "body" }),
};

/** A lamp of a kind that `lamp` in state.js gives; each kind has its own shape and sign. */
export function lampSvg(kind) {
  const body = BODIES[kind] ?? s.bind(null, "rect", { x: 6, y: 6, width: 88, height: 88, rx: 18, class: "body" });
  const blink = ["bad", "act"].includes(kind) ? " blink" : "";
  return s(
    "svg",
    { viewBox: "0 0 100 100", class: `lamp${blink}`, "aria-hidden": "true" },
    body(),
    s("path", { d: SIGNS[kind], class: "sign" }),
  );
}

/** The active payload of a `Stream`, against the nominal one. */
export function payloadTable(status) {
  const since = `Generation ${status.generation}, payload `;
  const head = h("p", {}, since, h("code", { title: status.payload }, short(status.payload)));
  if (!status.registers.length)
    return [head, h("p", { class: "quiet" }, "Every register is as the firmware was delivered.")];
  return [head, changesTable(status.registers, "nominal", "now")];
}

/** Registers that differ, a `Change` each, under two headings. */
export function changesTable(changes, before, after) {
  const value = (x) => String(Number(x.toPrecision(6)));
  const rows = grouped(changes).flatMap(({ field, list, few }) => {
    if (few)
      return list.map((c) =>
        row(h("td", {}, h("code", {}, `${field}[${c.index}]`)), number(value(c.old_value)), number(value(c.new_value))),
      );
    const spread = (key) => {
      const all = list.map((c) => c[key]);
      const [low, high] = [Math.min(...all), Math.max(...all)].map(value);
      return low === high ? low : `${low} to ${high}`;
    };
    return [
      row(
        h("td", {}, h("code", {}, field), ` ${list.length} registers`),
        number(spread("old_value")),
        number(spread("new_value")),
      ),
    ];
  });
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h("tr", {}, h("th", {}, "register"), h("th", { class: "number" }, before), h("th", { class: "number" }, after)),
    ),
    h("tbody", {}, rows),
  );
}

/** Events, newest first, as rows of a table; what says the same as its neighbour is left out. */
export function logRows(events) {
  const told = events.filter(
    (event, i) =>
      event.kind !== ANNOUNCEMENT ||
      ![events[i - 1], events[i + 1]].some((other) => other?.data.reason === event.text),
  );
  return told.map((event) => {
    const reason =
      event.data.reason && event.data.reason !== event.text
        ? h("span", { class: "quiet" }, ` – ${event.data.reason}`)
        : "";
    return h(
      "tr",
      { class: event.level },
      h("td", {}, clock(event.time / 1e9)),
      h("td", {}, event.kind),
      h("td", {}, event.text, reason),
    );
  });
}
