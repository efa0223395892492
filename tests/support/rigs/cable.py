"""A cable between client and API server, which can be pulled: a TCP forwarder, and a kubeconfig that leads to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml


class Cable:
    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._plugged = True
        self._ends: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, kubeconfig: Path, folder: Path) -> AsyncIterator[tuple[Self, Path]]:
        """A cable to the cluster that `kubeconfig` names, and a kubeconfig, in `folder`, that goes by it."""
        config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
        context = next(each for each in config["contexts"] if each["name"] == config["current-context"])["context"]
        cluster = next(each for each in config["clusters"] if each["name"] == context["cluster"])["cluster"]
        server = urlsplit(cluster["server"])
        cable = cls(server.hostname or "", server.port or 443)
        listening = await asyncio.start_server(cable._connected, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        cluster.update({"server": f"https://127.0.0.1:{port}", "tls-server-name": server.hostname})
        path = folder / "by-cable"
        path.write_text(yaml.safe_dump(config))
        try:
            yield cable, path
        finally:
            cable.pull()
            listening.close()

    def pull(self) -> None:
        self._plugged = False
        for end in self._ends:
            end.transport.abort()

    def plug_in(self) -> None:
        self._plugged = True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._plugged:
            writer.transport.abort()
            return
        back, forth = await asyncio.open_connection(*self._target)
        ends = {writer, forth}
        self._ends |= ends
        await asyncio.gather(_carry(reader, forth), _carry(back, writer))
        self._ends -= ends


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(65536):
            target.write(chunk)
            await target.drain()
    except OSError:
        pass
    finally:
        if source.exception() is None:
            target.close()
        else:
            target.transport.abort()
