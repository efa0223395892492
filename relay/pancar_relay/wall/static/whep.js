// One WHEP session (draft-ietf-wish-whep-04): offer, answer, which of the camera's streams it is sent, and the end of
// it. Used by player.js.

import { retryAfter } from "./backoff.js";
import { iceServers } from "./iceservers.js";

const ANSWER_TIMEOUT = 10_000;
// What the relay may answer with; a short offer is a cheap one to parse.
const CODECS = new Set(["video/h264", "video/h265", "video/rtx"]);

// Whether the relay names STUN or TURN servers, as far as it has been asked.
let namesServers = true;

/** The relay refused, or did not answer (`status` 0). Times in milliseconds. */
export class JoinError extends Error {
  constructor(status, { reason = null, message = null, retry = 0 } = {}) {
    super(message ?? `join failed: ${status || "no answer"}`);
    this.status = status;
    this.reason = reason;
    this.retry = retry;
  }
}

/** Events: `track` (its `stream`), `connected`, `ended` (its `reason`), the latter two once at most. */
export class Session extends EventTarget {
  #peer;
  #location = null;
  #layer = null;
  #encoding = null;
  #ended = false;

  constructor() {
    super();
    this.connected = false;
    this.#peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#peer.addEventListener("track", (event) => {
      // Chromium's connectionState does not follow a close_notify, the DTLS transport's does.
      const dtls = event.receiver.transport;
      dtls?.addEventListener("statechange", () => this.#follow(dtls.state, "DTLS"));
      const stream = new MediaStream([event.track]);
      this.dispatchEvent(Object.assign(new Event("track"), { stream }));
    });
    this.#peer.addEventListener("connectionstatechange", () => this.#follow(this.#peer.connectionState, "connection"));
  }

  /** Joins the camera ("namespace/name"), to be sent its "main" or its "sub". Rejects with JoinError. */
  async join(camera, encoding) {
    this.#encoding = encoding;
    const transceiver = this.#peer.addTransceiver("video", { direction: "recvonly" });
    preferSupported(transceiver);
    const offer = await this.#peer.createOffer();
    // What begins to gather does not look at servers that it learns of later (RFC 9725, 4.6).
    if (!namesServers) await this.#peer.setLocalDescription(offer);
    // The relay is ICE-lite and learns our addresses from our checks: there is no candidate to wait for.
    const response = await post(camera, encoding, offer.sdp);
    if (response.status !== 201) throw await refusal(response);
    this.#location = new URL(response.headers.get("Location") ?? "", response.url).href;
    const layer = layerOf(response.headers.get("Link"));
    this.#layer = layer && new URL(layer, response.url).href;
    const sdp = await response.text();
    if (this.#ended) {
      this.#forget();
      throw new JoinError(0);
    }
    const servers = iceServers(response.headers.get("Link"));
    namesServers = servers.length > 0;
    if (this.#peer.signalingState === "stable") {
      if (namesServers) this.#peer.setConfiguration({ ...this.#peer.getConfiguration(), iceServers: servers });
      await this.#peer.setLocalDescription(offer);
    }
    await this.#peer.setRemoteDescription({ type: "answer", sdp });
  }

  /** Asks for the camera's "main" or "sub" from now on, where it has both. */
  choose(encoding) {
    if (encoding === this.#encoding || !this.#layer || this.#ended) return;
    this.#encoding = encoding;
    const headers = { "Content-Type": "application/json" };
    fetch(this.#layer, { method: "POST", headers, body: JSON.stringify({ encodingId: encoding }) }).catch(() => {
      // Asked again at the next change, if not before.
      this.#encoding = null;
    });
  }

  /** Frames decoded since the session began, or null where the browser does not tell. */
  async framesDecoded() {
    for (const report of (await this.#peer.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") return report.framesDecoded ?? null;
    }
    return null;
  }

  /** Ends it on both sides. No event follows. */
  close() {
    this.#ended = true;
    this.#peer.close();
    this.#forget();
  }

  #follow(state, what) {
    if (this.#ended) return;
    if (state === "connected" && what === "connection" && !this.connected) {
      this.connected = true;
      this.dispatchEvent(new Event("connected"));
    } else if (state === "failed" || state === "closed") {
      this.#ended = true;
      this.dispatchEvent(Object.assign(new Event("ended"), { reason: `${what} ${state}` }));
    }
  }

  #forget() {
    const location = this.#location;
    this.#location = null;
    // keepalive: also while the page goes away. An unanswered DELETE is no loss, the relay expires the session.
    if (location) fetch(location, { method: "DELETE", keepalive: true }).catch(() => undefined);
  }
}

// The address that layers are chosen at, of the Link header's values.
function layerOf(links) {
  return /<([^>]*)>; rel="urn:ietf:params:whep:ext:core:layer"/.exec(links ?? "")?.[1] ?? null;
}

function preferSupported(transceiver) {
  const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.("video")?.codecs ?? [];
  const wanted = codecs.filter((codec) => CODECS.has(codec.mimeType.toLowerCase()));
  if (wanted.length) transceiver.setCodecPreferences?.(wanted);
}

// Not aborted when the tile loses interest: an answer that nobody reads would leave a session behind at the relay.
async function post(camera, encoding, sdp) {
  const path = camera.split("/").map(encodeURIComponent).join("/");
  try {
    return await fetch(`/whep/${path}?encodingId=${encoding}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Accept: "application/sdp, application/problem+json" },
      body: sdp,
      signal: AbortSignal.timeout(ANSWER_TIMEOUT),
    });
  } catch {
    throw new JoinError(0);
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return new JoinError(response.status, {
    reason: problem.reason ?? null,
    message: problem.detail ?? problem.title ?? null,
    retry: retryAfter(response.headers.get("Retry-After")),
  });
}
