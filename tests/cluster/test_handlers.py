"""RelayPools and Nodes by kopf, from a real API server: what is there, what changes, and what is missed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pancar_operator.api import POOLS, Api, Body
from pancar_operator.handlers import Handlers, Roll, rolls
from pancar_operator.model import Key
from rigs.cluster.kube import Kube
from rigs.definitions import defined
from rigs.waiting import eventually


@pytest.fixture(scope="module", autouse=True)
def pools_defined(kube: Kube) -> Iterator[None]:
    with defined(kube, "RelayPool"):
        yield


class Heard:
    """What one kind's watch told."""

    def __init__(self) -> None:
        self.bodies: dict[Key, Body] = {}

    def put(self, body: Body) -> None:
        metadata = body["metadata"]
        self.bodies[Key(metadata.get("namespace", ""), metadata["name"])] = body

    def drop(self, key: Key, uid: str) -> None:
        assert self.bodies.pop(key)["metadata"]["uid"] == uid


def pool(namespace: str, name: str, replicas: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": POOLS.api_version,
        "kind": "RelayPool",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicas": replicas},
    }


@contextlib.asynccontextmanager
async def watched(kube: Kube) -> AsyncIterator[tuple[Heard, Heard, Handlers]]:
    async with Api.connect(kube.kubeconfig) as api:
        pools, nodes = Heard(), Heard()
        handlers = Handlers(api, rolls((pools.put, pools.drop), (nodes.put, nodes.drop)))
        running = asyncio.create_task(handlers.run())
        try:
            await eventually(lambda: handlers.synced or running.done(), "the first roll calls")
            yield pools, nodes, handlers
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def test_pools_and_nodes_are_told_as_they_are_and_as_they_change(kube: Kube, namespace: str) -> None:
    there = Key(namespace, "there")
    kube.apply(pool(*there))
    async with watched(kube) as (pools, nodes, handlers):
        assert there in pools.bodies
        assert {key.name for key in nodes.bodies} == {node["metadata"]["name"] for node in kube.get("nodes")["items"]}
        new = Key(namespace, "new")
        await asyncio.to_thread(kube.apply, pool(*new))
        await eventually(lambda: new in pools.bodies, "the new pool")
        await asyncio.to_thread(kube.apply, pool(*new, replicas=3))
        await eventually(lambda: pools.bodies[new]["spec"]["replicas"] == 3, "its change")
        await asyncio.to_thread(kube, "delete", "relaypools", "there", f"--namespace={namespace}")
        await eventually(lambda: there not in pools.bodies, "its end")
        assert await handlers.alive()
    held = kube.get("relaypools", "new", f"--namespace={namespace}", "--show-managed-fields")
    assert held["metadata"].get("finalizers") is None
    assert [entry["manager"] for entry in held["metadata"]["managedFields"]] == ["kubectl-client-side-apply"]

    async def ended() -> bool:
        return not await handlers.alive()

    await eventually(ended, "kopf's loop turns no more")


async def test_what_is_deleted_unseen_is_missed_at_the_next_roll_call(kube: Kube, namespace: str) -> None:
    heard = Heard()
    roll = Roll(POOLS, heard.put, heard.drop)
    gone, replaced, kept = (Key(namespace, name) for name in ("gone", "replaced", "kept"))
    kube.apply(*(pool(*key) for key in (gone, replaced, kept)))
    async with Api.connect(kube.kubeconfig) as api:
        await roll.call(api)
        assert roll.synced
        kube("delete", "relaypools", "gone", "replaced", f"--namespace={namespace}")
        kube.apply(pool(*replaced))
        await roll.call(api)
        # The watch, not the roll, tells of the one that is there now.
        assert [key for key in heard.bodies if key.namespace == namespace] == [kept]
        # A watch that comes late with an older one's end means another object.
        old = {"metadata": {"namespace": namespace, "name": "kept", "uid": "older"}}
        roll.see("DELETED", old)
        assert kept in heard.bodies
