"""From `helm install` to pictures, by WHEP and in a browser: a Secret, a pool and twelve cameras, each pulled once."""

import asyncio
import re

import yaml
from rigs import manifests
from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.pancar_cluster import SLOW, Installation, numbered, pool
from rigs.viewer import Viewer

NAMES = numbered("gate", 12)


def told(notes: str) -> list[manifests.Document]:
    """The manifests that the chart's notes suggest."""
    return [yaml.safe_load(block) for block in re.findall(r"<<'END'\n(.*?)\n +END", notes, re.DOTALL)]


async def test_install_apply_wait_watch(bare: Installation, namespace: str, cameras: Cameras, screen: Screen) -> None:
    notes = await asyncio.to_thread(bare.install)
    suggested = told(notes)
    assert [body["kind"] for body in suggested] == ["RelayPool", "Camera"]
    for body in suggested:
        await bare.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(body))

    address = bare.camera_address()
    locked = cameras(**SLOW, number=1, auth="digest", password="s3cret", address=address)
    sources = [locked, *(cameras(**SLOW, number=n, address=address) for n in range(2, 13))]
    own = bare.cluster.kube.within(namespace)
    await bare.apply(pool(replicas=2))
    await bare.apply(
        manifests.secret("gates", "viewer", "s3cret"),
        manifests.camera(NAMES[0], locked, secret="gates"),
        *(manifests.camera(name, source) for name, source in zip(NAMES[1:], sources[1:], strict=True)),
        kube=own,
    )
    await bare.until_ready(namespace)

    listed = {body["metadata"]["name"]: body for body in (await bare.get("cameras", "-n", namespace))["items"]}
    assert sorted(listed) == sorted(NAMES)
    assert {body["status"]["relay"] for body in listed.values()} <= {"default-0", "default-1"}
    for number, name in ((1, NAMES[0]), (12, NAMES[-1])):
        viewers: list[Viewer] = [await bare.viewer(namespace, name) for _ in range(3)]
        async with viewers[0], viewers[1], viewers[2]:
            for viewer in viewers:
                await viewer.watch(10)
                assert {seen.camera for _, seen in viewer.seen} == {number}

    where = await bare.address(namespace, NAMES[0])
    await screen.allow(where.base, where.token)
    await screen.enter(where.base)
    there = [name for name, body in listed.items() if body["status"]["relay"] == listed[NAMES[0]]["status"]["relay"]]
    for name in there:
        tile = screen.tile(name, namespace)
        await tile.until("live")
        assert (await tile.moves(frames=2)).camera == NAMES.index(name) + 1
    await screen.shot("cluster-wall")

    for source in sources:
        stats = source.stats()
        assert (stats.sessions, stats.sessions_most) == (1, 1)
