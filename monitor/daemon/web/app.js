// The page: keeps what the daemon says, draws it, and sends what the operator confirms.

import { distribution, readout, series } from "./charts.js";
import { askApprove, askFreeze, askRecalibrate, askReject, askRollback, askToken, askUnfreeze, showKeys } from "./dialogs.js";
import { byId, h, short, small, times } from "./dom.js";
import { follow, get, token } from "./link.js";
import { STEP_NAMES, STEPS, lamp, summed } from "./state.js";
import { lampSvg, logRows, payloadTable, proposalBody, verdict } from "./views.js";

const SPANS = [60, 240, 1000]; // lumi sections in the plots against time
const SUMS = [1, 5, 20]; // lumi sections added for the distribution
const LOG_LINES = 40;
const POLL_MS = 5000;

const streams = new Map();
const choice = { stream: "", span: 240, sum: 5 };
const link = { up: false, heard: Date.now(), who: { name: "", role: "" } };

const fresh = () => ({ status: null, at: 0, points: [], windows: [], history: { iovs: [], events: [] }, proposals: [], commands: [] });
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
  [stream.points, stream.windows, stream.history, stream.proposals, stream.commands] = await Promise.all([
    get(`${base}/divergences?limit=${SPANS.at(-1)}`),
    get(`${base}/windows?limit=${SUMS.at(-1)}`),
    get(`${base}/history`),
    get(`${base}/proposals`),
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
  const base = `/streams/${name}`;
  [stream.history, stream.proposals, stream.commands] = await Promise.all([
    get(`${base}/history`),
    get(`${base}/proposals`),
    get(`${base}/commands`),
  ]);
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
  if (!stream) return;
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
    if (name === "status") onStatus(data.stream, data).catch(report);
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
  pending ||= requestAnimationFrame(() => {
    pending = 0;
    drawLink();
    for (const [name, stream] of streams) drawCard(name, stream);
    if (chosen()) drawDetail(chosen());
  });
}

function drawLink(why = "") {
  const ago = Math.round((Date.now() - link.heard) / 1000);
  document.body.classList.toggle("stale", !link.up);
  byId("link").classList.toggle("live", link.up);
  byId("link").textContent = link.up ? "live" : "not connected";
  byId("lost").hidden = link.up;
  if (!link.up && (why || !byId("lost").textContent)) byId("lost").dataset.why = why;
  if (!link.up)
    byId("lost").textContent = `No connection to the daemon for ${ago} s (${byId("lost").dataset.why}). What you see is old. Trying again…`;
}

function drawBoards(boards) {
  byId("boards").replaceChildren(
    ...Object.entries(boards).map(([name, board]) =>
      h("span", { class: board.up ? "" : "bad", title: board.uri }, `board ${name} ${board.up ? "answers" : `does not answer: ${board.error}`} `),
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
  const tolerance = status.tolerances?.rate ?? 0.1;
  const figure = (label, value, off) => h("div", {}, h("dt", {}, label), h("dd", { class: off ? "off" : "" }, value));
  card.className = `stream ${kind}`;
  card.setAttribute("aria-pressed", name === choice.stream);
  card.replaceChildren(
    lampSvg(kind),
    h("span", { class: "name" }, `${name} · ${status.mode} · holds its ${status.hold}`),
    h(
      "dl",
      { class: "figures" },
      ...(last.ratios ?? []).slice(0, 2).map((ratio, k) => figure(`rate at cut ${last.cuts[k]}`, times(ratio), Math.abs(ratio - 1) > tolerance && Math.abs(last.pulls[k]) > 3)),
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
  h("button", { type: "button", "data-command": name, class: kind, "aria-keyshortcuts": key, onclick: () => act(name) }, label, h("kbd", {}, key));

const chooser = (label, values, key) =>
  h(
    "div",
    { class: "choice", role: "group", "aria-label": label },
    values.map((value) =>
      h("button", {
        type: "button",
        "data-choice": key,
        "data-value": value,
        onclick: () => {
          choice[key] = value;
          draw();
        },
      }, `${value} LS`),
    ),
  );

const card = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), children);

function skeleton() {
  return [
    h(
      "section",
      { class: "card" },
      h("div", { class: "top" }, h("h2", {}, "Scores against the reference"), chooser("Lumi sections added", SUMS, "sum")),
      h("p", { class: "legend" }, h("span", {}, h("i", { class: "swatch-live" }), h("span", { id: "live-name" })), h("span", {}, h("i", { class: "swatch-reference" }), "reference, at this pile-up")),
      h("div", { id: "distribution" }),
    ),
    h(
      "section",
      { class: "card" },
      h("div", { class: "top" }, h("h2", {}, "Lumi section by lumi section"), chooser("Lumi sections shown", SPANS, "span")),
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
    card("What happened", h("div", { class: "scroll", tabindex: "0" }, h("table", { class: "log" }, h("tbody", { id: "log" })))),
    card("Earlier proposals", h("div", { id: "proposals" })),
  ];
}

function drawDetail(stream) {
  const detail = byId("detail");
  if (!detail.hasChildNodes()) detail.append(...skeleton());
  const { status } = stream;
  for (const each of detail.querySelectorAll("[data-choice]"))
    each.setAttribute("aria-pressed", String(choice[each.dataset.choice]) === each.dataset.value);
  drawDistribution(stream);
  drawSeries(stream);
  drawActions(stream);
  replaceIfChanged("proposal", pendingProposal(stream));
  byId("proposal").hidden = !status.proposal;
  replaceIfChanged("payload", payloadTable(status));
  replaceIfChanged("log", logRows(stream.history.events.slice(0, LOG_LINES)));
  replaceIfChanged("proposals", proposalList(stream));
}

// Leaves what has not changed alone, so that focus, selection and open parts stay.
function replaceIfChanged(id, children) {
  const box = h("div", {}, children);
  const place = byId(id);
  if (place.dataset.shown === box.innerHTML) return;
  place.dataset.shown = box.innerHTML;
  place.replaceChildren(...box.childNodes);
}

function drawDistribution(stream) {
  const box = byId("distribution");
  const data = summed(stream.windows, choice.sum);
  if (!data || data.n === 0) return box.replaceChildren(h("p", { class: "quiet" }, "No lumi section has been closed yet."));
  const span = data.first.ls === data.last.ls ? `LS ${data.last.ls}` : `LS ${data.first.ls} to ${data.last.ls}`;
  byId("live-name").textContent = `${span}, generation ${data.last.generation}: ${data.n.toLocaleString("en")} crossings`;
  box.replaceChildren(distribution(box.clientWidth, data, stream.status.tolerances?.rate ?? 0.1));
}

function drawSeries(stream) {
  const box = byId("series");
  const points = stream.points.slice(-choice.span);
  const { tolerances = {}, last } = stream.status;
  const cuts = last?.cuts ?? [];
  const kl = points.map((p) => p.kl);
  const psi = points.map((p) => p.psi);
  const rate = tolerances.rate ?? 0.1;
  const psiLimit = tolerances.psi ?? 2 * (tolerances.kl ?? 0.002);
  byId("rate-legend").replaceChildren(
    ...cuts.map((cut, k) => h("span", {}, h("i", { class: `swatch${k}` }), `rate at cut ${cut}`)),
    h("span", {}, h("i", { class: "swatch-limit" }), "tolerated"),
  );
  const focused = box.contains(document.activeElement);
  box.replaceChildren(
    series(
      box.clientWidth,
      points,
      [
        {
          title: "rates over what is expected",
          lines: cuts.map((_, k) => ({
            values: points.map((p) => p.ratios[k]),
            errors: points.map((p) => (p.pulls[k] ? Math.abs((p.ratios[k] - 1) / p.pulls[k]) : 0)),
          })),
          band: [1 - rate, 1 + rate],
          from: [1 - 1.5 * rate, 1 + 1.5 * rate],
        },
        { title: "KL to the reference", lines: [{ values: kl, errors: points.map((p) => p.kl_error) }], limits: [tolerances.kl ?? 0.002], floor: 0 },
        { title: "PSI", lines: [{ values: psi }], limits: [psiLimit], floor: 0 },
      ],
      marks(points, stream.history),
      (point) => {
        byId("readout").textContent = point ? readout(point) : "";
      },
    ),
  );
  if (focused) box.firstElementChild.focus();
}

// Drifts, pushes, rollbacks and freezes, at the lumi section where each began.
function marks(points, history) {
  const found = [];
  points.forEach((point, i) => {
    if (i && point.level === "drift" && points[i - 1].level !== "drift") found.push({ at: i, kind: "drift", text: "drift" });
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

function drawActions(stream) {
  const now = STEPS.indexOf(stream.status.phase);
  const shown = STEPS.filter((step) => step !== "awaiting_approval" || stream.status.mode === "supervised" || stream.status.phase === step);
  replaceIfChanged(
    "steps",
    shown.map((step) => h("li", { class: now < 0 ? "" : STEPS.indexOf(step) < now ? "done" : STEPS.indexOf(step) === now ? "now" : "" }, STEP_NAMES[step])),
  );
  const known = new Map(stream.commands.map((command) => [command.name, command]));
  for (const each of byId("detail").querySelectorAll("[data-command]")) {
    const command = known.get(each.dataset.command);
    const refused = !link.up ? "There is no connection to the daemon." : command && !command.allowed ? command.why_not : "";
    each.setAttribute("aria-disabled", Boolean(refused));
    each.title = refused;
  }
}

function pendingProposal(stream) {
  const proposal = stream.proposals.find((each) => each.id === stream.status.proposal);
  if (!proposal) return [];
  const buttons = h("div", { class: "actions" }, button("approve", "Approve…", "A", "primary"), button("reject", "Reject…", "X", "danger"));
  return [h("h2", {}, `Proposal ${short(proposal.id)} waits for a decision`), proposalBody(proposal, byId("payload").clientWidth, buttons)];
}

function proposalList(stream) {
  const earlier = stream.proposals.filter((each) => each.id !== stream.status.proposal).slice(0, 8);
  if (!earlier.length) return [h("p", { class: "quiet" }, "None.")];
  return earlier.map((each) => h("details", {}, h("summary", {}, h("code", {}, short(each.id)), ` ${each.knob}: ${verdict(each)}, KL ${small(each.kl_before)} → ${small(each.kl_after)}`), proposalBody(each, byId("proposals").clientWidth)));
}

// What the operator does.

const ASK = { recalibrate: askRecalibrate, freeze: askFreeze, unfreeze: askUnfreeze, rollback: askRollback, approve: askApprove, reject: askReject };

function act(name) {
  const stream = chosen();
  if (!stream) return;
  const command = stream.commands.find((each) => each.name === name);
  const refused = !link.up ? "There is no connection to the daemon." : command && !command.allowed ? command.why_not : "";
  byId("why-not").textContent = refused ? `${name}: ${refused}` : "";
  if (!refused) ASK[name](choice.stream, stream);
}

const KEYS = { r: "recalibrate", f: "freeze", u: "unfreeze", b: "rollback", a: "approve", x: "reject" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open || event.target.closest("input, textarea, select")) return;
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

byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3]));
byId("who").addEventListener("click", () => askToken(link.who, "", useToken));
byId("keys").addEventListener("click", showKeys);
setTheme(localStorage.getItem("driftd theme") ?? "");
setInterval(poll, POLL_MS);
setInterval(drawLink, 1000);
new ResizeObserver(draw).observe(document.body);
