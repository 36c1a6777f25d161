"""Storing messages: published without waiting, and republished in order after the broker was unavailable."""

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
from skymap_scanner.broker.pulsar.connection import Connection, TransientErrors
from skymap_scanner.broker.pulsar.results import error_for, is_transient
from skymap_scanner.errors import BrokerError, BrokerUnavailable

log = logging.getLogger(__name__)

#: How long the client tries to store a message before it reports a timeout (ms).
SEND_TIMEOUT = 10_000

#: Most pending messages; `submit` waits beyond that.
MAX_PENDING = 1000

#: How long `close` waits for pending messages (s): longer than the client tries, but shorter without a connection.
CLOSE_TIMEOUT, CLOSE_TIMEOUT_DISCONNECTED = 15.0, 3.0


@dataclass(slots=True)
class _Submitted:
    """A submitted message, its position among all of them, and the future of its storage."""

    message: Outgoing
    position: int
    last: int  # the highest sequence id before it
    future: Future[None] = field(default_factory=Future)


class PulsarProducer(Closing):
    """Stores messages on one topic; see `broker.protocol.Producer`.

    Messages with a sequence id are sent under the producer's name, so that the broker drops duplicates; one process at
    a time can hold that name. Messages without one are sent under a random name.
    """

    def __init__(self, connection: Connection, topic: str, name: str) -> None:
        self._connection = connection
        self._topic = topic
        self._name = name
        self.closed = False
        # Held while a message is passed to the client, to keep the order. The client may reject the message at once, by
        # calling `stored` in the same thread. Its own thread takes the lock in `stored` too, so nothing else may be
        # called on the client while the lock is held.
        self._lock = threading.RLock()
        self._opening = threading.Lock()  # held while the producer for numbered messages is opened
        self._transient = TransientErrors(f"storing on {topic}", connection.url)
        self._window = threading.BoundedSemaphore(MAX_PENDING)
        self._positions = 0
        self._pending = 0
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
        """Start to store a message; see `broker.protocol.Producer`."""
        self._window.acquire()
        error = self._open_for(message)
        with self._lock:
            submitted = _Submitted(message, self._positions, self._last)
            submitted.future.set_running_or_notify_cancel()
            self._positions += 1
            try:
                if error is not None:
                    raise error
                if self._is_duplicate(submitted):
                    self._settle(submitted, None)
                elif self._retrying is not None:
                    self._unstored.append(submitted)
                else:
                    self._publish(submitted)
            except BrokerError as refused:
                self._refused(submitted, refused)
        return submitted.future

    def close(self) -> None:
        """Wait for pending messages, then release the name."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        began = time.monotonic()
        while (self._pending or self._unstored) and not self._connection.closed:
            if time.monotonic() - began > (CLOSE_TIMEOUT if self._plain.is_connected() else CLOSE_TIMEOUT_DISCONNECTED):
                break
            time.sleep(0.001)
        self._give_up()
        for producer in (self._plain, self._numbered):
            if producer is not None and not self._connection.closed:
                try:
                    producer.close()
                except pulsar.PulsarException as error:
                    log.debug("closing a producer of %s: %s", self._topic, error)

    def _is_duplicate(self, submitted: _Submitted) -> bool:
        """Return whether the sequence id has been used, as the broker would find; record it otherwise."""
        number = submitted.message.sequence_id
        if number is None:
            return False
        if number <= self._last:
            return True
        submitted.last, self._last = self._last, number
        return False

    def _open_for(self, message: Outgoing) -> BrokerError | None:
        """Open the producer that the message needs; return the error if that fails."""
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
        """Open the producer with our name, for the first numbered message."""
        self._check_open()
        with self._opening:
            if self._numbered is None:
                opened = self._connection.open(self._topic, "a producer", self._make_numbered)
                # The client treats sequence id 0 as none, so 1 is added to ours.
                self._last = max(opened.last_sequence_id() - 1, -1)
                self._numbered = opened

    def _make_plain(self, client: pulsar.Client) -> pulsar.Producer:
        return self._make(client, self._topic, f"{self._name}-{uuid4()}")

    def _make_numbered(self, client: pulsar.Client) -> pulsar.Producer:
        # All numbered messages go to one partition of a partitioned topic. Otherwise duplicates would be missed, and
        # the highest sequence id of all partitions would not imply that those below it are stored.
        return self._make(client, client.get_topic_partitions(self._topic)[0], self._name)

    def _make(self, client: pulsar.Client, topic: str, name: str) -> pulsar.Producer:
        return client.create_producer(
            topic,
            producer_name=name,
            send_timeout_millis=SEND_TIMEOUT,
            compression_type=pulsar.CompressionType.ZSTD,
            max_pending_messages=MAX_PENDING,
            batching_enabled=False,  # the backlog counts messages, and duplicates are dropped one by one
            message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution,
        )

    def _publish(self, submitted: _Submitted) -> None:
        """Pass the message to the client; the lock is held."""
        message = submitted.message
        producer = self._plain if message.sequence_id is None else self._numbered
        if producer is None or not producer.is_connected():
            self._keep(submitted, "NotConnected")
            return
        self._pending += 1

        def stored(result: Any, _: object) -> None:  # called in a thread of the client: must not raise
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
            self._pending -= 1
            raise self._error(type(error).__name__, message) from error

    def _stored(self, submitted: _Submitted, result: str) -> None:
        """Handle the result of a message; after a transient error it is kept for a retry."""
        with self._lock:
            self._pending -= 1
            number = submitted.message.sequence_id
            if result == "Ok":
                self._last = self._last if number is None else max(self._last, number)
                self._settle(submitted, None)
            elif is_transient(result):
                self._keep(submitted, result)
            else:
                self._refused(submitted, self._error(result, submitted.message))

    def _keep(self, submitted: _Submitted, result: str) -> None:
        """Keep a message for a retry; the lock is held."""
        self._unstored.append(submitted)
        if self._retrying is None:
            self._retrying = threading.Thread(target=self._retry, args=(result,), daemon=True)
            self._retrying.start()

    def _retry(self, result: str) -> None:
        """Publish the messages that are not stored again, in order, when the broker is available."""
        permanent: BrokerError | None = None
        while True:
            try:
                self._transient.wait(result or "NotConnected")
                result = self._connection.check_topic(self._topic) or self._reopen()
            except BrokerError as error:
                permanent = error
            with self._lock:
                if self._connection.closed:
                    self._retrying = None
                    return
                # Publishing while the client still tries would change the order.
                if self._pending or (result and permanent is None):
                    continue
                again, self._unstored = sorted(self._unstored, key=lambda one: one.position), []
                for submitted in again:
                    self._retry_one(submitted, permanent)
                if not self._unstored:
                    self._retrying = None
                    return

    def _retry_one(self, submitted: _Submitted, permanent: BrokerError | None) -> None:
        try:
            if permanent is not None:
                raise permanent
            self._publish(submitted)
        except BrokerError as error:
            self._refused(submitted, error)

    def _reopen(self) -> str:
        """Replace disconnected producers, since the client backs off; return the result that prevents it, or ""."""
        for make in (self._make_plain, self._make_numbered):
            numbered = make == self._make_numbered
            old = self._numbered if numbered else self._plain
            if old is None or old.is_connected() or self._pending or self.closed:
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
        """Settle a message that will not be stored: its sequence id may be used again."""
        if submitted.message.sequence_id is not None:
            self._last = min(self._last, submitted.last)
        self._settle(submitted, error)

    def _give_up(self) -> None:
        with self._lock:
            for submitted in self._unstored:
                self._settle(submitted, BrokerUnavailable(f"{self._topic}: closed while the broker was unavailable"))
            self._unstored.clear()

    def _settle(self, submitted: _Submitted, error: BrokerError | None) -> None:
        self._window.release()
        if error is None:
            submitted.future.set_result(None)
        else:
            submitted.future.set_exception(error)

    def _error(self, result: str, message: Outgoing) -> BrokerError:
        what = f"storing {message.key or 'a message'} ({len(message.payload)} bytes) on {self._topic}"
        return error_for(result, what, self._connection.url)
