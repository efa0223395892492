"""`pancar why`."""

import re
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pancar_cli.facts import CameraFacts, Facts, Happening, RelayFacts
from pancar_cli.why import explain, parse, unknown
from pancar_operator.model import Assignment, Key, Relay, Why
from pancar_operator.status import Phase
from rigs.manifests import camera, secret
from rigs.up import PANCAR, Runs
from rigs.waiting import eventually

GATE, POOL = Key("kota", "gate"), Key("default", "city")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
REFUSED = Happening(NOW, Phase.OFFLINE, "Refused", "Its keeper mends this.")


def told(facts: CameraFacts, *relays: Relay) -> list[str]:
    relay = next((RelayFacts(each, "https://192.0.2.1:8443") for each in relays), None)
    return [re.sub(MOMENT, "WHEN", line) for line in explain(GATE, facts, relay)]


def test_where_since_when_why_and_what_befell_it() -> None:
    before = [Happening(NOW - timedelta(minutes=1), Phase.WAITING, "Waiting", "Not reported."), REFUSED]
    now = Happening(NOW + timedelta(minutes=1), Phase.LIVE, "Live")
    facts = CameraFacts(Assignment("a", Why.RELAY_GONE), NOW, (*before, now))
    assert told(facts, Relay("a", POOL)) == [
        "kota/gate  Live since WHEN",
        "On relay a at https://192.0.2.1:8443, of RelayPool default/city, since WHEN: the relay it was on is gone "
        "(RelayGone).",
        "Before that:",
        "  WHEN  Waiting Not reported.",
        "  WHEN  Offline Refused: Its keeper mends this.",
    ]
    assert told(facts)[1].startswith("On relay a, which is not attached, since WHEN")


def test_a_camera_that_is_on_no_relay() -> None:
    full = Happening(NOW, Phase.OFFLINE, "NoCapacity", "All relays are full.")
    assert told(CameraFacts(history=(full,))) == [
        "kota/gate  Offline since WHEN: NoCapacity: All relays are full.",
        "It is on no relay.",
    ]


def test_names() -> None:
    assert parse("camera/gate") == Key("default", "gate")
    assert parse("camera/kota/gate") == parse("cam/kota/gate") == GATE
    for wrong in ("gate", "kota/gate", "camera/", "camera//gate", "camera/a/b/c", "relay/x"):
        with pytest.raises(ValueError, match="camera/NAME"):
            parse(wrong)
    facts = Facts(POOL, (), {GATE: CameraFacts()})
    assert unknown(Key("kota", "gat"), facts) == "There is no camera kota/gat. Is it kota/gate?"
    assert unknown(Key("x", "y"), facts) == "There is no camera x/y."


def test_it_needs_a_running_pancar(tmp_path: Path) -> None:
    command = (PANCAR, "why", "camera/gate", "--state-dir", tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No pancar up is running" in done.stderr


async def test_of_a_running_pancar(up: Runs) -> None:
    city = [camera("gate", "rtsp://127.0.0.1:9/stream", secret="gate"), secret("gate", "viewer", "hunter2")]
    async with up(*city) as run:

        async def why() -> str:
            return await run.pancar("why", "camera/gate")

        async def refused() -> str | None:
            lines = await why()
            return lines if "Refused" in lines.splitlines()[0] else None

        lines = (await eventually(refused, "the camera was tried", seconds=20)).splitlines()
        assert re.match(rf"default/gate  Offline since {MOMENT}: Refused: The camera's host is up", lines[0])
        place = rf"On relay [0-9a-f-]+ at {run.base}, of RelayPool default/default, since {MOMENT}: .* \(New\)\."
        assert re.fullmatch(place, lines[1])
        facts = run.state / "run" / "facts.json"
        assert stat.S_IMODE(facts.stat().st_mode) == 0o600
        assert not re.search("hunter2|viewer|rtsp:", facts.read_text())
        run.kill_relay()

        async def elsewhere() -> bool:
            now = (await why()).splitlines()
            return now[1].startswith("On relay") and now[1] != lines[1] and "http" in now[1]

        await eventually(elsewhere, "it is on the next relay", seconds=20)
        assert re.search(rf"\n  {MOMENT}  Offline Refused: ", await why())
    assert not facts.exists()
