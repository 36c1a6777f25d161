"""The protocol of a broker: durable topics, subscriptions that remember, at-least-once delivery.

A *topic* is a durable, ordered log of messages, kept until the topic is deleted, acknowledged or not. A *subscription*
on it remembers which messages are acknowledged. A *consumer* receives messages through a subscription and must
acknowledge them; when it crashes, the messages that it held are delivered again. A *reader* reads the log from its
start and acknowledges nothing. The terms are those of Apache Pulsar.

Delivery is at least once: a receiver must tolerate duplicates. Everything that a broker opens may be used by any thread
of the process that opened it, and by no other process.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from skymap_scanner.errors import InputError


class SubscriptionType(StrEnum):
    """Which consumer receives a message: any one (shared), or the active one, in order (failover).

    Key-shared: the one consumer that owns the message's key, in order for each key. Keys move when consumers come and
    go, but not to a new consumer while the old one holds messages with them.
    """

    SHARED = "shared"
    FAILOVER = "failover"
    KEY_SHARED = "key_shared"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one broker can do and another cannot.

    ``key_shared``: it has key-shared subscriptions; `Broker.consumer` raises BrokerError otherwise.
    ``keeps_active_consumer``: the active failover consumer stays active when another joins.
    """

    key_shared: bool
    keeps_active_consumer: bool


def check_ack_timeout(seconds: float | None, kind: SubscriptionType) -> None:
    """Check that a consumer of this kind may have this ``ack_timeout``; raises InputError if it may not."""
    if seconds is not None and not (seconds > 0 and kind is SubscriptionType.SHARED):
        raise InputError(f"ack_timeout {seconds}: give a positive number of seconds, of a shared subscription, or None")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send.

    ``sequence_id`` increases within one producer name on one topic. The broker drops a message whose id is not above
    the highest stored for that name, so a producer may send again after a crash. None: no deduplication.
    """

    payload: bytes
    key: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    sequence_id: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message received."""

    id: Hashable
    payload: bytes
    key: str | None
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages of a subscription: ``waiting`` for a consumer, and ``unacked``, held by one."""

    waiting: int
    unacked: int


class Closing(Protocol):
    """What its owner closes, preferably by ``with``; closing twice does nothing.

    Any other call on a closed broker, or on anything that it opened, raises BrokerError.
    """

    def close(self) -> None:
        """Close the connection; a consumer's unacknowledged messages are delivered again.

        Closing a broker closes everything that it opened.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class Producer(Closing, Protocol):
    """Stores messages on one topic."""

    @property
    def last_sequence_id(self) -> int:
        """Highest sequence id stored under this producer's name on this topic, -1 if none."""

    def send(self, *messages: Outgoing) -> None:
        """Store the messages, in order; when it returns they survive the end of this process.

        Many messages in one call cost much less than one by one.
        """

    def submit(self, message: Outgoing) -> Future[None]:
        """Start to store a message and return; it is stored as soon as the future has a result.

        ``result()`` waits until then, and raises what `send` would have raised. Messages are stored in the order in
        which they were submitted or sent. The caller limits the number of pending messages. The future cannot be
        cancelled. `close` waits for all pending messages; the end of the process loses those not yet stored.
        """


class Consumer(Closing, Protocol):
    """Receives messages of one topic through a subscription."""

    def receive(self, timeout: float) -> Message | None:
        """Return the next message, or None if none arrives within ``timeout`` seconds (0: do not wait).

        Messages arrive in order, except those that are delivered again. Only the active consumer of a failover
        subscription receives any.
        """

    def ack(self, *messages: Message) -> None:
        """Never deliver these messages to this subscription again, even if another consumer holds them.

        Raises BrokerError for a message that was not received through this subscription.
        """

    def nack(self, *messages: Message) -> None:
        """Let these messages be delivered again soon; ignores those that this consumer no longer holds.

        Raises BrokerError for a message that was not received through this subscription.
        """


class Reader(Closing, Protocol):
    """Reads one topic from its first message: every message once and in order, acknowledged or not."""

    def receive(self, timeout: float) -> Message | None:
        """Return the next message, or None if none arrives within ``timeout`` seconds.

        None also means that everything stored before the call has been read.
        """


def arrived(source: Consumer | Reader, timeout: float) -> Iterator[Message]:
    """Yield the messages that have arrived; wait up to ``timeout`` seconds for the first."""
    message = source.receive(timeout)
    while message is not None:
        yield message
        message = source.receive(0)


class Broker(Closing, Protocol):
    """Keeps topics. Topic names are full: ``persistent://tenant/namespace/topic``."""

    @property
    def url(self) -> str:
        """URL of the broker, independent of the working directory."""

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do and another cannot."""

    def create_topic(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Create the topic and its subscriptions, each from the earliest message; existing ones stay."""

    def create_namespace(self, base: str) -> None:
        """Create the namespace of the topics whose names begin with ``base``, unless it exists."""

    def producer(self, topic: str, name: str) -> Producer:
        """Open a producer; the topic is created if it is missing."""

    def consumer(
        self,
        topic: str,
        subscription: str,
        kind: SubscriptionType,
        *,
        ack_timeout: float | None = None,
        prefetch: int = 0,
    ) -> Consumer:
        """Open a consumer; the subscription is created (from the earliest message) if it is missing.

        A message of a shared subscription is delivered again if a consumer holds it for longer than ``ack_timeout``
        seconds (None: never; the other kinds have no such timeout). A shared consumer holds the messages that it has
        received, and at most ``prefetch`` more that are sent ahead; the other kinds have no such limit. All consumers
        of a subscription are of one kind (otherwise BrokerError).
        """

    def reader(self, topic: str, *, create: bool = True) -> Reader:
        """Open a reader; if the topic is missing, it is created, or without ``create`` BrokerError is raised."""

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count the messages of a subscription; raises BrokerError if the subscription does not exist."""

    def topics(self, prefix: str = "") -> list[str]:
        """List the topics whose full name starts with ``prefix``, sorted."""

    def delete_topic(self, topic: str) -> None:
        """Delete the topic with its messages and subscriptions; a missing topic is ignored."""
