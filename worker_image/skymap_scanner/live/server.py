"""Serves the pages of scans over HTTP to browsers on this machine: read-only, and bounded in all they can ask for.

A page gets its updates as server-sent events, each browser at its own pace: what a slow one has not read stays in the
follower's log, and one that reads nothing at all is disconnected.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from skymap_api.text import printable_line
from skymap_scanner.errors import SkymapError
from skymap_scanner.live.fit_log import FitLog
from skymap_scanner.live.follower import Follower
from skymap_scanner.live.pages import live_html, scans_html
from skymap_scanner.live.scans import Scans, TooManyScansError
from skymap_scanner.roles.stop import Stop

#: Host names that a request may have. A page of another site can have its own name lead here (DNS rebinding), and would
#: read what we serve; its requests have that name.
HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
#: Most streams and most requests at a time; longest time for a browser to read an event (s).
MAX_STREAMS, MAX_REQUESTS, SEND_TIMEOUT = 32, 128, 30.0
#: Time between two checks for new events, and between two keep-alive comments (s).
UPDATE_INTERVAL, ALIVE_INTERVAL = 0.5, 15.0
#: Longest time for open pages to load the report of a scan that has ended, before the server ends (s).
DRAIN_TIME = 15.0

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the rest is in the pages, with the digests of their scripts
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "skymap-scanner",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """Answers the requests of browsers, and limits how many it answers at a time."""

    def __init__(self, scans: Scans) -> None:
        self._scans = scans
        self._requests = self._streams = 0
        self._reports_to_load = 0
        self._ending = False

    def app(self) -> web.Application:
        """Return the aiohttp application with the routes of all pages."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        app = web.Application(middlewares=[guard], client_max_size=1024)
        app.router.add_get("/", self._first)
        app.router.add_get("/scans/{name}/", self._page)
        app.router.add_get("/scans/{name}/events", self._events)
        app.router.add_get("/scans/{name}/report", self._report)
        return app

    async def drain(self, stop: Stop) -> None:
        """Refuse further streams, and wait `DRAIN_TIME` at most until the open pages have loaded the reports."""
        self._ending = True
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_TIME
        while (self._streams or self._reports_to_load) and loop.time() < until and not stop.requested:
            await asyncio.sleep(0.1)

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests for other hosts and beyond the limit; answer an error with its reason, and no traceback."""
        if _host_of(request) not in HOSTS:
            return _message(421, "This page is for this machine alone: open it as http://127.0.0.1 or localhost.")
        if self._requests >= MAX_REQUESTS:
            return _message(503, "There are too many requests at this moment. Reload the page.")
        self._requests += 1
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _message(error.status, error.reason)
        except TooManyScansError as error:
            return _message(503, str(error))
        except SkymapError as error:
            return _message(502, f"The broker cannot be read: {error}")
        finally:
            self._requests -= 1

    async def _first(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - aiohttp's signature
        if self._scans.name is not None:
            return web.Response(status=302, headers=HEADERS | {"Location": f"/scans/{self._scans.name}/"})
        return _html(await asyncio.to_thread(lambda: scans_html(self._scans.listed())))

    async def _page(self, request: web.Request) -> web.StreamResponse:
        follower = await self._follower(request, anew=True)
        return _html(live_html(follower.name, others=self._scans.name is None))

    async def _report(self, request: web.Request) -> web.StreamResponse:
        follower = await self._follower(request)
        if follower.report is None:
            return web.Response(status=302, headers=HEADERS | {"Location": f"/scans/{follower.name}/"})
        response = _html(follower.report)
        try:
            with _abort_unless_read(request):
                await response.prepare(request)
                await asyncio.wait_for(response.write_eof(), SEND_TIMEOUT)
        finally:
            self._reports_to_load = max(self._reports_to_load - 1, 0)
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return _message(403, "The updates are for the page alone.")
        follower = await self._follower(request)
        if self._streams >= MAX_STREAMS or self._ending:
            return _message(503, "There are too many open pages. Close one of them.")
        response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
        self._streams += 1
        self._scans.page_opened(follower.name)
        try:
            with _abort_unless_read(request):
                await response.prepare(request)
                async for event in events(follower, request.headers.get("Last-Event-ID", "")):
                    await asyncio.wait_for(response.write(event), SEND_TIMEOUT)
                self._reports_to_load += follower.report is not None
        finally:
            self._scans.page_closed(follower.name)
            self._streams -= 1
        return response

    async def _follower(self, request: web.Request, *, anew: bool = False) -> Follower:
        name = request.match_info["name"]
        follower = None if anew else self._scans.followed(name)
        if follower is None:
            follower = await asyncio.to_thread(partial(self._scans.find, name, anew=anew))
        if follower is None:
            raise web.HTTPNotFound(reason="There is no scan of this name on the broker.")
        return follower


async def events(follower: Follower, last: str = "") -> AsyncIterator[bytes]:
    """Yield the events of a scan until it has ended.

    ``last``: id of the last event that the browser received; the stream continues after it if it belongs to the same
    log, and else starts from the beginning.
    """
    fits, place, version, silent = None, 0, -1, 0.0
    while True:
        if fits is not follower.log:
            fits = follower.log
            place, last = _place(last, fits), ""
            if not place:
                yield encode("begin", {}, f"{fits.id}:0")
        ended, silent = follower.ended, silent + UPDATE_INTERVAL
        for batch in fits.since(place):
            place, silent = batch.end, 0.0
            yield encode(batch.kind, batch.data, f"{fits.id}:{place}")
        if follower.version != version:
            version, silent = follower.version, 0.0
            yield encode("status", follower.status)
        if ended and place >= len(fits):
            yield encode("end", {"report": follower.report is not None})
            return
        if silent >= ALIVE_INTERVAL:
            silent = 0.0
            yield b": alive\n\n"
        if place >= len(fits):
            await asyncio.sleep(UPDATE_INTERVAL)


def encode(kind: str, data: dict[str, Any], identity: str = "") -> bytes:
    """Return a server-sent event; its JSON has no line breaks, which would end it."""
    head = f"id: {identity}\n" if identity else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data, allow_nan=False, separators=(',', ':'))}\n\n".encode()


def _place(last: str, fits: FitLog) -> int:
    """Return the place in a log after an event, from its id; 0 if the event belongs to another log."""
    log_id, _, number = last.partition(":")
    known = log_id == fits.id and number.isascii() and number.isdigit() and len(number) < 10
    return min(int(number), len(fits)) if known else 0


def _host_of(request: web.Request) -> str:
    """Return the host name that a request is for; empty if it is missing or invalid."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""


