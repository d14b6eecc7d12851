// Talking to the server. A decision stays in the browser's storage until the server says that it is on the disk.

const PATIENCE_MS = 20000; // a server that hangs must not keep the page from asking again

export class Refused extends Error {}

async function answer(response) {
  if (response.ok) return response.json();
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    // not one of our own answers
  }
  throw response.status >= 500 || response.status === 403 ? new Error(message) : new Refused(message);
}

export async function get(path, values = {}) {
  return answer(await fetch(`${path}?${new URLSearchParams(values)}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) }));
}

/** What changed in the queue since the last time; null where nothing did. */
export class Changes {
  epoch = "";
  revision = -1;

  async next() {
    const query = new URLSearchParams({ since: this.revision, epoch: this.epoch });
    const headers = this.epoch ? { "If-None-Match": `"${this.epoch}-${this.revision}"` } : {};
    const response = await fetch(`/api/pairs?${query}`, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (response.status === 304) return null;
    const changes = await answer(response);
    const anew = changes.epoch !== this.epoch;
    [this.epoch, this.revision] = [changes.epoch, changes.revision];
    return { ...changes, anew };
  }
}

/** The address of one of a pair's media; the film's hash makes a new film a new address. */
export function media(kind, pair, film = "", values = {}) {
  return `/media/${kind}?${new URLSearchParams({ pair, v: (film ?? "").slice(0, 16), ...values })}`;
}

/** Why the server does not give a medium, in its words; null where it does. */
export async function reasonOf(address) {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS) });
    return response.ok ? null : ((await response.json()).error ?? response.statusText);
  } catch (error) {
    return error.message;
  }
}

/** Decisions on their way to the server. */
export class Outbox {
  #key;
  #busy = false;

  constructor(runId, { onSent, onRefused, onChange }) {
    this.#key = `singalong.review.${runId}`;
    Object.assign(this, { onSent, onRefused, onChange });
  }

  get waiting() {
    try {
      return JSON.parse(localStorage.getItem(this.#key) ?? "[]");
    } catch {
      return [];
    }
  }

  add(decision) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.#keep([...this.waiting, { made: Date.now(), sent: { id, ...decision } }]);
    return this.flush();
  }

  /** Send what waits, in order, until one does not get through. */
  async flush() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let first = this.waiting[0]; first; first = this.waiting[0]) {
        const late = (Date.now() - first.made) / 1000;
        try {
          const done = await post("/api/decisions", { ...first.sent, age_s: late > 2 ? late : 0 });
          this.#drop(first);
          this.onSent(done.pair);
        } catch (error) {
          if (!(error instanceof Refused)) throw error;
          this.#drop(first);
          this.onRefused(first.sent, error.message);
        }
      }
    } catch {
      // the server is not there, or is another one: it is tried again at the next look
    } finally {
      this.#busy = false;
      this.onChange(this.waiting.length);
    }
  }

  #drop(done) {
    this.#keep(this.waiting.filter((one) => one.sent.id !== done.sent.id));
  }

  #keep(all) {
    localStorage.setItem(this.#key, JSON.stringify(all));
    this.onChange(all.length);
  }
}

export async function post(path, content) {
  return answer(
    await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(content),
      signal: AbortSignal.timeout(PATIENCE_MS), // sending it twice does no harm: it bears its id
    }),
  );
}
