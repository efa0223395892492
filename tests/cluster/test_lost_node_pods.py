"""A relay on a node without power: its pod is deleted by force once its cameras have moved, and starts elsewhere."""

import asyncio
from collections.abc import Iterator

import pytest
from pancar_operator.model import Camera, CameraObject, CameraSpec, Key, Metadata, Source, Stream
from rigs.cluster.kube import Kube
from rigs.cluster.running import Cluster
from rigs.definitions import defined
from rigs.running_fleet import RunningFleet, pool, running_fleet
from rigs.waiting import eventually


@pytest.fixture
def own(cluster: Cluster, namespace: str) -> Iterator[Kube]:
    with defined(cluster.kube, "RelayPool"):
        yield cluster.kube.within(namespace)


def declare_cameras(running: RunningFleet, namespace: str) -> list[Key]:
    keys = [Key(namespace, f"camera-{number}") for number in range(4)]
    for key in keys:
        spec = CameraSpec(source=Source(main=Stream(url="rtsp://192.0.2.1/")))
        camera = Camera(metadata=Metadata(name=key.name, namespace=key.namespace), spec=spec)
        running.known.put_camera(camera, CameraObject(key.name, 1), key)
    return keys


async def test_its_pod_ends_after_its_cameras_have_moved(
    cluster: Cluster, own: Kube, namespace: str, relay_image: str
) -> None:
    async with running_fleet(own.kubeconfig, namespace, relay_image) as running:
        running.attaching = True
        own.apply(pool(replicas=2))
        await eventually(lambda: len(running.known.relays) == 2, "two relays", seconds=60)
        cameras = declare_cameras(running, namespace)
        await eventually(lambda: running.plan.assignments.keys() >= {*cameras}, "cameras on relays")
        [lost] = [pod for pod in running.known.pods.values() if pod.node == "node-b"]
        assert lost.uid in {assignment.relay for assignment in running.plan.assignments.values()}
        running.attaching = False
        await asyncio.to_thread(cluster.power_off, "node-b")
        try:
            await eventually(lambda: "node-b" in running.known.nodes.lost, "the node is lost", seconds=90)
            # For as long as its relay is attached, it has its cameras, and its pod.
            await asyncio.sleep(3)
            assert lost.uid in running.known.pods
            running.known.detach(lost.uid)
            await eventually(lambda: lost.uid not in running.known.pods, "its pod is gone")
            assert lost.uid not in {assignment.relay for assignment in running.plan.assignments.values()}
            new = await eventually(lambda: running.pod(lost.name), "the pod that takes its place")
            await eventually(lambda: running.known.pods[new.uid].ready, "it is ready", seconds=120)
            assert running.known.pods[new.uid].node == "node-a"
        finally:
            await asyncio.to_thread(cluster.power_on, "node-b")
