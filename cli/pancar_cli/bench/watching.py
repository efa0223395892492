"""A light viewer with a receiver behind it: one who asks again for what he lacks, and whose freezes are counted.

Used by `impair`, and by tests that look at a relay through a bad network.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pylibsrtp
from aiortc.rtcdtlstransport import RTCCertificate

from pancar_cli.bench.receiver.receiver import Receiver
from pancar_cli.bench.viewer import LightViewer, Relay

Packets = asyncio.Queue[tuple[float, bytes, bool]]


@asynccontextmanager
async def watching(
    http: aiohttp.ClientSession, relay: Relay, camera: str, sock: socket.socket
) -> AsyncIterator[Receiver]:
    """Joins, and keeps the receiver going until it is left. Raises JoinError."""
    viewer = LightViewer(relay, camera, RTCCertificate.generateCertificate(), sock)
    # What comes with the handshake's last flight waits here for its keys.
    packets: Packets = asyncio.Queue()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(viewer.leave, http)
        await viewer.join(
            http,
            lambda now, packet: packets.put_nowait((now, packet, False)),
            lambda now, packet: packets.put_nowait((now, packet, True)),
        )
        receiver = Receiver(viewer.formats, random.getrandbits(32), time.monotonic())
        driving = asyncio.create_task(_drive(viewer, receiver, packets))
        try:
            yield receiver
        finally:
            driving.cancel()
            await asyncio.wait([driving])
        if not driving.cancelled():
            driving.result()


async def _drive(viewer: LightViewer, receiver: Receiver, packets: Packets) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(receiver.due - time.monotonic()):
                at, data, control = await packets.get()
                # What comes twice, SRTP refuses.
                with contextlib.suppress(pylibsrtp.Error):
                    if control:
                        receiver.rtcp(viewer.unprotect_rtcp(data), at)
                    else:
                        receiver.rtp(viewer.unprotect(data), at)
        for compound in receiver.feedback(time.monotonic()):
            viewer.send_rtcp(compound)
