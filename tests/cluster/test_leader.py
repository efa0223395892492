"""Replicas and their Lease, on a real API server: who leads, in which term, and when no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from pancar_operator.api import LEASES, Api
from pancar_operator.leader import LEASE, LEASE_SECONDS, RENEW_DEADLINE, Leader
from rigs.cluster.kube import Kube
from rigs.waiting import eventually

# Sooner than a Lease runs out.
SOON = 10.0


@pytest.fixture
async def api(kube: Kube) -> AsyncIterator[Api]:
    async with Api.connect(kube.kubeconfig) as made:
        yield made


def replica(kubeconfig: Path, namespace: str, pod: str, overdue: Callable[[], None] = lambda: None) -> Leader:
    return Leader(lambda: Api.connect(kubeconfig), namespace, pod, overdue)


@contextlib.asynccontextmanager
async def leading(leader: Leader) -> AsyncIterator[int]:
    """Its term, once it leads; it gives up in the end."""
    try:
        async with asyncio.timeout(SOON):
            term = await leader.lead()
        yield term
    finally:
        await leader.release()


async def test_the_other_leads_at_once_when_the_lease_is_given_up(kube: Kube, api: Api, namespace: str) -> None:
    first, second = replica(kube.kubeconfig, namespace, "operator-a"), replica(kube.kubeconfig, namespace, "operator-b")
    async with leading(first) as term:
        waiting = asyncio.create_task(second.lead())
        await asyncio.sleep(3)
        assert not waiting.done()
        assert second.informed
        lease = await api.get(LEASES.path(namespace, LEASE))
        assert lease["spec"]["holderIdentity"].startswith("operator-a_")
    async with asyncio.timeout(SOON):
        later = await waiting
    assert later == term + 1
    lease = await api.get(LEASES.path(namespace, LEASE))
    assert lease["spec"]["holderIdentity"].startswith("operator-b_")
    assert lease["spec"]["leaseTransitions"] == 1
    assert second.vacancy < SOON
    await second.release()
    assert "holderIdentity" not in (await api.get(LEASES.path(namespace, LEASE)))["spec"]


async def test_a_lease_that_nobody_renewed_says_for_how_long(kube: Kube, api: Api, namespace: str) -> None:
    first, later = replica(kube.kubeconfig, namespace, "operator-a"), replica(kube.kubeconfig, namespace, "operator-b")
    async with leading(first):
        assert first.vacancy == 0
    path = LEASES.path(namespace, LEASE)
    lease = await api.get(path)
    lease["spec"]["renewTime"] = (datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="microseconds")
    del lease["metadata"]["managedFields"]
    await api.apply(path, lease)
    async with leading(later):
        assert 300 <= later.vacancy < 330


async def test_a_container_takes_over_from_the_one_before_it_in_its_pod(kube: Kube, namespace: str) -> None:
    crashed, restarted = (
        replica(kube.kubeconfig, namespace, "operator-a"),
        replica(kube.kubeconfig, namespace, "operator-a"),
    )
    async with asyncio.timeout(SOON):
        term = await crashed.lead()
    # The rest of its Lease would be LEASE_SECONDS.
    async with leading(restarted) as later:
        assert later == term + 1
        async with asyncio.timeout(SOON):
            assert "has taken the Lease" in await crashed.lost()
    await crashed.release()


async def test_terms_grow_also_where_the_lease_was_deleted(kube: Kube, api: Api, namespace: str) -> None:
    terms = []
    for name in ("operator-a", "operator-b", "operator-c"):
        async with leading(replica(kube.kubeconfig, namespace, name)) as term:
            terms.append(term)
    await api.delete(LEASES.path(namespace, LEASE))
    # Creation times are whole seconds.
    await asyncio.sleep(1)
    async with leading(replica(kube.kubeconfig, namespace, "operator-a")) as term:
        terms.append(term)
    assert terms == sorted(set(terms))


class Cable:
    """Between a client and the API server; once pulled, it takes bytes and gives none."""

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self.pulled = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._there)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        back.close()
        writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if not self.pulled:
                sink.write(data)
        sink.close()


@contextlib.asynccontextmanager
async def cable(kube: Kube, folder: Path) -> AsyncIterator[tuple[Cable, Path]]:
    """A cable to the API server, and a kubeconfig that goes by it."""
    config = yaml.safe_load(kube("config", "view", "--raw", "--flatten", "--minify"))
    cluster = config["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
    made = Cable(host, int(port))
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    cluster["server"] = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    cluster["tls-server-name"] = host
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    try:
        yield made, file
    finally:
        server.close()


async def test_who_gets_no_answer_leads_no_longer_than_the_lease(kube: Kube, namespace: str, tmp_path: Path) -> None:
    overdue: list[str] = []
    async with cable(kube, tmp_path) as (line, kubeconfig):
        leader = replica(kubeconfig, namespace, "operator-a", lambda: overdue.append("it had to end"))
        async with asyncio.timeout(SOON):
            await leader.lead()
        line.pulled = True
        async with asyncio.timeout(LEASE_SECONDS):
            assert f"not renewed for {RENEW_DEADLINE} s" in await leader.lost()
        assert overdue == []
        assert await eventually(lambda: overdue, "the end of patience") == ["it had to end"]
        await leader.release()
