// The grid in which a number of tiles are largest, and their order in it. Pure. Used by wall.js.

const numeric = new Intl.Collator("en", { numeric: true });

/** Compares two cameras' names as people count them: gate-2 before gate-10. */
export function byName(a, b) {
  return numeric.compare(a, b) || (a < b ? -1 : Number(a > b));
}

/** Columns, rows and the tile's size in pixels for `count` tiles of the given ratio in `width` by `height`. */
export function bestGrid(count, width, height, gap, ratio = 16 / 9) {
  let best = { columns: 1, rows: Math.max(1, count), width: 0, height: 0 };
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.max(1, Math.ceil(count / columns));
    const widest = (width - gap * (columns - 1)) / columns;
    const highest = (height - gap * (rows - 1)) / rows;
    const tile = Math.floor(Math.max(0, Math.min(widest, highest * ratio)));
    if (tile > best.width) best = { columns, rows, width: tile, height: Math.floor(tile / ratio) };
  }
  return best;
}

/** The place that an arrow key leads to from `index` in a grid, or `index` where the grid ends. */
export function neighbour(index, key, count, columns) {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  const target = index + (step ?? 0);
  return target >= 0 && target < count ? target : index;
}
