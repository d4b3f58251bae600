// What the daemon has said: kept here, read here, and brought up to date by its events. Draws nothing.

import { get } from "./link.js";
import { NOT_IN_HISTORY } from "./words.js";

export const SPANS = [60, 240, 1000]; // lumi sections in the plots against time
export const SUMS = [1, 5, 20]; // lumi sections added for the distribution
const PROPOSALS = 8;

/**
 * What is known of a stream. Its parts are the answers of the daemon, as /openapi.json defines them.
 * @typedef {object} Known
 * @property {object} status `Stream`
 * @property {number} at when the status came, in ms
 * @property {object[]} points `Divergences`, oldest first, as many as the longest of `SPANS`
 * @property {object[]} windows `Window`, oldest first, as many as the longest of `SUMS`
 * @property {{iovs: object[], events: object[]}} history `History`
 * @property {object[]} proposals `Proposal`, newest first
 * @property {object[]} commands `Command`
 */

/** @type {Map<string, Known>} */
export const streams = new Map();
export const choice = { stream: "", span: 240, sum: 5 };
export const link = { up: false, heard: Date.now(), why: "", who: { name: "", role: "" }, boards: {} };

export const chosen = () => streams.get(choice.stream);

const fresh = () => ({
  status: null,
  at: 0,
  points: [],
  windows: [],
  history: { iovs: [], events: [] },
  proposals: [],
  commands: [],
});

/** Read all anew: after a connection, and when it is not known what has become of a command. */
export async function readAll() {
  link.who = await get("/whoami");
  const found = await readStatus();
  for (const name of streams.keys()) if (!(name in found)) streams.delete(name);
  for (const [name, status] of Object.entries(found)) {
    if (!streams.has(name)) streams.set(name, fresh());
    keep(name, status);
    await readStream(name);
  }
  if (!streams.has(choice.stream)) choice.stream = streams.keys().next().value;
}

/** The status of every stream, by name; that of the boards is kept. */
export async function readStatus() {
  const status = await get("/status");
  link.boards = status.boards;
  return status.streams;
}

async function readStream(name) {
  const stream = streams.get(name);
  const base = `/streams/${name}`;
  [stream.points, stream.windows] = await Promise.all([
    get(`${base}/divergences?limit=${SPANS.at(-1)}`),
    get(`${base}/windows?limit=${SUMS.at(-1)}`),
    readDecisions(name),
  ]);
}

/** Read what changes when the loop goes on. */
export async function readDecisions(name) {
  const stream = streams.get(name);
  const base = `/streams/${name}`;
  [stream.history, stream.proposals, stream.commands] = await Promise.all([
    get(`${base}/history`),
    get(`${base}/proposals?limit=${PROPOSALS}`),
    get(`${base}/commands`),
  ]);
}

const identity = (status) => [status.phase, status.generation, status.payload, status.proposal, status.mode].join();

/** Keep a stream's status; whether its loop has gone on, so that its decisions must be read again. */
export function keep(name, status) {
  const stream = streams.get(name);
  const turned = stream.status !== null && identity(stream.status) !== identity(status);
  stream.status = status;
  stream.at = Date.now();
  return turned;
}

/** Keep a lumi section that was judged, a `NamedWindow`. */
export function keepWindow({ stream: name, ...window }) {
  const stream = streams.get(name);
  if (!stream) return;
  const { counts, expected, edges, ...point } = window;
  stream.points = [...stream.points, point].slice(-SPANS.at(-1));
  stream.windows = [...stream.windows, window].slice(-SUMS.at(-1));
}

/** Keep a `LedgerEvent`, if it is one that the history shows. */
export function keepEvent(event) {
  const stream = streams.get(event.stream);
  if (!stream || NOT_IN_HISTORY.includes(event.kind)) return;
  stream.history.events = [event, ...stream.history.events.filter((known) => known.id !== event.id)];
}
