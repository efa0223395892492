"""Follows all objects of a kind: lists, watches, and lists anew where the watch has a gap. The operator runs one each.

It keeps no object, only which there are, so that what was deleted during a gap is told too:

    list ──► put for each, drop for each that is no more ──► synced ──► watch: put, drop, …
     ▲                                                                    │
     │                                       ended, silent, unreachable: watch on from the last version or bookmark
     └──────────────────────────── 410, refused ◄─────────────────────────┘

The list is a watch with initial events where the API server has them, which costs it and us the least; else it comes
in pages. Kubernetes' API concepts describe both ("Streaming lists", "Retrieving large results sets in chunks"). The
library's own informer is made of threads and keeps every object as it came.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from sys import intern
from typing import Any, Final

import structlog
from pancar_proto.logs import redact

from pancar_operator.api import Api, ApiError, ApiSilent, ApiUnreachable, Kind, Query
from pancar_operator.model import Key

PAGE: Final = 500
# Objects after which other tasks have their turn.
TURN: Final = 100
# Seconds before trying again: doubled from first to last, jittered, afresh once something came.
BACKOFF_FIRST: Final = 0.2
BACKOFF_LAST: Final = 10.0

_LISTED: Final = "k8s.io/initial-events-end"

Body = dict[str, Any]

_log = structlog.get_logger(__name__)


class Reflector:
    """`put` is told of every object that is there, again at every change and after every gap; `drop` of each that went.

    Both are called in the order of events, and must be quick.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind,
        *,
        put: Callable[[Body], None],
        drop: Callable[[Key, str], None],
        labels: str = "",
        namespace: str = "",
        synced: Callable[[], None] | None = None,
    ) -> None:
        """`labels` selects by them; `namespace` restricts to one. `synced` is called once all there is has been put."""
        self._api = api
        self._path = kind.path(namespace)
        self._selected = {"labelSelector": labels} if labels else {}
        self._put = put
        self._drop = drop
        self._on_synced = synced
        self._log = _log.bind(kind=kind.plural)
        # By key the uid of what is there.
        self._there: dict[Key, str] = {}
        # Where to watch on from; empty where a list is due.
        self._version = ""
        # What the list has had so far, while there is one.
        self._listing: set[Key] | None = None
        self._initial_events = True
        self._synced = False
        self._told = 0

    @property
    def synced(self) -> bool:
        """Whether everything that is there has been put once."""
        return self._synced

    async def run(self) -> None:
        """Never ends by itself."""
        wait = BACKOFF_FIRST
        while True:
            before = self._told
            after: float | None = None
            try:
                await self._follow()
            except ApiError as error:
                after = self._give_up(error)
            if self._told > before:
                wait = BACKOFF_FIRST
            await asyncio.sleep(after if after is not None else wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(BACKOFF_LAST, wait * 2)

    def _give_up(self, error: ApiError) -> float | None:
        """Decides how to go on: returns the seconds to wait where the API server named them."""
        if isinstance(error, ApiSilent):
            # Of a kind that hardly changes; if more is wrong, the next attempt tells.
            self._log.info("watch.silent")
            return None
        if isinstance(error, ApiUnreachable):
            self._log.warning("watch.broken", error=str(error))
            return None
        self._version = ""
        if error.gone:
            self._log.info("watch.gap")
        elif self._listing is not None and self._initial_events and error.status in (400, 422):
            self._log.info("watch.pages", error=str(error))
            self._initial_events = False
        else:
            self._log.warning("watch.refused", error=str(error))
        return error.retry_after

    async def _follow(self) -> None:
        """Lists if it must, and watches until that ends. Raises ApiError."""
        query: dict[str, Query] = {**self._selected, "allowWatchBookmarks": True}
        if self._version:
            self._listing = None
        else:
            self._listing = set()
            if self._initial_events:
                query |= {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan"}
            else:
                await self._pages()
        if self._version:
            query["resourceVersion"] = self._version
        async with aclosing(self._api.stream(self._path, **query)) as events:
            async for event in events:
                self._take(event["type"], event["object"])
                self._told += 1
                if self._told % TURN == 0:
                    await asyncio.sleep(0)

    async def _pages(self) -> None:
        page: Body = {"metadata": {"continue": ""}}
        while True:
            query = {"continue": token} if (token := page["metadata"].get("continue")) else {}
            page = await self._api.get(self._path, **self._selected, **query, limit=PAGE)
            for body in page["items"]:
                self._is_there(body)
            await asyncio.sleep(0)
            if not page["metadata"].get("continue"):
                self._listed(page["metadata"]["resourceVersion"])
                return

    def _take(self, what: str, body: Body) -> None:
        metadata = body["metadata"]
        if what == "DELETED":
            self._is_gone(_key(metadata))
        elif what != "BOOKMARK":
            self._is_there(body)
        elif self._listing is not None and metadata.get("annotations", {}).get(_LISTED) == "true":
            self._listed(metadata["resourceVersion"])
        if self._listing is None:
            self._version = metadata["resourceVersion"]

    def _is_there(self, body: Body) -> None:
        key, uid = _key(body["metadata"]), body["metadata"]["uid"]
        if self._there.get(key, uid) != uid:
            self._is_gone(key)
        self._there[key] = uid
        if self._listing is not None:
            self._listing.add(key)
        try:
            self._put(body)
        except Exception as error:  # noqa: BLE001 - one that nobody thought of stops no other
            self._log.error("object.failed", object=str(key), error=redact(f"{type(error).__name__}: {error}"))

    def _is_gone(self, key: Key) -> None:
        if self._listing is not None:
            self._listing.discard(key)
        uid = self._there.pop(key, None)
        if uid is not None:
            self._drop(key, uid)

    def _listed(self, version: str) -> None:
        """Everything that is there has been told of: the rest is gone."""
        listing, self._listing = self._listing or set(), None
        for key in self._there.keys() - listing:
            self._is_gone(key)
        self._version = version
        self._log.info("watch.listed", objects=len(self._there))
        self._synced = True
        if self._on_synced is not None:
            self._on_synced()


def _key(metadata: Body) -> Key:
    return Key(intern(metadata.get("namespace", "")), metadata["name"])
