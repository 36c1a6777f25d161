"""Servers of tests close every connection that they have accepted."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import ExitStack

import pytest
from aiohttp import web
from testing.servers import serving


@pytest.mark.parametrize("turns", range(6))
def test_connections_at_the_end_are_closed(turns: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="answer")

    async def connect_and_end() -> None:
        with ExitStack() as clients:
            async with serving(answer) as url:
                for _ in range(2):
                    port = int(url.rpartition(":")[2])
                    client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
                    client.sendall(b"GET / HTTP/1.1\r\nHost: name\r\n\r\n")
                for _ in range(turns):
                    await asyncio.sleep(0)

    asyncio.run(connect_and_end())
    gc.collect()  # an open socket would be a warning, and so an error
