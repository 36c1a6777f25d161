"""Serves the pages of scans over HTTP to browsers on this machine: read-only, and bounded in all they can ask for.

A page gets its updates as server-sent events, each browser at its own pace: what a slow one has not read stays in the
follower's log, and one that reads nothing at all is disconnected.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from skymap_api.text import printable_line
from skymap_scanner.errors import ClusterError, SkymapError
from skymap_scanner.live.fit_log import FitLog
from skymap_scanner.live.follower import Follower
from skymap_scanner.live.followers import Followers, TooManyScansError
from skymap_scanner.live.pages import live_html, scans_html
from skymap_scanner.live.scans import Scans
from skymap_scanner.live.seldom_log import SeldomLog
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

#: How long a browser that has seen a page over HTTPS uses nothing else for this host (s).
HTTPS_TIME = 365 * 24 * 3600

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


class Followed(Protocol):
    """What a page shows of a scan: its log, its status with the version of it, and its report; see `Follower`."""

    key: str
    log: FitLog
    status: dict[str, Any]
    version: int
    report: bytes | None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Places:
    """The places of those that are served at a time; for one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for a while; raises HTTPServiceUnavailable if there is none."""
        if self._taken >= self._most:
            raise web.HTTPServiceUnavailable(reason="There are too many requests at this moment. Reload the page.")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Pages(ABC):
    """Answers the requests of browsers, and limits how many it answers at a time.

    A subclass decides who is admitted, and which scans there are.
    """

    #: Longest body of a request (bytes), and most streams of one user and most scans that they show.
    longest_body, most_streams, most_scans = 1024, MAX_STREAMS, MAX_STREAMS
    #: Paths for which nobody needs to be admitted. They need no place either: what takes time there limits itself.
    open_paths: frozenset[str] = frozenset()

    def __init__(self, followers: Followers) -> None:
        self._followers = followers
        self._requests = Places(MAX_REQUESTS)
        self._troubles = SeldomLog()
        self._streams = Counter[tuple[str, str]]()  # of a user for a scan
        self._reports_to_load = 0
        self._ending = False

    def app(self) -> web.Application:
        """Return the aiohttp application with the routes of all pages."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await self._guarded(request, handler)
            if request.secure and not response.prepared:
                response.headers["Strict-Transport-Security"] = f"max-age={HTTPS_TIME}"
            await _send(request, response)
            return response

        app = web.Application(middlewares=[guard], client_max_size=self.longest_body)
        app.router.add_get("/", self.first)
        app.router.add_get("/scans/{name}/", self.page)
        app.router.add_get("/scans/{name}/events", self._events, allow_head=False)
        app.router.add_get("/scans/{name}/report", self._report)
        return app

    @abstractmethod
    async def refusal(self, request: web.Request) -> web.StreamResponse | None:
        """Return the answer to a request that is not admitted; None if it is."""

    @abstractmethod
    async def first(self, request: web.Request) -> web.StreamResponse:
        """Answer with the first page."""

    @abstractmethod
    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer with the page of a scan."""

    @abstractmethod
    async def follower(self, request: web.Request) -> Followed:
        """Return what follows the scan of a request; raises HTTPNotFound if there is no such scan."""

    @abstractmethod
    async def known(self, request: web.Request) -> Followed | None:
        """Return what follows the scan of a request; None if nothing does."""

    def stream(self, request: web.Request, follower: Followed) -> AsyncIterator[bytes]:
        """Return the events of a scan, from those that the browser has received on."""
        return events(follower, request.headers.get("Last-Event-ID", ""))

    def watchers(self, request: web.Request) -> str:  # noqa: ARG002 - for subclasses
        """Return whose stream it will be, for the limits `most_streams` and `most_scans` of each."""
        return ""

    def tend(self) -> None:
        """Do what must be done now and then: stop following scans that no page shows."""
        self._followers.stop_idle()

    async def drain(self, stop: Stop) -> None:
        """Refuse further streams, and wait `DRAIN_TIME` at most until the open pages have loaded the reports."""
        self._ending = True
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_TIME
        while (self._streams.total() or self._reports_to_load) and loop.time() < until and not stop.requested:
            await asyncio.sleep(0.1)

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests that are not admitted and beyond the limit; answer an error with its reason, no traceback."""
        try:
            return await self._admitted(request, handler)
        except web.HTTPException as error:
            return message(error.status, error.reason)
        except TooManyScansError as error:
            return message(503, str(error))
        except ClusterError as error:  # its text may name accounts and addresses: it is for the log alone
            self._troubles.warn(f"the cluster cannot be read: {error}")
            return message(502, "The cluster does not answer. Try again later.")
        except SkymapError as error:
            return message(502, f"The broker cannot be read: {error}")

    async def _admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in self.open_paths:
            return await handler(request)
        if (refused := await self.refusal(request)) is not None:
            return refused
        with self._requests.one():
            return await handler(request)

    async def _report(self, request: web.Request) -> web.StreamResponse:
        follower = await self.known(request)
        if follower is None or follower.report is None:
            return web.Response(status=302, headers=HEADERS | {"Location": request.rel_url.path_safe[: -len("report")]})
        response = html(follower.report)
        try:
            await _send(request, response)  # while it counts as a request, since it is large
        finally:
            self._reports_to_load = max(self._reports_to_load - 1, 0)
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return message(403, "The updates are for the page alone.")
        with self._place_of_stream(self.watchers(request), request.match_info["name"]):
            return await self._streamed(request, await self.follower(request))

    @contextmanager
    def _place_of_stream(self, whose: str, scan: str) -> Iterator[None]:
        """Take a place for a stream, before anything follows the scan; raises HTTPServiceUnavailable beyond a limit."""
        theirs = {shown: count for (who, shown), count in self._streams.items() if who == whose}
        if self._streams.total() >= MAX_STREAMS or sum(theirs.values()) >= self.most_streams or self._ending:
            raise web.HTTPServiceUnavailable(reason="There are too many open pages. Close one of them.")
        if scan not in theirs and len(theirs) >= self.most_scans:
            raise web.HTTPServiceUnavailable(reason="You have opened too many scans. Close the page of one of them.")
        self._streams[whose, scan] += 1
        try:
            yield
        finally:
            self._streams[whose, scan] -= 1
            self._streams += Counter()  # forgets those without one

    async def _streamed(self, request: web.Request, follower: Followed) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
        self._followers.page_opened(follower.key)
        try:
            with _abort_unless_read(request):
                await response.prepare(request)
                async for event in self.stream(request, follower):
                    if event:
                        await asyncio.wait_for(response.write(event), SEND_TIMEOUT)
                self._reports_to_load += follower.report is not None
        finally:
            self._followers.page_closed(follower.key)
        return response


