"""A reflector, and what it goes by, on a real API server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pancar_operator import objects
from pancar_operator.api import CAMERAS, CONFIG_MAPS, POOLS, SECRETS, Api, ApiError, Kind
from pancar_operator.model import CREDENTIALS_LABEL, Key
from pancar_operator.observe import Known
from pancar_operator.reflector import Reflector
from rigs.cable import Cable
from rigs.cluster.kube import Kube
from rigs.definitions import defined
from rigs.waiting import eventually

Body = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def kinds_defined(kube: Kube) -> Iterator[None]:
    with defined(kube, "Camera", "RelayPool"):
        yield


@asynccontextmanager
async def following(api: Api, kind: Kind, namespace: str, labels: str = "") -> AsyncIterator[dict[Key, Body]]:
    """What a reflector tells, as it is now; begins once it is synced."""
    there: dict[Key, Body] = {}

    def put(body: Body) -> None:
        there[objects.key(body)] = body

    def drop(key: Key, uid: str) -> None:
        assert there.pop(key)["metadata"]["uid"] == uid

    reflector = Reflector(api, kind, namespace=namespace, labels=labels, put=put, drop=drop)
    task = asyncio.create_task(reflector.run())
    try:
        await eventually(lambda: reflector.synced, "it is synced")
        yield there
    finally:
        task.cancel()
        await asyncio.wait([task])


def camera(namespace: str, name: str, **spec: Any) -> Body:
    return {
        "apiVersion": "pancar.dev/v1alpha1",
        "kind": "Camera",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"source": {"main": {"url": f"rtsp://192.0.2.1/{name}"}}, **spec},
    }


def config_map(namespace: str, name: str) -> Body:
    metadata = {"name": name, "namespace": namespace, "labels": {"test": "reflector"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_cameras_come_change_and_go(kube: Kube, namespace: str) -> None:
    known = Known(lambda: 0.0, Key("pancar", "default"))

    def put(body: Body) -> None:
        key = objects.key(body)
        known.put_camera(*objects.camera(body, known.held(key)), key)

    kube.apply(*(camera(namespace, f"camera-{number}") for number in range(3)))
    async with Api.connect(kube.kubeconfig) as api:
        reflector = Reflector(
            api,
            CAMERAS,
            namespace=namespace,
            put=put,
            drop=lambda key, uid: known.drop_camera(key),
        )
        task = asyncio.create_task(reflector.run())
        try:
            await eventually(lambda: reflector.synced, "it is synced")
            assert {key.name for key in known.cameras} == {"camera-0", "camera-1", "camera-2"}
            kube.apply(camera(namespace, "camera-1", title="Gate"), camera(namespace, "camera-3"))
            kube("delete", "camera", "camera-0", f"--namespace={namespace}")
            wanted = {"camera-1", "camera-2", "camera-3"}
            await eventually(lambda: {key.name for key in known.cameras} == wanted, "it knows of all")
            gate = Key(namespace, "camera-1")
            assert known.cameras[gate].spec.title == "Gate"
            assert known.objects[gate].generation == 2
            status = {"apiVersion": CAMERAS.api_version, "kind": "Camera", "metadata": {"name": gate.name}}
            before = known.placements[gate]
            await api.apply(CAMERAS.path(*gate), {**status, "status": {"relay": "default-0"}}, subresource="status")
            await eventually(lambda: known.objects[gate].status.relay == "default-0", "the echo comes")
            assert known.placements[gate] is before
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_only_labelled_secrets_are_handed_out(kube: Kube, namespace: str) -> None:
    def secret(name: str, *labels: str) -> Body:
        metadata = {"name": name, "namespace": namespace, "labels": dict.fromkeys(labels, "true")}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"username": name}}

    kube.apply(secret("other"), secret("key", CREDENTIALS_LABEL))
    async with (
        Api.connect(kube.kubeconfig) as api,
        following(api, SECRETS, namespace, CREDENTIALS_LABEL) as there,
    ):
        assert there.keys() == {Key(namespace, "key")}
        kube("label", "secret", "key", f"{CREDENTIALS_LABEL}-", f"--namespace={namespace}")
        await eventually(lambda: not there, "it lost its label, and is none of ours any more")


async def test_what_happened_while_the_cable_was_out_is_told(kube: Kube, namespace: str, tmp_path: Path) -> None:
    kube.apply(*(config_map(namespace, name) for name in ("stays", "goes")))
    async with (
        Cable.to(kube.kubeconfig, tmp_path) as (cable, kubeconfig),
        Api.connect(kubeconfig) as api,
        following(api, CONFIG_MAPS, namespace, "test=reflector") as there,
    ):
        assert {key.name for key in there} == {"stays", "goes"}
        cable.pull()
        kube("delete", "configmap", "goes", f"--namespace={namespace}")
        kube.apply(config_map(namespace, "comes"))
        cable.plug_in()
        await eventually(lambda: {key.name for key in there} == {"stays", "comes"}, "it is as it is")


async def test_an_object_is_deleted_only_as_the_one_that_was_meant(kube: Kube, namespace: str) -> None:
    pool = {"apiVersion": POOLS.api_version, "kind": "RelayPool", "metadata": {"name": "p", "namespace": namespace}}
    path = POOLS.path(namespace, "p")
    async with Api.connect(kube.kubeconfig) as api:
        made = await api.apply(path, {**pool, "spec": {}})
        with pytest.raises(ApiError) as caught:
            await api.delete(path, uid="another")
        assert caught.value.conflict
        with pytest.raises(ApiError) as caught:
            await api.create(POOLS.path(namespace), pool)
        assert caught.value.conflict
        with pytest.raises(ApiError) as caught:
            await api.apply(path, {**pool, "spec": {"replicas": -1}})
        assert caught.value.status == 422
        assert "spec.replicas" in caught.value.message
        assert not caught.value.passing
        await api.delete(path, uid=made["metadata"]["uid"])
        with pytest.raises(ApiError) as caught:
            await api.get(path)
        assert caught.value.not_found
