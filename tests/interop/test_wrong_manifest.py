"""A wrong manifest is refused with file, line, field and reason, and what ran keeps running."""

import re

from rigs import manifests
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer
from rigs.waiting import eventually


async def test_what_ran_keeps_running(cameras: Cameras, up: Runs) -> None:
    source, second = cameras(number=6), cameras(number=7)
    good = camera("gate", source)
    async with up(good) as run:
        await run.until("gate", "Live")
        async with Viewer(run, "gate") as viewer:
            await viewer.watch(5)
            bad = manifests.dump([good, camera("other", "http://127.0.0.1/not-rtsp")])
            run.write_text(bad)
            line = next(number for number, text in enumerate(bad.splitlines(), 1) if "not-rtsp" in text)
            told = await eventually(
                lambda: re.search(r"cameras\.yaml:(\d+)[^\n]*(?:\n[^\n]*)?spec\.source\.main\.url", run.output),
                "the manifest was refused",
            )
            assert int(told[1]) == line
            await viewer.watch(15)
            assert set(await run.cameras()) == {"gate"}

            run.write_text(manifests.dump([good]) + "---\nkind: [unclosed\n")
            await eventually(lambda: run.output.count("cameras.yaml:") >= 2, "broken YAML was refused")
            await viewer.watch(15)

            run.write([good, camera("other", second)])
            await run.until("other", "Live")
        assert source.stats().sessions_total == 1
