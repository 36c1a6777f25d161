"""The operator's web server."""

from __future__ import annotations

import asyncio

import httpx

from skymap_operator.runtime import health
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.workqueue import Load


def test_healthz_fails_when_reconciling_has_stopped() -> None:
    stalled = 0.0

    def load() -> Load:
        return Load(depth=2, longest_running=30.0, longest_overdue=400.0, stalled=stalled)

    async def ask() -> list[httpx.Response]:
        nonlocal stalled
        async with health.serve("127.0.0.1", 0, Metrics(), load) as port, httpx.AsyncClient() as client:
            stalled = health.STALLED
            fine = await client.get(f"http://127.0.0.1:{port}/healthz")
            stalled = health.STALLED + 1
            stopped = await client.get(f"http://127.0.0.1:{port}/healthz")
            return [fine, stopped, await client.get(f"http://127.0.0.1:{port}/metrics")]

    fine, stopped, figures = asyncio.run(ask())
    assert (fine.status_code, fine.text) == (200, "ok\n2 scans wait, the longest is overdue by 400 s\n")
    text = "reconciling has stopped: no reconcile has ended for 181 s\n2 scans wait, the longest is overdue by 400 s\n"
    assert (stopped.status_code, stopped.text) == (503, text)
    assert figures.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "skymap_operator_workqueue_depth 2.0" in figures.text
