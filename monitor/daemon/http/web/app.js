// The page: keeps what the daemon says, draws it, and sends what the operator confirms.

import { distribution, readout, series } from "./charts.js";
import {
  askApprove,
  askFreeze,
  askRecalibrate,
  askReject,
  askRollback,
  askToken,
  askUnfreeze,
  showKeys,
} from "./dialogs.js";
import { byId, h, short, small, times } from "./dom.js";
import { follow, get, token } from "./link.js";
import { STEP_NAMES, STEPS, lamp, summed } from "./state.js";
import { lampSvg, logRows, payloadTable, proposalBody, verdict } from "./views.js";

const SPANS = [60, 240, 1000]; // lumi sections in the plots against time
const SUMS = [1, 5, 20]; // lumi sections added for the distribution
const LOG_LINES = 40;
const PROPOSALS = 8;
const PADDING = 34; // of a card, in CSS pixels
const POLL_MS = 5000;
const DRAW_MS = 100; // one drawing for all that comes within

const streams = new Map();
const choice = { stream: "", span: 240, sum: 5 };
const link = { up: false, heard: Date.now(), who: { name: "", role: "" } };

const fresh = () => ({
  status: null,
  at: 0,
  points: [],
  windows: [],
  history: { iovs: [], events: [] },
  proposals: [],
  commands: [],
});
const chosen = () => streams.get(choice.stream);

// What the daemon says.

async function readAll() {
  link.who = await get("/whoami");
  const { streams: found, boards } = await get("/status");
  for (const name of streams.keys()) if (!(name in found)) streams.delete(name);
  for (const [name, status] of Object.entries(found)) {
    if (!streams.has(name)) streams.set(name, fresh());
    keep(name, status);
    await readStream(name);
  }
  if (!streams.has(choice.stream)) choose(streams.keys().next().value);
  if (byId("why-not")) byId("why-not").textContent = "";
  drawBoards(boards);
  drawWho();
}

async function readStream(name) {
  const stream = streams.get(name);
  const base = `/streams/${name}`;
  [stream.points, stream.windows] = await Promise.all([
    get(`${base}/divergences?limit=${SPANS.at(-1)}`),
    get(`${base}/windows?limit=${SUMS.at(-1)}`),
    readDecisions(name),
  ]);
}

// What changes when the loop goes on.
async function readDecisions(name) {
  const stream = streams.get(name);
  const base = `/streams/${name}`;
  [stream.history, stream.proposals, stream.commands] = await Promise.all([
    get(`${base}/history`),
    get(`${base}/proposals?limit=${PROPOSALS}`),
    get(`${base}/commands`),
  ]);
}

function keep(name, status) {
  const stream = streams.get(name);
  stream.status = status;
  stream.at = Date.now();
}

const identity = (status) => [status.phase, status.generation, status.payload, status.proposal, status.mode].join();

async function onStatus(name, status) {
  if (!streams.has(name)) return;
  const stream = streams.get(name);
  const turned = identity(stream.status) !== identity(status);
  keep(name, status);
  draw();
  if (!turned) return;
  if (byId("why-not")) byId("why-not").textContent = "";
  await readDecisions(name);
  draw();
}

function onWindow({ stream: name, ...window }) {
  const stream = streams.get(name);
  if (!stream) return;
  const { counts, expected, edges, ...point } = window;
  stream.points = [...stream.points, point].slice(-SPANS.at(-1));
  stream.windows = [...stream.windows, window].slice(-SUMS.at(-1));
  draw();
}

function onLedger(event) {
  const stream = streams.get(event.stream);
  if (!stream || event.kind === "step") return;
  stream.history.events = [event, ...stream.history.events.filter((known) => known.id !== event.id)];
  draw();
}

const listener = follow({
  open: async () => {
    await readAll();
    link.up = true;
    draw();
  },
  alive: () => {
    link.heard = Date.now();
  },
  lost: (error) => {
    link.up = false;
    drawLink(error.message);
    if (error.status === 401 || error.status === 403) askToken(link.who, error.message, useToken);
  },
  event: (name, data) => {
    if (name === "status") onStatus(data.name, data).catch(report);
    else if (name === "window") onWindow(data);
    else if (name === "ledger") onLedger(data);
    else if (name === "board") poll();
    else if (name === "reset") readAll().then(draw).catch(report);
  },
});

// Boards, and streams that went silent, make no event of their own.
async function poll() {
  if (!link.up) return drawLink();
  try {
    const { streams: found, boards } = await get("/status");
    drawBoards(boards);
    await Promise.all(Object.entries(found).map(([name, status]) => onStatus(name, status)));
  } catch (error) {
    report(error);
  }
}

function report(error) {
  console.error(error);
}

