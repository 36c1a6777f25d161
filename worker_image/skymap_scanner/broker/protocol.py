"""What every broker promises the roles: topics that keep, subscriptions that remember, nothing acknowledged early.

A *topic* is a durable, ordered log of messages, kept until the topic is deleted, acknowledged or not. A *subscription*
on it remembers what has been acknowledged. A *consumer* takes messages through a subscription and must acknowledge
them; when it dies, what it held is delivered again. A *reader* walks the log from its start and acknowledges nothing.
The words are Apache Pulsar's.

Delivery is at least once: whoever receives must bear a message that comes twice. Everything handed out may be used by
any thread of the process that opened it, and by no other process.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from skymap_scanner.errors import InputError


class SubscriptionType(StrEnum):
    """Who gets a message: any one consumer (shared), or the one active consumer, in order (failover).

    Key-shared: the one consumer that has the message's key for now, in order within the key. Keys move when consumers
    come and go, but not to a new consumer while the old one holds messages of them. The embedded broker refuses it.
    """

    SHARED = "shared"
    FAILOVER = "failover"
    KEY_SHARED = "key_shared"


def check_ack_timeout(seconds: float | None, kind: SubscriptionType) -> None:
    """Raise InputError unless a consumer of this kind may have this ``ack_timeout``."""
    if seconds is not None and not (seconds > 0 and kind is SubscriptionType.SHARED):
        raise InputError(f"ack_timeout {seconds}: give a positive number of seconds, of a shared subscription, or None")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send.

    ``sequence_id`` counts up within one producer name on one topic; the broker drops a message whose id is not above
    the highest it has stored for that name, so that a producer may send again after a crash. None: no deduplication.
    """

    payload: bytes
    key: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    sequence_id: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message received.

    ``attempts`` counts the deliveries of this message so far, this one included; a broker may forget those whose
    consumer died (Pulsar does).
    """

    id: Hashable
    payload: bytes
    key: str | None
    properties: Mapping[str, str]
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a subscription still has to do: ``waiting`` for a consumer, and ``unacked``, held by one."""

    waiting: int
    unacked: int


class Closing(Protocol):
    """A broker, and everything it hands out, is closed by its owner, best by ``with``.

    Closing twice does nothing; whatever else is asked of something closed raises BrokerError.
    """

    def close(self) -> None:
        """Give back the connection; a consumer's unacknowledged messages are delivered again.

        Closing a broker closes all that it handed out.
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
        """Store the messages, in order; when this returns they survive the death of this process.

        Many at once cost much less than one by one.
        """

    def submit(self, message: Outgoing) -> Future[None]:
        """Begin to store a message and return; it is stored when the future has a result, and not before.

        ``result()`` waits until then, and raises what `send` would have raised. Messages are stored in the order in
        which they were submitted or sent; how many are on their way at once is for the caller to bound. The future
        cannot be cancelled. `close` waits for all of them; the death of the process loses those not yet stored.
        """


class Consumer(Closing, Protocol):
    """Takes messages of one topic through a subscription."""

    def receive(self, timeout: float) -> Message | None:
        """Return the next message, or None when none came within ``timeout`` seconds (0: only look).

        In order, but for messages given back. Only the active consumer of a failover subscription receives any.
        """

    def ack(self, *messages: Message) -> None:
        """Never deliver these again to this subscription, also where they were given to another consumer meanwhile.

        Raises BrokerError for a message that did not come through this subscription.
        """

    def nack(self, *messages: Message) -> None:
        """Give these back, to be delivered again at once; a message that this consumer no longer holds stays as it is.

        Raises BrokerError for a message that did not come through this subscription.
        """


class Reader(Closing, Protocol):
    """Walks one topic from its first message; sees every message once and in order, acknowledged or not.

    The ``attempts`` of what it returns are 1.
    """

    def receive(self, timeout: float) -> Message | None:
        """Return the next message, or None when none came within ``timeout`` seconds.

        None also says that everything stored before the call has been seen.
        """


class Broker(Closing, Protocol):
    """A place that keeps topics. Topic names are full: ``persistent://tenant/namespace/topic``."""

    def create_topic(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Make the topic and its subscriptions, each from the earliest message; safe to repeat."""

    def prepare(self, base: str) -> None:
        """Make ready for topics whose names begin with ``base``: who may produce there makes them; safe to repeat."""

    def producer(self, topic: str, name: str) -> Producer:
        """Open a producer; the topic is made if it is missing."""

    def consumer(
        self,
        topic: str,
        subscription: str,
        kind: SubscriptionType,
        *,
        ack_timeout: float | None = None,
        prefetch: int = 0,
    ) -> Consumer:
        """Open a consumer; the subscription is made (from the earliest message) if it is missing.

        A message of a shared subscription that is held longer than ``ack_timeout`` seconds is delivered again (None:
        never; the other kinds know no such time). A shared consumer holds only what it has received, and at most
        ``prefetch`` messages more, sent ahead; the other kinds may be sent any number. All consumers of a subscription
        are of one kind (else BrokerError).
        """

    def reader(self, topic: str, *, make: bool = True) -> Reader:
        """Open a reader; the topic is made if it is missing, or where it is not to be made, BrokerError raised."""

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count what the subscription still has to do; raises BrokerError when there is no such subscription."""

    def topics(self, prefix: str = "") -> list[str]:
        """List the topics whose full name starts with ``prefix``, sorted."""

    def delete_topic(self, topic: str) -> None:
        """Delete the topic with its messages and subscriptions; nothing happens when it is missing."""
