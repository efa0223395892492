// One shape for each state, so that none is told by colour alone. Used by player.js and wall.js.

const SVG = "http://www.w3.org/2000/svg";

// Strokes on a field of 24 by 24.
const SHAPES = Object.freeze({
  waiting: ["M12 3a9 9 0 0 1 9 9", "M21 12a9 9 0 0 1-9 9", "M12 21a9 9 0 0 1-9-9"],
  live: ["M12 7a5 5 0 1 0 0 10a5 5 0 1 0 0-10z"],
  "signal-lost": ["M12 3 22.5 21h-21z", "M12 10v5", "M12 18v.01"],
  offline: ["M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18z", "M8.5 8.5l7 7", "M15.5 8.5l-7 7"],
  paused: ["M8 5v14", "M16 5v14"],
  "not-allowed": ["M5 11h14v10H5z", "M8 11V7.5a4 4 0 0 1 8 0V11"],
  "not-playable": ["M3 4h18v12H3z", "M8 20h8", "M9.5 7.5l5 5", "M14.5 7.5l-5 5"],
});

/** An icon that follows `show(state)`. */
export function icon(state) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  show(svg, state);
  return svg;
}

/** Changes an icon's shape. */
export function show(svg, state) {
  svg.replaceChildren(
    ...SHAPES[state].map((line) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", line);
      return path;
    }),
  );
  svg.dataset.state = state;
}
