"""Taking messages: consumers through a subscription, readers from the start."""

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
from skymap_scanner.broker.pulsar.connection import Connection, Waiting
from skymap_scanner.broker.pulsar.faults import fault, passes
from skymap_scanner.errors import BrokerError

log = logging.getLogger(__name__)

#: A message given back comes again after this time (ms).
GIVEN_BACK = 100

#: Messages sent ahead to a consumer that takes whatever comes, and to a reader, whose messages may be large.
AHEAD, READ_AHEAD = 1000, 100

#: A source without messages looks this often whether its topic is still there (s).
LOOK_EVERY = 2.0

#: How long a message that is known to be there may take (ms).
FETCH = 30_000

KINDS = {
    SubscriptionType.SHARED: pulsar.ConsumerType.Shared,
    SubscriptionType.FAILOVER: pulsar.ConsumerType.Failover,
    SubscriptionType.KEY_SHARED: pulsar.ConsumerType.KeyShared,
}


class _Source(Closing):
    """What consumers and readers share: closing, and noticing that the topic is gone."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self.closed = False
        self._next_look = time.monotonic() + LOOK_EVERY
        self._waiting = Waiting(f"receiving from {topic}", connection.url)

    @abstractmethod
    def close(self) -> None:
        """Give back what it holds."""

    @property
    @abstractmethod
    def _connected(self) -> bool:
        """Whether messages could come."""

    def _check_open(self) -> None:
        self._connection.check_open()
        if self.closed:
            raise BrokerError(f"this consumer or reader of {self._topic} is closed")

    def _look(self) -> None:
        """Nothing came: see now and again whether that is because the topic is gone; raises BrokerError then."""
        self._check_open()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY
            if not self._connected:
                self._waiting.say(self._connection.check_topic(self._topic) or "NotConnected")

    def _fault(self, error: pulsar.PulsarException) -> BrokerError:
        return fault(type(error).__name__, f"receiving from {self._topic}", self._connection.url)


class PulsarConsumer(_Source):
    """Takes messages through a subscription; see `broker.protocol.Consumer`.

    Without ``prefetch`` a consumer of a shared subscription holds only what it was given on request: a message is sent
    to it when it asks for one, never ahead, so that no task waits behind a slow fit. (Having asked in vain it is still
    owed one, and may hold it until it asks again; of a partitioned topic one for each partition.)
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
        self._held: dict[Hashable, tuple[float, Message]] = {}  # with the time when they are handed back
        self._asked: list[_Asked] = []
        self._turn = threading.Lock()
        if kind is SubscriptionType.SHARED and not prefetch:
            self._arrived: queue.SimpleQueue[tuple[int, pulsar.Message]] = queue.SimpleQueue()
            self._consumers = [self._subscribe(partition, 0) for partition in self._partitions()]
            self._asked = [_Asked(one, number, self._arrived) for number, one in enumerate(self._consumers)]
        else:
            self._consumers = [self._subscribe(topic, prefetch or AHEAD)]
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._hand_back_overdue, daemon=True)
        if ack_timeout is not None:
            self._watch.start()

    def receive(self, timeout: float) -> Message | None:
        """Return the next message; see `broker.protocol.Consumer`."""
        self._check_open()
        if self._asked:
            return self._receive_asked(timeout)
        try:
            got = self._consumers[0].receive(max(1, round(timeout * 1000)))
        except pulsar.Timeout:
            self._look()
            return None
        except pulsar.PulsarException as error:
            self._check_open()
            raise self._fault(error) from error
        return self._message(0, got)

    def ack(self, *messages: Message) -> None:
        """Never deliver these again; see `broker.protocol.Consumer`."""
        for consumer, message_id in self._ids(messages):
            try:
                consumer.acknowledge(message_id)
            except pulsar.PulsarException as error:
                # It will come again, and be acknowledged then: whoever receives bears repeats.
                if not passes(type(error).__name__):
                    raise self._fault(error) from error

    def nack(self, *messages: Message) -> None:
        """Give these back; see `broker.protocol.Consumer`."""
        for consumer, message_id in self._ids(messages):
            consumer.negative_acknowledge(message_id)

    def close(self) -> None:
        """Give back everything held; see `broker.protocol.Consumer`."""
        if self.closed:
            return
        self.closed = True
        self._closing.set()
        if self._watch.is_alive():
            self._watch.join()
        for asked in self._asked:
            asked.end()
        for consumer in self._consumers:
            if not self._connection.closed:
                try:
                    consumer.close()
                except pulsar.PulsarException as error:
                    log.debug("closing a consumer of %s: %s", self._topic, error)
        for asked in self._asked:
            asked.join()

    @property
    def _connected(self) -> bool:
        return all(consumer.is_connected() for consumer in self._consumers)

    def _receive_asked(self, timeout: float) -> Message | None:
        with self._turn:
            for asked in self._asked:
                asked.ask()
            try:
                number, got = self._arrived.get(timeout=max(timeout, 0.001))
            except queue.Empty:
                self._look()
                return None
            self._asked[number].taken()
            return self._message(number, got)

    def _message(self, number: int, got: pulsar.Message) -> Message:
        message = Message(
            id=(self._topic, self._subscription, number, got.message_id().serialize()),
            payload=got.data(),
            key=got.partition_key() or None,
            properties=got.properties(),
            attempts=got.redelivery_count() + 1,
        )
        if self._ack_timeout is not None:
            self._held[message.id] = (time.monotonic() + self._ack_timeout, message)
        return message

    def _hand_back_overdue(self) -> None:
        """Give back what is held for too long (the client's own timeout knows nothing of messages asked for)."""
        pause = min(self._ack_timeout or 1.0, 1.0) / 4
        while not self._closing.wait(pause):
            now = time.monotonic()
            overdue = [message for due, message in list(self._held.values()) if due < now]
            with contextlib.suppress(BrokerError, pulsar.PulsarException):  # closed meanwhile
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
        return pulsar.MessageId.deserialize(serialized, topic)  # the client finds the partition by its name

    def _partitions(self) -> list[str]:
        return self._connection.open(
            self._topic, "a consumer", lambda client: list(client.get_topic_partitions(self._topic))
        )

    def _subscribe(self, topic: str, ahead: int) -> pulsar.Consumer:
        try:
            return self._connection.open(
                topic,
                f"a consumer of {self._subscription!r}",
                lambda client: client.subscribe(
                    topic,
                    self._subscription,
                    KINDS[self._kind],
                    receiver_queue_size=ahead,
                    negative_ack_redelivery_delay_ms=GIVEN_BACK,
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


class _Asked:
    """A thread that fetches one message for each time it is asked; the client itself cannot wait for a limited time."""

    def __init__(
        self, consumer: pulsar.Consumer, number: int, arrived: queue.SimpleQueue[tuple[int, pulsar.Message]]
    ) -> None:
        self._consumer = consumer
        self._number = number
        self._arrived = arrived
        self._wanted = threading.Semaphore(0)
        self._owed = False
        self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Ask for one more message, unless one is owed or waits to be taken."""
        with self._lock:
            if self._owed:
                return
            self._owed = True
        self._wanted.release()

    def taken(self) -> None:
        """Note that the message that was owed has been taken."""
        with self._lock:
            self._owed = False

    def end(self) -> None:
        """Let the thread end as soon as the consumer is closed."""
        self._ended = True
        self._wanted.release()

    def join(self) -> None:
        """Wait for the end of the thread: left inside the client, it would abort the process at its end."""
        self._thread.join()

    def _fetch(self) -> None:
        while True:
            self._wanted.acquire()
            if self._ended:
                return
            try:
                got = self._consumer.receive()
            except pulsar.PulsarException as error:
                if isinstance(error, pulsar.AlreadyClosed):
                    return
                log.debug("receiving: %s", error)
                time.sleep(1.0)
                self._wanted.release()
                continue
            self._arrived.put((self._number, got))


class PulsarReader(_Source):
    """Walks one topic; see `broker.protocol.Reader`."""

    def __init__(self, connection: Connection, topic: str) -> None:
        super().__init__(connection, topic)
        self._reader: pulsar.Reader = connection.open(
            topic,
            "a reader",
            lambda client: client.create_reader(topic, pulsar.MessageId.earliest, receiver_queue_size=READ_AHEAD),
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
                raise self._fault(error) from error
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
        """Return the next message if one is stored; wait for a broker that is away, since it alone can tell."""
        while True:
            self._check_open()
            if not self._connected:
                self._waiting.say(self._connection.check_topic(self._topic) or "NotConnected")
                continue
            try:
                if not self._reader.has_message_available():
                    return None
                return self._message(self._reader.read_next(FETCH))
            except pulsar.PulsarException as error:
                self._check_open()
                self._waiting.say(type(error).__name__)

    def _message(self, got: pulsar.Message) -> Message:
        return Message(
            id=(self._topic, None, 0, got.message_id().serialize()),
            payload=got.data(),
            key=got.partition_key() or None,
            properties=got.properties(),
            attempts=1,
        )
