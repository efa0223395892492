"""The API server is asked by way of the proxy that the environment names, as kubectl does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pancar_operator.api import CAMERAS, Api, ApiUnreachable
from rigs.watching import kubeconfig

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"items":[]}'
# Nobody listens on it.
PORT = 1


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """Its URL, and the request lines that came."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


async def test_the_environments_proxy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy() as (url, asked):
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with Api.connect(kubeconfig(tmp_path, PORT)) as api:
            assert await api.get(CAMERAS.path("kota")) == {"items": []}
    [line] = asked
    assert line.startswith(f"GET http://127.0.0.1:{PORT}/apis/pancar.dev/v1alpha1/namespaces/kota/cameras ")


async def test_not_where_the_environment_excepts_the_api_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxy() as (url, asked):
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with Api.connect(kubeconfig(tmp_path, PORT)) as api:
            with pytest.raises(ApiUnreachable):
                await api.get(CAMERAS.path("kota"))
    assert asked == []
