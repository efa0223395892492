"""What people change while cameras run: a password, a camera, many cameras, a namespace, a pool."""

import time

from rigs import manifests
from rigs.camera import Cameras
from rigs.pancar_cluster import SLOW, Installation, numbered, pool
from rigs.waiting import eventually

MANY = numbered("batch", 101)
# A quiet machine takes less than 60 s, a busy one more.
MANY_SECONDS = 180.0


async def test_a_password_is_rotated_before_the_eyes_of_a_viewer(
    pancar: Installation, namespace: str, cameras: Cameras
) -> None:
    locked = cameras(auth="digest", password="old", address=pancar.camera_address())
    own = pancar.cluster.kube.within(namespace)
    await pancar.apply(pool(replicas=2))
    await pancar.apply(
        manifests.secret("gate", "viewer", "old"), manifests.camera("gate", locked, secret="gate"), kube=own
    )
    await pancar.until_on(namespace, "gate")
    viewer = await pancar.viewer(namespace, "gate")
    async with viewer:
        await viewer.watch(10)
        await pancar.apply(manifests.secret("gate", "viewer", "new"), kube=own)
        await viewer.watch(60)
        assert not viewer.ended
    # The session that runs needs no password; the next one takes the new one.
    assert locked.stats().sessions_total == 1


async def test_an_edited_camera_shows_its_new_source_and_a_deleted_one_is_let_go(
    pancar: Installation, namespace: str, cameras: Cameras
) -> None:
    first, second = (cameras(**SLOW, number=n, address=pancar.camera_address()) for n in (1, 2))
    own = pancar.cluster.kube.within(namespace)
    await pancar.apply(pool(replicas=2))
    await pancar.apply(manifests.camera("gate", first), kube=own)
    before = await pancar.until_on(namespace, "gate")
    await pancar.apply(manifests.camera("gate", second), kube=own)
    await eventually(lambda: second.stats().sessions == 1, "the new source is pulled")
    await eventually(lambda: first.stats().sessions == 0, "the old source is let go")

    async def seen() -> bool:
        status = (await pancar.camera(namespace, "gate"))["status"]
        return bool(status["observedGeneration"] > before["status"]["observedGeneration"])

    await eventually(seen, "the status speaks of the new manifest")
    after = await pancar.until_on(namespace, "gate")
    assert after["status"]["relay"] == before["status"]["relay"]
    async with await pancar.viewer(namespace, "gate") as viewer:
        await viewer.watch(5)
        assert viewer.seen[-1][1].camera == 2
    await pancar.kubectl("delete", "camera", "gate", f"--namespace={namespace}")
    await eventually(lambda: second.stats().sessions == 0, "the deleted camera is let go")


async def test_a_hundred_and_one_cameras_at_once_and_a_namespace_with_all_of_them_gone(
    pancar: Installation, cameras: Cameras
) -> None:
    # One camera that many look at, each with a pull of its own.
    source = cameras(width=160, height=128, fps=5, gop=5, kbps=100, address=pancar.camera_address())
    await pancar.apply(pool(replicas=2))
    await pancar.until_relays(2)
    with pancar.cluster.kube.namespace("batch") as namespace:
        began = time.monotonic()
        batch = [manifests.camera(name, source) for name in MANY]
        await pancar.apply(*batch, kube=pancar.cluster.kube.within(namespace))
        await pancar.until_ready(namespace, seconds=MANY_SECONDS)
        took = time.monotonic() - began
        assert took < MANY_SECONDS, f"{took:.0f} s"
        listed = (await pancar.get("cameras", f"--namespace={namespace}"))["items"]
        relays = [body["status"]["relay"] for body in listed]
        assert {relays.count("default-0"), relays.count("default-1")} == {50, 51}
        assert source.stats().sessions == len(MANY)
        # Few words for many cameras.
        assert len((await pancar.get("events", f"--namespace={namespace}"))["items"]) <= 40
    await eventually(lambda: source.stats().sessions == 0, "cameras of a deleted namespace are let go", seconds=60)


async def test_a_deleted_pool_takes_its_relays_along_and_cameras_say_so(
    pancar: Installation, namespace: str, cameras: Cameras
) -> None:
    source = cameras(address=pancar.camera_address())
    own = pancar.cluster.kube.within(namespace)
    second = pool("second", replicas=1)
    await pancar.apply(second)
    there = {"name": "second", "namespace": pancar.namespace}
    await pancar.apply(manifests.camera("gate", source, poolRef=there), kube=own)
    await pancar.until_on(namespace, "gate")
    await pancar.kubectl("delete", "relaypool", "second", "--timeout=60s", seconds=70)
    await pancar.kubectl(
        *("wait", "--for=condition=Placed=False", "camera/gate", "--timeout=60s", f"--namespace={namespace}"),
        seconds=70,
    )
    await eventually(lambda: source.stats().sessions == 0, "the camera is let go", seconds=60)

    async def gone() -> bool:
        kinds = "pods,statefulsets,services,poddisruptionbudgets,configmaps"
        return not (await pancar.get(kinds, "--selector=pancar.dev/pool=second"))["items"]

    await eventually(gone, "nothing is left of the pool", seconds=60)
    await pancar.apply(second)
    await pancar.until_on(namespace, "gate")
