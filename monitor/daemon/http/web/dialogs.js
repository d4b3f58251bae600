// Every command is confirmed in a dialog that says what will be written, and that says what became of it.

import { byId, h } from "./dom.js";
import { Refused, post, token } from "./link.js";
import { ORDERS } from "./orders.js";
import { REASON_CHARACTERS } from "./words.js";

const [SHORTEST, LONGEST] = REASON_CHARACTERS;
const box = () => byId("dialog");

function open(title, ...children) {
  box().replaceChildren(h("h2", { id: "dialog-title" }, title), ...children);
  box().showModal();
}

const close = (label, attributes) =>
  h("button", { type: "button", onclick: () => box().close(), ...attributes }, label);

const closing = () => h("div", { class: "buttons" }, close("Close", { autofocus: true }));

const buttons = (label, kind) =>
  h("div", { class: "buttons" }, close("Cancel"), h("button", { type: "submit", class: kind }, label));

/**
 * Ask for a reason, and give the command with it.
 * @param {string} command one of `Command`
 * @param {string} stream
 * @param {object} known `Known` of the stream
 * @param {() => void} unknown called when it is not known what became of the command
 * @throws {Refused | Unknown} what the dialog is to say could not be read
 */
export async function ask(command, stream, known, unknown) {
  const { title, none, label, kind = "primary", parts = [], body = () => ({}) } = await ORDERS[command](stream, known);
  if (none) return open(title, h("p", {}, none), closing());
  const refused = h("p", { class: "refused", role: "alert" });
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        const send = form.querySelector("[type=submit]");
        send.disabled = true;
        try {
          await post(`/streams/${stream}/${command}`, { reason: form.elements.reason.value.trim(), ...body(form) });
          if (form.isConnected) box().close();
        } catch (error) {
          send.disabled = false;
          refused.textContent = `The daemon refused it: ${error.message}.`;
          if (!(error instanceof Refused)) tellUnknown(title, stream, command, error, unknown);
        }
      },
    },
    parts,
    reasonField(),
    refused,
    buttons(label, kind),
  );
  open(title, form);
}

// In the place of the form, so that the command is not given again unseen; also if that was closed meanwhile.
function tellUnknown(title, stream, command, error, unknown) {
  const text =
    `It is not known whether ${stream} took “${command}”: ${error.message}. ` +
    "Look at its state and at what happened, behind this dialog, before you give it again.";
  if (box().open) box().close();
  open(title, h("p", { class: "refused", role: "alert" }, text), closing());
  unknown();
}

const reasonField = () =>
  h(
    "label",
    {},
    "Reason, for the record",
    h("input", {
      type: "text",
      name: "reason",
      required: true,
      minlength: SHORTEST,
      maxlength: LONGEST,
      autocomplete: "off",
      autofocus: true,
    }),
  );

/** Ask for a token; `why` is what the daemon said against the one in use, `use` takes the new one. */
export function askToken(who, why, use) {
  if (box().open) return;
  const form = h(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        box().close();
        use(form.elements.token.value.trim());
      },
    },
    why && h("p", { class: "refused" }, `The daemon says: ${why}.`),
    h(
      "p",
      {},
      who.name ? `You are ${who.name}, role ${who.role}.` : "You have given no token.",
      " A token from “driftd token add” says who you are; this tab keeps it until it is closed.",
    ),
    h(
      "label",
      {},
      "Token",
      h("input", { type: "password", name: "token", autocomplete: "off", value: token.get(), autofocus: true }),
    ),
    buttons("Use it", "primary"),
  );
  open("Who are you?", form);
}

/** @param {[string, string][]} keys each with what it does */
export function showKeys(keys) {
  const rows = keys.map(([key, what]) => h("tr", {}, h("td", {}, key), h("td", {}, what)));
  open("Keys", h("table", {}, h("tbody", {}, rows)), closing());
}
