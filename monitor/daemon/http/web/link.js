// The daemon over HTTP: what it answers, and the events that it sends.

const BASE = "/api/v1";
const SILENT_MS = 25_000; // the daemon sends something at least every 10 s
const RETRY_MS = [500, 1000, 2000, 5000];

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem("driftd token") ?? "",
  set: (text) => (text ? sessionStorage.setItem("driftd token", text) : sessionStorage.removeItem("driftd token")),
};

const headers = () => (token.get() ? { Authorization: `Bearer ${token.get()}` } : {});

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error ?? `${response.status} ${response.statusText}`);
  return body;
}

export const get = async (path) => answer(await fetch(BASE + path, { headers: headers() }));

export const post = async (path, body) =>
  answer(
    await fetch(BASE + path, {
      method: "POST",
      headers: { ...headers(), "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  );

// Calls `on.event(name, data)` for every event, `on.open()` after each connection, before its first event,
// and `on.lost(error)` when there is none; tries again for ever. Not an EventSource: that sends no token.
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
      const response = await fetch(`${BASE}/events`, { headers: { ...headers(), ...resume }, signal: control.signal });
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
