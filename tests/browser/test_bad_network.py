"""Chromium on a network that loses packets: they come again, and so does the picture where that was not enough."""

from rigs.bad_path import bad_path, inbound
from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually


async def test_a_tenth_of_the_packets_is_lost_and_none_missed(cameras: Cameras, up: Runs, screen: Screen) -> None:
    # With a key frame every twenty seconds one packet that stays lost would spoil most of the pictures.
    source = cameras(number=8, width=640, height=360, gop=300, kbps=1000)
    async with up(camera("gate", source)) as run, bad_path(screen.page) as path:
        await run.until("gate", "Live")
        path.loss = 0.1
        await screen.enter(run.link)
        tile = screen.tile("gate")
        await tile.until("live")
        await tile.moves(frames=75, seconds=30)
        counted = await inbound(screen.page)
        assert counted["packetsLost"] > 20
        # As a stream of their own (RFC 4588): otherwise they would not be counted.
        assert counted["retransmittedPacketsReceived"] > 20
        assert counted["pliCount"] == 0
        assert counted["totalFreezesDuration"] < 5


async def test_a_lost_picture_comes_again_long_before_the_next_key_frame(
    cameras: Cameras, up: Runs, screen: Screen
) -> None:
    source = cameras(number=9, width=640, height=360, gop=3000, kbps=300)
    async with up(camera("gate", source)) as run, bad_path(screen.page) as path:
        await run.until("gate", "Live")
        await screen.enter(run.link)
        tile = screen.tile("gate")
        await tile.until("live")
        await tile.moves()
        before = await inbound(screen.page)
        # What is lost now is lost for good: Chromium gives up asking for it, and asks for a picture.
        path.loss, path.loses_retransmissions = 0.3, True

        async def asked() -> bool:
            return bool((await inbound(screen.page))["pliCount"] > before["pliCount"])

        async def seen() -> bool:
            return bool((await inbound(screen.page))["keyFramesDecoded"] > before["keyFramesDecoded"])

        await eventually(asked, "Chromium asks for a picture", seconds=20)
        path.loss, path.loses_retransmissions = 0.0, False
        # The camera sent its last key frame before Chromium came, and sends the next in minutes.
        await eventually(seen, "it comes again", seconds=20)
        await tile.moves(frames=30, seconds=20)
        metrics = (await run.get("/metrics")).splitlines()
        resent = [line for line in metrics if line.startswith("pancar_camera_pictures_resent_total")]
        assert float(resent[0].split()[-1]) >= 1
