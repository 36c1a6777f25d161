"""Asynchronous client of Pulsar's admin interface: topics, subscriptions, first and last messages.

What is sent and how answers are read is in `skymap_api.pulsar_admin`; here are the connections and the caches.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from cachetools import TTLCache

from skymap_api.addresses import Addresses
from skymap_api.names import TOPICS_NAMESPACE, metadata_namespace
from skymap_api.pulsar_admin import (
    SCHEME,
    AdminRequests,
    Answer,
    Exchange,
    PulsarAdminError,
    PulsarUnavailable,
    Request,
    StoredMessage,
    TopicList,
    split_topic,
)
from skymap_api.pulsar_policies import OPEN_POLICIES, POLICIES
from skymap_api.pulsar_statistics import Subscription, add_subscriptions
from skymap_operator.pulsar.bounded_http import OWN, BoundedClient, ClientLimits
from skymap_operator.pulsar.credentials import Credentials, Tls
from skymap_operator.pulsar.messages import MessageReader, Position

#: How long answers are cached (s): the topics of a namespace, which every scan asks for; that a namespace exists; the
#: statistics of a topic.
TOPICS_TTL, NAMESPACE_TTL, SUBSCRIPTIONS_TTL = 2.0, 60.0, 30.0

#: Most entries of a cache.
MAX_CACHED = 16_384

T = TypeVar("T")


@dataclass
class _Listed:
    """A cached list. It is changed in place, so that a change does not prolong its time in the cache."""

    found: TopicList


class PulsarAdmin:
    """The admin interface at ``url``. Methods raise PulsarAdminError; see `skymap_api.pulsar_admin`.

    ``trusted``: this is the operator's own, whose words errors may quote. ``limits``: of the requests.
    The token and certificates of ``credentials`` are read again when they change. Cached answers reflect at once what
    is created and deleted here. ``on_request`` is called after every request with its method and the status of the
    answer, None where there was none. ``allowed``: the addresses that its hosts may have; None: any. ``messages``:
    reads messages from its brokers, and is closed with it; without it, `first` and `last` are refused.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        on_request: Callable[[str, int | None], None] = lambda *_: None,
        *,
        allowed: Addresses | None = None,
        limits: ClientLimits = OWN,
        trusted: bool = False,
        messages: MessageReader | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials or Credentials()
        self._tls = Tls(self._credentials)
        self._on_request = on_request
        self._requests = AdminRequests(self.url, trusted=trusted, longest=limits.longest)
        self._messages = messages
        self._http = BoundedClient(self.url, self._tls.context, limits, allowed)
        self._topics: TTLCache[tuple[str, str], _Listed] = TTLCache(MAX_CACHED, TOPICS_TTL)
        self._prepared: TTLCache[tuple[str, str, tuple[str, ...]], bool] = TTLCache(MAX_CACHED, NAMESPACE_TTL)
        self._subscriptions: TTLCache[str, dict[str, Subscription]] = TTLCache(MAX_CACHED, SUBSCRIPTIONS_TTL)
        self._listing: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        if self._messages is not None:
            await self._messages.close()

    async def prepare(self, tenant: str, namespace: str, roles: Mapping[str, Sequence[str]] | None = None) -> None:
        """Create the tenant and what the scans in a ``namespace`` of Kubernetes need there, where it is missing.

        Each of the ``roles`` may do these actions there. An existing namespace keeps its policies.
        """
        given = roles or {}
        key = tenant, namespace, tuple(given)
        if key in self._prepared:
            return
        for name, policies in ((TOPICS_NAMESPACE, POLICIES), (metadata_namespace(namespace), OPEN_POLICIES)):
            await self._run(self._requests.create_namespace(tenant, name, policies))
            for role, actions in given.items():
                await self._run(self._requests.grant(f"{tenant}/{name}", role, actions))
        self._prepared[key] = True

    async def policies(self, tenant: str) -> dict[str, dict[str, Any]]:
        """Return the policies of the tenant's namespaces by their names, ``tenant/namespace``."""
        return await self._run(self._requests.policies(tenant))

    async def grant(self, place: str, actions: Mapping[str, Sequence[str]]) -> None:
        """Let each role do these on an existing topic, or in a namespace given as ``tenant/namespace``."""
        found = await self._run(self._requests.permissions(place))
        for role, wanted in actions.items():  # one after the other, since Pulsar keeps them all in one place
            if found.get(role) != frozenset(wanted):
                await self._run(self._requests.grant(place, role, wanted))

    async def revoke(self, place: str, roles: Iterable[str]) -> None:
        """Take all permissions on a topic or in a namespace from these roles."""
        for role in roles:
            await self._run(self._requests.revoke(place, role))

    async def create(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Create the topic, and subscriptions that begin at the first message."""
        try:
            await self._run(self._requests.create_topic(topic))
            for name in subscriptions:
                await self._run(self._requests.create_subscription(topic, name))
        except PulsarAdminError:
            self._prepared.clear()  # somebody may have deleted the namespace
            raise
        self._change(topic, exists=True)

    async def delete(self, topic: str) -> None:
        """Delete the topic with its messages and subscriptions; its clients are disconnected."""
        partitioned = await self._partitions(topic) > 0
        await self._run(self._requests.delete_topic(topic, partitioned=partitioned))
        self._change(topic, exists=False)

    async def topics(self, tenant: str, namespace: str, *, cached: bool = False) -> frozenset[str]:
        """List the topics of a namespace, a partitioned one once; empty where there is no such namespace.

        ``cached``: an answer of the last seconds will do. Concurrent callers share one request.
        """
        key = tenant, namespace
        async with self._listing[key]:
            listed = self._topics.get(key) if cached else None
            if listed is None:
                listed = self._topics[key] = _Listed(await self._run(self._requests.list_topics(tenant, namespace)))
                self._drop_deleted(listed.found.topics, f"{SCHEME}{tenant}/{namespace}/")
            return listed.found.topics

    async def subscriptions(self, topic: str, *, cached: bool = False) -> dict[str, Subscription]:
        """Return the statistics of all subscriptions of the topic; empty where there is no such topic.

        ``cached``: an answer of the last half minute will do.
        """
        found = self._subscriptions.get(topic) if cached else None
        if found is None:
            count = await self._partitions(topic)
            parts = [f"{topic}-partition-{number}" for number in range(count)] or [topic]
            answers = await asyncio.gather(*(self._run(self._requests.subscriptions(part)) for part in parts))
            found = add_subscriptions([one for one in answers if one is not None], len(parts))
            self._subscriptions[topic] = found
        return found

    async def last(self, topic: str) -> StoredMessage | None:
        """Return the last message of the topic, None where there is none. See `MessageReader.read`."""
        return await self._read(topic, "latest")

    async def check_broker(self) -> None:
        """Check that a broker accepts connections of the reader of messages, which needs more than this interface."""
        if self._messages is not None:
            await self._messages.check()

    async def _read(self, topic: str, position: Position) -> StoredMessage | None:
        if self._messages is None:
            raise PulsarAdminError(f"{topic}: messages are not read through the admin interface at {self.url}")
        return await self._messages.read(topic, position)

    def _change(self, topic: str, *, exists: bool) -> None:
        """Adapt the cached answers to what was just created or deleted."""
        tenant, namespace, _ = split_topic(topic)
        listed = self._topics.get((tenant, namespace))
        if listed is not None:
            before = listed.found
            listed.found = TopicList(
                before.topics | {topic} if exists else before.topics - {topic},
                before.partitioned if exists else before.partitioned - {topic},
            )
        self._subscriptions.pop(topic, None)

    def _drop_deleted(self, existing: frozenset[str], namespace: str) -> None:
        """Drop the cached answers of topics that somebody else has deleted."""
        for topic in [one for one in self._subscriptions if one.startswith(namespace) and one not in existing]:
            self._subscriptions.pop(topic, None)

    async def _partitions(self, topic: str) -> int:
        tenant, namespace, _ = split_topic(topic)
        listed = self._topics.get((tenant, namespace))
        if listed is not None and topic in listed.found.topics and topic not in listed.found.partitioned:
            return 0
        return await self._run(self._requests.partition_count(topic))

    async def _run(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                await asyncio.sleep(request.delay)
                try:
                    answer = await self._send(request)
                except PulsarUnavailable as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send(self, request: Request) -> Answer:
        headers = self._credentials.headers()
        self._tls.reload()
        status = None
        try:
            answer = await self._http.send(request, headers)
            status = answer.status
        finally:
            self._on_request(request.method, status)
        return answer
