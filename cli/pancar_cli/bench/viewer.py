"""A light WebRTC viewer: the real WHEP exchange, ICE and DTLS handshake, then as little as the measurement needs.

Used by the benches where fifty browsers would measure themselves. Its SRTP is libsrtp's, not the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import aiohttp
import pylibsrtp
from aioice import stun
from aiortc import sdp
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from pancar_relay.viewer.negotiate import PLAYOUT_DELAY

from pancar_cli.bench.figures import BenchError
from pancar_cli.bench.receiver.receiver import Formats

PAYLOAD_TYPE, RTX_PAYLOAD_TYPE = 96, 97
_CHECK_INTERVAL = 4.0
_DATAGRAM = 2048
# linux/filter.h: SO_ATTACH_FILTER takes a program of (code, jump if true, jump if false, operand), which sees a
# datagram from its UDP header on and returns how much of it is kept.
_SO_ATTACH_FILTER = 26
_DROP = (0x06, 0, 0, 0)
_KEEP = (0x06, 0, 0, 0xFFFF)
_DROP_ALL = (_DROP,)
# Loads the byte of the RTP marker and tests its bit.
_KEEP_MARKED = ((0x30, 0, 0, 9), (0x45, 0, 1, 0x80), _KEEP, _DROP)
# asm-generic/socket.h: the kernel tells when a datagram came, as a struct timespec of the wall clock.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("ll")

_OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF {payload_type} {rtx}
c=IN IP4 0.0.0.0
a=recvonly
a=mid:0
a=rtcp-mux
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:2 {playout_delay}
a=rtpmap:{payload_type} H264/90000
a=rtcp-fb:{payload_type} nack
a=rtcp-fb:{payload_type} nack pli
a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:{rtx} rtx/90000
a=fmtp:{rtx} apt={payload_type}
"""

Listener = Callable[[float, bytes], None]


@dataclass(frozen=True, slots=True)
class Relay:
    """Where to join, and with which right."""

    base_url: str
    token: str


class JoinError(BenchError):
    """The relay did not take the viewer, or the handshake failed."""


class _Ice(asyncio.DatagramProtocol):
    """The viewer's socket; for DTLS it stands where aiortc expects an ICE transport."""

    role = "controlling"
    state = "completed"

    def __init__(self) -> None:
        self.dtls: asyncio.Queue[bytes] = asyncio.Queue()
        self.checked = asyncio.Event()
        self.listener: Listener | None = None
        self.rtcp_listener: Listener | None = None
        # What is sent goes out by this one; the transport, on a copy of it, receives.
        self.socket: socket.socket | None = None
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
        elif (listener := self.rtcp_listener if 192 <= data[1] < 224 else self.listener) is not None:
            listener(time.monotonic(), data)

    def send(self, data: bytes) -> None:
        if self.socket is not None and self.peer is not None:
            with contextlib.suppress(BlockingIOError):
                self.socket.sendto(data, self.peer)

    async def _send(self, data: bytes) -> None:
        self.send(data)

    async def _recv(self) -> bytes:
        return await self.dtls.get()


