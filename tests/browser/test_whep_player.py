"""Another player than the wall's in Chromium: ICE restarted in mid-session, and a counter-offer played."""

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually
from rigs.whep_page import WhepPage


async def test_pictures_go_on_over_ice_restarts(cameras: Cameras, up: Runs, screen: Screen) -> None:
    source = cameras(number=41)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        await screen.enter(run.link)
        player = WhepPage(screen.page)
        assert await player.join("default/gate") == 201

        async def plays(frames: int) -> bool:
            return (await player.seen()).frames >= frames

        await eventually(lambda: plays(25), "pictures come")
        for _ in range(3):
            before = await player.seen()
            assert await player.restart_ice()

            async def moved(ufrag: str | None = before.ufrag) -> bool:
                now = (await player.seen()).ufrag
                return now is not None and now != ufrag

            await eventually(moved, "the pair of the new ICE session is selected")
            await eventually(lambda frames=before.frames: plays(frames + 40), "pictures go on")
        after = await player.seen()
        # The DTLS association and its keys are those of the beginning: nothing was negotiated again.
        assert (after.dtls, after.states) == ("connected", ("connecting", "connected"))
        assert run.relay_log.count("session.started") - run.relay_log.count("session.ended") <= 2


async def test_a_counter_offer_plays(cameras: Cameras, up: Runs, screen: Screen) -> None:
    source = cameras(number=42)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        await screen.enter(run.link)
        player = WhepPage(screen.page)
        assert await player.join("default/gate", refuse_h264=True) == 406

        async def plays() -> bool:
            return (await player.seen()).frames >= 50

        await eventually(plays, "pictures come")
