"""Pulsar's admin REST interface as the operator needs it: topics made, seen and deleted, messages looked at. No client.

Everything may be repeated: what is there already, or gone already, is no error.
Source: https://pulsar.apache.org/admin-rest-api (v2).
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from skymap_api.names import METADATA_NAMESPACE, TOPICS_NAMESPACE
from skymap_api.pulsar_admin import (
    BUSY,
    MOST_REDIRECTIONS,
    OPEN_POLICIES,
    PAUSE,
    POLICIES,
    REDIRECTIONS,
    SCHEME,
    TRIES,
    Rest,
    reason,
)

#: What a namespace's policies are, of those that a scan needs.
NAMESPACES = {TOPICS_NAMESPACE: POLICIES, METADATA_NAMESPACE: OPEN_POLICIES}

#: What the pods' role may do there, and nothing else.
GRANT = ["produce", "consume"]

#: The longest answer that is read (bytes): a snapshot or the first entry of a plan is a few kilobytes, statistics more.
LONGEST = 16 << 20

#: Longest time of a request (s), of the wait for one of the connections, and how many: where Pulsar is slow, a queue on
#: this side of them runs into no limit.
TIMEOUT, PATIENCE, CONNECTIONS = 10.0, 60.0, 12

#: How long the names of all topics of a namespace are kept (s), for all scans that ask: there are six for each.
KEEP_TOPICS = 2.0

#: How long it counts (s) that a namespace has been made.
KEEP_PREPARED = 60.0


class PulsarAdminError(Exception):
    """Pulsar refuses; asking again does not help."""


class PulsarAway(PulsarAdminError):  # noqa: N818 - a state that passes, not a mistake
    """Pulsar cannot be reached for now."""


REST = Rest(PulsarAdminError)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a subscription has to do, and the addresses of its consumers that have a message in hand.

    ``done``: messages that its consumers have had before the last one that each was sent; ``spent``: the time from when
    they connected until then (s, by the broker's clock).
    """

    waiting: int
    unacked: int
    busy: frozenset[str]
    done: int = 0
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it lies in its topic."""

    payload: bytes
    published: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files with what Pulsar asks for: a token; certificates (PEM) to trust; our own certificate and its key."""

    token: Path | None = None
    trusted: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(slots=True)
