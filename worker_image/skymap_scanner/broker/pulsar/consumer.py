"""Receiving messages: consumers through a subscription, readers from the start of a topic."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Hashable

import pulsar

from skymap_scanner.broker.protocol import Closing, Message, SubscriptionType, check_ack_timeout
from skymap_scanner.broker.pulsar.connection import Connection, TransientErrors
from skymap_scanner.broker.pulsar.results import error_for, is_transient
from skymap_scanner.errors import BrokerError

log = logging.getLogger(__name__)

#: Delay before a negatively acknowledged message is delivered again (ms).
REDELIVERY_DELAY = 100

#: Messages prefetched by a failover or key-shared consumer, and by a reader, whose messages may be large.
PREFETCH, READER_PREFETCH = 1000, 100

#: How often a source without messages checks whether its topic still exists (s).
CHECK_INTERVAL = 2.0

#: Timeout for a message that is known to exist (ms).
FETCH_TIMEOUT = 30_000

KINDS = {
    SubscriptionType.SHARED: pulsar.ConsumerType.Shared,
    SubscriptionType.FAILOVER: pulsar.ConsumerType.Failover,
    SubscriptionType.KEY_SHARED: pulsar.ConsumerType.KeyShared,
}


class _Source(Closing):
    """Base of consumers and readers: closing, and noticing that the topic has been deleted."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self.closed = False
        self._next_check = time.monotonic() + CHECK_INTERVAL
        self._transient = TransientErrors(f"receiving from {topic}", connection.url)

    @property
    @abstractmethod
    def _connected(self) -> bool:
        """Whether messages can arrive."""

    def _check_open(self) -> None:
        self._connection.check_open()
        if self.closed:
            raise BrokerError(f"this consumer or reader of {self._topic} is closed")

    def _check_topic(self) -> None:
        """Check at intervals that no message arrives for another reason than a deleted topic; raises BrokerError."""
        self._check_open()
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL
            if not self._connected:
                self._transient.wait(self._connection.check_topic(self._topic) or "NotConnected")

    def _error(self, error: pulsar.PulsarException) -> BrokerError:
        return error_for(type(error).__name__, f"receiving from {self._topic}", self._connection.url)


