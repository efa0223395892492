// Which of its camera's streams a tile wants: the sub where it is too small to show more. Pure; used by player.js.

// Of the main stream's height, shown in fewer of the screen's pixels than this the sub does; it then does up to the
// second, lest a tile at the edge goes back and forth.
const SMALL = 0.45;
const STILL_SMALL = 0.55;

/** "main" or "sub"; `height` in pixels of the screen, `info` the camera as /api/v1/cameras tells it, or null. */
export function encodingFor({ height, info, before }) {
  const whole = info?.video?.height;
  if (!info?.hasSub || !whole || !height) return "main";
  return height < whole * (before === "sub" ? STILL_SMALL : SMALL) ? "sub" : "main";
}