@contextmanager
def _abort_unless_read(request: web.Request) -> Iterator[None]:
    """Disconnect a browser that reads nothing in time, and discard what is buffered for it."""
    try:
        yield
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()


def _html(page: bytes) -> web.Response:
    return web.Response(body=page, headers=HEADERS, content_type="text/html", charset="utf-8")


def _message(status: int, text: str) -> web.Response:
    return web.Response(text=printable_line(text) + "\n", status=status, headers=HEADERS)


def serve(listener: socket.socket, scans: Scans, stop: Stop, scan_ended: Event) -> None:
    """Serve the pages until a stop is requested, or until open pages have the report once ``scan_ended`` is set."""
    asyncio.run(_serve(listener, scans, stop, scan_ended))


async def _serve(listener: socket.socket, scans: Scans, stop: Stop, scan_ended: Event) -> None:
    pages = Pages(scans)
    runner = web.AppRunner(
        pages.app(),
        access_log=None,
        shutdown_timeout=1.0,
        keepalive_timeout=15.0,
        handler_cancellation=True,  # a disconnected browser frees its place at once
    )
    await runner.setup()
    await web.SockSite(runner, listener, backlog=64).start()
    try:
        while not (stop.requested or scan_ended.is_set()):
            await asyncio.sleep(0.2)
            scans.stop_idle()
        await pages.drain(stop)
    finally:
        await runner.cleanup()
