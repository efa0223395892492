"""Chromium on another host, in session with a relay that it reaches by media alone; the test carries the SDP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, async_playwright
from rigs.chromium import CHROMIUM, FLAGS
from rigs.network import Host
from rigs.relay import Relay
from rigs.waiting import eventually

_OFFER = """
async (configuration) => {
  const peer = window.peer = new RTCPeerConnection(configuration);
  const video = window.video = document.body.appendChild(document.createElement("video"));
  video.muted = video.autoplay = true;
  peer.ontrack = ({track}) => { video.srcObject = new MediaStream([track]); };
  peer.addTransceiver("video", {direction: "recvonly"});
  await peer.setLocalDescription();
  while (peer.iceGatheringState !== "complete")
    await new Promise((resolve) => peer.addEventListener("icegatheringstatechange", resolve, {once: true}));
  return peer.localDescription.sdp;
}
"""
_ANSWER = "(sdp) => peer.setRemoteDescription({type: 'answer', sdp})"
_DECODED = "video.getVideoPlaybackQuality().totalVideoFrames"
# Both ends of the pair that media comes by.
_PAIR = """
async () => {
  const all = await peer.getStats();
  const pairs = [...all.values()].filter((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
  const pair = pairs.sort((a, b) => b.bytesReceived - a.bytesReceived)[0];
  return pair && {local: all.get(pair.localCandidateId), remote: all.get(pair.remoteCandidateId)};
}
"""


class Browser:
    def __init__(self, page: Page) -> None:
        self._page = page

    async def watch(
        self, http: aiohttp.ClientSession, relay: Relay, camera: str, configuration: dict[str, Any] | None = None
    ) -> str:
        """Joins, its offer and the answer carried by the test; returns the answer."""
        offer = await self._page.evaluate(_OFFER, configuration or {})
        headers = relay.bearer() | {"Content-Type": "application/sdp"}
        async with http.post(f"{relay.url}/whep/kota/{camera}", data=offer, headers=headers) as response:
            answer = await response.text()
            assert response.status == 201, answer
        await self._page.evaluate(_ANSWER, answer)
        return answer

    async def decoded(self) -> int:
        frames: int = await self._page.evaluate(_DECODED)
        return frames

    async def plays(self, frames: int = 20, *, seconds: float = 20.0) -> None:
        """Waits until that many more frames were decoded."""
        goal = await self.decoded() + frames

        async def reached() -> bool:
            return await self.decoded() >= goal

        await eventually(reached, f"{frames} more frames are decoded", seconds=seconds)

    async def pair(self) -> dict[str, Any]:
        """The selected candidate pair, as the browser's statistics have it."""
        found: dict[str, Any] = await eventually(lambda: self._page.evaluate(_PAIR), "a pair is nominated")
        return found


@asynccontextmanager
async def browsing(host: Host, folder: Path) -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: see tests/install-peers.sh")
    async with async_playwright() as playwright:
        program = host.program(CHROMIUM, folder)
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield Browser(await browser.new_page())
        await browser.close()
