// When did a picture last move? Pure: times come in, in milliseconds of one monotonic clock. Used by player.js.

const LONGEST_PATIENCE = 4500;
const SHORTEST_PATIENCE = 2500;

/** How long without a new frame a picture may still be called live, for a usual time between frames. */
export function patience(interval) {
  return Math.min(LONGEST_PATIENCE, Math.max(SHORTEST_PATIENCE, 4 * interval));
}

/** Follows the new frames of one tile, across sessions. */
export class FrameClock {
  constructor() {
    this.clear();
  }

  /** Forgets everything, as when the last picture may no longer be shown. */
  clear() {
    /** Monotonic time of the newest frame, or null before the first. */
    this.last = null;
    /** Wall-clock time (Date) of the newest frame. */
    this.lastDate = null;
    /** Frames in a row, without a gap beyond patience. */
    this.run = 0;
    this.interval = 0;
  }

  /** A new frame was presented, or, in a hidden page, decoded. */
  seen(now, date) {
    const gap = this.last === null ? Infinity : now - this.last;
    if (gap <= patience(this.interval)) {
      this.run += 1;
      this.interval = this.interval ? this.interval * 0.9 + gap * 0.1 : gap;
    } else {
      this.run = 1;
      // Perhaps a camera of few frames: the next one tells.
      this.interval = gap <= LONGEST_PATIENCE ? gap : 0;
    }
    this.last = now;
    this.lastDate = date;
  }

  /** Milliseconds since the newest frame; Infinity before the first. */
  silence(now) {
    return this.last === null ? Infinity : now - this.last;
  }

  /** Whether the picture moves. A lone frame is a still: it is not called live. */
  moves(now, limit = Infinity) {
    return this.run >= 2 && this.silence(now) <= Math.min(limit, patience(this.interval));
  }
}