function useToken(text) {
  token.set(text);
  listener.again();
}

// What is shown.

let pending = 0;
function draw() {
  pending ||= setTimeout(() => {
    pending = 0;
    drawLink();
    for (const [name, stream] of streams) drawCard(name, stream);
    if (chosen()) drawDetail(chosen());
  }, DRAW_MS);
}

// Builds what is in a place anew only if what it shows, told by `key`, has changed: focus, selection and open parts stay.
function show(id, key, build) {
  const place = byId(id);
  const known = JSON.stringify([key, place.clientWidth]);
  if (place.dataset.key === known) return;
  place.dataset.key = known;
  const focused = place.contains(document.activeElement);
  place.replaceChildren(...[build(place.clientWidth)].flat(Infinity).filter(Boolean));
  if (focused) place.querySelector("[tabindex], button")?.focus();
}

function drawLink(why = "") {
  const ago = Math.round((Date.now() - link.heard) / 1000);
  document.body.classList.toggle("stale", !link.up);
  byId("link").classList.toggle("live", link.up);
  byId("link").textContent = link.up ? "live" : "not connected";
  byId("lost").hidden = link.up;
  if (!link.up && (why || !byId("lost").textContent)) byId("lost").dataset.why = why;
  if (!link.up)
    byId("lost").textContent =
      `No connection to the daemon for ${ago} s (${byId("lost").dataset.why}). What you see is old. Trying again…`;
}

function drawBoards(boards) {
  byId("boards").replaceChildren(
    ...Object.entries(boards).map(([name, board]) =>
      h(
        "span",
        { class: board.up ? "" : "bad", title: board.uri },
        `board ${name} ${board.up ? "answers" : `does not answer: ${board.error}`} `,
      ),
    ),
  );
}

function drawWho() {
  const { name, role } = link.who;
  byId("who").textContent = name ? `${name} · ${role}` : "no token";
}

function drawCard(name, stream) {
  let card = byId(`stream-${name}`);
  if (!card) {
    card = h("button", { id: `stream-${name}`, type: "button", onclick: () => choose(name) });
    byId("streams").append(card);
  }
  const status = { ...stream.status };
  if (status.silent_s !== null) status.silent_s += (Date.now() - stream.at) / 1000;
  const { lamp: kind, word, text } = lamp(status);
  const last = status.last ?? {};
  const tolerance = status.tolerances.rate;
  const figure = (label, value, off) => h("div", {}, h("dt", {}, label), h("dd", { class: off ? "off" : "" }, value));
  card.className = `stream ${kind}`;
  card.setAttribute("aria-pressed", name === choice.stream);
  card.replaceChildren(
    lampSvg(kind),
    h("span", { class: "name" }, `${name} · ${status.mode} · holds its ${status.hold}`),
    h(
      "dl",
      { class: "figures" },
      ...(last.ratios ?? [])
        .slice(0, 2)
        .map((ratio, k) =>
          figure(
            `rate at cut ${last.cuts[k]}`,
            times(ratio),
            Math.abs(ratio - 1) > tolerance && Math.abs(last.pulls[k]) > 3,
          ),
        ),
      figure("KL", small(last.kl), last.level === "drift"),
      figure("lumi section", last.ls ?? "–"),
      figure("generation", status.generation < 0 ? "–" : status.generation),
      figure("pile-up", last.pileup ? last.pileup.toFixed(1) : "–"),
    ),
    h("span", { class: "word" }, word),
    h("span", { class: "text" }, text),
  );
  document.title = [...streams].map(([n, each]) => `${lamp(each.status).word} ${n}`).join(" · ") + " – driftd";
}

function choose(name) {
  choice.stream = name;
  byId("detail").replaceChildren();
  draw();
}

const button = (name, label, key, kind = "") =>
  h(
    "button",
    { type: "button", "data-command": name, class: kind, "aria-keyshortcuts": key, onclick: () => act(name) },
    label,
    h("kbd", {}, key),
  );

const chooser = (label, values, key) =>
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

