// Proposals: the one that waits for a decision, those before it, and the evidence of each.

import { button } from "./commands.js";
import { h, number, row, short, small, times } from "./dom.js";
import { evidence } from "./spectrum.js";
import { Command, WITH_CUTS } from "./words.js";

const PADDING = 34; // of a card, in CSS pixels

/** The proposal that waits, with what decides it; `refresh` reads the state again. */
export function pendingProposal(stream, width, refresh) {
  const proposal = stream.proposals.find((each) => each.id === stream.status.proposal);
  if (!proposal) return [];
  const buttons = h("div", { class: "actions" }, button(Command.APPROVE, refresh), button(Command.REJECT, refresh));
  return [
    h("h2", {}, `Proposal ${short(proposal.id)} waits for a decision`),
    proposalBody(proposal, width - PADDING, buttons),
  ];
}

/** All others, each unfolded when it is asked for. */
export function proposalList(stream, width) {
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

function verdict(proposal) {
  if (!proposal.accepted) return "rejected by the gates";
  return proposal.attention ? "needs a person" : "passed the gates";
}

// In words, as a plot, gate by gate and knob by knob.
function proposalBody(proposal, width, buttons = null) {
  const kept = proposal.accepted && asBefore(proposal.candidates.find((c) => c.knob === proposal.knob));
  return [
    h("p", {}, h("strong", {}, verdict(proposal)), `: ${proposal.reason}`),
    kept && h("p", {}, `Estimated overlap with what the undrifted trigger would accept: ${kept}.`),
    proposal.attention && h("p", { class: "advice" }, proposal.attention),
    buttons,
    evidence(width, proposal),
    h(
      "p",
      { class: "legend" },
      h("span", {}, h("i", { class: "swatch0" }), "deployed"),
      h("span", {}, h("i", { class: "swatch1" }), "proposed"),
    ),
    gates(proposal.gates),
    knobs(proposal),
  ];
}

function gates(list) {
  const mark = (gate) =>
    gate.passed
      ? h("td", { class: "yes" }, "✓")
      : gate.advice
        ? h("td", { class: "advice" }, "!")
        : h("td", { class: "no" }, "✗");
  const passed = list.filter((gate) => gate.passed).length;
  return h(
    "details",
    { open: passed < list.length },
    h("summary", {}, `Gates: ${passed} of ${list.length} passed`),
    h("table", {}, h("tbody", {}, list.map((gate) => row(mark(gate), gate.name, gate.text)))),
  );
}

function knobs(proposal) {
  const tried = (c) => {
    const chosen = [proposal.knob, proposal.knob.replace(WITH_CUTS, "")].includes(c.knob);
    const rates = c.rates.map((rate, k) => times(rate / proposal.rates_target[k])).join(" ");
    return h(
      "tr",
      { class: chosen ? "chosen" : "" },
      h("td", {}, c.knob),
      number(small(c.kl)),
      h("td", {}, c.kl === null ? "" : rates),
      number(asBefore(c)),
      h("td", {}, c.verdict),
    );
  };
  return h(
    "details",
    {},
    h("summary", {}, `Knobs tried: ${proposal.candidates.length}`),
    h(
      "table",
      {},
      h("thead", {}, row("knob", "KL", "rates", "as before", "verdict")),
      h("tbody", {}, proposal.candidates.map(tried)),
    ),
  );
}

// What share of its accepts the undrifted trigger is estimated to accept too, cut by cut.
const asBefore = (candidate) =>
  (candidate?.estimated_overlap ?? []).map((share) => `${Math.round(100 * share)} %`).join(", ");
