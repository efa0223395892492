"""`kubectl scale` and a wider or narrower pool: cameras move first, pods go after, from the highest ordinal on."""

import asyncio
import subprocess

from rigs import manifests
from rigs.camera import Cameras
from rigs.pancar_cluster import PANCAR, SLOW, Installation, numbered, pool
from rigs.waiting import eventually

NAMES = numbered("gate", 6)
POOL = "relaypool/default"


async def cli(pancar: Installation, *arguments: str) -> str:
    """What a `pancar` command says of the cluster."""

    def run() -> str:
        command = [str(PANCAR), *arguments, "--kubeconfig", str(pancar.cluster.kube.kubeconfig)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return await asyncio.to_thread(run)


async def relays(pancar: Installation, namespace: str) -> set[str | None]:
    listed = (await pancar.get("cameras", "-n", namespace))["items"]
    return {body["status"].get("relay") for body in listed}


async def test_a_pool_is_scaled_by_kubectl(pancar: Installation, namespace: str, cameras: Cameras) -> None:
    address = pancar.camera_address()
    sources = [cameras(**SLOW, number=number, address=address) for number in range(1, 7)]
    own = pancar.cluster.kube.within(namespace)
    await pancar.apply(pool(replicas=1))
    await pancar.until_relays(1)
    await pancar.apply(*(manifests.camera(name, source) for name, source in zip(NAMES, sources, strict=True)), kube=own)
    await pancar.until_ready(namespace)
    await pancar.kubectl("scale", POOL, "--replicas=3")
    await pancar.until_relays(3)
    assert await relays(pancar, namespace) == {"default-0"}, "what people watch is not moved for evenness"
    # All that is on one relay goes to the others when that has to go; so put it there.
    await pancar.kubectl("delete", "pod", "default-0")

    async def elsewhere() -> bool:
        return "default-0" not in await relays(pancar, namespace)

    await eventually(elsewhere, "default-0 was emptied", seconds=60)
    await pancar.until_relays(3)
    await pancar.until_ready(namespace)
    assert await relays(pancar, namespace) <= {"default-1", "default-2"}

    await pancar.kubectl("scale", POOL, "--replicas=1")
    await pancar.until_relays(1)

    async def told_where() -> bool:
        return await relays(pancar, namespace) == {"default-0"}

    # A status is written after what it tells of.
    await eventually(told_where, "all cameras say that they are on default-0")
    await pancar.until_ready(namespace)
    for source in sources:
        assert source.stats().sessions_most == 1, "a camera is let go of before another relay has it"
    told = await cli(pancar, "why", f"camera/{namespace}/{NAMES[0]}")
    assert told.startswith(f"{namespace}/{NAMES[0]}  Live since ")
    assert "On relay default-0 at https://" in told
    assert "its pool needs fewer relays (ScaleIn)." in told
    planned = (await cli(pancar, "plan", "--dry-run")).splitlines()
    assert planned == [
        "Planned for the cluster as it is now; nothing was changed.",
        "To place: 0, to move: 0, to release: 0, left out: 0, to stay: 6.",
        f"RelayPool {pancar.namespace}/default: 1 relay, 6 of 200 cameras.",
    ]
