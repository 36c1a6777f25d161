"""Serves the pages of a cluster's scans to its users.

Every request is that of a user: a token in its header or in the cookie of the sign-in form, or a proxy that vouches for
them. They see the scans that they may list, and the page of each that they may get. Tokens are neither logged nor
stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from skymap_api.text import bounded_line, printable_line
from skymap_scanner.broker import Broker
from skymap_scanner.errors import ClusterError, SkymapError
from skymap_scanner.live.cluster.access import MAX_NAME, MAX_TOKEN, Access, User, bearer_token
from skymap_scanner.live.cluster.resource import Resource
from skymap_scanner.live.cluster.resources import Resources
from skymap_scanner.live.cluster.serving import ServingCertificate
from skymap_scanner.live.fit_log import FitLog
from skymap_scanner.live.follower import MAX_ERROR, Follower
from skymap_scanner.live.followers import Followers
from skymap_scanner.live.pages import cluster_html, resource_html, sign_in_html
from skymap_scanner.live.seldom_log import SeldomLog
from skymap_scanner.live.server import HEADERS, Followed, Pages, Places, encode, events, html, message

log = logging.getLogger(__name__)

#: The cookie with the token of a user who has signed in, until the browser is closed. Its prefix keeps other hosts of
#: the domain from setting it.
COOKIE = "__Host-skymap-token"
#: Most streams of a user, most scans that they show, and most lists at a time; time between two checks whether a user
#: may still see what a stream shows (s).
MAX_STREAMS_OF_USER, MAX_SCANS_OF_USER, MAX_LISTS_OF_USER, CHECK_INTERVAL = 6, 3, 4, 30.0

#: Most requests at a time whose user is not known yet, and most of them about which the API server is asked; longest
#: time to send the form (s).
MAX_STRANGERS, STRANGERS_REVIEWS, FORM_TIMEOUT = 32, 4, 10.0
#: Longest name of a namespace, as Kubernetes has them (characters).
MAX_NAMESPACE = 63

#: The user of a request.
USER = web.RequestKey("user", User)
#: Paths for which nobody needs to sign in.
OPEN = frozenset({"/sign-in", "/sign-out", "/healthz", "/readyz"})


@dataclass(frozen=True)
class OwnPulsar:
    """The Pulsar that the server reads, as scans name it, and how to open it.

    ``admin_url``: None for the one beside the broker, which is not compared.
    """

    service_url: str
    admin_url: str | None
    tenant: str
    open: Callable[[], Broker]

    def has(self, one: Resource) -> bool:
        """Return whether a scan is on it; one that has not started yet is expected there."""
        used = one.pulsar
        if used is None:
            return True
        same = self.admin_url in {None, used.admin_url}
        return same and (used.service_url, used.tenant) == (self.service_url, self.tenant)

    def has_topic(self, topic: str) -> bool:
        """Return whether it has a topic; raises SkymapError if it cannot say."""
        with self.open() as broker:
            return topic in broker.topics(topic)


class Unread:
    """Stands for the follower of a scan whose messages cannot be read; ``reason`` says why."""

    def __init__(self, reason: str, *, ended: bool) -> None:
        self.key = ""
        self.log = FitLog()
        self.status: dict[str, Any] = {"phase": "unread", "trouble": reason}
        self.version = 0
        self.report: bytes | None = None
        self.ended = ended


class ClusterPages(Pages):
    """The pages of the scans in a cluster, for the users that ``access`` recognizes."""

    longest_body, open_paths = MAX_TOKEN + 1024, OPEN
    most_streams, most_scans = MAX_STREAMS_OF_USER, MAX_SCANS_OF_USER

    def __init__(
        self, resources: Resources, access: Access, pulsar: OwnPulsar, serving: ServingCertificate | None = None
    ) -> None:
        super().__init__(Followers(pulsar.open))
        self._resources = resources
        self._access = access
        self._pulsar = pulsar
        self._serving = serving
        self._lists = Counter[str]()
        self._strangers_threads = ThreadPoolExecutor(STRANGERS_REVIEWS, "strangers")
        self._strangers, self._forms = Places(MAX_STRANGERS), Places(MAX_STRANGERS)
        self._refused = SeldomLog()

    def close(self) -> None:
        """Stop following all scans."""
        self._followers.close()
        self._strangers_threads.shutdown(wait=False, cancel_futures=True)

    def tend(self) -> None:
        """Stop following scans that no page shows, and load a renewed certificate."""
        super().tend()
        if self._serving is not None:
            self._serving.reload()

    def app(self) -> web.Application:
        """Return the application with the routes of all pages, of the sign-in form, and of the probes."""
        app = super().app()
        app.router.add_post("/sign-in", self._sign_in)
        app.router.add_post("/sign-out", self._sign_out)
        app.router.add_get("/healthz", self._healthy)
        app.router.add_get("/readyz", self._ready)
        return app

    async def _healthy(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - aiohttp's signature
        return message(200, "ok")

    async def _ready(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - aiohttp's signature
        return message(200, "ok") if self._resources.complete else message(503, "The scans are not listed yet.")

    # Who asks

    async def refusal(self, request: web.Request) -> web.StreamResponse | None:
        """Return the sign-in form, for a request without a user."""
        if self._access.was_known(self._token(request)):
            user = await self._user(request)
        else:
            with self._strangers.one():
                user = await self._user(request, self._strangers_threads)
        if user is not None:
            request[USER] = user
            return None
        if request.method != "GET" or "text/html" not in request.headers.get("Accept", ""):
            return message(401, "Sign in first, or send a token as Authorization: Bearer.")
        if (
            request.headers.get("Sec-Fetch-Site") == "cross-site"
            and "again" not in request.query  # once only
            and COOKIE not in request.cookies
        ):
            return html(sign_in_html(again=True), 401)
        note = "Your token is not accepted any more. Sign in again." if COOKIE in request.cookies else ""
        return html(sign_in_html(note), 401)

    async def _user(
        self, request: web.Request, threads: ThreadPoolExecutor | None = None, *, fresh: bool = False
    ) -> User | None:
        """Return the user of a request: by a proxy, by the token in its header, or by that in its cookie."""
        authorization = request.headers.get("Authorization", "")
        groups = ",".join(request.headers.getall("X-Forwarded-Groups", ()))
        if (user := self._access.user_of_proxy(authorization, groups)) is not None:
            return user
        ask = partial(self._access.user_with, self._token(request), fresh=fresh)
        return await asyncio.get_running_loop().run_in_executor(threads, ask)

    def _token(self, request: web.Request) -> str:
        return bearer_token(request.headers.get("Authorization", "")) or request.cookies.get(COOKIE, "")

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        if _is_foreign(request):
            return message(403, "Sign in on the page itself.")
        with self._forms.one():
            given = await _form(request)
        field = given.get("token", "")
        token = field.strip() if isinstance(field, str) else ""
        with self._strangers.one():
            ask = partial(self._access.user_with, token)
            user = await asyncio.get_running_loop().run_in_executor(self._strangers_threads, ask)
        if user is None:
            self._refused.warn("a token was not accepted in the sign-in form")
            return html(sign_in_html("This token is not accepted: it is not valid, has expired, or is too long."), 401)
        log.info("%s has signed in", printable_line(user.name))
        answer = _to_first_page()
        answer.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        if _is_foreign(request):
            return message(403, "Sign out on the page itself.")
        answer = _to_first_page()
        answer.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    def watchers(self, request: web.Request) -> str:
        """Return whose stream it will be."""
        return str(request[USER].name)

    # What there is to see

    async def first(self, request: web.Request) -> web.StreamResponse:
        """Answer with the list of the scans that the user may list."""
        user = request[USER]
        if self._lists[user.name] >= MAX_LISTS_OF_USER:
            return message(503, "You have too many requests at this moment. Reload the page.")
        self._lists[user.name] += 1
        try:
            answer = html(await asyncio.to_thread(self._listed, user, COOKIE in request.cookies))
        finally:
            self._lists[user.name] -= 1
            self._lists += Counter()  # forgets those without one
        answer.enable_compression()
        return answer

    def _listed(self, user: User, signed_in: bool) -> bytes:
        scans = self._resources.all()
        seen = self._access.listed(user, {one.namespace for one in scans})
        shown = [one for one in scans if one.namespace in seen]
        return cluster_html(shown, datetime.now(UTC), user.name, full=self._resources.full, signed_in=signed_in)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer with the page of a scan."""
        one = await self._resource(request)
        return html(resource_html(f"{one.namespace}/{one.name}", request[USER].name, COOKIE in request.cookies))

    async def _resource(self, request: web.Request, *, fresh: bool = False) -> Resource:
        """Return the scan of a request. One that the user may not get does not exist for them."""
        namespace, _, name = request.match_info["name"].partition(".")
        possible = 0 < len(namespace) <= MAX_NAMESPACE and 0 < len(name) <= MAX_NAME
        # The right is asked for first: the time of the answer must not tell whether there is a scan.
        ask = partial(self._access.may, request[USER], "get", namespace, name, fresh=fresh)
        allowed = possible and await asyncio.to_thread(ask)
        one = self._resources.get(namespace, name)
        if one is None or not allowed:
            raise web.HTTPNotFound(reason="There is no such scan, or you may not see it.")
        return one

    async def follower(self, request: web.Request) -> Followed:
        """Return what follows the scan: its follower, which begins now if there is none, or why it is not read."""
        one = await self._resource(request)
        if not self._pulsar.has(one):
            return Unread(
                "The scan has a Pulsar of its own, which this page does not read. It shows what the operator reports.",
                ended=one.finished,
            )
        known, over = self._followers.awaiting_page(one.uid)
        if known is None or (over and known.status["phase"] == "failed"):
            return await asyncio.to_thread(self._follow, one, known)
        return known

    async def known(self, request: web.Request) -> Followed | None:
        """Return the follower of the scan if there is one."""
        return self._followers.get((await self._resource(request)).uid)

    def _follow(self, one: Resource, failed: Follower | None) -> Followed:
        topics = one.topics(self._pulsar.tenant)
        try:
            if one.finished and not self._pulsar.has_topic(topics.plan):
                command = f"skymap-scanner fetch {one.name} --namespace {one.namespace}"
                reason = f"The scan has ended, and its messages were deleted. For its results and its report: {command}"
                return Unread(reason, ended=True)
            return self._followers.follow(f"{one.namespace}/{one.name}", topics, one.uid, instead_of=failed)
        except SkymapError as error:  # what the operator reports can be shown all the same
            return Unread(bounded_line(f"The map cannot be shown: {error}", MAX_ERROR), ended=one.finished)

    async def stream(self, request: web.Request, follower: Followed) -> AsyncIterator[bytes]:
        """Yield the events of a scan and of its SkymapScan, as long as the user may see them."""
        one = await self._resource(request)
        until = time.monotonic() + CHECK_INTERVAL
        reported = Reported(self._resources, one)
        async for event in events(follower, request.headers.get("Last-Event-ID", ""), reported.changes):
            if time.monotonic() > until:
                if not await self._may_still_see(request):
                    return
                until = time.monotonic() + CHECK_INTERVAL
            yield event
            if reported.gone or (isinstance(follower, Follower) and not self._pulsar.has(reported.now)):
                return  # its Pulsar is known only now: the browser connects again, and is told

    async def _may_still_see(self, request: web.Request) -> bool:
        with suppress(ClusterError, web.HTTPNotFound):
            user = await self._user(request, fresh=True)
            if user is not None:
                request[USER] = user
                await self._resource(request, fresh=True)
                return True
        return False