class _Listed:
    """The topics of a namespace as they were at ``asked`` (s, the loop's clock); ``whole``: those with partitions."""

    asked: float = -math.inf
    topics: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class PulsarAdmin:
    """The admin interface at ``url``; the token of ``credentials`` is read anew for every request.

    What many looks need is asked for once for all of them, and what was read is kept where the caller says for how
    long; what is made or deleted here is known at once. ``asked`` is told of every request: its method, and the code of
    the answer, None where there was none.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        asked: Callable[[str, int | None], None] = lambda *_: None,
    ) -> None:
        self.url = url.rstrip("/")
        credentials = credentials or Credentials()
        self._token_file = credentials.token
        self._asked = asked
        self._http = httpx.AsyncClient(
            verify=_trust(credentials),
            timeout=httpx.Timeout(TIMEOUT, pool=PATIENCE),
            limits=httpx.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=30
            ),
        )
        self._listed: dict[tuple[str, str], _Listed] = {}
        self._prepared: dict[tuple[str, str | None], float] = {}
        self._firsts: dict[str, tuple[float, Stored]] = {}
        self._queues: dict[str, tuple[float, dict[str, Subscription]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._http.aclose()

    async def prepare(self, tenant: str, role: str | None = None) -> None:
        """Make the tenant and its namespaces where they are missing; let the pods' ``role`` produce and consume there.

        A namespace that is there keeps its policies.
        """
        now = asyncio.get_running_loop().time()
        if now - self._prepared.get((tenant, role), -math.inf) < KEEP_PREPARED:
            return
        for namespace, policies in NAMESPACES.items():
            path = f"/namespaces/{quote(tenant, safe='')}/{namespace}"
            if (await self._ask("GET", f"{path}/retention", fine=(401, 403, 404))).status_code == 404:
                await self._create_tenant(tenant)
                await self._insist("PUT", path, policies, fine=409)
            if role is not None:
                await self._insist("POST", f"{path}/permissions/{quote(role, safe='')}", GRANT)
        self._prepared[tenant, role] = now

    async def create(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Make the topic, and subscriptions that begin at the first message."""
        try:
            await self._insist("PUT", REST.path(topic), fine=409)
            for name in subscriptions:
                path = f"{REST.path(topic)}/subscription/{quote(name, safe='')}"
                await self._insist("PUT", path, "earliest", fine=409)
        except PulsarAdminError:
            self._prepared.clear()  # somebody may have deleted the namespace
            raise
        listed = self._of(topic)
        if listed.asked > -math.inf:
            listed.topics |= {topic}
        self._queues.pop(topic, None)

    async def delete(self, topic: str) -> None:
        """Delete the topic with its messages and subscriptions; its clients are cut off."""
        self._firsts.pop(topic, None)
        self._queues.pop(topic, None)
        where = "/partitions" if await self._partitions(topic) else ""
        await self._insist("DELETE", f"{REST.path(topic)}{where}?force=true")
        listed = self._of(topic)
        listed.topics -= {topic}
        listed.whole -= {topic}

    async def topics(self, tenant: str, namespace: str, kept: float = 0.0) -> frozenset[str]:
        """List the topics of a namespace, a partitioned one once; none where there is no such namespace.

        ``kept``: how old the list may be (s). Those who ask at the same time share one.
        """
        listed = self._listed.setdefault((tenant, namespace), _Listed())
        oldest = asyncio.get_running_loop().time() - kept
        async with listed.lock:
            if listed.asked < oldest:
                asked = asyncio.get_running_loop().time()
                listed.topics, listed.whole = await self._list(tenant, namespace)
                listed.asked = asked
                self._forget(listed.topics, f"{SCHEME}{tenant}/{namespace}/")
            return listed.topics

    async def _list(self, tenant: str, namespace: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return all topics, and those with partitions."""
        path = f"/persistent/{quote(tenant, safe='')}/{quote(namespace, safe='')}"
        found = await self._ask("GET", path, fine=(404,))
        if found.status_code == 404:
            return frozenset(), frozenset()
        partitioned = await self._ask("GET", f"{path}/partitioned", fine=(404,))
        whole = frozenset(REST.names(partitioned)) if partitioned.status_code == 200 else frozenset()
        parts = (topic for topic in REST.names(found) if not topic.rpartition("/")[2].startswith("__"))
        return whole | {topic for topic in parts if topic.rpartition("-partition-")[0] not in whole}, whole

    def _of(self, topic: str) -> _Listed:
        tenant, namespace, _ = REST.split_topic(topic)
        return self._listed.setdefault((tenant, namespace), _Listed())

    def _forget(self, there: frozenset[str], base: str) -> None:
        """Forget what was read of topics that are gone."""
        for kept in (self._firsts, self._queues):
            for topic in [topic for topic in kept if topic.startswith(base) and topic not in there]:
                del kept[topic]

    async def subscriptions(self, topic: str, kept: float = 0.0) -> dict[str, Subscription]:
        """Look at all subscriptions of the topic, its partitions summed up; none where there is no such topic.

        ``kept``: how old the answer may be (s).
        """
        now = asyncio.get_running_loop().time()
        asked, before = self._queues.get(topic, (-math.inf, {}))
        if now - asked < kept:
            return before
        found = await self._subscriptions(topic)
        if kept:
            self._queues[topic] = (now, found)
        return found

    async def _subscriptions(self, topic: str) -> dict[str, Subscription]:
        count = await self._partitions(topic)
        parts = [f"{topic}-partition-{number}" for number in range(count)] or [topic]
        answers = await asyncio.gather(
            *(self._ask("GET", f"{REST.path(part)}/stats?getPreciseBacklog=true", fine=(404,)) for part in parts)
        )
        found: dict[str, Subscription] = {}
        for answer in answers:
            stats = REST.object(answer).get("subscriptions", {}) if answer.status_code == 200 else {}
            for name, one in stats.items():
                found[name] = _added(found.get(name, Subscription(0, 0, frozenset())), one, len(parts))
        return found

    async def first(self, topic: str, kept: float = 0.0) -> Stored | None:
        """Return the first message of the topic; None where there is none. ``kept``: how old the answer may be (s)."""
        now = asyncio.get_running_loop().time()
        asked, before = self._firsts.get(topic, (-math.inf, None))
        if before is not None and now - asked < kept:
            return before
        found = await self._examine(topic, "earliest")
        if found is not None and kept:
            self._firsts[topic] = (now, found)
        return found

    async def last(self, topic: str) -> Stored | None:
        """Return the last message of the topic; None where there is none."""
        return await self._examine(topic, "latest")

    async def _examine(self, topic: str, position: str) -> Stored | None:
        query = f"examinemessage?initialPosition={position}&messagePosition=1"
        # 412: no message is there to look at.
        answer = await self._ask("GET", f"{REST.path(topic)}/{query}", fine=(404, 412))
        published = answer.headers.get("X-Pulsar-publish-time")
        if answer.status_code != 200 or published is None:
            return None
        return Stored(answer.content, datetime.fromisoformat(published))

    async def _create_tenant(self, tenant: str) -> None:
        path = f"/tenants/{quote(tenant, safe='')}"
        if (await self._ask("GET", path, fine=(401, 403, 404))).status_code == 404:
            clusters = [name for name in REST.names(await self._ask("GET", "/clusters")) if name != "global"]
            await self._insist("PUT", path, {"allowedClusters": clusters, "adminRoles": []}, fine=409)

    async def _partitions(self, topic: str) -> int:
        listed = self._of(topic)
        if topic in listed.topics and topic not in listed.whole:
            return 0
        answer = await self._ask("GET", f"{REST.path(topic)}/partitions", fine=(404,))
        return int(REST.object(answer).get("partitions", 0)) if answer.status_code == 200 else 0

    async def _insist(self, method: str, path: str, json: object = None, fine: int = 404) -> None:
        """Ask again while others are just at it: they create the same, or their clients leave or come."""
        for _ in range(TRIES):
            if (await self._ask(method, path, json, fine=(fine, *BUSY))).status_code not in BUSY:
                return
            await asyncio.sleep(PAUSE)
        await self._ask(method, path, json, fine=(fine,))

    async def _ask(self, method: str, path: str, json: object = None, fine: tuple[int, ...] = ()) -> httpx.Response:
        """Send a request, follow redirections, and explain every answer that is neither success nor ``fine``."""
        url = f"{self.url}/admin/v2{path}"
        for _ in range(MOST_REDIRECTIONS):
            answer = await self._send(method, url, json)
            if answer.status_code not in REDIRECTIONS:
                break
            url = REST.redirected(url, answer)
        if answer.is_success or answer.status_code in fine:
            return answer
        what = f"{self.url} refused {method} {path.partition('?')[0]}: {answer.status_code} {reason(answer)}"
        if answer.status_code in {401, 403}:
            raise PulsarAdminError(f"{what}. Check the token or certificate for it, and what its role may do")
        if answer.status_code >= 500 or answer.status_code in REDIRECTIONS:
            raise PulsarAway(what)
        raise PulsarAdminError(what)

    async def _send(self, method: str, url: str, json: object) -> httpx.Response:
        headers = {} if self._token_file is None else {"Authorization": f"Bearer {_token(self._token_file)}"}
        body: Mapping[str, Any] = {} if json is None else {"json": json}
        code = None
        try:
            async with self._http.stream(method, url, headers=headers, **body) as answer:
                code, content = answer.status_code, b""
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > LONGEST:
                        raise PulsarAdminError(f"{self.url} answers {method} with more than {LONGEST} bytes")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise PulsarAdminError(f"admin URL {self.url!r}: {error}") from error
        except httpx.HTTPError as error:
            raise PulsarAway(
                f"cannot reach Pulsar's admin interface at {self.url} ({str(error) or type(error).__name__})"
            ) from error
        finally:
            self._asked(method, code)
        unpacked = {name: value for name, value in answer.headers.items() if name.lower() != "content-encoding"}
        return httpx.Response(answer.status_code, headers=unpacked, content=content, request=answer.request)


def _added(before: Subscription, stats: Mapping[str, Any], parts: int) -> Subscription:
    """Add one partition's statistics: ``msgBacklog`` counts what is unacknowledged too.

    A consumer is connected to all ``parts`` of a topic at a time, so that each counts for its part of the time.
    """
    total = int(stats.get("msgBacklog", 0))
    held = min(int(stats.get("unackedMessages", 0)), total)
    busy = {_host(one) for one in stats.get("consumers", ()) if int(one.get("unackedMessages", 0)) > 0}
    spells = [_spell(one) for one in stats.get("consumers", ())]
    return Subscription(
        before.waiting + total - held,
        before.unacked + held,
        before.busy | busy,
        before.done + sum(done for done, _ in spells),
        before.spent + sum(spent for _, spent in spells) / parts,
    )


def _spell(consumer: Mapping[str, Any]) -> tuple[int, float]:
    """Return how many messages a consumer has had before its last one, and the time until it was sent that (s)."""
    done, last = int(consumer.get("msgOutCounter", 0)) - 1, int(consumer.get("lastConsumedTimestamp", 0)) / 1000
    try:
        connected = datetime.fromisoformat(str(consumer.get("connectedSince"))).timestamp()
    except ValueError:
        return 0, 0.0
    return (done, last - connected) if done > 0 and last > connected else (0, 0.0)


def _host(consumer: Mapping[str, Any]) -> str:
    """Return the address of a consumer (``/10.0.0.7:41234``) without its port."""
    return str(consumer.get("address", "")).lstrip("/").rpartition(":")[0].strip("[]")


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PulsarAdminError(f"cannot read the token in {path}: {error}") from error
    if not token:
        raise PulsarAdminError(f"{path} is empty: it should hold the operator's token for Pulsar")
    return token


def _trust(credentials: Credentials) -> ssl.SSLContext:
    named = [str(path) for path in (credentials.trusted, credentials.certificate, credentials.key) if path is not None]
    try:
        context = ssl.create_default_context(cafile=credentials.trusted)
        if credentials.certificate is not None:
            context.load_cert_chain(credentials.certificate, credentials.key)
    except (OSError, ssl.SSLError) as error:
        raise PulsarAdminError(f"cannot use the certificates in {', '.join(named)}: {error}") from error
    return context
