"""Control is away: no operator, then no API server either. Pictures go on, viewers join, and nothing moves for it."""

import asyncio

from rigs import manifests
from rigs.camera import Cameras
from rigs.pancar_cluster import OPERATOR, SLOW, Installation, numbered, pool

NAMES = numbered("gate", 4)
OUTAGE_SECONDS = 30


async def placed(pancar: Installation, namespace: str) -> dict[str, tuple[str, str]]:
    """The relay that each camera says it is on, and since when it is Ready."""
    listed = (await pancar.get("cameras", f"--namespace={namespace}"))["items"]
    return {
        body["metadata"]["name"]: (
            body["status"]["relay"],
            next(one["lastTransitionTime"] for one in body["status"]["conditions"] if one["type"] == "Ready"),
        )
        for body in listed
    }


async def test_pictures_go_on_without_operator_and_api(pancar: Installation, namespace: str, cameras: Cameras) -> None:
    sources = [cameras(**SLOW, number=n, address=pancar.camera_address()) for n in range(1, 5)]
    await pancar.apply(pool(replicas=2))
    await pancar.until_relays(2)
    await pancar.apply(
        *(manifests.camera(name, source) for name, source in zip(NAMES, sources, strict=True)),
        kube=pancar.cluster.kube.within(namespace),
    )
    await pancar.until_ready(namespace)
    before = await placed(pancar, namespace)
    assert {relay for relay, _ in before.values()} == {"default-0", "default-1"}

    first, later = [await pancar.viewer(namespace, name) for name in (NAMES[0], NAMES[1])]
    async with first:
        await pancar.kubectl("scale", OPERATOR, "--replicas=0")
        await pancar.kubectl("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/name=pancar-operator")
        await first.watch(15)
        await asyncio.to_thread(pancar.cluster.stop_api)
        try:
            await asyncio.sleep(OUTAGE_SECONDS)
            async with later:
                await later.watch(15)
            await first.watch(15)
        finally:
            await asyncio.to_thread(pancar.cluster.start_api)
        await pancar.kubectl("scale", OPERATOR, "--replicas=2")
        await pancar.kubectl("rollout", "status", OPERATOR, "--timeout=90s", seconds=100)
        # As long as a new leader waits for relays at most, and then some.
        await asyncio.sleep(20)
        await first.watch(15)
    assert await placed(pancar, namespace) == before
    for source in sources:
        assert source.stats().sessions_most == 1
