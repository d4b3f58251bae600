// Every command is confirmed in a dialog that says what will be written.

import { byId, h, short } from "./dom.js";
import { get, post, token } from "./link.js";
import { changesTable } from "./views.js";

const box = () => byId("dialog");

function open(title, ...children) {
  box().replaceChildren(h("h2", { id: "dialog-title" }, title), ...children);
  box().showModal();
}

const buttons = (label, kind) =>
  h(
    "div",
    { class: "buttons" },
    h("button", { type: "button", onclick: () => box().close() }, "Cancel"),
    h("button", { type: "submit", class: kind }, label),
  );

// A form with a reason; `body(form)` gives what is sent with it.
function confirm(stream, command, { title, label, kind = "primary", parts = [], body = () => ({}) }) {
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
          box().close();
        } catch (error) {
          refused.textContent = `${error.message}. Nothing was done.`;
          send.disabled = false;
        }
      },
    },
    parts,
    h(
      "label",
      {},
      "Reason, for the record",
      h("input", {
        type: "text",
        name: "reason",
        required: true,
        minlength: 3,
        maxlength: 1000,
        autocomplete: "off",
        autofocus: true,
      }),
    ),
    refused,
    buttons(label, kind),
  );
  open(title, form);
}

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
            ? `This will be written: ${n} registers of the board change, all in one clock at the start of a lumi section.`
            : "No register changes: the board runs this already.",
        ),
        n ? h("div", { class: "scroll" }, changesTable(changes, "now", "then")) : "",
        n > changes.length ? h("p", { class: "quiet" }, `and ${n - changes.length} more`) : "",
      ),
    (error) => place.replaceChildren(`What would be written cannot be told: ${error.message}`),
  );
  return place;
}

export function askRecalibrate(name, { status }) {
  const after = {
    auto: "A proposal that passes its gates is written to the board.",
    supervised: "A proposal that passes its gates waits for an approval.",
    shadow: "Nothing is written: this stream is in shadow mode.",
  }[status.mode];
  confirm(name, "recalibrate", {
    title: `Re-calibrate ${name}`,
    label: "Re-calibrate",
    parts: [
      note(`Events are collected, then the registers are fitted to them. ${after} Nothing is written before that.`),
      h(
        "label",
        { class: "inline" },
        h("input", { type: "checkbox", name: "dry_run" }),
        "Only propose: write nothing, whatever the gates say",
      ),
    ],
    body: (form) => ({ dry_run: form.elements.dry_run.checked }),
  });
}

export function askFreeze(name) {
  confirm(name, "freeze", {
    title: `Freeze ${name}`,
    label: "Freeze",
    kind: "danger",
    parts: [
      note("Nothing is written to the board until it is unfrozen; what is armed is disarmed. Monitoring goes on."),
    ],
  });
}

export function askUnfreeze(name) {
  confirm(name, "unfreeze", {
    title: `Unfreeze ${name}`,
    label: "Unfreeze",
    parts: [note("The loop may act again. Nothing is written now.")],
  });
}

export function askApprove(name, { status }) {
  confirm(name, "approve", {
    title: `Approve proposal ${short(status.proposal)} for ${name}`,
    label: `Write generation ${status.generation + 1}`,
    parts: [written(`/streams/${name}/proposals/${status.proposal}/changes`)],
    body: () => ({ proposal: status.proposal }),
  });
}

export function askReject(name, { status }) {
  confirm(name, "reject", {
    title: `Reject proposal ${short(status.proposal)} for ${name}`,
    label: "Reject",
    kind: "danger",
    parts: [note("Nothing is written. The loop goes on watching and waits before it proposes again.")],
    body: () => ({ proposal: status.proposal }),
  });
}

export async function askRollback(name, { status }) {
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
  if (!first)
    return open(
      `Roll ${name} back`,
      note("There is no other payload to go back to."),
      h("form", { method: "dialog" }, h("div", { class: "buttons" }, h("button", {}, "Close"))),
    );
  const select = h(
    "select",
    { name: "to", onchange: () => show(select.value) },
    others.map((p) => h("option", { value: p.id, selected: p === first }, label(p))),
  );
  confirm(name, "rollback", {
    title: `Roll ${name} back`,
    label: `Write generation ${status.generation + 1}`,
    kind: "danger",
    parts: [h("label", {}, "To payload", select), place],
    body: (form) => ({ to: form.elements.to.value }),
  });
  show(first.id);
}

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

export function showKeys() {
  const keys = [
    ["1 … 9", "choose a stream"],
    ["R", "re-calibrate"],
    ["F, U", "freeze, unfreeze"],
    ["B", "roll back"],
    ["A, X", "approve, reject the waiting proposal"],
    ["← →", "read a lumi section out, when the plot has the focus"],
    ["Esc", "close a dialog; nothing is done"],
  ];
  open(
    "Keys",
    h(
      "table",
      {},
      h(
        "tbody",
        {},
        keys.map(([key, what]) => h("tr", {}, h("td", {}, key), h("td", {}, what))),
      ),
    ),
    h("form", { method: "dialog" }, h("div", { class: "buttons" }, h("button", { autofocus: true }, "Close"))),
  );
}
