"""What people read of cameras and pools on a real API server, by kubectl."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rigs.cluster.kube import Kube
from rigs.definitions import defined
from rigs.telling import Telling, camera, pool
from rigs.waiting import eventually

GUBENG = {"location": {"district": "Gubeng"}, "provider": {"name": "Diskominfo"}}


@pytest.fixture(scope="module")
def kinds(kube: Kube) -> Iterator[Kube]:
    with defined(kube, "Camera", "RelayPool"):
        yield kube


@pytest.fixture
def own(kinds: Kube, namespace: str) -> Kube:
    return kinds.within(namespace)


async def call(kube: Kube, *arguments: str) -> str:
    return await asyncio.to_thread(kube, *arguments)


async def status(kube: Kube, what: str) -> dict[str, Any]:
    found: dict[str, Any] = (await asyncio.to_thread(kube.get, what)).get("status", {})
    return found


async def conditions(kube: Kube, what: str) -> dict[str, tuple[str, str]]:
    """By type, status and reason."""
    found = (await status(kube, what)).get("conditions", [])
    return {each["type"]: (each["status"], each["reason"]) for each in found}


async def events(kube: Kube, what: str) -> list[str]:
    """Reasons and messages, in the order in which they were posted."""
    kind, name = what.split("/")
    listed = json.loads(await call(kube, "get", "events", f"--field-selector=involvedObject.name={name}", "-o", "json"))
    found = [event for event in listed["items"] if event["involvedObject"]["kind"] == kind]
    return [f"{event['reason']}: {event['message']}" for event in sorted(found, key=lambda each: each["lastTimestamp"])]


async def test_kubectl_shows_where_cameras_are_and_how_they_fare(own: Kube, namespace: str) -> None:
    own.apply(camera("gate", **GUBENG), camera("square"), camera("harbour"), pool(2))
    async with Telling.leading(own.kubeconfig, namespace, relays=2) as telling:
        await telling.placed(3)
        gate, harbour, square = telling.cameras
        telling.live(gate, square)
        telling.dark(harbour)
        await call(
            own, "wait", "--for=condition=Ready", "camera/gate", "camera/square", "relaypool/city", "--timeout=45s"
        )
        head, *rows = (await call(own, "get", "cameras")).splitlines()
        assert head.split() == ["NAME", "POOL", "RELAY", "READY", "REASON", "AGE"]
        shown = {row.split()[0]: row.split()[1:5] for row in rows}
        relays = {
            key.name: each.relay.replace("u", "city-") for key, each in telling.reconciler.plan.assignments.items()
        }
        assert shown == {
            "gate": [f"{namespace}/city", relays["gate"], "True", "Live"],
            "harbour": [f"{namespace}/city", relays["harbour"], "False", "Unreachable"],
            "square": [f"{namespace}/city", relays["square"], "True", "Live"],
        }
        wide = (await call(own, "get", "camera/gate", "--output=wide", "--no-headers")).split()
        assert wide[-3:] == ["H264", "Gubeng", "Diskominfo"]
        assert (await call(own, "get", "relaypools", "--no-headers")).split()[:5] == [
            "city",
            "2",
            "2",
            "True",
            "Serving",
        ]
        described = await call(own, "describe", "camera/harbour")
        assert "The camera's address cannot be reached." in described


async def test_an_event_for_what_befell_a_camera(own: Kube, namespace: str) -> None:
    own.apply(camera("gate"), pool(2))
    async with Telling.leading(own.kubeconfig, namespace, relays=2) as telling:
        await telling.placed(1)
        [gate] = telling.cameras
        telling.live(gate)
        before = int(telling.reconciler.plan.assignments[gate].relay[1:])
        await eventually(lambda: events(own, "Camera/gate"), "it was placed")
        telling.lose(before)
        await eventually(lambda: telling.reconciler.plan.assignments[gate].relay == f"u{1 - before}", "it moved")
        telling.live(gate)

        async def two() -> bool:
            return len(await events(own, "Camera/gate")) == 2

        await eventually(two, "it has moved")
        assert await events(own, "Camera/gate") == [
            f"Placed: Placed on relay city-{before} of RelayPool {namespace}/city.",
            f"Moved: Moved from relay city-{before} to relay city-{1 - before}: "
            "the relay it was on is gone (RelayGone).",
        ]
        assert "Moved from relay" in await call(own, "describe", "camera/gate")


async def test_ready_waits_for_the_edited_manifest(own: Kube, namespace: str) -> None:
    own.apply(camera("gate"), pool(1))
    async with Telling.leading(own.kubeconfig, namespace, relays=1) as telling:
        await telling.placed(1)
        [gate] = telling.cameras
        telling.live(gate)
        await call(own, "wait", "--for=condition=Ready", "camera/gate", "--timeout=45s")
        await asyncio.to_thread(own.apply, camera("gate", title="Gerbang"))
        waiting = asyncio.create_task(call(own, "wait", "--for=condition=Ready", "camera/gate", "--timeout=120s"))
        await eventually(lambda: telling.known.objects[gate].generation == 2, "the edit is known")

        async def told() -> bool:
            found = await status(own, "camera/gate")
            generations = {each["type"]: each["observedGeneration"] for each in found["conditions"]}
            return generations == {"Placed": 2, "Connected": 1, "Ready": 1, "Paused": 2}

        await eventually(told, "the edit is told of")
        assert not waiting.done(), "the relay still speaks of the manifest before"
        telling.live(gate)
        await waiting


async def test_a_pause_and_a_missing_secret_are_told(own: Kube, namespace: str) -> None:
    secretive = camera("vault")
    secretive["spec"]["source"]["credentialsRef"] = {"name": "vault-login"}
    own.apply(camera("gate", paused={"reason": "Ibadah"}), secretive, pool(1))
    async with Telling.leading(own.kubeconfig, namespace, relays=1):
        await call(own, "wait", "--for=condition=Paused", "camera/gate", "--timeout=45s")
        assert (await conditions(own, "camera/gate"))["Ready"] == ("False", "Paused")

        async def refused() -> bool:
            return (await conditions(own, "camera/vault")).get("Placed") == ("False", "SecretNotFound")

        await eventually(refused, "the camera without its Secret is told of")
        assert "vault-login" in await call(own, "describe", "camera/vault")


async def test_what_others_wrote_is_mended_and_what_is_theirs_left_alone(own: Kube, namespace: str) -> None:
    own.apply(camera("gate"), pool(1))
    async with Telling.leading(own.kubeconfig, namespace, relays=1) as telling:
        await telling.placed(1)
        telling.live(*telling.cameras)
        await call(own, "wait", "--for=condition=Ready", "camera/gate", "--timeout=45s")
        theirs = {
            "type": "Inspected",
            "status": "True",
            "reason": "Clean",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        own_ones = (await status(own, "camera/gate"))["conditions"]
        patch = json.dumps({"status": {"relay": "nowhere", "conditions": [*own_ones, theirs]}})
        await call(own, "patch", "camera/gate", "--subresource=status", "--type=merge", f"--patch={patch}")

        async def mended() -> bool:
            return bool((await status(own, "camera/gate"))["relay"] == "city-0")

        await eventually(mended, "the relay is told again")
        assert "Inspected" in await conditions(own, "camera/gate")


async def test_a_camera_made_anew_is_told_of_anew(own: Kube, namespace: str) -> None:
    own.apply(camera("gate"), pool(1))
    async with Telling.leading(own.kubeconfig, namespace, relays=1) as telling:
        await telling.placed(1)
        telling.live(*telling.cameras)
        await call(own, "wait", "--for=condition=Ready", "camera/gate", "--timeout=45s")
        await call(own, "delete", "camera/gate")
        await asyncio.to_thread(own.apply, camera("gate"))
        await telling.placed(1)

        async def written() -> bool:
            return "Placed" in await conditions(own, "camera/gate")

        await eventually(written, "the new one has a status")


async def test_a_pool_says_what_hinders_it(own: Kube, namespace: str) -> None:
    own.apply(pool(2))
    async with Telling.leading(own.kubeconfig, namespace, relays=1) as telling:
        telling.trouble[telling.pool] = "StatefulSet: exceeded quota: pods"
        telling.known.changed.set()

        async def told() -> bool:
            return (await conditions(own, "relaypool/city")).get("Ready") == ("False", "Failed")

        await eventually(told, "the pool is not ready")
        assert "exceeded quota" in await call(own, "describe", "relaypool/city")
        scale = await asyncio.to_thread(own.get, "relaypool/city", "--subresource=scale")
        assert scale["status"] == {"replicas": 1, "selector": "pancar.dev/pool=city"}
