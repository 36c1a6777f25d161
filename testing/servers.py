"""Servers in the event loop of a test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


async def accept_connections() -> None:
    """Let servers accept the connections that clients have opened.

    A server that is closed between accepting a connection and attaching it, some turns of the event loop later, leaves
    its socket open: https://github.com/python/cpython/issues/109564.
    """
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Give all requests to ``answer``; yield the server's URL."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await accept_connections()
        await runner.cleanup()
