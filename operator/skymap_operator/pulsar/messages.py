"""Reads the first or the last message of a topic, in bounded memory.

Anybody with a token for a topic may write there. 61 kB can hold 2 GB of zeros, which Pulsar's admin interface
(``examinemessage``) and Pulsar's clients would decompress first: the former ends the broker, the latter the operator.
So this speaks Pulsar's protocol itself (`skymap_api.pulsar_protocol`), reads no frame that is too long, looks at the
size that the metadata state, and decompresses no further than a limit.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import zstandard

from skymap_api.addresses import Addresses
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable, StoredMessage, UnreadableMessage
from skymap_api.pulsar_protocol import (
    EARLIEST,
    Compression,
    EntryId,
    Kind,
    RawMessage,
    ServerError,
    close_consumer,
    flow,
    get_last_message_id,
    lookup,
    read_message,
    subscribe,
)
from skymap_operator.pulsar.broker_connection import BrokerConnection, BrokerError, Lost, Place, connect_to
from skymap_operator.pulsar.credentials import Credentials, Tls
from skymap_operator.pulsar.pinned import allowed_address

log = logging.getLogger(__name__)

#: Longest message that is read (bytes), as it is stored and decompressed: snapshots and entries of plans have some
#: kilobytes, but for the pixels of a large level.
MAX_MESSAGE = 1 << 20

#: Most memory for the window of a compressed message (bytes); that of such a message is not larger than itself.
MAX_WINDOW = 1 << 23

#: Longest time of a read (s), number of connections, and how long an unused one is kept (s): brokers end those that
#: answer no ping for 30 s.
TIMEOUT, CONNECTIONS, KEPT = 10.0, 8, 15.0

#: Most steps from broker to broker until one has the topic.
MAX_LOOKUPS = 10

Position = Literal["earliest", "latest"]


@dataclass
class _Idle:
    connection: BrokerConnection
    since: float


class MessageReader:
    """Reads messages of the Pulsar at ``url``: ``pulsar://HOST:PORT`` or ``pulsar+ssl://``, further hosts after commas.

    ``allowed``: the addresses that its brokers may have; None: any. Raises PulsarAdminError if the URL or the
    certificates cannot be used.
    """

    def __init__(self, url: str, credentials: Credentials | None = None, allowed: Addresses | None = None) -> None:
        self._url = url
        self._places = _places(url)
        self._credentials = credentials or Credentials()
        self._allowed = allowed
        self._tls = Tls(self._credentials) if self._places[0].encrypted else None
        self._idle: defaultdict[Place, list[_Idle]] = defaultdict(list)
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def close(self) -> None:
        """Close the connections."""
        for idle in [one for some in self._idle.values() for one in some]:
            idle.connection.close()
        self._idle.clear()

    async def read(self, topic: str, position: Position) -> StoredMessage | None:
        """Return the first or the last message of a topic; None if it holds none, or does not exist.

        Raises UnreadableMessage if the message is too large or unusual, PulsarUnavailable if Pulsar does not answer,
        PulsarAdminError if it refuses.
        """
        async with self._limited():
            found = await self._retried(topic, position)
        return None if found is None else _stored(found, topic)

    async def check(self) -> None:
        """Check that a broker accepts a connection. Raises PulsarAdminError, or PulsarUnavailable."""
        async with self._limited():
            try:
                async with self._service():
                    return
            except Lost as error:
                raise self._unreachable(error) from error
            except BrokerError as error:
                raise self._refused(error, "the connection") from error

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        """Limit how many read at a time, and for how long."""
        async with self._free:
            try:
                async with asyncio.timeout(TIMEOUT):
                    yield
            except TimeoutError as error:
                raise PulsarUnavailable(f"{self._url} does not answer within {TIMEOUT:g} s") from error

    async def _retried(self, topic: str, position: Position) -> RawMessage | None:
        """Read a message; a second time where a connection that was kept is found closed."""
        try:
            return await self._read(topic, position)
        except Lost as error:
            log.debug("%s: %s, reading %s again", self._url, error, topic)
        try:
            return await self._read(topic, position)
        except Lost as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Lost) -> PulsarUnavailable:
        return PulsarUnavailable(f"cannot reach Pulsar's broker at {self._url} ({error})")

    def _refused(self, error: BrokerError, what: str) -> PulsarAdminError:
        """Return our words for the broker's error; its own could be anybody's."""
        if error.code in {ServerError.AUTHENTICATION, ServerError.AUTHORIZATION}:
            check = "Check the token or certificate, and whether its role may consume"
            return PulsarAdminError(f"{self._url} refuses {what}. {check}")
        return PulsarUnavailable(f"{self._url} cannot serve {what} now (error {error.code})")

    async def _read(self, topic: str, position: Position) -> RawMessage | None:
        try:
            place = await self._lookup(topic)
            async with self._connected(place) as broker:
                return await _message(broker, topic, position)
        except BrokerError as error:
            if error.code == ServerError.TOPIC_NOT_FOUND:
                return None
            raise self._refused(error, topic) from error

    async def _lookup(self, topic: str) -> Place:
        """Return the broker that has the topic."""
        place, authoritative = None, False
        for _ in range(MAX_LOOKUPS):
            async with self._service() if place is None else self._connected(place) as broker:
                answer = await broker.ask(lambda one: lookup(one, topic, authoritative=authoritative))  # noqa: B023
                here = broker.place
            kind, through = answer.number(3), answer.number(8)
            if kind not in {0, 1}:
                raise BrokerError(answer.number(6))
            target = _target(answer.text(2 if here.encrypted else 1), here, through=bool(through))
            if kind == 1:
                return target
            place, authoritative = target, bool(answer.number(5))
        raise PulsarUnavailable(f"{self._url} leads from broker to broker, and none has {topic}")

    @asynccontextmanager
    async def _service(self) -> AsyncIterator[BrokerConnection]:
        """Connect to the first host of the URL that can be reached."""
        for last, place in enumerate(self._places, 1 - len(self._places)):
            try:
                connection = await self._take(place)
            except Lost:
                if last == 0:
                    raise
                continue
            async with self._given_back(connection):
                yield connection
            return

    @asynccontextmanager
    async def _connected(self, place: Place) -> AsyncIterator[BrokerConnection]:
        async with self._given_back(await self._take(place)) as connection:
            yield connection

    async def _take(self, place: Place) -> BrokerConnection:
        """Return a connection that was kept, or a new one."""
        kept = self._idle[place]
        while kept:
            idle = kept.pop()
            if time.monotonic() - idle.since < KEPT and not idle.connection.closed:
                return idle.connection
            idle.connection.close()
        if self._tls is not None:
            self._tls.reload()
        context = None if self._tls is None else self._tls.context
        address = place.host
        if self._allowed is not None:
            address = await allowed_address(place.host, place.port, self._allowed)
        return await connect_to(place, address, context, *_authentication(self._credentials))

    @asynccontextmanager
    async def _given_back(self, connection: BrokerConnection) -> AsyncIterator[BrokerConnection]:
        """Keep a connection after its use, unless that failed: then the broker may still send what nobody awaits."""
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle[connection.place].append(_Idle(connection, time.monotonic()))


async def _message(broker: BrokerConnection, topic: str, position: Position) -> RawMessage | None:
    """Read one message of a topic that this broker has."""
    consumer = await _subscribed(broker, topic, EARLIEST)
    answer = await broker.ask(lambda one: get_last_message_id(one, consumer))
    last = answer.entry_id(1)
    if last.entry < 0:
        broker.send(close_consumer(broker.number(), consumer))
        return None
    if position == "latest":
        broker.send(close_consumer(broker.number(), consumer))
        consumer = await _subscribed(broker, topic, last)
    broker.send(flow(consumer))
    arrived = lambda one: one.kind == Kind.MESSAGE and one.number(1) == consumer  # noqa: E731
    _, rest = await broker.receive(arrived, MAX_MESSAGE)
    broker.send(close_consumer(broker.number(), consumer))
    if rest is None:
        raise UnreadableMessage(f"{topic}: a message of more than {MAX_MESSAGE} bytes")
    try:
        return read_message(rest)
    except ValueError as error:
        raise UnreadableMessage(f"{topic}: {error}") from error


async def _subscribed(broker: BrokerConnection, topic: str, start: EntryId) -> int:
    """Open a consumer under a name of its own; return its number."""
    consumer, name = broker.number(), f"operator-{uuid.uuid4()}"
    await broker.ask(lambda one: subscribe(one, consumer, topic, name, start))
    return consumer


def _stored(message: RawMessage, topic: str) -> StoredMessage:
    """Decompress a message, no further than the limit."""
    if message.unusual:
        raise UnreadableMessage(f"{topic}: {message.unusual}, not a single message")
    payload = message.payload
    if message.compression != Compression.NONE:
        if message.size > MAX_MESSAGE:
            raise UnreadableMessage(
                f"{topic}: a message of {message.size} bytes when it is decompressed, more than {MAX_MESSAGE}"
            )
        payload = _decompressed(message, topic)
    if len(payload) > MAX_MESSAGE:
        raise UnreadableMessage(f"{topic}: a message of more than {MAX_MESSAGE} bytes")
    try:
        published = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=message.published)
    except OverflowError as error:
        raise UnreadableMessage(f"{topic}: a message from beyond the year 9999") from error
    return StoredMessage(payload, published)


def _decompressed(message: RawMessage, topic: str) -> bytes:
    if message.compression != Compression.ZSTD:
        known = message.compression in {one.value for one in Compression}
        name = Compression(message.compression).name if known else "an unknown method"
        raise UnreadableMessage(f"{topic}: a message that is compressed with {name}, and roles use ZSTD")
    try:
        # Not decompress(): it allocates what the frame's header states.
        with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(message.payload) as reader:
            return reader.read(MAX_MESSAGE + 1)
    except zstandard.ZstdError as error:
        raise UnreadableMessage(f"{topic}: a message that cannot be decompressed") from error


def _authentication(credentials: Credentials) -> tuple[str, bytes]:
    """Return the method and the data with which we connect."""
    header = credentials.headers().get("Authorization")
    if header is not None:
        return "token", header.removeprefix("Bearer ").encode()
    return ("none", b"") if credentials.certificate is None else ("tls", b"")


def _places(url: str) -> tuple[Place, ...]:
    """Return the hosts of a service URL."""
    scheme, slashes, hosts = url.partition("://")
    try:
        return tuple(Place.parse(f"{scheme}{slashes}{host}") for host in hosts.rstrip("/").split(","))
    except ValueError as error:
        raise PulsarAdminError(f"broker {url!r}: write pulsar://HOST:6650 or pulsar+ssl://HOST:6651") from error


def _target(url: str, here: Place, *, through: bool) -> Place:
    """Return where a lookup leads: a broker as encrypted as this one, or the same proxy, for that broker."""
    try:
        broker = Place.parse(url)
    except ValueError as error:
        raise PulsarUnavailable(f"{here.host} names no broker for the topic") from error
    if broker.encrypted != here.encrypted:
        raise PulsarAdminError(f"{here.host} leads from {here.scheme} to another kind of broker: refused")
    return Place(here.scheme, here.host, here.port, f"{broker.host}:{broker.port}") if through else broker
