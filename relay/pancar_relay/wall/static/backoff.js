// How long to wait before the next try: exponential, jittered, never sooner than the server asked. Used by player.js
// and events.js.

export class Backoff {
  /** Times in milliseconds. */
  constructor({ first, longest, random = Math.random }) {
    this.first = first;
    this.longest = longest;
    this.random = random;
    this.failures = 0;
  }

  /** After a success that lasted. */
  reset() {
    this.failures = 0;
  }

  /** The wait before the next try. `retryAfter`: milliseconds the server asked for, or 0. */
  next(retryAfter = 0) {
    const ceiling = Math.min(this.longest, this.first * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    // Jitter comes on top of what the server asked for: all tiles were told the same.
    return retryAfter + ceiling * (0.5 + this.random() / 2);
  }
}

/** Milliseconds of a Retry-After header (RFC 9110, 10.2.3), at most a minute; 0 where there is none. */
export function retryAfter(header, now = Date.now()) {
  if (!header) return 0;
  const wait = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(wait) ? Math.min(60_000, Math.max(0, wait)) : 0;
}
