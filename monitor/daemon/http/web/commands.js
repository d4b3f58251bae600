// The operator's commands: their buttons and keys, and the way to the dialog that gives one.

import { ask } from "./dialogs.js";
import { byId, h } from "./dom.js";
import { choice, chosen, link } from "./store.js";
import { Command } from "./words.js";

/** Each command's label, the key that gives it, and what it does in words. */
const BUTTONS = {
  [Command.RECALIBRATE]: { label: "Re-calibrate…", key: "R", does: "re-calibrate" },
  [Command.FREEZE]: { label: "Freeze…", key: "F", does: "freeze" },
  [Command.ROLLBACK]: { label: "Roll back…", key: "B", does: "roll back" },
  [Command.UNFREEZE]: { label: "Unfreeze…", key: "U", does: "unfreeze" },
  [Command.APPROVE]: { label: "Approve…", key: "A", does: "approve the waiting proposal", kind: "primary" },
  [Command.REJECT]: { label: "Reject…", key: "X", does: "reject the waiting proposal", kind: "danger" },
};

/** Of a command, as a press of its button would give it; `refresh` reads the state again. */
export function button(command, refresh) {
  const { label, key, kind = "" } = BUTTONS[command];
  const press = () => act(command, refresh);
  return h(
    "button",
    { type: "button", "data-command": command, class: kind, "aria-keyshortcuts": key, onclick: press },
    label,
    h("kbd", {}, key),
  );
}

/** The command of a key that was pressed, if it has one. */
export const ofKey = (pressed) =>
  Object.keys(BUTTONS).find((command) => BUTTONS[command].key.toLowerCase() === pressed.toLowerCase());

/** The keys and what they do, in words. */
export const keys = () => Object.values(BUTTONS).map(({ key, does }) => [key, does]);

/** Open the dialog of a command for the chosen stream, or say why it cannot be given. */
export async function act(command, refresh) {
  const stream = chosen();
  if (!stream) return;
  const refused = refusal(stream, command);
  tell(refused ? `${command}: ${refused}` : "");
  if (refused) return;
  try {
    await ask(command, choice.stream, stream, refresh);
  } catch (error) {
    tell(`${command}: the daemon was asked what there is, and did not say: ${error.message}`);
  }
}

/** Say below the buttons why a command cannot be given. */
export function tell(text) {
  if (byId("why-not")) byId("why-not").textContent = text;
}

const refusal = (stream, command) =>
  link.up
    ? (stream.commands.find((each) => each.name === command && !each.allowed)?.why_not ?? "")
    : "there is no connection to the daemon";

/** Show on each button whether its command can be given now. */
export function drawCommands(stream) {
  for (const each of byId("detail").querySelectorAll("[data-command]")) {
    each.title = refusal(stream, each.dataset.command);
    each.setAttribute("aria-disabled", Boolean(each.title));
  }
}
