// What a stream's state means to a shifter: a lamp, a word, a sentence, marks in its plots. Pure.

import { FREEZE_ORDER, Level, Mode, Phase, STEPS } from "./words.js";

const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

/**
 * What a stream's status comes to.
 * @param {object} stream `Stream` of /openapi.json
 * @returns {{lamp: "ok"|"watch"|"bad"|"act"|"work"|"frozen"|"unknown", word: string, text: string}}
 */
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
    case Phase.FAULT:
      return { lamp: "bad", word: "Fault", text: sentence(stream.reason) };
    case Phase.AWAITING_APPROVAL:
      return { lamp: "act", word: "Decide", text: sentence(stream.reason) };
    case Phase.FROZEN:
      return { lamp: "frozen", word: "Frozen", text: `Nothing is written. ${verdict}` };
    case Phase.WARMING:
      return {
        lamp: "unknown",
        word: "Warming up",
        text: sentence(stream.reason || "waiting for the first lumi sections"),
      };
    case Phase.ROLLED_BACK:
      return { lamp: "watch", word: "Rolled back", text: sentence(stream.reason) };
  }
  const step = STEPS.find(({ phase }) => phase === stream.phase);
  if (step)
    return { lamp: "work", word: "Recalibrating", text: `${sentence(step.doing)} ${sentence(stream.reason)}` };
  if (last.level === Level.DRIFT) return { lamp: "bad", word: "Drift", text: verdict };
  if (last.level === Level.WATCH) return { lamp: "watch", word: "Watch", text: verdict };
  return { lamp: "ok", word: "Healthy", text: verdict || "Watching." };
}

/**
 * The bar that shows how far a recalibration is: the approval is a step only where a person gives it.
 * @returns {{title: string, state: ""|"now"|"done"}[]}
 */
export function progress({ phase, mode }) {
  const now = STEPS.findIndex((step) => step.phase === phase);
  const state = (i) => (now < 0 || i > now ? "" : i === now ? "now" : "done");
  return STEPS.map((step, i) => ({ ...step, state: state(i) })).filter(
    (step) => step.phase !== Phase.AWAITING_APPROVAL || mode === Mode.SUPERVISED || step.phase === phase,
  );
}

/** Drifts, pushes, rollbacks and freezes, at the lumi section where each began. */
export function marks(points, history) {
  const found = [...driftMarks(points), ...payloadMarks(points, history.iovs), ...freezeMarks(points, history.events)];
  return found.sort((a, b) => a.at - b.at);
}

function driftMarks(points) {
  const begins = (point, i) => i > 0 && point.level === Level.DRIFT && points[i - 1].level !== Level.DRIFT;
  return points.flatMap((point, i) => (begins(point, i) ? [{ at: i, kind: "drift", text: "drift" }] : []));
}

function payloadMarks(points, iovs) {
  const seen = new Set();
  const found = [];
  for (const iov of iovs) {
    const again = seen.has(iov.payload_id);
    seen.add(iov.payload_id);
    const at = points.findIndex((p) => p.run > iov.run || (p.run === iov.run && p.ls >= iov.ls));
    const before = points[at - 1];
    if (at > 0 && (before.run < iov.run || before.ls < iov.ls))
      found.push({ at, kind: again ? "rollback" : "push", text: `${again ? "back, " : ""}gen ${iov.generation}` });
  }
  return found;
}

function freezeMarks(points, events) {
  const taken = events.filter((event) => event.kind === FREEZE_ORDER && event.level === "info"); // not refused
  return taken
    .map((event) => ({ at: points.findIndex((p) => p.t_ns > event.time), kind: "freeze", text: "frozen" }))
    .filter(({ at }) => at > 0);
}

/**
 * Counts (B,) of the newest lumi sections of one generation, added; `expected` (B,) is weighted with them.
 * @returns {?{n: number, first: object, last: object, edges: number[], counts: number[], expected: number[],
 *   cuts: number[]}} null where there is no lumi section
 */
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

/** Registers as a table: fields of at most `most` registers one by one (`few`), the others by number and range. */
export function grouped(changes, most = 6) {
  const fields = new Map();
  for (const change of changes) fields.set(change.field, [...(fields.get(change.field) ?? []), change]);
  return [...fields].map(([field, list]) => ({ field, list, few: list.length <= most }));
}
