// What a stream's state means to a shifter: a lamp, a word, a sentence. Pure.

const WORKING = {
  collecting: "collecting events",
  fitting: "fitting",
  gating: "judging the fit",
  staging: "writing the shadow bank",
  previewing: "previewing",
  armed: "armed",
  confirming: "confirming",
};

const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

// {lamp, word, text}: lamp is one of ok, watch, bad, act, work, frozen, unknown.
export function lamp(stream) {
  const last = stream.last ?? {};
  const verdict = sentence(last.text);
  if (stream.silent_s === null || stream.silent_s === undefined)
    return { lamp: "unknown", word: "No data", text: "No score has come since the daemon started." };
  if (stream.silent_s > stream.silent_after_s)
    return {
      lamp: "bad",
      word: "Silent",
      text: `No score for ${Math.round(stream.silent_s)} s. ${sentence(stream.reason)}`,
    };
  switch (stream.phase) {
    case "fault":
      return { lamp: "bad", word: "Fault", text: sentence(stream.reason) };
    case "awaiting_approval":
      return { lamp: "act", word: "Decide", text: sentence(stream.reason) };
    case "frozen":
      return { lamp: "frozen", word: "Frozen", text: `Nothing is written. ${verdict}` };
    case "warming":
      return {
        lamp: "unknown",
        word: "Warming up",
        text: sentence(stream.reason || "waiting for the first lumi sections"),
      };
    case "rolled_back":
      return { lamp: "watch", word: "Rolled back", text: sentence(stream.reason) };
  }
  if (stream.phase in WORKING)
    return {
      lamp: "work",
      word: "Recalibrating",
      text: `${sentence(WORKING[stream.phase])} ${sentence(stream.reason)}`,
    };
  if (last.level === "drift") return { lamp: "bad", word: "Drift", text: verdict };
  if (last.level === "watch") return { lamp: "watch", word: "Watch", text: verdict };
  return { lamp: "ok", word: "Healthy", text: verdict || "Watching." };
}

// Steps of a recalibration, for the bar that shows how far it is.
export const STEPS = [
  "collecting",
  "fitting",
  "gating",
  "awaiting_approval",
  "staging",
  "previewing",
  "armed",
  "confirming",
];

export const STEP_NAMES = {
  collecting: "collect",
  fitting: "fit",
  gating: "gates",
  awaiting_approval: "approval",
  staging: "stage",
  previewing: "preview",
  armed: "armed",
  confirming: "confirm",
};

// Counts of the newest lumi sections of one generation, added; `expected` is weighted with them.
export function summed(windows, count) {
  const newest = windows.at(-1);
  if (!newest) return null;
  const alike = windows.filter((w) => w.generation === newest.generation && w.epoch === newest.epoch).slice(-count);
  const n = alike.reduce((sum, w) => sum + w.n, 0);
  return {
    n,
    first: alike[0],
    last: newest,
    edges: newest.edges,
    counts: newest.counts.map((_, b) => alike.reduce((sum, w) => sum + w.counts[b], 0)),
    expected: newest.expected.map((_, b) => alike.reduce((sum, w) => sum + w.expected[b] * w.n, 0) / (n || 1)),
    cuts: newest.cuts,
  };
}

// Registers as a table: fields of few registers one by one, the others by their number and range.
export function grouped(changes, most = 6) {
  const fields = new Map();
  for (const change of changes) fields.set(change.field, [...(fields.get(change.field) ?? []), change]);
  return [...fields].map(([field, list]) => ({ field, list, few: list.length <= most }));
}
