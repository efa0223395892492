"""A pool whose size follows its cameras: out when too little headroom is free, in when it is free without a relay."""

from rigs import manifests
from rigs.camera import Cameras
from rigs.pancar_cluster import SLOW, Installation, condition, numbered, pool
from rigs.waiting import eventually

NAMES = numbered("gate", 6)


async def test_a_pool_grows_and_shrinks_with_its_cameras(
    pancar: Installation, namespace: str, cameras: Cameras
) -> None:
    address = pancar.camera_address()
    sources = [cameras(**SLOW, number=number, address=address) for number in range(1, 7)]
    own, own_of = pancar.cluster.kube.within(namespace), ("--namespace", namespace)
    await pancar.apply(pool(autoscaling={"min": 1, "max": 3, "headroom": 20}, capacity={"cameras": 5}))
    await pancar.until_relays(1)
    await pancar.apply(*(manifests.camera(name, source) for name, source in zip(NAMES, sources, strict=True)), kube=own)
    await pancar.until_relays(2)
    await pancar.until_ready(namespace)

    async def as_wanted() -> bool:
        scaled = condition(await pancar.get("relaypool", "default"), "Scaled")
        return (scaled.get("status"), scaled.get("message")) == ("True", "It has 2 relays.")

    await eventually(as_wanted, "the pool says that it has its size")
    on = {body["metadata"]["name"]: body["status"]["relay"] for body in (await pancar.get("cameras", *own_of))["items"]}
    # One on each relay stays.
    stays = {relay: name for name, relay in on.items()}
    assert set(stays) == {"default-0", "default-1"}
    await pancar.kubectl("delete", "camera", *(on.keys() - stays.values()), *own_of)
    await pancar.until_relays(1)

    async def told_where() -> bool:
        listed = (await pancar.get("cameras", *own_of))["items"]
        return {body["status"].get("relay") for body in listed} == {"default-0"}

    # A status is written after what it tells of.
    await eventually(told_where, "both cameras say that they are on default-0")
    await pancar.until_ready(namespace)
    left = {body["metadata"]["name"]: body for body in (await pancar.get("cameras", *own_of))["items"]}
    assert left.keys() == set(stays.values())
    assert condition(left[stays["default-1"]], "Placed")["reason"] == "ScaleIn"
    for source in sources:
        assert source.stats().sessions_most == 1