class PulsarConsumer(_Source):
    """Receives messages through a subscription; see `broker.protocol.Consumer`.

    A shared consumer without ``prefetch`` requests every message, so that no task waits behind a slow fit. A request
    that was not answered in time stays open: its message may arrive later and is held until the next `receive`; for a
    partitioned topic this holds for each partition.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        subscription: str,
        kind: SubscriptionType,
        ack_timeout: float | None,
        prefetch: int,
    ) -> None:
        check_ack_timeout(ack_timeout, kind)
        super().__init__(connection, topic)
        self._subscription = subscription
        self._kind = kind
        self._ack_timeout = ack_timeout
        self._held: dict[Hashable, tuple[float, Message]] = {}  # with the end of the acknowledgement timeout
        self._requesters: list[_Requester] = []
        self._turn = threading.Lock()
        if kind is SubscriptionType.SHARED and not prefetch:
            self._arrived: queue.SimpleQueue[tuple[int, pulsar.Message]] = queue.SimpleQueue()
            self._consumers = [self._subscribe(partition, 0) for partition in self._partitions()]
            self._requesters = [_Requester(one, number, self._arrived) for number, one in enumerate(self._consumers)]
        else:
            self._consumers = [self._subscribe(topic, prefetch or PREFETCH)]
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._nack_overdue, daemon=True)
        if ack_timeout is not None:
            self._watch.start()

    def receive(self, timeout: float) -> Message | None:
        """Return the next message; see `broker.protocol.Consumer`."""
        self._check_open()
        if self._requesters:
            return self._receive_requested(timeout)
        try:
            got = self._consumers[0].receive(max(1, round(timeout * 1000)))
        except pulsar.Timeout:
            self._check_topic()
            return None
        except pulsar.PulsarException as error:
            self._check_open()
            raise self._error(error) from error
        return self._message(0, got)

    def ack(self, *messages: Message) -> None:
        """Never deliver these messages again; see `broker.protocol.Consumer`."""
        for consumer, message_id in self._ids(messages):
            try:
                consumer.acknowledge(message_id)
            except pulsar.PulsarException as error:
                # It is delivered again and acknowledged then: a receiver tolerates duplicates.
                if not is_transient(type(error).__name__):
                    raise self._error(error) from error

    def nack(self, *messages: Message) -> None:
        """Let these messages be delivered again; see `broker.protocol.Consumer`."""
        for consumer, message_id in self._ids(messages):
            consumer.negative_acknowledge(message_id)

    def close(self) -> None:
        """Let all messages held be delivered again; see `broker.protocol.Consumer`."""
        if self.closed:
            return
        self.closed = True
        self._closing.set()
        if self._watch.is_alive():
            self._watch.join()
        for requester in self._requesters:
            requester.end()
        for consumer in self._consumers:
            if not self._connection.closed:
                try:
                    consumer.close()
                except pulsar.PulsarException as error:
                    log.debug("closing a consumer of %s: %s", self._topic, error)
        for requester in self._requesters:
            requester.join()

    @property
    def _connected(self) -> bool:
        return all(consumer.is_connected() for consumer in self._consumers)

    def _receive_requested(self, timeout: float) -> Message | None:
        with self._turn:
            for requester in self._requesters:
                requester.request()
            try:
                number, got = self._arrived.get(timeout=max(timeout, 0.001))
            except queue.Empty:
                self._check_topic()
                return None
            self._requesters[number].received()
            return self._message(number, got)

    def _message(self, number: int, got: pulsar.Message) -> Message:
        message = _message((self._topic, self._subscription, number), got)
        if self._ack_timeout is not None:
            self._held[message.id] = (time.monotonic() + self._ack_timeout, message)
        return message

    def _nack_overdue(self) -> None:
        """Negatively acknowledge messages held beyond the acknowledgement timeout.

        The client's own timeout ignores requested ones.
        """
        pause = min(self._ack_timeout or 1.0, 1.0) / 4
        while not self._closing.wait(pause):
            now = time.monotonic()
            overdue = [message for due, message in list(self._held.values()) if due < now]
            with contextlib.suppress(BrokerError, pulsar.PulsarException):  # closed in the meantime
                self.nack(*overdue)

    def _ids(self, messages: tuple[Message, ...]) -> list[tuple[pulsar.Consumer, pulsar.MessageId]]:
        self._check_open()
        found = []
        for message in messages:
            self._held.pop(message.id, None)
            match message.id:
                case (self._topic, self._subscription, int(number), bytes(serialized)):
                    found.append((self._consumers[number], self._message_id(serialized)))
                case _:
                    raise BrokerError(f"message {message.id} is not of subscription {self._subscription!r}")
        return found

    def _message_id(self, serialized: bytes) -> pulsar.MessageId:
        partition = pulsar.MessageId.deserialize(serialized).partition()
        topic = self._topic if partition < 0 else f"{self._topic}-partition-{partition}"
        return pulsar.MessageId.deserialize(serialized, topic)  # the client looks up the partition by name

    def _partitions(self) -> list[str]:
        return self._connection.open(
            self._topic, "a consumer", lambda client: list(client.get_topic_partitions(self._topic))
        )

    def _subscribe(self, topic: str, prefetch: int) -> pulsar.Consumer:
        try:
            return self._connection.open(
                topic,
                f"a consumer of {self._subscription!r}",
                lambda client: client.subscribe(
                    topic,
                    self._subscription,
                    KINDS[self._kind],
                    receiver_queue_size=prefetch,
                    negative_ack_redelivery_delay_ms=REDELIVERY_DELAY,
                    initial_position=pulsar.InitialPosition.Earliest,
                ),
            )
        except BrokerError as error:
            if isinstance(error.__cause__, pulsar.ConsumerBusy):
                raise BrokerError(
                    f"{topic}: a {self._kind} consumer cannot join subscription {self._subscription!r}, "
                    f"which has {self._connection.admin.kind(topic, self._subscription)} consumers"
                ) from error
            raise


class _Requester:
    """A thread that receives one message per request; the client's own receive with a timeout needs a queue."""

    def __init__(
        self, consumer: pulsar.Consumer, number: int, arrived: queue.SimpleQueue[tuple[int, pulsar.Message]]
    ) -> None:
        self._consumer = consumer
        self._number = number
        self._arrived = arrived
        self._requests = threading.Semaphore(0)
        self._pending = False
        self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def request(self) -> None:
        """Request a message, unless a request is pending."""
        with self._lock:
            if self._pending:
                return
            self._pending = True
        self._requests.release()

    def received(self) -> None:
        """Note that the requested message has been received."""
        with self._lock:
            self._pending = False

    def end(self) -> None:
        """Let the thread end when the consumer is closed."""
        self._ended = True
        self._requests.release()

    def join(self) -> None:
        """Wait for the end of the thread, which would abort the process at its end while inside the client."""
        self._thread.join()

    def _fetch(self) -> None:
        while True:
            self._requests.acquire()
            if self._ended:
                return
            try:
                got = self._consumer.receive()
            except pulsar.PulsarException as error:
                if isinstance(error, pulsar.AlreadyClosed):
                    return
                log.debug("receiving: %s", error)
                time.sleep(1.0)
                self._requests.release()
                continue
            self._arrived.put((self._number, got))


class PulsarReader(_Source):
    """Reads one topic; see `broker.protocol.Reader`."""

    def __init__(self, connection: Connection, topic: str) -> None:
        super().__init__(connection, topic)
        self._reader: pulsar.Reader = connection.open(
            topic,
            "a reader",
            lambda client: client.create_reader(topic, pulsar.MessageId.earliest, receiver_queue_size=READER_PREFETCH),
        )

    def receive(self, timeout: float) -> Message | None:
        """Return the next message of the topic; see `broker.protocol.Reader`."""
        self._check_open()
        if timeout > 0:
            try:
                return self._message(self._reader.read_next(max(1, round(timeout * 1000))))
            except pulsar.Timeout:
                pass
            except pulsar.PulsarException as error:
                self._check_open()
                raise self._error(error) from error
        return self._read_available()

    def close(self) -> None:
        """Close the reader."""
        if not self.closed:
            self.closed = True
            if not self._connection.closed:
                self._reader.close()

    @property
    def _connected(self) -> bool:
        return bool(self._reader.is_connected())

    def _read_available(self) -> Message | None:
        """Return the next stored message, if any; waits while the broker is unavailable, since only it knows."""
        while True:
            self._check_open()
            if not self._connected:
                self._transient.wait(self._connection.check_topic(self._topic) or "NotConnected")
                continue
            try:
                if not self._reader.has_message_available():
                    return None
                return self._message(self._reader.read_next(FETCH_TIMEOUT))
            except pulsar.PulsarException as error:
                self._check_open()
                self._transient.wait(type(error).__name__)

    def _message(self, got: pulsar.Message) -> Message:
        return _message((self._topic, None, 0), got)


def _message(source: tuple[Hashable, ...], got: pulsar.Message) -> Message:
    key = got.partition_key() or None
    return Message((*source, got.message_id().serialize()), got.data(), key, got.properties())
