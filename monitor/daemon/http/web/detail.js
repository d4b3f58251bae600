// The chosen stream: its plots, where its loop stands, the proposal that waits, what happened.

import { button, drawCommands } from "./commands.js";
import { byId, h } from "./dom.js";
import { pendingProposal, proposalList } from "./proposals.js";
import { readout, series } from "./series.js";
import { distribution } from "./spectrum.js";
import { marks, progress, summed } from "./state.js";
import { SPANS, SUMS, choice } from "./store.js";
import { logRows, payloadTable } from "./views.js";
import { Command } from "./words.js";

const LOG_LINES = 40;
const ACTIONS = [Command.RECALIBRATE, Command.FREEZE, Command.ROLLBACK, Command.UNFREEZE];

// Builds what is in a place anew only if what it shows, told by `key`, has changed: focus and open parts stay.
function show(id, key, build) {
  const place = byId(id);
  const known = JSON.stringify([key, place.clientWidth]);
  if (place.dataset.key === known) return;
  place.dataset.key = known;
  const focused = place.contains(document.activeElement);
  place.replaceChildren(...[build(place.clientWidth)].flat(Infinity).filter(Boolean));
  if (focused) place.querySelector("[tabindex], button")?.focus();
}

const chooser = (label, values, key, draw) =>
  h(
    "div",
    { class: "choice", role: "group", "aria-label": label },
    values.map((value) =>
      h(
        "button",
        {
          type: "button",
          "data-choice": key,
          "data-value": value,
          onclick: () => {
            choice[key] = value;
            draw();
          },
        },
        `${value} LS`,
      ),
    ),
  );

const card = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), children);

function skeleton(draw, refresh) {
  return [
    h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "top" },
        h("h2", {}, "Scores against the reference"),
        chooser("Lumi sections added", SUMS, "sum", draw),
      ),
      h(
        "p",
        { class: "legend" },
        h("span", {}, h("i", { class: "swatch-live" }), h("span", { id: "live-name" })),
        h("span", {}, h("i", { class: "swatch-reference" }), "reference, at this pile-up"),
      ),
      h("div", { id: "distribution" }),
    ),
    h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "top" },
        h("h2", {}, "Lumi section by lumi section"),
        chooser("Lumi sections shown", SPANS, "span", draw),
      ),
      h("p", { class: "legend", id: "rate-legend" }),
      h("div", { id: "series" }),
      h("p", { class: "note", id: "readout", "aria-live": "off" }),
    ),
    h(
      "div",
      { class: "column side" },
      h(
        "section",
        { class: "card" },
        h("h2", {}, "Act"),
        h("ol", { class: "steps", id: "steps" }),
        h(
          "div",
          { class: "actions" },
          ACTIONS.map((command) => button(command, refresh)),
        ),
        h("p", { class: "note", id: "why-not", role: "status" }),
      ),
      h("section", { class: "card", id: "proposal", hidden: true }),
      card("What the board runs", h("div", { id: "payload" })),
    ),
    card(
      "What happened",
      h("div", { class: "scroll", tabindex: "0" }, h("table", { class: "log" }, h("tbody", { id: "log" }))),
    ),
    card("Earlier proposals", h("div", { id: "proposals" })),
  ];
}

/**
 * @param {object} stream `Known`
 * @param {() => void} draw draws again, after another choice
 * @param {() => void} refresh reads the state again
 */
export function drawDetail(stream, draw, refresh) {
  const detail = byId("detail");
  if (detail.dataset.stream !== stream.status.name) detail.replaceChildren(...skeleton(draw, refresh));
  detail.dataset.stream = stream.status.name;
  const { status, proposals, history, points, windows } = stream;
  for (const each of detail.querySelectorAll("[data-choice]"))
    each.setAttribute("aria-pressed", String(choice[each.dataset.choice]) === each.dataset.value);
  const newest = points.at(-1) ?? {};
  const seen = [newest.run, newest.ls, newest.generation, newest.n];
  const known = proposals.map((each) => each.id);
  byId("proposal").hidden = !known.includes(status.proposal);
  show("distribution", [seen, choice.sum, windows.length], (width) => distributionPlot(stream, width));
  show("series", [seen, choice.span, history.iovs.length, points.length], (width) => seriesPlot(stream, width));
  show("steps", [status.phase, status.mode], () => stepList(status));
  show("proposal", [status.proposal, known.length], (width) => pendingProposal(stream, width, refresh));
  show("payload", [status.payload, status.generation, status.registers.length], () => payloadTable(status));
  show("log", [history.events[0]?.id], () => logRows(history.events.slice(0, LOG_LINES)));
  show("proposals", [known, status.proposal], (width) => proposalList(stream, width));
  drawCommands(stream);
}

function distributionPlot(stream, width) {
  const data = summed(stream.windows, choice.sum);
  if (!data || data.n === 0) return h("p", { class: "quiet" }, "No lumi section has been closed yet.");
  const span = data.first.ls === data.last.ls ? `LS ${data.last.ls}` : `LS ${data.first.ls} to ${data.last.ls}`;
  byId("live-name").textContent =
    `${span}, generation ${data.last.generation}: ${data.n.toLocaleString("en")} crossings`;
  return distribution(width, data, stream.status.tolerances.rate);
}

function seriesPlot(stream, width) {
  const points = stream.points.slice(-choice.span);
  const { tolerances, cuts } = stream.status;
  byId("rate-legend").replaceChildren(
    ...cuts.map((cut, k) => h("span", {}, h("i", { class: `swatch${k}` }), `rate at cut ${cut}`)),
    h("span", {}, h("i", { class: "swatch-limit" }), "tolerated"),
  );
  const line = (name) => points.map((p) => p[name]);
  const rates = cuts.map((_, k) => ({
    values: points.map((p) => p.ratios[k]),
    errors: points.map((p) => (p.pulls[k] ? Math.abs((p.ratios[k] - 1) / p.pulls[k]) : 0)),
  }));
  const [low, high] = [1 - tolerances.rate, 1 + tolerances.rate];
  const panels = [
    {
      title: "rates over what is expected",
      lines: rates,
      band: [low, high],
      from: [1.5 * low - 0.5, 1.5 * high - 0.5],
    },
    {
      title: "KL to the reference",
      lines: [{ values: line("kl"), errors: line("kl_error") }],
      limits: [tolerances.kl],
      floor: 0,
    },
    { title: "PSI", lines: [{ values: line("psi") }], limits: [tolerances.psi], floor: 0 },
  ];
  return series(width, points, panels, marks(points, stream.history), (point) => {
    byId("readout").textContent = point ? readout(point) : "";
  });
}

const stepList = (status) => progress(status).map(({ title, state }) => h("li", { class: state }, title));