class Reported:
    """The changes of a SkymapScan as events of a stream.

    ``now``: the scan as it was last seen; ``gone``: it was deleted, so that nothing follows.
    """

    def __init__(self, resources: Resources, one: Resource) -> None:
        self._resources = resources
        self.now = one
        self._sent: Resource | None = None
        self.gone = False

    def changes(self) -> Iterator[bytes]:
        """Yield the scan if it has changed since the last call."""
        now = self._resources.get(self.now.namespace, self.now.name)
        if now is None or now.uid != self.now.uid:
            self.gone = True
            yield encode("resource", {"gone": True})
        elif now is not self._sent:
            self.now = self._sent = now
            yield encode("resource", now.as_values(datetime.now(UTC)) | {"backlogs": self._resources.backlog(now)})


async def _form(request: web.Request) -> Mapping[str, object]:
    """Return the fields of a form; raises HTTPRequestTimeout if it does not arrive in time."""
    try:
        async with asyncio.timeout(FORM_TIMEOUT):
            return await request.post()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(reason="The form has not arrived in time.") from error


def _to_first_page() -> web.Response:
    return web.Response(status=303, headers=HEADERS | {"Location": "/"})


def _is_foreign(request: web.Request) -> bool:
    """Return whether a page of another site sends the form."""
    if "Sec-Fetch-Site" in request.headers:
        return request.headers["Sec-Fetch-Site"] != "same-origin"
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("Host", "")
