"""Storing messages: sent ahead without waiting, sent again in order when the broker was away."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pulsar

from skymap_scanner.broker.protocol import Closing, Outgoing
from skymap_scanner.broker.pulsar.connection import Connection, Waiting
from skymap_scanner.broker.pulsar.faults import fault, passes
from skymap_scanner.errors import BrokerError, BrokerUnavailable

log = logging.getLogger(__name__)

#: How long the client tries to store a message before it tells us that it waits (ms).
SEND_TIMEOUT = 10_000

#: Messages on their way at once; whoever submits more waits.
UNDER_WAY = 1000

#: How long `close` waits for what is not stored (s): longer than the client tries, but not for a broker that is away.
CLOSING, CLOSING_AWAY = 15.0, 3.0


@dataclass(slots=True)
class _Submitted:
    """A message, its place among all submitted ones, and the promise that it will be stored."""

    message: Outgoing
    place: int
    last: int  # the highest number before it
    future: Future[None] = field(default_factory=Future)


class PulsarProducer(Closing):
    """Stores messages on one topic; see `broker.protocol.Producer`.

    Numbered messages go out under the producer's name, so that the broker drops repeats; one process at a time can hold
    that name. Messages without a number go out under a name drawn for this process.
    """

    def __init__(self, connection: Connection, topic: str, name: str) -> None:
        self._connection = connection
        self._topic = topic
        self._name = name
        self.closed = False
        # Held while a message is handed to the client: they keep their order. The client may refuse it at once, by a
        # call of `stored` in the same thread. Its own thread waits for the lock in `stored` too: so whoever holds the
        # lock asks the client for nothing else.
        self._lock = threading.RLock()
        self._opening = threading.Lock()  # held while the numbered producer is opened
        self._waiting = Waiting(f"storing on {topic}", connection.url)
        self._room = threading.BoundedSemaphore(UNDER_WAY)
        self._places = 0
        self._under_way = 0
        self._unstored: list[_Submitted] = []
        self._retrying: threading.Thread | None = None
        self._last = -1
        self._numbered: pulsar.Producer | None = None
        self._plain: pulsar.Producer = connection.open(topic, "a producer", self._make_plain)

    @property
    def last_sequence_id(self) -> int:
        """Highest sequence id stored under this name; -1 if none, or if the broker does not deduplicate."""
        self._open_numbered()
        with self._lock:
            return self._last

    def send(self, *messages: Outgoing) -> None:
        """Store the messages and wait until they are; see `broker.protocol.Producer`."""
        for future in [self.submit(message) for message in messages]:
            future.result()

    def submit(self, message: Outgoing) -> Future[None]:
        """Begin to store a message; see `broker.protocol.Producer`."""
        self._room.acquire()
        fault = self._not_ready(message)
        with self._lock:
            submitted = _Submitted(message, self._places, self._last)
            submitted.future.set_running_or_notify_cancel()
            self._places += 1
            try:
                if fault is not None:
                    raise fault
                if self._is_repeat(submitted):
                    self._settle(submitted, None)
                elif self._retrying is not None:
                    self._unstored.append(submitted)
                else:
                    self._pass_on(submitted)
            except BrokerError as error:
                self._refused(submitted, error)
        return submitted.future

    def close(self) -> None:
        """Wait for what was submitted, then give the name back."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        began = time.monotonic()
        while (self._under_way or self._unstored) and not self._connection.closed:
            if time.monotonic() - began > (CLOSING if self._plain.is_connected() else CLOSING_AWAY):
                break
            time.sleep(0.001)
        self._give_up()
        for producer in (self._plain, self._numbered):
            if producer is not None and not self._connection.closed:
                try:
                    producer.close()
                except pulsar.PulsarException as error:
                    log.debug("closing a producer of %s: %s", self._topic, error)

    def _is_repeat(self, submitted: _Submitted) -> bool:
        """Tell whether the message's number has been used, which the broker would find too; notes the number."""
        number = submitted.message.sequence_id
        if number is None:
            return False
        if number <= self._last:
            return True
        submitted.last, self._last = self._last, number
        return False

    def _not_ready(self, message: Outgoing) -> BrokerError | None:
        """Open what the message needs; return the error where that fails."""
        try:
            self._check_open()
            if message.sequence_id is not None:
                self._open_numbered()
        except BrokerError as error:
            return error
        return None

    def _check_open(self) -> None:
        self._connection.check_open()
        if self.closed:
            raise BrokerError(f"the producer {self._name} of {self._topic} is closed")

    def _open_numbered(self) -> None:
        """Take hold of our name, with the first numbered message."""
        self._check_open()
        with self._opening:
            if self._numbered is None:
                opened = self._connection.open(self._topic, "a producer", self._make_numbered)
                # The client takes a number 0 for none, so ours are sent with 1 added.
                self._last = max(opened.last_sequence_id() - 1, -1)
                self._numbered = opened

    def _make_plain(self, client: pulsar.Client) -> pulsar.Producer:
        return self._make(client, self._topic, f"{self._name}-{uuid4()}")

    def _make_numbered(self, client: pulsar.Client) -> pulsar.Producer:
        # Of a partitioned topic numbered messages take one partition: elsewhere a repeat would not be known, nor would
        # the highest number of all partitions say that those below it are stored.
        return self._make(client, client.get_topic_partitions(self._topic)[0], self._name)

    def _make(self, client: pulsar.Client, topic: str, name: str) -> pulsar.Producer:
        return client.create_producer(
            topic,
            producer_name=name,
            send_timeout_millis=SEND_TIMEOUT,
            compression_type=pulsar.CompressionType.ZSTD,
            max_pending_messages=UNDER_WAY,
            batching_enabled=False,  # the depth of a queue counts its messages, and repeats are dropped one by one
            message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution,
        )

    def _pass_on(self, submitted: _Submitted) -> None:
        """Hand the message to the client; the lock is held."""
        message = submitted.message
        producer = self._plain if message.sequence_id is None else self._numbered
        if producer is None or not producer.is_connected():
            self._keep(submitted, "NotConnected")
            return
        self._under_way += 1

        def stored(result: Any, _: object) -> None:  # called by a thread of the client: it must not raise
            self._stored(submitted, result.name)

        try:
            producer.send_async(
                message.payload,
                stored,
                properties=dict(message.properties),
                partition_key=message.key,
                sequence_id=None if message.sequence_id is None else message.sequence_id + 1,
            )
        except pulsar.PulsarException as error:
            self._under_way -= 1
            raise self._fault(type(error).__name__, message) from error

    def _stored(self, submitted: _Submitted, result: str) -> None:
        """Note what became of a message; what may pass is kept for another try."""
        with self._lock:
            self._under_way -= 1
            number = submitted.message.sequence_id
            if result == "Ok":
                self._last = self._last if number is None else max(self._last, number)
                self._settle(submitted, None)
            elif passes(result):
                self._keep(submitted, result)
            else:
                self._refused(submitted, self._fault(result, submitted.message))

    def _keep(self, submitted: _Submitted, result: str) -> None:
        """Keep what is not stored for another try; the lock is held."""
        self._unstored.append(submitted)
        if self._retrying is None:
            self._retrying = threading.Thread(target=self._retry, args=(result,), daemon=True)
            self._retrying.start()

    def _retry(self, result: str) -> None:
        """Send again what was not stored, in its order, once that may help."""
        gone: BrokerError | None = None
        while True:
            try:
                self._waiting.say(result or "NotConnected")
                result = self._connection.check_topic(self._topic) or self._open_again()
            except BrokerError as error:
                gone = error
            with self._lock:
                if self._connection.closed:
                    self._retrying = None
                    return
                # While the client still tries, to send behind it would change the order.
                if self._under_way or (result and gone is None):
                    continue
                again, self._unstored = sorted(self._unstored, key=lambda one: one.place), []
                for submitted in again:
                    self._try_again(submitted, gone)
                if not self._unstored:
                    self._retrying = None
                    return

    def _try_again(self, submitted: _Submitted, gone: BrokerError | None) -> None:
        try:
            if gone is not None:
                raise gone
            self._pass_on(submitted)
        except BrokerError as error:
            self._refused(submitted, error)

    def _open_again(self) -> str:
        """Replace what the broker has cut off, since the client tries ever more seldom; return what hinders, or ""."""
        for make in (self._make_plain, self._make_numbered):
            numbered = make == self._make_numbered
            old = self._numbered if numbered else self._plain
            if old is None or old.is_connected() or self._under_way or self.closed:
                continue
            try:
                old.close()
            except pulsar.PulsarException as error:
                log.debug("closing a producer of %s: %s", self._topic, error)
            new = self._connection.attempt(make)
            if isinstance(new, str):
                return new
            with self._lock:
                self._numbered, self._plain = (new, self._plain) if numbered else (self._numbered, new)
        return ""

    def _refused(self, submitted: _Submitted, error: BrokerError) -> None:
        """Settle what is not stored and will not be: its number may be used again."""
        if submitted.message.sequence_id is not None:
            self._last = min(self._last, submitted.last)
        self._settle(submitted, error)

    def _give_up(self) -> None:
        with self._lock:
            for submitted in self._unstored:
                self._settle(submitted, BrokerUnavailable(f"{self._topic}: closed before the broker came back"))
            self._unstored.clear()

    def _settle(self, submitted: _Submitted, error: BrokerError | None) -> None:
        self._room.release()
        if error is None:
            submitted.future.set_result(None)
        else:
            submitted.future.set_exception(error)

    def _fault(self, result: str, message: Outgoing) -> BrokerError:
        what = f"storing {message.key or 'a message'} ({len(message.payload)} bytes) on {self._topic}"
        return fault(result, what, self._connection.url)
