// The wall: a grid of the cameras the viewer may see. Composition root of the page.

import { Events } from "./events.js";
import { icon } from "./icons.js";
import { bestGrid, byName, neighbour } from "./layout.js";
import "./player.js";
import { STATES } from "./verdict.js";
import { ENDED, LABEL, NO_RELAY } from "./words.js";

const GAP = 4;

const wall = document.querySelector("#wall");
const notice = document.querySelector("#notice");
const tally = document.querySelector("#tally");
const clock = document.querySelector("#clock");
const announcer = document.querySelector("#announcer");
const empty = document.querySelector("#empty");

// ?camera=namespace/name, as often as wanted, narrows the wall, in that order.
const chosen = new URLSearchParams(location.search).getAll("camera");
const tiles = new Map();
let columns = 1;

function makeTile(key) {
  const item = document.createElement("li");
  item.className = "tile";
  const player = document.createElement("pancar-player");
  player.setAttribute("camera", key);
  const enlarge = document.createElement("button");
  enlarge.type = "button";
  enlarge.className = "enlarge";
  enlarge.setAttribute("aria-pressed", "false");
  enlarge.addEventListener("click", () => toggle(key));
  item.append(player, enlarge);
  return { item, player, enlarge };
}

function put(camera) {
  const key = `${camera.namespace}/${camera.name}`;
  if (chosen.length && !chosen.includes(key)) return;
  let tile = tiles.get(key);
  if (!tile) {
    tile = makeTile(key);
    tiles.set(key, tile);
  }
  tile.player.info = camera;
}

function drop(key) {
  tiles.get(key)?.item.remove();
  tiles.delete(key);
}

function arrange() {
  const rank = chosen.length ? (key) => chosen.indexOf(key) : () => 0;
  const ordered = [...tiles].sort(([a], [b]) => rank(a) - rank(b) || byName(a, b));
  ordered.forEach(([, { item }], index) => {
    // Moving a tile that is in its place would reload nothing, but would lose the keyboard's focus.
    if (wall.children[index] !== item) wall.insertBefore(item, wall.children[index] ?? null);
  });
  empty.hidden = tiles.size > 0;
  size();
  count();
}

function size() {
  const box = wall.parentElement;
  const grid = bestGrid(tiles.size, box.clientWidth, box.clientHeight, GAP);
  columns = grid.columns;
  wall.style.setProperty("--columns", grid.columns);
  wall.style.setProperty("--tile-width", `${grid.width}px`);
  wall.style.setProperty("--tile-height", `${grid.height}px`);
  wall.style.setProperty("--gap", `${GAP}px`);
}

function label({ player, enlarge }) {
  const { title, site } = player.info ?? {};
  enlarge.setAttribute("aria-label", [title || player.camera, site, LABEL[player.state]].filter(Boolean).join(", "));
}

function count() {
  const counts = new Map(STATES.map((state) => [state, 0]));
  for (const tile of tiles.values()) {
    counts.set(tile.player.state, counts.get(tile.player.state) + 1);
    label(tile);
  }
  const shown = STATES.filter((state) => counts.get(state));
  tally.replaceChildren(
    ...shown.map((state) => {
      const entry = document.createElement("span");
      entry.className = "count";
      entry.dataset.state = state;
      entry.append(icon(state), `${counts.get(state)} ${LABEL[state].toLowerCase()}`);
      return entry;
    }),
  );
}

function enlarged() {
  return wall.querySelector(".tile.enlarged");
}

function toggle(key) {
  const { item } = tiles.get(key);
  const before = enlarged();
  before?.classList.remove("enlarged");
  before?.querySelector(".enlarge").setAttribute("aria-pressed", "false");
  if (before !== item) {
    item.classList.add("enlarged");
    item.querySelector(".enlarge").setAttribute("aria-pressed", "true");
  }
  document.body.classList.toggle("has-enlarged", before !== item);
}

function onKey(event) {
  const items = [...wall.children];
  const index = items.indexOf(document.activeElement?.closest(".tile"));
  if (event.key === "Escape" && enlarged()) {
    enlarged().querySelector(".enlarge").click();
  } else if (event.key === "f" && !event.ctrlKey && !event.metaKey && !event.altKey) {
    if (document.fullscreenElement) document.exitFullscreen().catch(() => undefined);
    else document.documentElement.requestFullscreen().catch(() => undefined);
  } else if (/^(Arrow|Home|End)/.test(event.key) && items.length) {
    event.preventDefault();
    const next = index < 0 ? 0 : neighbour(index, event.key, items.length, columns);
    const target = items[next].querySelector(".enlarge");
    target.focus();
    if (enlarged() && enlarged() !== items[next]) target.click();
  }
}

function onState({ detail }) {
  count();
  // Told aloud: a picture lost and a picture back, not the coming and going of a join.
  const worth = detail.previous !== null && (detail.previous === "live" || detail.state === "live");
  const { info } = tiles.get(detail.camera)?.player ?? {};
  if (worth) announcer.textContent = `${info?.title || detail.camera}: ${LABEL[detail.state]}`;
}

function tell(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

function follow(events) {
  const each = (change) => tiles.forEach(({ player }) => change(player));
  events.addEventListener("up", () => {
    tell("");
    each((player) => {
      player.linked = true;
      player.denied = false;
    });
  });
  events.addEventListener("down", () => {
    tell(NO_RELAY);
    each((player) => (player.linked = false));
  });
  events.addEventListener("expired", () => {
    tell(ENDED);
    each((player) => (player.denied = true));
  });
  events.addEventListener("snapshot", ({ cameras }) => {
    const keys = new Set(cameras.map(({ namespace, name }) => `${namespace}/${name}`));
    [...tiles.keys()].filter((key) => !keys.has(key)).forEach(drop);
    cameras.forEach(put);
    arrange();
  });
  events.addEventListener("camera", ({ camera }) => {
    put(camera);
    arrange();
  });
  events.addEventListener("gone", ({ key }) => {
    drop(key);
    arrange();
  });
}

function tickClock() {
  const text = new Date().toLocaleTimeString([], { hour12: false });
  if (clock.textContent !== text) clock.textContent = text;
}

wall.addEventListener("statechange", onState);
document.addEventListener("keydown", onKey);
new ResizeObserver(size).observe(wall.parentElement);
setInterval(tickClock, 200);
tickClock();
const events = new Events();
follow(events);
events.start();
