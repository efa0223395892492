"""Another player than the wall's in Chromium: ICE restarted in mid-session, and a counter-offer played."""

from functools import partial

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs
from rigs.waiting import eventually
from rigs.whep_page import Seen, WhepPage


async def plays(player: WhepPage, frames: int) -> None:
    """Waits until it has decoded so many in all."""

    async def played() -> bool:
        return (await player.seen()).frames >= frames

    await eventually(played, f"{frames} frames are decoded")


async def another_pair(player: WhepPage, before: Seen) -> bool:
    ufrag = (await player.seen()).ufrag
    return ufrag is not None and ufrag != before.ufrag


async def test_pictures_go_on_over_ice_restarts(cameras: Cameras, up: Runs, screen: Screen) -> None:
    source = cameras(number=41)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        await screen.enter(run.link)
        player = WhepPage(screen.page)
        assert await player.join("default/gate") == 201

        await plays(player, 25)
        for _ in range(3):
            before = await player.seen()
            assert await player.restart_ice()
            await eventually(partial(another_pair, player, before), "the pair of the new ICE session is selected")
            await plays(player, before.frames + 40)
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
        await plays(player, 50)
