// What the dialog of each command says, and what it sends beside the reason.

import { h, short } from "./dom.js";
import { get } from "./link.js";
import { changesTable } from "./views.js";
import { AFTER_GATES, Command } from "./words.js";

/**
 * What is asked before a command is given.
 * @typedef {object} Asked
 * @property {string} title
 * @property {string} [none] why there is nothing to be asked
 * @property {string} [label] of the button that gives the command
 * @property {string} [kind] of that button
 * @property {Node[]} [parts] what will happen, and what may be chosen
 * @property {(form: HTMLFormElement) => object} [body] what is sent beside the reason
 */

const note = (text) => h("p", { class: "written" }, text);

// The registers that would change, read from the daemon; until they are there, and if they cannot be had, it says so.
function written(path) {
  const place = h("div", { class: "written", "aria-live": "polite" }, "Reading what would be written…");
  get(path).then(
    ({ changes, n_changes: n }) =>
      place.replaceChildren(
        h(
          "p",
          {},
          n
            ? `This will be written: ${n} registers of the board change, ` +
              "all in one clock at the start of a lumi section."
            : "No register changes: the board runs this already.",
        ),
        n ? h("div", { class: "scroll" }, changesTable(changes, "now", "then")) : "",
        n > changes.length ? h("p", { class: "quiet" }, `and ${n - changes.length} more`) : "",
      ),
    (error) => place.replaceChildren(`What would be written cannot be told: ${error.message}`),
  );
  return place;
}

function recalibrate(name, { status }) {
  return {
    title: `Re-calibrate ${name}`,
    label: "Re-calibrate",
    parts: [
      note(
        "Events are collected, then the registers are fitted to them; nothing is written before that. " +
          AFTER_GATES[status.mode],
      ),
      h(
        "label",
        { class: "inline" },
        h("input", { type: "checkbox", name: "dry_run" }),
        "Only propose: write nothing, whatever the gates say",
      ),
    ],
    body: (form) => ({ dry_run: form.elements.dry_run.checked }),
  };
}

function freeze(name) {
  return {
    title: `Freeze ${name}`,
    label: "Freeze",
    kind: "danger",
    parts: [
      note("Nothing is written to the board until it is unfrozen; what is armed is disarmed. Monitoring goes on."),
    ],
  };
}

function unfreeze(name) {
  return {
    title: `Unfreeze ${name}`,
    label: "Unfreeze",
    parts: [note("The loop may act again. Nothing is written now.")],
  };
}

function approve(name, { status }) {
  return {
    title: `Approve proposal ${short(status.proposal)} for ${name}`,
    label: `Write generation ${status.generation + 1}`,
    parts: [written(`/streams/${name}/proposals/${status.proposal}/changes`)],
    body: () => ({ proposal: status.proposal }),
  };
}

function reject(name, { status }) {
  return {
    title: `Reject proposal ${short(status.proposal)} for ${name}`,
    label: "Reject",
    kind: "danger",
    parts: [note("Nothing is written. The loop goes on watching and waits before it proposes again.")],
    body: () => ({ proposal: status.proposal }),
  };
}

async function rollback(name, { status }) {
  const payloads = await get(`/streams/${name}/payloads`);
  const place = h("div");
  const show = (id) => place.replaceChildren(written(`/streams/${name}/payloads/${id}`));
  const label = (p) =>
    [
      short(p.id),
      p.nominal ? "nominal" : p.how,
      p.generation === null ? "" : `generation ${p.generation}`,
      p.active ? "on the board now" : "",
    ]
      .filter(Boolean)
      .join(", ");
  const others = payloads.filter((p) => !p.active && (p.nominal || p.generation !== null)); // that have decided before
  const first = others.find((p) => p.previous) ?? others.find((p) => p.nominal) ?? others[0];
  const title = `Roll ${name} back`;
  if (!first) return { title, none: "There is no other payload to go back to." };
  const select = h(
    "select",
    { name: "to", onchange: () => show(select.value) },
    others.map((p) => h("option", { value: p.id, selected: p === first }, label(p))),
  );
  show(first.id);
  return {
    title,
    label: `Write generation ${status.generation + 1}`,
    kind: "danger",
    parts: [h("label", {}, "To payload", select), place],
    body: (form) => ({ to: form.elements.to.value }),
  };
}

/**
 * By the name of a command: what its dialog asks, from the stream's name and what is `Known` of it.
 * @type {Record<string, (name: string, known: object) => Asked | Promise<Asked>>}
 */
export const ORDERS = {
  [Command.RECALIBRATE]: recalibrate,
  [Command.FREEZE]: freeze,
  [Command.UNFREEZE]: unfreeze,
  [Command.ROLLBACK]: rollback,
  [Command.APPROVE]: approve,
  [Command.REJECT]: reject,
};
