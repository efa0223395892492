// <pancar-player camera="namespace/name">: one live picture over WHEP that never passes off a frozen one as live.
//
// It works alone; a page that knows more tells it by `info`, `linked` and `denied`. What it finds is in its `state`
// attribute (see verdict.js), each change of which is a bubbling `statechange` event. Driving contract inside: things
// that happen only change fields, and `#tick` alone decides, four times a second and whenever a field has changed.

import { Backoff } from "./backoff.js";
import { FrameClock } from "./frames.js";
import { icon, show } from "./icons.js";
import { JoinQueue } from "./joins.js";
import { encodingFor } from "./layers.js";
import { verdict } from "./verdict.js";
import { JoinError, Session } from "./whep.js";
import { BRIEF, ENDED, LABEL, MEANING, NO_CAMERA, NO_RELAY, duration, moment } from "./words.js";

const TICK = 250;
const CONNECT_TIMEOUT = 8000;
// Without a new frame for so long while the camera is live, the session is given up for another one ...
const SILENCE = 4000;
// ... sooner where the relay was away in the meantime: it has most likely forgotten the session.
const SILENCE_OF_SUSPECT = 1000;
// A session that gave pictures for so long was a success.
const SETTLED = 5000;
const STATS_INTERVAL = 1000;
const FORBIDDEN_RETRY = 30_000;
// A browser may be given a decoder while it runs.
const DECODER_RETRY = 15_000;
const STILL_WIDTH = 1280;

const joins = new JoinQueue();
const players = new Set();
setInterval(() => players.forEach((player) => player.tick()), TICK);
for (const name of ["visibilitychange", "resume"]) {
  document.addEventListener(name, () => players.forEach((player) => player.tick()));
}
addEventListener("pagehide", () => players.forEach((player) => player.leave()));

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

export class PancarPlayer extends HTMLElement {
  static observedAttributes = ["camera"];

  #info = null;
  #linked = true;
  #denied = false;
  #forbidden = false;
  #refusal = null;
  #unplayable = false;
  #session = null;
  #sessionSince = 0;
  #suspect = false;
  #liveSince = 0;
  #withdraw = null;
  #release = null;
  #notBefore = 0;
  #frames = new FrameClock();
  #decoded = null;
  #statsAt = 0;
  #backoff = new Backoff({ first: 400, longest: 15_000 });
  #parts = null;
  #shown = {};
  #encoding = "main";

