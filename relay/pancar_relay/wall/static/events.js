// What the relay says about its cameras, as it happens: /api/v1/events with a watchdog. Used by wall.js.

import { Backoff } from "./backoff.js";

// The relay pings every 2 s.
const SILENCE = 5000;
const PROBE_TIMEOUT = 2000;
const EXPIRED_PROBE = 15_000;
// A relay that has just been started knows nobody yet: it refuses for a moment those whose right still holds.
const REFUSAL_BELIEVED = 4000;
// One that was restarted is back within seconds: for so long it is looked for often.
const HOPE = 20_000;
const OFTEN = 250;
const SELDOM = 3000;

/**
 * Events: `up` and `down` (the link to the relay), `snapshot` (its `cameras`), `camera` (its `camera`), `gone` (its
 * `key`), `expired` (the viewer's right has ended).
 */
export class Events extends EventTarget {
  #source = null;
  #heard = 0;
  #up = false;
  #timer = 0;
  #attempt = 0;
  #expired = false;
  #lostAt = 0;
  #refusedAt = null;
  #backoff = new Backoff({ first: 100, longest: OFTEN });

  start() {
    setInterval(() => this.#watch(), 1000);
    for (const name of ["online", "pageshow", "resume"]) addEventListener(name, () => this.#watch());
    document.addEventListener("visibilitychange", () => this.#watch());
    this.#open();
  }

  #open() {
    clearTimeout(this.#timer);
    this.#source?.close();
    const source = new EventSource("/api/v1/events");
    this.#source = source;
    this.#heard = performance.now();
    const on = (name, handle) =>
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        this.#heard = performance.now();
        handle(event.data);
      });
    on("ping", () => undefined);
    on("snapshot", (data) => {
      this.#backoff.reset();
      this.#refusedAt = null;
      this.#up = true;
      this.#tell("up");
      this.#tell("snapshot", { cameras: JSON.parse(data).cameras });
    });
    on("camera", (data) => this.#tell("camera", { camera: JSON.parse(data) }));
    on("gone", (data) => {
      const { namespace, name } = JSON.parse(data);
      this.#tell("gone", { key: `${namespace}/${name}` });
    });
    on("expired", () => this.#expire());
    source.addEventListener("error", () => {
      if (source === this.#source) this.#lose();
    });
  }

  #watch() {
    // Another tab may have been given a new link.
    if (this.#expired && performance.now() - this.#heard > EXPIRED_PROBE) this.#probe();
    if (this.#source && performance.now() - this.#heard > SILENCE) this.#lose();
  }

  #lose() {
    // The browser's own reconnect waits for seconds and does not tell a 401 from a dead relay.
    this.#source?.close();
    this.#source = null;
    if (this.#up) {
      this.#up = false;
      this.#lostAt = performance.now();
      this.#tell("down");
    }
    this.#retry();
  }

  #retry() {
    if (this.#expired) return;
    clearTimeout(this.#timer);
    this.#backoff.longest = performance.now() - this.#lostAt < HOPE ? OFTEN : SELDOM;
    this.#timer = setTimeout(() => this.#probe(), this.#backoff.next());
  }

  async #probe() {
    const attempt = (this.#attempt += 1);
    this.#heard = performance.now();
    let status = 0;
    try {
      const response = await fetch("/api/v1/session", {
        headers: { Accept: "application/json" },
        signal: AbortSignal.timeout(PROBE_TIMEOUT),
      });
      status = response.status;
    } catch {
      // Not there yet.
    }
    if (attempt !== this.#attempt) return;
    const now = performance.now();
    this.#refusedAt = status === 401 ? (this.#refusedAt ?? now) : null;
    if (status === 200) {
      this.#expired = false;
      this.#open();
    } else if (status === 401 && now - this.#refusedAt > REFUSAL_BELIEVED) this.#expire();
    else this.#retry();
  }

  #expire() {
    if (this.#expired) return;
    this.#expired = true;
    this.#up = false;
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#tell("expired");
  }

  #tell(name, detail = {}) {
    this.dispatchEvent(Object.assign(new Event(name), detail));
  }
}
