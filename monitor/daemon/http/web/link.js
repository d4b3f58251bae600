// The daemon over HTTP: what it answers, and the events that it sends.

import { API, HEARTBEAT_MS } from "./words.js";

const SILENT_MS = 2.5 * HEARTBEAT_MS; // without a heartbeat the connection is held to be dead
const ANSWER_MS = 15_000;
const RETRY_MS = [500, 1000, 2000, 5000];
const FAILED = 500; // from this status on the daemon, or something before it, failed at what was asked

/** The daemon would not do it, and says why: nothing was done. */
export class Refused extends Error {
  /**
   * @param {number} status of HTTP
   * @param {string} text
   */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** No answer of the daemon's own came, or that it failed: whether it was done is not known. */
export class Unknown extends Error {}

export const token = {
  get: () => sessionStorage.getItem("driftd token") ?? "",
  set: (text) => (text ? sessionStorage.setItem("driftd token", text) : sessionStorage.removeItem("driftd token")),
};

const headers = () => (token.get() ? { Authorization: `Bearer ${token.get()}` } : {});

// The answer's JSON. Only what the daemon itself wrote counts as its answer, not the page of a proxy before it.
async function answer(response) {
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  const text = body?.error ?? `the answer was ${response.status} ${response.statusText}`.trim();
  throw body?.error && response.status < FAILED ? new Refused(response.status, body.error) : new Unknown(text);
}

async function ask(path, options = {}) {
  const call = { ...options, headers: { ...headers(), ...options.headers }, signal: AbortSignal.timeout(ANSWER_MS) };
  const response = await fetch(API + path, call).catch((error) => {
    throw new Unknown(error.name === "TimeoutError" ? `no answer within ${ANSWER_MS / 1000} s` : "no answer came");
  });
  return answer(response);
}

/**
 * What stands at a path under the API.
 * @throws {Refused | Unknown}
 */
export const get = (path) => ask(path);

/**
 * Give a command.
 * @throws {Refused} it was not taken
 * @throws {Unknown} it may have been taken
 */
export const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/**
 * Listen to the daemon's events, trying again for ever. Not an EventSource: that sends no token.
 * @param {object} on
 * @param {(name: string, data: object) => void} on.event for every event; the names are those of `Sent`
 * @param {() => Promise<void>} on.open after each connection, before its first event
 * @param {() => void} on.alive whenever something came
 * @param {(error: Error) => void} on.lost when there is no connection
 * @returns {{again: () => void}} `again` connects anew at once
 */
export function follow(on) {
  let stop = new AbortController();
  let last = "";
  let failures = 0;
  let waiting = 0;

  async function read() {
    waiting = 0;
    const control = (stop = new AbortController());
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => control.abort(new Error("the daemon went silent")), SILENT_MS);
    };
    try {
      alive();
      const resume = last ? { "Last-Event-ID": last } : {};
      const response = await fetch(`${API}/events`, { headers: { ...headers(), ...resume }, signal: control.signal });
      if (!response.ok) await answer(response);
      await on.open();
      failures = 0;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error("the daemon closed the connection");
        alive();
        on.alive();
        text += value.replaceAll("\r\n", "\n");
        const events = text.split("\n\n");
        text = events.pop();
        events.forEach(deliver);
      }
    } catch (error) {
      on.lost(control.signal.aborted ? (control.signal.reason ?? error) : error);
      control.abort();
    } finally {
      clearTimeout(watchdog);
    }
    waiting = setTimeout(read, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
  }

  function deliver(event) {
    let name = "message";
    const data = [];
    for (const line of event.split("\n")) {
      const colon = line.indexOf(":");
      const value = line.slice(colon + 1).replace(/^ /, "");
      if (line.startsWith("event:")) name = value;
      else if (line.startsWith("data:")) data.push(value);
      else if (line.startsWith("id:")) last = value;
    }
    if (data.length) on.event(name, JSON.parse(data.join("\n")));
  }

  read();

  function again() {
    failures = 0;
    if (!waiting) return stop.abort(new Error("another token"));
    clearTimeout(waiting);
    read();
  }

  return { again };
}
