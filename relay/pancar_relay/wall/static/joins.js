// Staggers joins, so that a wall of a hundred tiles does not fall upon the relay at once. Used by player.js.

/** At most `limit` joins at a time; those on screen first, then those that have waited longest. */
export class JoinQueue {
  constructor({ limit = 4, now = () => performance.now(), later = (wait, then) => setTimeout(then, wait) } = {}) {
    this.limit = limit;
    this.now = now;
    this.later = later;
    this.waiting = [];
    this.active = 0;
    this.resumeAt = 0;
  }

  /**
   * Asks for a turn. `start(release)` is called with a function that gives the turn back, which may be called more
   * than once; `visible()` tells whether the tile is on screen. Returns a function that withdraws the request.
   */
  ask(start, visible = () => true) {
    const request = { start, visible };
    this.waiting.push(request);
    // Not at once: the caller has not yet got what withdraws it.
    queueMicrotask(() => this.pump());
    return () => {
      const index = this.waiting.indexOf(request);
      if (index >= 0) this.waiting.splice(index, 1);
    };
  }

  /** The relay is full: nobody starts for so many milliseconds. */
  hold(milliseconds) {
    const until = this.now() + milliseconds;
    if (until <= this.resumeAt) return;
    this.resumeAt = until;
    this.later(milliseconds, () => this.pump());
  }

  pump() {
    while (this.active < this.limit && this.waiting.length && this.now() >= this.resumeAt) {
      const onScreen = this.waiting.findIndex((request) => request.visible());
      const [request] = this.waiting.splice(Math.max(0, onScreen), 1);
      this.active += 1;
      let held = true;
      request.start(() => {
        if (!held) return;
        held = false;
        this.active -= 1;
        this.pump();
      });
    }
  }
}
