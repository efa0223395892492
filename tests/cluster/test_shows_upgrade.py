"""The chart is upgraded, then uninstalled: cameras run on, relays and definitions stay, nothing is stuck."""

import asyncio

from rigs import manifests
from rigs.camera import Cameras
from rigs.pancar_cluster import OPERATOR, SLOW, Installation, numbered, pool

NAMES = numbered("gate", 4)


async def test_cameras_outlive_an_upgrade_and_the_chart(pancar: Installation, namespace: str, cameras: Cameras) -> None:
    sources = [cameras(**SLOW, number=n, address=pancar.camera_address()) for n in range(1, 5)]
    await pancar.apply(pool(replicas=2))
    await pancar.until_relays(2)
    await pancar.apply(
        *(manifests.camera(name, source) for name, source in zip(NAMES, sources, strict=True)),
        kube=pancar.cluster.kube.within(namespace),
    )
    await pancar.until_ready(namespace)
    pods = {pod["metadata"]["uid"] for pod in await pancar.until_relays(2)}

    viewer = await pancar.viewer(namespace, NAMES[0])
    async with viewer:
        await asyncio.to_thread(pancar.install, "operator.podAnnotations.changed=yes")
        await pancar.kubectl("rollout", "status", OPERATOR, "--timeout=60s", seconds=70)
        await viewer.watch(15)
        assert {pod["metadata"]["uid"] for pod in await pancar.until_relays(2)} == pods

        await asyncio.to_thread(pancar.helm, "uninstall", "pancar", "--namespace", pancar.namespace, "--wait")
        assert (await pancar.get("deployments"))["items"] == []
        assert len((await pancar.get("cameras", f"--namespace={namespace}"))["items"]) == len(NAMES)
        await viewer.watch(15)
        assert {pod["metadata"]["uid"] for pod in await pancar.until_relays(2)} == pods

        await asyncio.to_thread(pancar.install)
        await viewer.watch(15)
    for source in sources:
        assert source.stats().sessions_most == 1

    await asyncio.to_thread(pancar.helm, "uninstall", "pancar", "--namespace", pancar.namespace, "--wait")
    # Nobody is there to let anything go, and nothing waits for it. Pods go with their pool while its kind is known.
    await pancar.kubectl("delete", "cameras", "--all", f"--namespace={namespace}", "--timeout=20s")
    await pancar.kubectl("delete", "relaypools", "--all", "--timeout=20s")
    await pancar.kubectl("wait", "--for=delete", "pod", "--selector=pancar.dev/pool", "--timeout=120s", seconds=130)
    await pancar.kubectl("delete", "crd", "cameras.pancar.dev", "relaypools.pancar.dev", "--timeout=30s")