class LightViewer:
    """One viewer of one camera. `join` once, `leave` at the end."""

    def __init__(
        self, relay: Relay, camera: str, certificate: RTCCertificate, sock: socket.socket | None = None
    ) -> None:
        """Its pictures come to `sock`, bound and non-blocking, which it closes; by default to a socket of loopback."""
        self._relay = relay
        self._camera = camera
        self._certificate = certificate
        self._ice = _Ice()
        self._ice.socket = sock
        self._formats: Formats | None = None
        self._resource: str | None = None
        self._keepalive: asyncio.Task[None] | None = None
        self._dtls: RTCDtlsTransport | None = None
        self._ufrag, self._pwd = secrets.token_hex(4), secrets.token_hex(12)
        self._username = ""
        self.posted = 0.0
        self.connected = 0.0

    async def join(
        self, http: aiohttp.ClientSession, listener: Listener | None = None, rtcp_listener: Listener | None = None
    ) -> None:
        """Negotiates and completes the handshake; `listener` gets (seconds, SRTP packet) from then on, and
        `rtcp_listener` SRTCP packets alike.

        Raises JoinError.
        """
        loop = asyncio.get_running_loop()
        self._ice.socket = self._ice.socket or open_socket()
        await loop.create_datagram_endpoint(lambda: self._ice, sock=self._ice.socket.dup())
        self._ice.listener, self._ice.rtcp_listener = listener, rtcp_listener
        answer = await self._post(http)
        media = sdp.SessionDescription.parse(answer).media[0]
        self._formats = _formats(media)
        if media.ice is None or media.ice.password is None or media.dtls is None:
            raise JoinError("the answer has no ICE password or no fingerprint")
        candidate = media.ice_candidates[0]
        self._ice.peer = (candidate.ip, candidate.port)
        self._username = f"{media.ice.usernameFragment}:{self._ufrag}"
        await self._check(media.ice.password)
        self._dtls = RTCDtlsTransport(cast(RTCIceTransport, self._ice), [self._certificate])
        self._dtls._set_role("client")
        await self._dtls.start(RTCDtlsParameters(fingerprints=media.dtls.fingerprints))
        if self._dtls.state != "connected":
            raise JoinError(f"DTLS ended as {self._dtls.state}")
        self.connected = time.monotonic()

    async def _post(self, http: aiohttp.ClientSession) -> str:
        fingerprint = next(f for f in self._certificate.getFingerprints() if f.algorithm == "sha-256")
        offer = _OFFER.format(
            payload_type=PAYLOAD_TYPE,
            rtx=RTX_PAYLOAD_TYPE,
            playout_delay=PLAYOUT_DELAY,
            ufrag=self._ufrag,
            pwd=self._pwd,
            fingerprint=fingerprint.value,
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

    async def _check(self, password: str) -> None:
        """Nominates the relay's candidate and keeps the consent alive (RFC 7675)."""

        def request() -> bytes:
            message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
            message.attributes["USERNAME"] = self._username
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
        name = self._socket.getsockname()
        return f"{name[0]}:{name[1]}"

    @property
    def peer(self) -> tuple[str, int]:
        """The relay's address."""
        if self._ice.peer is None:
            raise JoinError("not joined")
        return self._ice.peer

    @property
    def username(self) -> str:
        """Of the viewer's checks (RFC 8445, 7.2.2)."""
        return self._username

    @property
    def formats(self) -> Formats:
        """What the relay answered."""
        if self._formats is None:
            raise JoinError("not joined")
        return self._formats

    @property
    def _socket(self) -> socket.socket:
        if self._ice.socket is None:
            raise JoinError("not joined")
        return self._ice.socket

    @property
    def _keys(self) -> RTCDtlsTransport:
        if self._dtls is None:
            raise JoinError("not joined")
        return self._dtls

    def unprotect(self, packet: bytes) -> bytes:
        """The RTP packet in an SRTP packet; raises pylibsrtp.Error where it is not authentic."""
        session: pylibsrtp.Session = self._keys._rx_srtp
        plain: bytes = session.unprotect(packet)
        return plain

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """The RTCP packet in an SRTCP packet; raises pylibsrtp.Error where it is not authentic."""
        session: pylibsrtp.Session = self._keys._rx_srtp
        plain: bytes = session.unprotect_rtcp(packet)
        return plain

    def protect_rtcp(self, compound: bytes) -> bytes:
        """The SRTCP packet of feedback."""
        session: pylibsrtp.Session = self._keys._tx_srtp
        sealed: bytes = session.protect_rtcp(compound)
        return sealed

    def send_rtcp(self, compound: bytes) -> None:
        """Seals and sends feedback."""
        self._ice.send(self.protect_rtcp(compound))

    def send(self, datagram: bytes) -> None:
        """Sends that to the relay, whatever it is, from the address that media comes to."""
        self._ice.send(datagram)

    def deafen(self) -> None:
        """From here on the kernel drops what arrives, as early as it can: the sink of the fan-out's floor."""
        _filter(self._socket, _DROP_ALL)

    def hold(self) -> None:
        """From here on nothing is listened to. The kernel keeps the last packet of each frame, with the moment it came,
        for `held`: a thousand viewers can be measured without running for any of them."""
        _filter(self._socket, _KEEP_MARKED)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if self._ice.transport is not None:
            self._ice.transport.close()

    def held(self) -> list[tuple[float, bytes]]:
        """Each packet that was kept since the last call: when it came, in seconds of the wall clock, and itself."""
        packets = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, control, _, _ = self._socket.recvmsg(_DATAGRAM, socket.CMSG_SPACE(_TIMESPEC.size))
                if control and 128 <= data[0] < 192 and not 192 <= data[1] < 224:
                    seconds, nanoseconds = _TIMESPEC.unpack(control[0][2])
                    packets.append((seconds + nanoseconds / 1e9, data))
        return packets

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
        if self._ice.socket is not None:
            self._ice.socket.close()
            self._ice.socket = None


def open_socket(host: str = "127.0.0.1") -> socket.socket:
    """A viewer's UDP socket at one of this machine's addresses."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.bind((host, 0))
    return opened


def _filter(target: socket.socket, instructions: Sequence[tuple[int, int, int, int]]) -> None:
    """Lets the kernel run this over what arrives at the socket."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    # struct sock_fprog: the number of instructions and where they are.
    filled = struct.pack("HL", len(instructions), ctypes.addressof(program))
    target.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filled)


def _formats(media: sdp.MediaDescription) -> Formats:
    """Raises JoinError where the relay sends no video."""
    kinds = {codec.payloadType: codec.mimeType.lower() for codec in media.rtp.codecs}
    if PAYLOAD_TYPE not in kinds or not media.ssrc:
        raise JoinError("the answer has no H.264 or names no SSRC")
    paired = next((group.items for group in media.ssrc_group if group.semantic == "FID"), [media.ssrc[0].ssrc])
    delay = next((extension.id for extension in media.rtp.headerExtensions if extension.uri == PLAYOUT_DELAY), None)
    rtx = RTX_PAYLOAD_TYPE if kinds.get(RTX_PAYLOAD_TYPE) == "video/rtx" else None
    return Formats(int(paired[0]), PAYLOAD_TYPE, rtx, delay)
