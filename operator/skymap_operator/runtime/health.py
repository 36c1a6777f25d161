"""The operator's own small web server: ``/healthz`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from skymap_operator.runtime.metrics import CONTENT_TYPE, Metrics

#: Looks are due at most so long (s) with none that ends: longer than the longest look.
STALLED = 300.0


@asynccontextmanager
async def serve(
    host: str, port: int, metrics: Metrics, overdue: Callable[[], float], stalled: Callable[[], float]
) -> AsyncIterator[int]:
    """Serve until the block is left; gives the port, which the system chooses for 0.

    ``overdue`` says for how long (s) the latest look is due; ``stalled`` for how long looks are due and none has ended:
    beyond `STALLED`, reconciling has stopped, and a new process is better than this one. That Kubernetes or Pulsar
    cannot be reached is no such case: a new one could not either.
    """

    async def healthz(_: web.Request) -> web.Response:
        late = stalled()
        if late > STALLED:
            return web.Response(status=503, text=f"reconciling has stopped: no look has ended for {late:.0f} s\n")
        return web.Response(text="ok\n")

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(overdue()), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", figures)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
