"""How much is written of what people read, as the API server's audit log has it: little, and nothing at rest."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pancar_operator.model import Key
from pancar_operator.report import CameraState, Report
from rigs.cluster.kube import Kube
from rigs.cluster.running import Cluster
from rigs.definitions import defined
from rigs.scale.audit import Audit, Write, fastest, statuses
from rigs.telling import Telling, camera, pool
from rigs.waiting import eventually

CAMERAS: Final = 150
PER_SECOND: Final = 50
RIGHTS: Final = (
    "--verb=get,list,watch,patch,create",
    "--resource=cameras.pancar.dev,relaypools.pancar.dev,cameras.pancar.dev/status,relaypools.pancar.dev/status,events",
)


@pytest.fixture
def own(cluster: Cluster, namespace: str) -> Iterator[Kube]:
    kube = cluster.kube.within(namespace)
    with defined(kube, "Camera", "RelayPool"):
        kube("create", "serviceaccount", "teller")
        kube("create", "role", "teller", *RIGHTS)
        kube("create", "rolebinding", "teller", "--role=teller", f"--serviceaccount={namespace}:teller")
        yield kube


class Counted:
    """Who tells, with rights of its own, and what it wrote."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.kubeconfig: Path = cluster.kubeconfig_of(namespace, "teller")
        self._audit = Audit(cluster.layout.audit, f"system:serviceaccount:{namespace}:teller")
        self._seen = 0

    async def settled(self, quiet: float = 2.0) -> list[Write]:
        """What was written since the last call, once nothing was for `quiet` seconds."""
        while True:
            before = len(self._audit.read())
            await asyncio.sleep(quiet)
            if len(self._audit.read()) == before:
                found = self._audit.writes[self._seen :]
                self._seen = len(self._audit.writes)
                return found


def resources(writes: list[Write]) -> Counter[str]:
    return Counter(write.resource for write in writes if write.code < 300)


async def test_few_writes_and_none_at_rest(cluster: Cluster, own: Kube, namespace: str) -> None:
    own.apply(pool(3), *(camera(f"gate-{number:03}") for number in range(CAMERAS)))
    counted = Counted(cluster, namespace)
    async with Telling.leading(counted.kubeconfig, namespace, relays=3) as telling:
        await telling.placed(CAMERAS)
        telling.live(*telling.cameras)
        writes = await counted.settled(6.0)
        assert resources(writes) == {"cameras/status": CAMERAS, "relaypools/status": 1, "events": 2}
        assert set(statuses(writes).values()) == {1}, "each camera's first status tells all"

        telling.dark(*telling.cameras)
        writes = await counted.settled(6.0)
        assert resources(writes) == {"cameras/status": CAMERAS, "events": 1}, "one sentence for all of them"
        assert fastest(writes) <= PER_SECOND

        flapping, *_ = telling.cameras
        for _ in range(20):
            telling.live(flapping)
            await asyncio.sleep(0.25)
            telling.dark(flapping)
            await asyncio.sleep(0.25)
        writes = await counted.settled(6.0)
        # By now a camera that changes so often is written with longer pauses than that.
        await eventually(lambda: _reason(telling, flapping) == "Unreachable", "the last is told")
        writes += await counted.settled(6.0)
        assert resources(writes)["cameras/status"] <= 5, "40 changes in ten seconds"
        assert resources(writes)["events"] <= 2

    plan = telling.reconciler.plan
    reports = [
        (
            key,
            Report(
                assigned.relay,
                CameraState.OFFLINE,
                "Unreachable",
                "The camera's address cannot be reached.",
                generation=1,
            ),
        )
        for key, assigned in plan.assignments.items()
    ]
    async with Telling.leading(counted.kubeconfig, namespace, relays=3, reports=reports) as telling:
        await telling.placed(CAMERAS)
        assert await counted.settled(6.0) == [], "the next leader finds everything told"
        assert {key: each.relay for key, each in telling.reconciler.plan.assignments.items()} == {
            key: each.relay for key, each in plan.assignments.items()
        }


async def test_what_changed_while_the_api_server_was_away_is_told_when_it_is_back(
    cluster: Cluster, own: Kube, namespace: str
) -> None:
    own.apply(pool(1), camera("gate"), camera("square"))
    counted = Counted(cluster, namespace)
    async with Telling.leading(counted.kubeconfig, namespace, relays=1) as telling:
        await telling.placed(2)
        telling.live(*telling.cameras)
        await counted.settled(6.0)
        gate: Key = telling.cameras[0]
        cluster.stop_api()
        try:
            telling.dark(gate)
            await asyncio.sleep(2.0)
            telling.dark(gate, reason="Refused")
            await asyncio.sleep(4.0)
        finally:
            await asyncio.to_thread(cluster.start_api)
        await eventually(lambda: _reason(telling, gate) == "Refused", "the newest is told", seconds=180)
        writes = await counted.settled()
        assert statuses(writes) == {str(gate): 1}


def _reason(telling: Telling, key: Key) -> str:
    return next(each.reason for each in telling.known.objects[key].status.conditions if each.type == "Ready")
