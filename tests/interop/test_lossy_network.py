"""Chromium, 60 ms away on a network that loses 2 % of all packets both ways, plays on."""

import asyncio

from pancar_cli.bench.wire.impairment import Impairment
from pancar_cli.bench.wire.wire import Wire
from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs

STATS = """async () => {
  const player = document.querySelector("pancar-player");
  const out = [];
  for (const pc of (window.__pcs||[])) for (const r of (await pc.getStats()).values()) if (r.type==="inbound-rtp") out.push(r);
  return out; }"""


async def test_chromium_plays_on(cameras: Cameras, up: Runs, wire: Wire, far_screen: Screen) -> None:
    source = cameras(number=21, width=640, height=360, fps=25, gop=50, kbps=2000)
    wire.both(Impairment(delay=0.03))
    await far_screen.page.add_init_script(
        "window.__pcs=[];const O=RTCPeerConnection;window.RTCPeerConnection=class extends O{constructor(...a){super(...a);window.__pcs.push(this)}}"
    )
    async with up(camera("gate", source), listen=wire.near) as run:
        await run.until("gate", "Live")
        await far_screen.enter(run.link)
        tile = far_screen.tile("gate")
        await tile.until("live", seconds=30)
        wire.both(Impairment(delay=0.03, loss=0.02))
        await tile.moves(frames=75, seconds=15)
        for _ in range(6):
            await asyncio.sleep(5)
            for r in await far_screen.page.evaluate(STATS):
                print(
                    {
                        k: r.get(k)
                        for k in "packetsReceived packetsLost nackCount pliCount framesDecoded freezeCount totalFreezesDuration jitterBufferDelay jitterBufferEmittedCount jitterBufferTargetDelay retransmittedPacketsReceived totalInterFrameDelay totalSquaredInterFrameDelay keyFramesDecoded".split()
                    }
                )
        print(wire.counts())
