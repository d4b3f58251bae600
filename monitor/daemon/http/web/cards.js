// The head of the page: the connection, the boards, who the operator is, and a card for each stream.

import { byId, h, small, times } from "./dom.js";
import { lamp } from "./state.js";
import { choice, link, streams } from "./store.js";
import { lampSvg } from "./views.js";
import { Level } from "./words.js";

const CUTS = 2; // shown on a card
const FAR = 3; // standard deviations from which on a rate out of tolerance is marked

export function drawLink() {
  const ago = Math.round((Date.now() - link.heard) / 1000);
  document.body.classList.toggle("stale", !link.up);
  byId("link").classList.toggle("live", link.up);
  byId("link").textContent = link.up ? "live" : "not connected";
  byId("lost").hidden = link.up;
  if (!link.up)
    byId("lost").textContent =
      `No connection to the daemon for ${ago} s${link.why && ` (${link.why})`}. What you see is old. Trying again…`;
}

export function drawBoards() {
  byId("boards").replaceChildren(
    ...Object.entries(link.boards).map(([name, board]) =>
      h(
        "span",
        { class: board.up ? "" : "bad", title: board.uri },
        `board ${name} ${board.up ? "answers" : `does not answer: ${board.error}`} `,
      ),
    ),
  );
}

export function drawWho() {
  const { name, role } = link.who;
  byId("who").textContent = name ? `${name} · ${role}` : "no token";
}

/** All cards; a press on one calls `choose` with the stream's name. */
export function drawCards(choose) {
  const ids = [...streams.keys()].map((name) => `stream-${name}`);
  for (const card of [...byId("streams").children]) if (!ids.includes(card.id)) card.remove();
  for (const [name, stream] of streams) drawCard(name, stream, choose);
  document.title = [...streams].map(([name, { status }]) => `${lamp(status).word} ${name}`).join(" · ") + " – driftd";
}

function drawCard(name, stream, choose) {
  let card = byId(`stream-${name}`);
  if (!card) {
    card = h("button", { id: `stream-${name}`, type: "button", onclick: () => choose(name) });
    byId("streams").append(card);
  }
  const status = { ...stream.status };
  if (status.silent_s !== null) status.silent_s += (Date.now() - stream.at) / 1000;
  const { lamp: kind, word, text } = lamp(status);
  card.className = `stream ${kind}`;
  card.setAttribute("aria-pressed", name === choice.stream);
  card.replaceChildren(
    lampSvg(kind),
    h("span", { class: "name" }, `${name} · ${status.mode} · holds its ${status.hold}`),
    h("dl", { class: "figures" }, figures(status)),
    h("span", { class: "word" }, word),
    h("span", { class: "text" }, text),
  );
}

function figures(status) {
  const last = status.last ?? {};
  const figure = (label, value, off) => h("div", {}, h("dt", {}, label), h("dd", { class: off ? "off" : "" }, value));
  const off = (ratio, k) => Math.abs(ratio - 1) > status.tolerances.rate && Math.abs(last.pulls[k]) > FAR;
  const rates = (last.ratios ?? []).slice(0, CUTS);
  return [
    rates.map((ratio, k) => figure(`rate at cut ${last.cuts[k]}`, times(ratio), off(ratio, k))),
    figure("KL", small(last.kl), last.level === Level.DRIFT),
    figure("lumi section", last.ls ?? "–"),
    figure("generation", status.generation < 0 ? "–" : status.generation),
    figure("pile-up", last.pileup ? last.pileup.toFixed(1) : "–"),
  ];
}
