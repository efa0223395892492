"""`pancar plan --dry-run`: over files alone, and against what runs."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pancar_cli.facts import CameraFacts, Facts, RelayFacts
from pancar_cli.plan import changes, loads, snapshot
from pancar_operator.manifests import parse
from pancar_operator.model import Assignment, Key, Manifests, Relay, Why
from pancar_operator.plan import plan
from rigs.manifests import Document, camera, dump
from rigs.up import PANCAR, Runs
from rigs.waiting import eventually

URL = "rtsp://127.0.0.1:9/stream"
CITY, POLICE = Key("default", "city"), Key("default", "police")


def pool(name: str, **spec: object) -> Document:
    return {"apiVersion": "pancar.dev/v1alpha1", "kind": "RelayPool", "metadata": {"name": name}, "spec": spec}


def declared(*documents: Document) -> Manifests:
    return parse([("cameras.yaml", yaml.safe_dump_all(documents))])


def lines(manifests: Manifests, facts: Facts | None = None) -> list[str]:
    given = snapshot(manifests, facts)
    planned = plan(given)
    return [*changes(given, planned, {}), *loads(given, planned)]


def running(*relays: Relay, **cameras: str) -> Facts:
    placed = {
        Key("default", name): CameraFacts(Assignment(uid, Why.NEW), datetime.now(UTC)) for name, uid in cameras.items()
    }
    return Facts(CITY, tuple(RelayFacts(relay, "http://127.0.0.1:1") for relay in relays), placed)


def test_from_nothing_there_are_the_relays_that_the_pools_ask_for() -> None:
    told = lines(
        declared(
            pool("city", replicas=2),
            pool("police", autoscaling={"min": 1, "max": 5, "headroom": 50}, capacity={"cameras": 2}),
            *(camera(f"c{number}", URL) for number in range(4)),
            *(camera(f"p{number}", URL, poolRef={"name": "police"}) for number in range(3)),
            camera("stray", URL, poolRef={"name": "none"}),
        )
    )
    assert told[-3:] == [
        "To place: 7, to move: 0, to release: 0, left out: 1, to stay: 0.",
        "RelayPool default/city: 2 relays, 4 of 400 cameras, 2 to 2 on each.",
        "RelayPool default/police: 3 relays, 3 of 6 cameras, 1 to 1 on each.",
    ]
    assert told[0] in [f"place     default/c0  on city-{number}: it was on no relay (New)" for number in (0, 1)]
    assert told[7].startswith("leave out default/stray  There is no RelayPool default/none.")


def test_against_what_runs_only_changes_are_told() -> None:
    facts = running(Relay("a", CITY, cameras=2), Relay("b", POLICE), stays="a", moves="a", goes="a")
    told = lines(
        declared(
            pool("city"),
            pool("police"),
            camera("stays", URL),
            camera("moves", URL, poolRef={"name": "police"}),
            camera("new", URL),
            camera("surplus", URL),
        ),
        facts,
    )
    assert told == [
        "release   default/goes  from a: it is declared no more",
        "move      default/moves  from a to b: it, or the relay it was on, now belongs to another pool (PoolChanged)",
        "place     default/new  on a: it was on no relay (New)",
        "leave out default/surplus  All relays of RelayPool default/city are full. Whoever runs Pancar adds a relay or "
        "raises spec.capacity.cameras. (NoCapacity)",
        "To place: 1, to move: 1, to release: 1, left out: 1, to stay: 1.",
        "RelayPool default/city: 1 relay, 2 of 2 cameras.",
        "RelayPool default/police: 1 relay, 1 of 200 cameras.",
    ]


def pancar(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PANCAR, "plan", *arguments], capture_output=True, text=True, check=False)


def test_it_changes_nothing(tmp_path: Path) -> None:
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([camera("gate", URL)]))
    done = pancar("--dry-run", manifest, "--state-dir", tmp_path / "state")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Planned from nothing; nothing was changed.",
        "place     default/gate  on default-0: it was on no relay (New)",
        "To place: 1, to move: 0, to release: 0, left out: 0, to stay: 0.",
        "RelayPool default/default: 1 relay, 1 of 200 cameras.",
    ]
    assert list(tmp_path.iterdir()) == [manifest]


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "cameras.yaml"
    manifest.write_text(dump([camera("gate", "rtsp://admin:hunter2@127.0.0.1/")]))
    wrong = pancar("--dry-run", manifest, "--state-dir", tmp_path / "state")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "cameras.yaml:8: Camera gate: spec.source.main.url must not contain" in wrong.stderr
    assert "hunter2" not in wrong.stderr
    for_real = pancar(manifest, "--state-dir", tmp_path / "state")
    assert (for_real.returncode, "--dry-run" in for_real.stderr) == (2, True)


async def test_against_a_running_pancar(up: Runs, tmp_path: Path) -> None:
    async with up(camera("gate", URL), camera("harbour", URL)) as run:
        edited = tmp_path / "edited.yaml"
        edited.write_text(dump([camera("gate", URL), camera("square", URL)]))

        async def at_rest() -> list[str] | None:
            told = (await run.pancar("plan", "--dry-run", edited)).splitlines()
            return told if told[-2].endswith("to stay: 1.") else None

        told = await eventually(at_rest, "what runs was told", seconds=15)
        assert told[0] == f"Planned for the pancar up that runs with {run.state}; nothing was changed."
        assert told[1].startswith("release   default/harbour  from ")
        assert told[2].startswith("place     default/square  on ")
        assert told[3] == "To place: 1, to move: 0, to release: 1, left out: 0, to stay: 1."
        assert set(await run.cameras()) == {"gate", "harbour"}
