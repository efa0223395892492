// What a tile says about itself. Pure, and the one home of the order in which states win. Used by player.js.

/** The states of a tile, as in the `state` attribute of <pancar-player>. */
export const STATES = Object.freeze(["waiting", "live", "signal-lost", "offline", "paused", "not-allowed", "not-playable"]);

// Where the relay itself says that the camera is not live, a picture need not stand still for long to be disbelieved.
const PATIENCE_WHEN_DOUBTED = 1000;

/**
 * The state of a tile.
 *
 * `denied`: the viewer may not see it. `info`: the camera as the API tells it, or null while it is not known.
 * `refusal`: why the last join was refused ({reason, message}), or null. `unplayable`: whether it was for want of a
 * decoder. `frames`: a FrameClock. `now`: its clock.
 *
 * New frames win over what the API says: pictures do not wait for control. Privacy and rights win over frames.
 */
export function verdict({ denied, info, refusal, unplayable, frames, now }) {
  if (denied) return "not-allowed";
  if (info?.state === "Paused") return "paused";
  const doubted = info !== null && info.state !== "Live";
  if (frames.moves(now, doubted ? PATIENCE_WHEN_DOUBTED : Infinity)) return "live";
  if (info?.state === "Offline" || (info === null && refusal)) return "offline";
  if (unplayable) return "not-playable";
  return frames.last === null ? "waiting" : "signal-lost";
}
