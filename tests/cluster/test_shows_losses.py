"""A relay's pod deleted with force, a node without power: the cameras run elsewhere, and say why."""

import asyncio
import time

from pancar_operator.observe import DETACHED_GRACE
from rigs import manifests
from rigs.camera import Cameras
from rigs.cluster.layout import GRACE_SECONDS
from rigs.pancar_cluster import SLOW, Installation, condition, numbered, pool
from rigs.waiting import eventually

NAMES = numbered("gate", 6)
# What a relay without power leaves unread has to fit into the camera's socket: GStreamer's server stops for all else.
THIN = {**SLOW, "kbps": 40}
# The promise is 5 s, seen on a quiet machine. Here is slack for a busy one, but less than the operator gives a relay to
# come back.
POD_SECONDS = DETACHED_GRACE - 1
# Of a node it is 20 s, GRACE_SECONDS of them the node's own.
NODE_SECONDS = 45.0


async def on(pancar: Installation, namespace: str, relay: str) -> list[str]:
    """Cameras that are Ready there."""
    listed = (await pancar.get("cameras", f"--namespace={namespace}"))["items"]
    return [
        body["metadata"]["name"]
        for body in listed
        if body["status"].get("relay") == relay and condition(body, "Ready").get("status") == "True"
    ]


async def told(pancar: Installation, namespace: str, name: str, *, since: int) -> str:
    """The message of the Event of the camera's move, of those after the first `since`."""

    async def probe() -> str:
        events = (await pancar.events(namespace, name))[since:]
        return next((event["message"] for event in events if event["reason"] == "Moved"), "")

    return await eventually(probe, f"{name} has an Event of its move")


async def test_cameras_outlive_their_relay_and_its_node(pancar: Installation, namespace: str, cameras: Cameras) -> None:
    sources = [cameras(**THIN, number=n, address=pancar.camera_address()) for n in range(1, 7)]
    await pancar.apply(pool(replicas=2))
    await pancar.until_relays(2)
    await pancar.apply(
        *(manifests.camera(name, source) for name, source in zip(NAMES, sources, strict=True)),
        kube=pancar.cluster.kube.within(namespace),
    )
    await pancar.until_ready(namespace)
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in await pancar.until_relays(2)}
    assert sorted(nodes.values()) == ["node-a", "node-b"]

    # The pod.
    moved = await on(pancar, namespace, "default-1")
    assert len(moved) == 3
    viewer = await pancar.viewer(namespace, (await on(pancar, namespace, "default-0"))[0])
    async with viewer:
        began = time.monotonic()
        await pancar.kubectl("delete", "pod", "default-1", "--force", "--grace-period=0")
        await eventually(lambda: all_on(pancar, namespace, "default-0"), "all are on default-0")
        took = time.monotonic() - began
        assert took < POD_SECONDS, f"{took:.1f} s"
        await viewer.watch(10)
    for name in moved:
        assert "default-1" in await told(pancar, namespace, name, since=0)

    # The node. First they are spread anew, by being applied anew.
    await pancar.until_relays(2)
    for name in moved:
        await pancar.kubectl("delete", "camera", name, f"--namespace={namespace}")
    # Who came back before that would be on the relay that it was on.
    gone = [sources[NAMES.index(name)] for name in moved]
    await eventually(lambda: all(source.stats().sessions == 0 for source in gone), "they are let go of")
    await pancar.apply(
        *(manifests.camera(name, sources[NAMES.index(name)]) for name in moved),
        kube=pancar.cluster.kube.within(namespace),
    )
    await pancar.until_ready(namespace)
    lost = await on(pancar, namespace, "default-1")
    assert len(lost) == 3
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in await pancar.until_relays(2)}
    counts = {name: len(await pancar.events(namespace, name)) for name in lost}
    began = time.monotonic()
    await asyncio.to_thread(pancar.cluster.power_off, nodes["default-1"])
    try:
        await eventually(lambda: all_on(pancar, namespace, "default-0"), "all are on default-0")
        took = time.monotonic() - began
        assert took < NODE_SECONDS, f"{took:.1f} s, of which {GRACE_SECONDS} s were the node's grace"
        for name in lost:
            assert "default-1" in await told(pancar, namespace, name, since=counts[name])
    finally:
        await asyncio.to_thread(pancar.cluster.power_on, nodes["default-1"])
    await pancar.until_relays(2)


async def all_on(pancar: Installation, namespace: str, relay: str) -> bool:
    return len(await on(pancar, namespace, relay)) == len(NAMES)
