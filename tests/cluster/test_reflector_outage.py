"""The API server ends and returns: what is followed is as it is again, without anybody's doing."""

import asyncio

import pytest
from pancar_operator.api import CONFIG_MAPS, Api, ApiUnreachable
from pancar_operator.model import Key
from pancar_operator.reflector import Body, Reflector
from rigs.cluster.running import Cluster
from rigs.waiting import eventually


async def test_a_reflector_outlives_the_api_server(cluster: Cluster, namespace: str) -> None:
    there: dict[str, str] = {}

    def put(body: Body) -> None:
        there[body["metadata"]["name"]] = body["data"]["round"]

    def drop(key: Key, _uid: str) -> None:
        del there[key.name]

    def config_map(name: str, told: str) -> Body:
        metadata = {"name": name, "namespace": namespace, "labels": {"test": "outage"}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"round": told}}

    async with Api.connect(cluster.kube.kubeconfig) as api:
        path = CONFIG_MAPS.path(namespace, "kept")
        await api.apply(path, config_map("kept", "before"))
        await api.apply(CONFIG_MAPS.path(namespace, "lost"), config_map("lost", "before"))
        reflector = Reflector(
            api,
            CONFIG_MAPS,
            namespace=namespace,
            labels="test=outage",
            put=put,
            drop=drop,
        )
        task = asyncio.create_task(reflector.run())
        try:
            await eventually(lambda: there == {"kept": "before", "lost": "before"}, "it knows of both")
            await asyncio.to_thread(cluster.stop_api)
            try:
                with pytest.raises(ApiUnreachable):
                    await api.get(path)
            finally:
                await asyncio.to_thread(cluster.start_api)
            await api.delete(CONFIG_MAPS.path(namespace, "lost"))
            await api.apply(path, config_map("kept", "after"))
            await eventually(lambda: there == {"kept": "after"}, "it is as it is", seconds=60)
        finally:
            task.cancel()
            await asyncio.wait([task])
