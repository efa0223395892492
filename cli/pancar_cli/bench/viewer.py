"""A light WebRTC viewer: the real WHEP exchange, ICE and DTLS handshake, then as little as the measurement needs.

Used by the benches where fifty browsers would measure themselves. Its SRTP is libsrtp's, not the engine's.
"""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import aiohttp
import pylibsrtp
from aioice import stun
from aiortc import sdp
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport

PAYLOAD_TYPE = 96
_CHECK_INTERVAL = 4.0
# linux/filter.h: SO_ATTACH_FILTER takes a program; "return 0" lets the kernel drop every datagram.
_SO_ATTACH_FILTER = 26
_BPF_RETURN = 0x06

_OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF {payload_type}
c=IN IP4 0.0.0.0
a=recvonly
a=mid:0
a=rtcp-mux
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=rtpmap:{payload_type} H264/90000
a=rtcp-fb:{payload_type} nack
a=rtcp-fb:{payload_type} nack pli
a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
"""

Listener = Callable[[float, bytes], None]


@dataclass(frozen=True, slots=True)
class Relay:
    """Where to join, and with which right."""

    base_url: str
    token: str


class JoinError(Exception):
    """The relay did not take the viewer, or the handshake failed."""


class _Ice(asyncio.DatagramProtocol):
    """The viewer's socket; for DTLS it stands where aiortc expects an ICE transport."""

    role = "controlling"
    state = "completed"

    def __init__(self) -> None:
        self.dtls: asyncio.Queue[bytes] = asyncio.Queue()
        self.checked = asyncio.Event()
        self.listener: Listener | None = None
        self.transport: asyncio.DatagramTransport | None = None
        self.peer: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        first = data[0]
        if first < 4:
            self.checked.set()
        elif 20 <= first < 64:
            self.dtls.put_nowait(data)
        elif self.listener is not None and not 192 <= data[1] < 224:
            self.listener(time.monotonic(), data)

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.peer)

    async def _send(self, data: bytes) -> None:
        self.send(data)

    async def _recv(self) -> bytes:
        return await self.dtls.get()


class LightViewer:
    """One viewer of one camera. `join` once, `leave` at the end."""

    def __init__(self, relay: Relay, camera: str, certificate: RTCCertificate) -> None:
        self._relay = relay
        self._camera = camera
        self._certificate = certificate
        self._ice = _Ice()
        self._resource: str | None = None
        self._keepalive: asyncio.Task[None] | None = None
        self._dtls: RTCDtlsTransport | None = None
        self._ufrag, self._pwd = secrets.token_hex(4), secrets.token_hex(12)
        self.posted = 0.0
        self.connected = 0.0

    async def join(self, http: aiohttp.ClientSession, listener: Listener | None = None) -> None:
        """Negotiates and completes the handshake; `listener` gets (seconds, SRTP packet) from then on.

        Raises JoinError.
        """
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self._ice, local_addr=("127.0.0.1", 0))
        self._ice.listener = listener
        answer = await self._post(http)
        media = sdp.SessionDescription.parse(answer).media[0]
        if media.ice is None or media.ice.password is None or media.dtls is None:
            raise JoinError("the answer has no ICE password or no fingerprint")
        candidate = media.ice_candidates[0]
        self._ice.peer = (candidate.ip, candidate.port)
        await self._check(f"{media.ice.usernameFragment}:{self._ufrag}", media.ice.password)
        self._dtls = RTCDtlsTransport(cast(RTCIceTransport, self._ice), [self._certificate])
        self._dtls._set_role("client")
        await self._dtls.start(RTCDtlsParameters(fingerprints=media.dtls.fingerprints))
        if self._dtls.state != "connected":
            raise JoinError(f"DTLS ended as {self._dtls.state}")
        self.connected = time.monotonic()

    async def _post(self, http: aiohttp.ClientSession) -> str:
        fingerprint = next(f for f in self._certificate.getFingerprints() if f.algorithm == "sha-256")
        offer = _OFFER.format(
            payload_type=PAYLOAD_TYPE, ufrag=self._ufrag, pwd=self._pwd, fingerprint=fingerprint.value
        ).replace("\n", "\r\n")
        headers = {"Authorization": f"Bearer {self._relay.token}", "Content-Type": "application/sdp"}
        url = f"{self._relay.base_url}/whep/{self._camera}"
        self.posted = time.monotonic()
        async with http.post(url, data=offer, headers=headers) as response:
            text = await response.text()
            if response.status != 201:
                raise JoinError(f"{response.status} {text}")
            self._resource = response.headers["Location"]
            return text

    async def _check(self, username: str, password: str) -> None:
        """Nominates the relay's candidate and keeps the consent alive (RFC 7675)."""

        def request() -> bytes:
            message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
            message.attributes["USERNAME"] = username
            message.attributes["PRIORITY"] = 1845501695
            message.attributes["ICE-CONTROLLING"] = 1
            message.attributes["USE-CANDIDATE"] = None
            message.add_message_integrity(password.encode())
            return bytes(message)

        async def keep() -> None:
            while True:
                await asyncio.sleep(_CHECK_INTERVAL)
                self._ice.send(request())

        for _ in range(20):
            self._ice.send(request())
            try:
                await asyncio.wait_for(self._ice.checked.wait(), 0.25)
                break
            except TimeoutError:
                continue
        else:
            raise JoinError("no answer to the STUN checks")
        self._keepalive = asyncio.create_task(keep())

    @property
    def address(self) -> str:
        """The "ip:port" that media comes to."""
        if self._ice.transport is None:
            raise JoinError("not joined")
        name = self._ice.transport.get_extra_info("sockname")
        return f"{name[0]}:{name[1]}"

    def unprotect(self, packet: bytes) -> bytes:
        """The RTP packet in an SRTP packet; raises pylibsrtp.Error where it is not authentic."""
        if self._dtls is None:
            raise JoinError("not joined")
        session: pylibsrtp.Session = self._dtls._rx_srtp
        plain: bytes = session.unprotect(packet)
        return plain

    def deafen(self) -> None:
        """From here on the kernel drops what arrives, as early as it can: the sink of the fan-out's floor."""
        if self._ice.transport is None:
            raise JoinError("not joined")
        # struct sock_fprog: the number of instructions and where they are.
        program = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
        handle: socket.socket = self._ice.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))

    async def leave(self, http: aiohttp.ClientSession) -> None:
        """Ends the session and the socket; idempotent."""
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        if self._dtls is not None and self._dtls._task is not None:
            self._dtls._task.cancel()
        if self._resource is not None:
            headers = {"Authorization": f"Bearer {self._relay.token}"}
            async with http.delete(f"{self._relay.base_url}{self._resource}", headers=headers) as response:
                await response.read()
            self._resource = None
        if self._ice.transport is not None:
            self._ice.transport.close()