  connectedCallback() {
    if (!this.#parts) this.#build();
    players.add(this);
    // A hundred tiles appear at once, and rejoin at once when a relay is back.
    this.#wait(Math.random() * 150);
    this.tick();
  }

  disconnectedCallback() {
    players.delete(this);
    this.leave();
  }

  attributeChangedCallback(_name, before, after) {
    if (before === after || !this.#parts) return;
    this.leave();
    this.#forgetPicture();
    this.#info = this.#refusal = null;
    this.#unplayable = false;
    this.tick();
  }

  /** "namespace/name". */
  get camera() {
    return this.getAttribute("camera") ?? "";
  }

  /** One of STATES. */
  get state() {
    return this.getAttribute("state") ?? "waiting";
  }

  /** The camera as /api/v1/cameras tells it, or null. */
  get info() {
    return this.#info;
  }

  set info(info) {
    const was = this.#info?.state;
    this.#info = info;
    if (info?.state === "Live" && was !== "Live") {
      this.#liveSince = performance.now();
      this.#refusal = null;
      this.#backoff.reset();
      this.#wait(Math.random() * 150);
    }
    this.tick();
  }

  /** Whether the page hears from the relay; while it does not, a join would only fail. */
  set linked(linked) {
    if (linked && !this.#linked) {
      this.#suspect = this.#session !== null;
      this.#forbidden = false;
      this.#backoff.reset();
      this.#wait(Math.random() * 150);
    }
    this.#linked = linked;
    this.tick();
  }

  /** The viewer's right to see anything has ended, or has come back. */
  set denied(denied) {
    this.#denied = denied;
    if (!denied) this.#forbidden = false;
    this.tick();
  }

  /** Ends the session, at the relay too. It joins again if it stays in the page. */
  leave() {
    this.#withdraw?.();
    this.#withdraw = null;
    this.#endSession();
  }

  /** Decides what to do and what to show. */
  tick() {
    if (!this.#parts) return;
    const now = performance.now();
    this.#pollStats(now);
    this.#fitEncoding();
    const state = verdict({
      denied: this.#denied || this.#forbidden,
      info: this.#info,
      refusal: this.#refusal,
      unplayable: this.#unplayable,
      frames: this.#frames,
      now,
    });
    if (state === "not-allowed" || state === "paused") {
      this.leave();
      this.#forgetPicture();
    }
    this.#keepJoined(state, now);
    this.#show(state);
  }

  // The stream that the tile's size asks for.
  #fitEncoding() {
    const height = this.clientHeight * devicePixelRatio;
    this.#encoding = encodingFor({ height, info: this.#info, before: this.#encoding });
    if (this.#session?.connected) this.#session.choose(this.#encoding);
  }

  #keepJoined(state, now) {
    if (this.#session) {
      if (state === "live" && now - this.#sessionSince > SETTLED) this.#backoff.reset();
      if (this.#isLost(now)) this.#fail();
      return;
    }
    const known = this.#info === null || this.#info.state === "Live";
    const wanted = this.isConnected && this.camera && known && this.#linked && !this.#denied;
    if (!wanted || state === "paused") {
      this.#withdraw?.();
      this.#withdraw = null;
    } else if (!this.#withdraw && now >= this.#notBefore) {
      this.#withdraw = joins.ask((release) => this.#join(release), () => !document.hidden && this.checkVisibility());
    }
  }

  #isLost(now) {
    if (!this.#session.connected) return now - this.#sessionSince > (this.#suspect ? SILENCE_OF_SUSPECT : CONNECT_TIMEOUT);
    // The session outlives the camera's outages; while the relay cannot be asked, there is no better one to be had.
    if (!this.#linked || (this.#info !== null && this.#info.state !== "Live")) return false;
    const since = Math.max(this.#sessionSince, this.#liveSince, this.#frames.last ?? 0);
    return now - since > (this.#suspect ? SILENCE_OF_SUSPECT : SILENCE);
  }

  async #join(release) {
    this.#withdraw = null;
    this.#release = release;
    const session = new Session();
    this.#session = session;
    this.#sessionSince = performance.now();
    this.#suspect = false;
    this.#decoded = null;
    session.addEventListener("track", ({ stream }) => this.#play(session, stream));
    session.addEventListener("connected", () => {
      if (session === this.#session) this.#sessionSince = performance.now();
      release();
    });
    session.addEventListener("ended", () => {
      if (session === this.#session) this.#fail();
    });
    try {
      await session.join(this.camera, this.#encoding);
      if (session !== this.#session) return;
      this.#refusal = null;
      this.#unplayable = false;
    } catch (error) {
      if (session === this.#session) this.#refused(error instanceof JoinError ? error : new JoinError(0));
    }
  }

  #refused(error) {
    if (error.status === 401 || error.status === 403) this.#forbidden = true;
    if (error.status === 401) this.dispatchEvent(new Event("unauthorized", { bubbles: true }));
    if (error.status === 429 || error.status === 503) joins.hold(error.retry);
    this.#refusal =
      error.status === 409 || error.status === 404
        ? { reason: error.reason, message: error.status === 404 ? NO_CAMERA : error.message }
        : null;
    // The relay offers in turn what the camera sends (draft-ietf-wish-whep-04, 4.3.2), which nothing here decodes.
    this.#unplayable = error.status === 406;
    const retry = this.#unplayable ? DECODER_RETRY : error.retry;
    this.#fail(this.#forbidden ? FORBIDDEN_RETRY : retry);
    if (this.#forbidden) setTimeout(() => this.#allowAgain(), FORBIDDEN_RETRY);
  }

  #allowAgain() {
    this.#forbidden = false;
    this.tick();
  }

  #fail(retry = 0) {
    this.#endSession();
    this.#wait(this.#backoff.next(retry));
    this.tick();
  }

  #wait(milliseconds) {
    this.#notBefore = performance.now() + milliseconds;
    setTimeout(() => this.tick(), milliseconds + 1);
  }

  #endSession() {
    this.#release?.();
    this.#release = null;
    if (!this.#session) return;
    this.#keepStill();
    const session = this.#session;
    this.#session = null;
    session.close();
    this.#parts.video.srcObject = null;
  }

  #play(session, stream) {
    if (session !== this.#session) return;
    const { video } = this.#parts;
    video.srcObject = stream;
    video.play().catch(() => undefined);
    if (!video.requestVideoFrameCallback) return;
    let latest = null;
    const presented = (_now, frame) => {
      if (session !== this.#session) return;
      const id = frame.rtpTimestamp ?? frame.mediaTime;
      if (id !== latest) {
        latest = id;
        this.#sawFrame();
      }
      video.requestVideoFrameCallback(presented);
    };
    video.requestVideoFrameCallback(presented);
  }

  // A hidden page presents nothing, and then decoding has to do. In a visible one only what is on screen counts.
  async #pollStats(now) {
    const session = this.#session;
    const presents = this.#parts.video.requestVideoFrameCallback && !document.hidden;
    if (!session?.connected || presents || now - this.#statsAt < STATS_INTERVAL) return;
    this.#statsAt = now;
    const decoded = await session.framesDecoded().catch(() => null);
    if (session !== this.#session || decoded === null) return;
    if (this.#decoded !== null && decoded > this.#decoded) this.#sawFrame();
    this.#decoded = decoded;
  }

  #sawFrame() {
    this.#frames.seen(performance.now(), new Date());
    this.#suspect = false;
    if (this.#frames.run >= 2 && this.state !== "live") this.tick();
  }

  // The last picture outlives its session.
  #keepStill() {
    const { video, still } = this.#parts;
    if (this.#frames.last === null || !video.videoWidth || video.readyState < 2) return;
    const scale = Math.min(1, STILL_WIDTH / video.videoWidth);
    still.width = Math.round(video.videoWidth * scale);
    still.height = Math.round(video.videoHeight * scale);
    still.getContext("2d").drawImage(video, 0, 0, still.width, still.height);
    still.hidden = false;
  }

  #forgetPicture() {
    this.#frames.clear();
    const { still, video } = this.#parts;
    still.hidden = true;
    still.width = still.height = 1;
    video.srcObject = null;
  }

  #build() {
    const video = element("video", "picture");
    Object.assign(video, { muted: true, autoplay: true, playsInline: true, disablePictureInPicture: true });
    video.setAttribute("aria-hidden", "true");
    video.tabIndex = -1;
    const still = element("canvas", "picture still");
    still.hidden = true;
    const parts = {
      video,
      still,
      sign: icon("waiting"),
      badgeIcon: icon("waiting"),
      headline: element("p", "headline"),
      since: element("span", "since"),
      elapsed: element("span", "elapsed"),
      brief: element("p", "brief"),
      cause: element("p", "cause"),
      title: element("span", "title"),
      site: element("span", "site"),
      badge: element("span", "badge-text"),
    };
    this.#parts = parts;
    this.append(
      video,
      still,
      element("div", "veil", parts.sign, parts.headline, element("p", "age", parts.since, parts.elapsed), parts.brief, parts.cause),
      element(
        "div",
        "caption",
        element("span", "names", parts.title, parts.site),
        element("span", "badge", parts.badgeIcon, parts.badge),
      ),
    );
  }

  #show(state) {
    const { still, sign, badgeIcon } = this.#parts;
    const before = this.getAttribute("state");
    if (before !== state) {
      if (state === "live") still.hidden = true;
      show(sign, state);
      show(badgeIcon, state);
      this.setAttribute("state", state);
    }
    this.#text("title", this.#info?.title || this.camera.split("/").pop());
    this.#text("site", this.#info?.site ?? "");
    this.#text("badge", LABEL[state]);
    this.#text("headline", LABEL[state]);
    this.#text("cause", this.#cause(state));
    this.#text("brief", state === "offline" ? this.#brief() : "");
    const [since, elapsed] = this.#age(state);
    this.#text("since", since);
    this.#text("elapsed", elapsed);
    if (before !== state) {
      const detail = { camera: this.camera, state, previous: before };
      this.dispatchEvent(new CustomEvent("statechange", { bubbles: true, detail }));
    }
  }

  #cause(state) {
    if (state === "live") return "";
    if (state === "not-allowed") return this.#denied ? ENDED : MEANING[state];
    if (!this.#linked) return NO_RELAY;
    if (state === "offline" && this.#info === null) return this.#refusal?.message ?? MEANING.offline;
    return this.#info?.message || MEANING[state];
  }

  #brief() {
    const reason = (this.#info ?? this.#refusal)?.reason;
    return BRIEF[reason] ?? reason ?? "";
  }

  // A small tile shows only the second half.
  #age(state) {
    const none = ["", ""];
    if (state !== "signal-lost" && state !== "offline") return none;
    const { lastDate } = this.#frames;
    if (lastDate) return [`Last picture ${moment(lastDate)}, `, `${duration(Date.now() - lastDate)} ago`];
    const since = Date.parse(this.#info?.since ?? "");
    if (Number.isNaN(since)) return none;
    return [`Since ${moment(new Date(since))}, `, `for ${duration(Date.now() - since)}`];
  }

  // Touches the page only where a text has changed: ticks are many.
  #text(part, text) {
    if (this.#shown[part] === text) return;
    this.#shown[part] = text;
    this.#parts[part].textContent = text;
  }
}

customElements.define("pancar-player", PancarPlayer);
