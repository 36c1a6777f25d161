"""The operator's web server: ``/healthz`` for probes and ``/metrics`` for Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from skymap_operator.runtime.fairness import LONGEST
from skymap_operator.runtime.metrics import CONTENT_TYPE, Metrics
from skymap_operator.runtime.workqueue import Load

#: Reconciling has stopped if no reconcile has ended for this long (s) while some were due. Longer than any reconcile.
STALLED = 1.5 * LONGEST


@asynccontextmanager
async def serve(host: str, port: int, metrics: Metrics, load: Callable[[], Load]) -> AsyncIterator[int]:
    """Serve while the context is open; yields the port, which the system chooses for port 0.

    ``/healthz`` answers 503 when reconciling has stopped, because only a new process can help then. An unreachable API
    server or Pulsar is no reason: a new process could not reach it either. Scans that name a Pulsar of their own can
    hold up their own kind only, and both kinds are watched. The text says how late the others are.
    """

    async def healthz(_: web.Request) -> web.Response:
        now = load()
        queue = f"{now.depth} scans wait, the longest is overdue by {now.longest_overdue:.0f} s\n"
        if now.stalled > STALLED:
            text = f"reconciling has stopped: no reconcile has ended for {now.stalled:.0f} s\n{queue}"
            return web.Response(status=503, text=text)
        return web.Response(text=f"ok\n{queue}")

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(load()), headers={"Content-Type": CONTENT_TYPE})

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
