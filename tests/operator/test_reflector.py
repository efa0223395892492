"""A reflector tells what is there and what is not, whatever happens to its watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pancar_operator.api import CAMERAS, Api
from pancar_operator.model import Key
from pancar_operator.reflector import Body, Reflector
from rigs.waiting import eventually
from rigs.watching import Watched, refusal


class Follower:
    """Keeps what a reflector tells: by key the uid."""

    def __init__(self) -> None:
        self.there: dict[Key, str] = {}
        self.dropped: list[tuple[Key, str]] = []
        self.puts = 0
        self.on_put: Callable[[Body], None] | None = None

    def put(self, body: Body) -> None:
        self.puts += 1
        if self.on_put is not None:
            self.on_put(body)
        metadata = body["metadata"]
        self.there[Key(metadata["namespace"], metadata["name"])] = metadata["uid"]

    def drop(self, key: Key, uid: str) -> None:
        assert self.there.pop(key) == uid
        self.dropped.append((key, uid))

    def names(self) -> set[str]:
        return {key.name for key in self.there}

    async def follows(self, watched: Watched) -> None:
        """Comes to know what is there."""
        wanted = {Key(*key): body["metadata"]["uid"] for key, body in watched.objects.items()}
        await eventually(lambda: self.there == wanted, f"it knows {wanted}")


@asynccontextmanager
async def following(kubeconfig: Path, follower: Follower) -> AsyncIterator[Reflector]:
    async with Api.connect(kubeconfig) as api:
        reflector = Reflector(api, CAMERAS, put=follower.put, drop=follower.drop)
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), task.exception()


@pytest.mark.parametrize("initial_events", [True, False])
async def test_what_comes_changes_and_goes_is_told(tmp_path: Path, initial_events: bool) -> None:
    async with Watched.serving(tmp_path) as (watched, kubeconfig):
        watched.initial_events = initial_events
        for number in range(1203):
            watched.put(f"camera-{number}")
        follower = Follower()
        async with following(kubeconfig, follower) as reflector:
            assert not reflector.synced
            await eventually(lambda: reflector.synced, "it is synced")
            assert len(follower.there) == 1203
            watched.put("gate")
            watched.put("camera-7")
            watched.delete("camera-8")
            await follower.follows(watched)
            assert follower.puts == 1205
            assert follower.dropped == [(Key("kota", "camera-8"), "camera-8-1")]
    pages = [query for query in watched.asked if "limit" in query]
    assert [query.get("continue") for query in pages] == ([] if initial_events else [None, "500", "1000"])


@pytest.mark.parametrize("initial_events", [True, False])
async def test_what_went_during_a_gap_is_dropped(tmp_path: Path, initial_events: bool) -> None:
    async with Watched.serving(tmp_path) as (watched, kubeconfig):
        watched.initial_events = initial_events
        for name in ("gate", "harbour", "square"):
            watched.put(name)
        follower = Follower()
        async with following(kubeconfig, follower):
            await follower.follows(watched)
            watched.silent = True
            watched.delete("gate")
            watched.put("bridge")
            watched.delete("square")
            watched.put("square", uid="square-2")
            watched.forget()
            watched.silent = False
            watched.break_off()
            await follower.follows(watched)
            assert set(follower.dropped) == {(Key("kota", "gate"), "gate-1"), (Key("kota", "square"), "square-1")}


async def test_a_watch_that_breaks_goes_on_where_it_was(tmp_path: Path) -> None:
    async with Watched.serving(tmp_path) as (watched, kubeconfig):
        watched.put("gate")
        follower = Follower()
        async with following(kubeconfig, follower) as reflector:
            await follower.follows(watched)
            watched.version = 40
            watched.bookmark()
            await eventually(lambda: reflector._version == "40", "the bookmark is known")
            watched.break_off()
            watched.put("harbour")
            await follower.follows(watched)
            assert follower.puts == 2, "nothing was listed anew"
    lists = [query for query in watched.asked if "sendInitialEvents" in query]
    resumed = [query["resourceVersion"] for query in watched.asked if "resourceVersion" in query]
    assert (len(lists), resumed) == (1, ["40"])


async def test_a_list_that_breaks_begins_anew(tmp_path: Path) -> None:
    async with Watched.serving(tmp_path) as (watched, kubeconfig):
        watched.put("gate")
        watched.refuse = [
            refusal(429, "TooManyRequests", "slow down", Retry_After="0"),
            refusal(503, "ServiceUnavailable", "not yet"),
        ]
        follower = Follower()
        async with following(kubeconfig, follower) as reflector:
            await eventually(lambda: reflector.synced, "it is synced")
            assert follower.names() == {"gate"}
    assert [("sendInitialEvents" in query) for query in watched.asked] == [True, True, True]


async def test_who_may_not_list_tries_again(tmp_path: Path) -> None:
    async with Watched.serving(tmp_path) as (watched, kubeconfig):
        watched.put("gate")
        follower = Follower()
        async with following(kubeconfig, follower):
            await follower.follows(watched)
            watched.refuse = [refusal(403, "Forbidden", "no")]
            watched.silent = True
            watched.delete("gate")
            watched.break_off()
            watched.silent = False
            await follower.follows(watched)


async def test_an_object_that_cannot_be_taken_stops_no_other(tmp_path: Path) -> None:
    def odd(body: Body) -> None:
        if body["metadata"]["name"] == "gate":
            raise KeyError("spec")

    async with Watched.serving(tmp_path) as (watched, kubeconfig):
        watched.put("gate")
        watched.put("harbour")
        follower = Follower()
        follower.on_put = odd
        async with following(kubeconfig, follower) as reflector:
            await eventually(lambda: reflector.synced, "it is synced")
            watched.put("square")
            await eventually(lambda: follower.names() == {"harbour", "square"}, "it knows the others")
