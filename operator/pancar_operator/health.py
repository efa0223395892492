"""The operator's health over HTTP, for the kubelet: /healthz whether it is to be restarted, /readyz whether it takes
part. `__main__` serves it from the first to the last.

A replica that waits for its turn is ready: a roll of the operator goes on by readiness, and its port for relays is
closed until it leads.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from pancar_proto import listening

from pancar_operator.settings import Address


@asynccontextmanager
async def health(
    listen: Address, alive: Callable[[], Awaitable[str]], ready: Callable[[], Awaitable[str]]
) -> AsyncIterator[Address]:
    """Serves both at `listen`; each is well where the answer is empty, and otherwise says why not.

    Yields the address with its actual port. Raises OSError where nobody can listen there.
    """
    application = web.Application()
    application.router.add_get("/healthz", _probe(alive))
    application.router.add_get("/readyz", _probe(ready))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening.listen(listen.host, listen.port)).start()
        yield Address(listen.host, int(runner.addresses[0][1]))
    finally:
        await runner.cleanup()


def _probe(trouble: Callable[[], Awaitable[str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        said = await trouble()
        return web.Response(status=503 if said else 200, text=f"{said or 'ok'}\n")

    return answer
