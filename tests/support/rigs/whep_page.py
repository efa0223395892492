"""A WHEP player of a few lines in Chromium, which does what the wall has no use for: counter-offers, ICE restarts."""

from dataclasses import dataclass
from typing import Any

from playwright.async_api import Page

_JOIN = """
async ([path, refuse]) => {
  const peer = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  const transceiver = peer.addTransceiver("video", {direction: "recvonly"});
  if (refuse) {
    const {codecs} = RTCRtpReceiver.getCapabilities("video");
    transceiver.setCodecPreferences(codecs.filter((codec) => codec.mimeType === "video/VP8"));
  }
  await peer.setLocalDescription();
  const headers = {"Content-Type": "application/sdp"};
  const response = await fetch(path, {method: "POST", headers, body: peer.localDescription.sdp});
  const url = new URL(response.headers.get("Location"), response.url).href;
  globalThis.whep = {peer, url, etag: response.headers.get("ETag"), states: []};
  peer.addEventListener("connectionstatechange", () => globalThis.whep.states.push(peer.connectionState));
  const sdp = await response.text();
  if (response.status === 201) {
    await peer.setRemoteDescription({type: "answer", sdp});
  } else {
    await peer.setLocalDescription({type: "rollback"});
    await peer.setRemoteDescription({type: "offer", sdp});
    await peer.setLocalDescription();
    const answered = await fetch(url, {method: "PATCH", headers, body: peer.localDescription.sdp});
    if (answered.status !== 204) throw new Error(`${answered.status} ${await answered.text()}`);
  }
  return response.status;
}
"""

_RESTART = """
async () => {
  const {peer, url} = globalThis.whep;
  await peer.setLocalDescription(await peer.createOffer({iceRestart: true}));
  while (peer.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 10));
  const of = (text, name) => text.split("\\r\\n").filter((line) => line.startsWith(name));
  const sdp = peer.localDescription.sdp;
  const lines = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"].flatMap((name) => of(sdp, name));
  const headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"};
  const response = await fetch(url, {method: "PATCH", headers, body: lines.join("\\r\\n") + "\\r\\n"});
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  const answer = peer.currentRemoteDescription.sdp
    .replace(/a=ice-ufrag:.*/, of(text, "a=ice-ufrag:")[0])
    .replace(/a=ice-pwd:.*/, of(text, "a=ice-pwd:")[0]);
  await peer.setRemoteDescription({type: "answer", sdp: answer});
  const before = globalThis.whep.etag;
  globalThis.whep.etag = response.headers.get("ETag");
  return before !== globalThis.whep.etag;
}
"""

_SEEN = """
async () => {
  const {peer, states} = globalThis.whep;
  const stats = await peer.getStats();
  const reports = [...stats.values()];
  const inbound = reports.find((report) => report.type === "inbound-rtp");
  const transport = reports.find((report) => report.type === "transport");
  const pair = stats.get(transport?.selectedCandidatePairId ?? "");
  const local = stats.get(pair?.localCandidateId ?? "");
  return {
    frames: inbound?.framesDecoded ?? 0,
    freezes: inbound?.freezeCount ?? 0,
    lost: inbound?.packetsLost ?? 0,
    dtls: transport?.dtlsState ?? null,
    ufrag: local?.usernameFragment ?? null,
    states,
  };
}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the browser's own statistics say; `ufrag` is of the selected pair's ICE session."""

    frames: int
    freezes: int
    lost: int
    dtls: str | None
    ufrag: str | None
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WhepPage:
    """The player, in a page of the relay's own origin that has its cookie."""

    page: Page

    async def join(self, camera: str, *, refuse_h264: bool = False) -> int:
        """Joins; the status of the first answer."""
        status: int = await self.page.evaluate(_JOIN, [f"/whep/{camera}", refuse_h264])
        return status

    async def restart_ice(self) -> bool:
        """Restarts ICE; whether the entity-tag is another one now."""
        changed: bool = await self.page.evaluate(_RESTART)
        return changed

    async def seen(self) -> Seen:
        told: dict[str, Any] = await self.page.evaluate(_SEEN)
        return Seen(**{**told, "states": tuple(told["states"])})
