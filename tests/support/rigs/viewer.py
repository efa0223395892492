"""aiortc as a viewer: an independent WHEP client that decodes what it gets."""

import asyncio
import ssl
import time
from collections.abc import Awaitable
from typing import Protocol, Self

import aiohttp
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from rigs import picture
from rigs.waiting import eventually


class WhepError(Exception):
    """The relay did not answer 201."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


class Entrance(Protocol):
    """Where a relay is reached, and a token that it lets in."""

    @property
    def base(self) -> str: ...
    @property
    def token(self) -> str: ...


def look(frame: VideoFrame) -> picture.Seen | None:
    """What the picture says of itself."""
    plane = frame.planes[0]
    luma, stride = bytes(plane), plane.line_size
    return picture.read(lambda x, y: luma[int(y * frame.height) * stride + int(x * frame.width)])


class Viewer:
    """One session. Entering it joins, leaving it says goodbye with DELETE."""

    def __init__(
        self, run: Entrance, camera: str, *, token: str | None = None, tls: ssl.SSLContext | bool = True
    ) -> None:
        """Of a camera in the namespace default, unless it is named with another (namespace/name)."""
        self._address = f"{run.base}/whep/{camera if '/' in camera else f'default/{camera}'}"
        self._tls = tls
        self._base = run.base
        self._headers = {"Authorization": f"Bearer {token or run.token}"}
        self._peer = RTCPeerConnection()
        self._peer.addTransceiver("video", direction="recvonly")
        self._peer.on("track", self._on_track)
        self._task: asyncio.Task[None] | None = None
        self._session: str | None = None
        self.frames = 0
        self.unread = 0
        self.seen: list[tuple[float, picture.Seen]] = []
        self.answer = ""
        # Values of the answer's Link headers.
        self.links: list[str] = []

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._task = asyncio.create_task(self._watch(track))

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, VideoFrame)
            self.frames += 1
            seen = look(frame)
            if seen is None:
                self.unread += 1
            else:
                self.seen.append((time.monotonic(), seen))

    async def join(self) -> None:
        await self._peer.setLocalDescription(await self._peer.createOffer())
        headers = {**self._headers, "Content-Type": "application/sdp"}
        offer = self._peer.localDescription.sdp
        async with (
            aiohttp.ClientSession() as http,
            http.post(self._address, data=offer, headers=headers, ssl=self._tls) as response,
        ):
            self.answer = await response.text()
            if response.status != 201:
                raise WhepError(response.status, self.answer)
            self._session = response.headers["Location"]
            self.links = response.headers.getall("Link", [])
        await self._peer.setRemoteDescription(RTCSessionDescription(self.answer, "answer"))

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """A request about the session; its path is below the session's. Returns status and body."""
        address = f"{self._base}{self._session}{path}"
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, address, json=body, headers=self._headers, ssl=self._tls) as response,
        ):
            return response.status, await response.text()

    @property
    def ended(self) -> bool:
        """Whether the relay has ended the session, by RTCP BYE or DTLS close_notify."""
        return self._peer.connectionState in ("closed", "failed") or (self._task is not None and self._task.done())

    def watch(self, frames: int, *, seconds: float = 15.0) -> Awaitable[bool]:
        """Waits until that many more frames were decoded and recognised."""
        goal = len(self.seen) + frames
        return eventually(lambda: len(self.seen) >= goal, f"{frames} more frames decoded", seconds=seconds)

    async def leave(self) -> None:
        if self._session is not None and not self.ended:
            session, self._session = self._session, None
            address = session if "://" in session else self._base + session
            async with (
                aiohttp.ClientSession() as http,
                http.delete(address, headers=self._headers, ssl=self._tls) as response,
            ):
                assert response.status == 200, await response.text()
        await self._peer.close()
        if self._task is not None:
            # A track whose session never came up does not end by itself.
            self._task.cancel()
            await asyncio.wait([self._task])

    async def __aenter__(self) -> Self:
        try:
            await self.join()
        except BaseException:
            await self._peer.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