class LocalPages(Pages):
    """The pages of the scans on a broker, for browsers on this machine."""

    def __init__(self, scans: Scans) -> None:
        super().__init__(scans.followers)
        self._scans = scans

    async def refusal(self, request: web.Request) -> web.StreamResponse | None:
        """Refuse requests for other hosts."""
        if _host_of(request) in HOSTS:
            return None
        return message(421, "This page is for this machine alone: open it as http://127.0.0.1 or localhost.")

    async def first(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - aiohttp's signature
        """Answer with the list of the scans, or lead to the page of the only one."""
        if self._scans.name is not None:
            return web.Response(status=302, headers=HEADERS | {"Location": f"/scans/{self._scans.name}/"})
        return html(await asyncio.to_thread(lambda: scans_html(self._scans.listed())))

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer with the page of a scan, which is followed from then on."""
        follower = await self._find(request, anew=True)
        return html(live_html(follower.name, others=self._scans.name is None))

    async def follower(self, request: web.Request) -> Follower:
        """Return the follower of a scan, which begins now if there is none."""
        return self._followers.get(request.match_info["name"]) or await self._find(request, anew=False)

    async def known(self, request: web.Request) -> Follower | None:
        """Return the follower of a scan if there is one."""
        return self._followers.get(request.match_info["name"])

    async def _find(self, request: web.Request, *, anew: bool) -> Follower:
        found = await asyncio.to_thread(partial(self._scans.find, request.match_info["name"], anew=anew))
        if found is None:
            raise web.HTTPNotFound(reason="There is no scan of this name on the broker.")
        return found


async def events(
    follower: Followed, last: str = "", others: Callable[[], Iterable[bytes]] = tuple
) -> AsyncIterator[bytes]:
    """Yield the events of a scan until it has ended, and nothing (``b""``) at each check without one.

    ``last``: id of the last event that the browser received; the stream continues after it if it belongs to the same
    log, and else starts from the beginning. ``others``: what else there is to send, asked at every check.
    """
    fits, place, version, silent = None, 0, -1, 0.0
    while True:
        if fits is not follower.log:
            fits = follower.log
            place, last = _place(last, fits), ""
            if not place:
                yield encode("begin", {}, f"{fits.id}:0")
        ended, silent = follower.ended, silent + UPDATE_INTERVAL
        for event in others():
            silent = 0.0
            yield event
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
            yield b""  # lets the caller end the stream while nothing happens
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


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    """Send the rest of a response within `SEND_TIMEOUT`; aiohttp itself would wait for a browser without end."""
    with _abort_unless_read(request):
        await response.prepare(request)
        await asyncio.wait_for(response.write_eof(), SEND_TIMEOUT)


def html(page: bytes, status: int = 200) -> web.Response:
    """Return the answer with a page."""
    return web.Response(status=status, body=page, headers=HEADERS, content_type="text/html", charset="utf-8")


def message(status: int, text: str) -> web.Response:
    """Return the answer with a text in one line."""
    return web.Response(text=printable_line(text) + "\n", status=status, headers=HEADERS)


def serve(
    listener: socket.socket, pages: Pages, stop: Stop, scan_ended: Event, tls: ssl.SSLContext | None = None
) -> None:
    """Serve the pages until a stop is requested, or until open pages have the report once ``scan_ended`` is set."""
    asyncio.run(_serve(listener, pages, stop, scan_ended, tls))


async def _serve(
    listener: socket.socket, pages: Pages, stop: Stop, scan_ended: Event, tls: ssl.SSLContext | None
) -> None:
    runner = web.AppRunner(
        pages.app(),
        access_log=None,
        shutdown_timeout=1.0,
        keepalive_timeout=15.0,
        handler_cancellation=True,  # a disconnected browser frees its place at once
    )
    await runner.setup()
    await web.SockSite(runner, listener, backlog=64, ssl_context=tls).start()
    try:
        while not (stop.requested or scan_ended.is_set()):
            await asyncio.sleep(0.2)
            pages.tend()
        await pages.drain(stop)
    finally:
        await runner.cleanup()