function skeleton() {
  return [
    h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "top" },
        h("h2", {}, "Scores against the reference"),
        chooser("Lumi sections added", SUMS, "sum"),
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
        chooser("Lumi sections shown", SPANS, "span"),
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
          button("recalibrate", "Re-calibrate…", "R"),
          button("freeze", "Freeze…", "F"),
          button("rollback", "Roll back…", "B"),
          button("unfreeze", "Unfreeze…", "U"),
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

function drawDetail(stream) {
  const detail = byId("detail");
  if (!detail.hasChildNodes()) detail.append(...skeleton());
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
  show("proposal", [status.proposal, known.length], (width) => pendingProposal(stream, width));
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

// Drifts, pushes, rollbacks and freezes, at the lumi section where each began.
function marks(points, history) {
  const found = [];
  points.forEach((point, i) => {
    if (i && point.level === "drift" && points[i - 1].level !== "drift")
      found.push({ at: i, kind: "drift", text: "drift" });
  });
  const seen = new Set();
  for (const iov of history.iovs) {
    const again = seen.has(iov.payload_id);
    seen.add(iov.payload_id);
    const at = points.findIndex((p) => p.run > iov.run || (p.run === iov.run && p.ls >= iov.ls));
    const before = points[at - 1];
    if (at > 0 && (before.run < iov.run || before.ls < iov.ls))
      found.push({ at, kind: again ? "rollback" : "push", text: `${again ? "back, " : ""}gen ${iov.generation}` });
  }
  for (const event of history.events) {
    if (event.kind !== "order freeze" || event.level !== "info") continue;
    const at = points.findIndex((p) => p.t_ns > event.time);
    if (at > 0) found.push({ at, kind: "freeze", text: "frozen" });
  }
  return found.sort((a, b) => a.at - b.at);
}

function stepList({ phase, mode }) {
  const now = STEPS.indexOf(phase);
  const state = (step) => (now < 0 || STEPS.indexOf(step) > now ? "" : step === phase ? "now" : "done");
  const shown = STEPS.filter((step) => step !== "awaiting_approval" || mode === "supervised" || step === phase);
  return shown.map((step) => h("li", { class: state(step) }, STEP_NAMES[step]));
}

const refusal = (stream, name) =>
  link.up
    ? (stream.commands.find((each) => each.name === name && !each.allowed)?.why_not ?? "")
    : "there is no connection to the daemon";

function drawCommands(stream) {
  for (const each of byId("detail").querySelectorAll("[data-command]")) {
    each.title = refusal(stream, each.dataset.command);
    each.setAttribute("aria-disabled", Boolean(each.title));
  }
}

function pendingProposal(stream, width) {
  const proposal = stream.proposals.find((each) => each.id === stream.status.proposal);
  if (!proposal) return [];
  const buttons = h(
    "div",
    { class: "actions" },
    button("approve", "Approve…", "A", "primary"),
    button("reject", "Reject…", "X", "danger"),
  );
  return [
    h("h2", {}, `Proposal ${short(proposal.id)} waits for a decision`),
    proposalBody(proposal, width - PADDING, buttons),
  ];
}

function proposalList(stream, width) {
  const earlier = stream.proposals.filter((each) => each.id !== stream.status.proposal);
  if (!earlier.length) return h("p", { class: "quiet" }, "None.");
  return earlier.map((each) => {
    const summary = h(
      "summary",
      {},
      h("code", {}, short(each.id)),
      ` ${each.knob}: ${verdict(each)}, KL ${small(each.kl_before)} → ${small(each.kl_after)}`,
    );
    const details = h("details", {}, summary);
    details.addEventListener(
      "toggle",
      () => details.children.length > 1 || details.append(h("div", {}, proposalBody(each, width))),
      { once: true },
    );
    return details;
  });
}

// What the operator does.

const ASK = {
  recalibrate: askRecalibrate,
  freeze: askFreeze,
  unfreeze: askUnfreeze,
  rollback: askRollback,
  approve: askApprove,
  reject: askReject,
};

function act(name) {
  const stream = chosen();
  if (!stream) return;
  const refused = refusal(stream, name);
  byId("why-not").textContent = refused ? `${name}: ${refused}` : "";
  if (!refused) ASK[name](choice.stream, stream);
}

const KEYS = { r: "recalibrate", f: "freeze", u: "unfreeze", b: "rollback", a: "approve", x: "reject" };

document.addEventListener("keydown", (event) => {
  if (
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    byId("dialog").open ||
    event.target.closest("input, textarea, select")
  )
    return;
  if (event.key in KEYS) {
    event.preventDefault();
    act(KEYS[event.key]);
  } else if (event.key === "?") showKeys();
  else if (/^[1-9]$/.test(event.key)) {
    const name = [...streams.keys()][event.key - 1];
    if (name) choose(name);
  }
});

const THEMES = ["", "dark", "light"];
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("driftd theme", theme);
  byId("theme").textContent = theme ? `Theme: ${theme}` : "Theme: system";
}

byId("theme").addEventListener("click", () =>
  setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3]),
);
byId("who").addEventListener("click", () => askToken(link.who, "", useToken));
byId("keys").addEventListener("click", showKeys);
setTheme(localStorage.getItem("driftd theme") ?? "");
setInterval(poll, POLL_MS);
setInterval(drawLink, 1000);
new ResizeObserver(draw).observe(document.body);
