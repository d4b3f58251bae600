// The page: hears what the daemon says, has it drawn, and takes the operator's keys.

import { drawBoards, drawCards, drawLink, drawWho } from "./cards.js";
import { act, keys, ofKey, tell } from "./commands.js";
import { drawDetail } from "./detail.js";
import { askToken, showKeys } from "./dialogs.js";
import { byId } from "./dom.js";
import { follow, token } from "./link.js";
import {
  choice,
  chosen,
  keep,
  keepEvent,
  keepWindow,
  link,
  readAll,
  readDecisions,
  readStatus,
  streams,
} from "./store.js";
import { Sent } from "./words.js";

const POLL_MS = 5000;
const DRAW_MS = 100; // one drawing for all that comes within

// What the daemon says.

async function refresh() {
  await readAll();
  tell("");
  draw();
}

async function onStatus(name, status) {
  if (!streams.has(name)) return;
  const turned = keep(name, status);
  draw();
  if (!turned) return;
  tell("");
  await readDecisions(name);
  draw();
}

const report = (error) => console.error(error);
const refreshNow = () => refresh().catch(report);

const HEARD = {
  [Sent.STATUS]: (status) => onStatus(status.name, status).catch(report),
  [Sent.WINDOW]: (window) => {
    keepWindow(window);
    draw();
  },
  [Sent.LEDGER]: (event) => {
    keepEvent(event);
    draw();
  },
  [Sent.BOARD]: () => poll(),
  [Sent.RESET]: refreshNow,
};

const listener = follow({
  open: async () => {
    await refresh();
    link.up = true;
  },
  alive: () => {
    link.heard = Date.now();
  },
  lost: (error) => {
    link.up = false;
    link.why = error.message;
    drawLink();
    if (error.status === 401 || error.status === 403) askToken(link.who, error.message, useToken);
  },
  event: (name, data) => HEARD[name]?.(data),
});

// Boards, and streams that went silent, make no event of their own.
async function poll() {
  if (!link.up) return drawLink();
  try {
    const found = await readStatus();
    drawBoards();
    await Promise.all(Object.entries(found).map(([name, status]) => onStatus(name, status)));
  } catch (error) {
    report(error);
  }
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
    drawBoards();
    drawWho();
    drawCards(choose);
    if (chosen()) drawDetail(chosen(), draw, refreshNow);
  }, DRAW_MS);
}

function choose(name) {
  choice.stream = name;
  draw();
}

// What the operator does.

const help = () =>
  showKeys([
    ["1 … 9", "choose a stream"],
    ...keys(),
    ["← →", "read a lumi section out, when the plot has the focus"],
    ["Esc", "close a dialog: nothing is sent"],
  ]);

document.addEventListener("keydown", (event) => {
  const elsewhere = event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open;
  if (elsewhere || event.target.closest("input, textarea, select")) return;
  const command = ofKey(event.key);
  if (command) {
    event.preventDefault();
    act(command, refreshNow);
  } else if (event.key === "?") help();
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
byId("keys").addEventListener("click", help);
setTheme(localStorage.getItem("driftd theme") ?? "");
setInterval(poll, POLL_MS);
setInterval(drawLink, 1000);
new ResizeObserver(draw).observe(document.body);
