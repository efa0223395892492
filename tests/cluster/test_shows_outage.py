"""Control is away: no operator, then no API server either. Pictures go on, viewers join, and nothing moves for it."""

import asyncio

from rigs import manifests
from rigs.camera import Cameras
from rigs.pancar_cluster import OPERATOR, SLOW, Installation, numbered, pool

NAMES = numbered("gate", 5)
OUTAGE_SECONDS = 120
# For what a new leader may think better of, once all relays are back.
SETTLE_SECONDS = 5


async def placed(pancar: Installation, namespace: str) -> dict[str, str]:
    """The relay that each camera says it is on."""
    listed = (await pancar.get("cameras", f"--namespace={namespace}"))["items"]
    return {body["metadata"]["name"]: body["status"].get("relay", "") for body in listed}


async def test_pictures_go_on_without_operator_and_api(pancar: Installation, namespace: str, cameras: Cameras) -> None:
    sources = [cameras(**SLOW, number=n, address=pancar.camera_address()) for n in range(1, 6)]
    own = pancar.cluster.kube.within(namespace)
    await pancar.apply(pool(replicas=2))
    await pancar.until_relays(2)
    await pancar.apply(
        *(manifests.camera(name, source) for name, source in zip(NAMES[:4], sources[:4], strict=True)), kube=own
    )
    await pancar.until_ready(namespace)
    before = await placed(pancar, namespace)
    assert set(before.values()) == {"default-0", "default-1"}

    first, later = [await pancar.viewer(namespace, name) for name in (NAMES[0], NAMES[1])]
    async with first:
        await pancar.kubectl("scale", OPERATOR, "--replicas=0")
        await pancar.kubectl("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/name=pancar-operator")
        await first.watch(15)
        await asyncio.to_thread(pancar.cluster.stop_api)
        try:
            await asyncio.sleep(OUTAGE_SECONDS / 2)
            async with later:
                await later.watch(15)
            await asyncio.sleep(OUTAGE_SECONDS / 2)
            await first.watch(15)
        finally:
            await asyncio.to_thread(pancar.cluster.start_api)
        await pancar.kubectl("scale", OPERATOR, "--replicas=2")
        await pancar.kubectl("rollout", "status", OPERATOR, "--timeout=150s", seconds=160)
        # Kubernetes itself takes a while until it knows again where the operator is.
        await pancar.apply(manifests.camera(NAMES[4], sources[4]), kube=own)
        await pancar.until_ready(namespace, NAMES[4])
        await asyncio.sleep(SETTLE_SECONDS)
        await first.watch(15)
    after = await placed(pancar, namespace)
    assert {name: after[name] for name in before} == before
    for source in sources:
        assert source.stats().sessions_most == 1
