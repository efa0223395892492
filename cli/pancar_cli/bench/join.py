"""`join`: CPU that one viewer's coming and going costs the relay, SDP, ICE, DTLS, start burst and DELETE included; and
whether those who watch notice when many come at a steady rate.

The floor is OpenSSL's share: the server's side of the same DTLS handshake, in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, RTCCertificate
from OpenSSL import SSL

from pancar_cli.bench.fanout import join_all
from pancar_cli.bench.figures import BenchError, Figure
from pancar_cli.bench.rig import Cameras, Rig, rig
from pancar_cli.bench.spread import Audience, Spreads
from pancar_cli.bench.viewer import JoinError, LightViewer

_IDLE_S = 5.0
_WARM_UP = 40
# A relay that joins one viewer every now and then pays for waking up as much as for the join.
_AT_ONCE = 8
_WATCHING = 20
_DTLS_1_2 = 0xFEFD
_DATAGRAM = 1500


async def join(joins: int) -> list[Figure]:
    """Measures `joins` viewers, a few at a time; what the relay takes at rest is subtracted. Raises BenchError."""
    certificate = RTCCertificate.generateCertificate()
    async with rig(Cameras()) as ready, aiohttp.ClientSession() as http:

        async def come_and_go(times: int) -> None:
            for _ in range(times):
                viewer = LightViewer(ready.relay, ready.camera(), certificate)
                await viewer.join(http)
                await viewer.leave(http)

        async def wave(times: int) -> None:
            await asyncio.gather(*(come_and_go(times // _AT_ONCE) for _ in range(_AT_ONCE)))

        await wave(_WARM_UP)
        cpu = ready.process.cpu()
        await asyncio.sleep(_IDLE_S)
        at_rest = (ready.process.cpu() - cpu) / _IDLE_S
        cpu, since = ready.process.cpu(), time.monotonic()
        await wave(joins)
        cpu = ready.process.cpu() - cpu - at_rest * (time.monotonic() - since)
    floor = _handshakes(joins, certificate)
    return [
        Figure("join.cpu_ms", cpu / joins * 1e3, "ms", {"joins": joins, "at_once": _AT_ONCE, "gop_s": 2.0}, floor * 1e3)
    ]


async def storm(rate: float, seconds: float) -> list[Figure]:
    """Measures what those who watch notice of `rate` joins a second. Raises BenchError."""
    certificate = RTCCertificate.generateCertificate()
    async with rig(Cameras()) as ready, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        watching = [LightViewer(ready.relay, ready.camera(), certificate) for _ in range(_WATCHING)]
        try:
            await join_all(http, watching)
            audience = Audience(ready, watching)
            calm = await audience.measure(seconds / 4)
            (joined, took), stormy = await asyncio.gather(
                _joins(http, ready, certificate, rate, seconds), audience.measure(seconds)
            )
        finally:
            await asyncio.gather(*(viewer.leave(http) for viewer in watching))
    return _storm_figures(calm, 0.0, seconds / 4) + _storm_figures(stormy, joined / took, seconds)


async def _joins(
    http: aiohttp.ClientSession, ready: Rig, certificate: RTCCertificate, rate: float, seconds: float
) -> tuple[int, float]:
    """Each at its moment, however long the ones before take. How many succeeded, and in how many seconds."""

    async def one(at: float) -> bool:
        await asyncio.sleep(at - time.monotonic())
        viewer = LightViewer(ready.relay, ready.camera(), certificate)
        try:
            await viewer.join(http)
        except JoinError:
            return False
        finally:
            await viewer.leave(http)
        return True

    began = time.monotonic()
    done = await asyncio.gather(*(one(began + number / rate) for number in range(round(rate * seconds))))
    if not any(done):
        raise BenchError("the relay took none of those who came")
    return sum(done), time.monotonic() - began


def _storm_figures(spreads: Spreads, rate: float, seconds: float) -> list[Figure]:
    conditions: dict[str, float | int | str] = {
        "joins_s": round(rate, 1),
        "seconds": seconds,
        "watching": _WATCHING,
        "expected": spreads.expected,
    }
    return [
        Figure("join.spread_ms", spreads.p95(), "ms", {**conditions, "percentile": 95}),
        Figure("join.late_frames", spreads.late, "", conditions),
    ]


def _handshakes(count: int, certificate: RTCCertificate) -> float:
    """CPU seconds of the server's side of one handshake, mean of `count`."""
    context = certificate._create_ssl_context([SRTP_AEAD_AES_128_GCM])
    context.set_max_proto_version(_DTLS_1_2)
    spent = 0.0
    for _ in range(count):
        since = time.thread_time()
        server = SSL.Connection(context)
        server.set_accept_state()
        spent += time.thread_time() - since
        client = SSL.Connection(context)
        client.set_connect_state()
        done = [False, False]
        while not all(done):
            done[0] = done[0] or _step(client, server)
            since = time.thread_time()
            done[1] = done[1] or _step(server, client)
            spent += time.thread_time() - since
    return spent / count


def _step(end: SSL.Connection, peer: SSL.Connection) -> bool:
    """One end takes what it got; its answer goes to the other. Whether its handshake is done."""
    try:
        end.do_handshake()
        done = True
    except SSL.WantReadError:
        done = False
    with contextlib.suppress(SSL.WantReadError):
        peer.bio_write(end.bio_read(_DATAGRAM))
    return done
