"""Receiving messages: consumers through a subscription, readers from the start of a topic."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from skymap_scanner.broker.protocol import Message, SubscriptionType, check_ack_timeout
from skymap_scanner.broker.sqlite import queries
from skymap_scanner.broker.sqlite.consumer_lock import ConsumerLock, is_locked, remove_stale_files
from skymap_scanner.broker.sqlite.database import Database, DatabaseClient
from skymap_scanner.errors import BrokerError

#: A waiting receive polls the database at intervals that double from the first to the second of these (s).
FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.01

#: How often a receiving consumer looks for other consumers that have crashed or hang (s).
WATCH_INTERVAL = 0.1


class SqliteReader(DatabaseClient):
    """Reads one topic; see `broker.protocol.Reader`."""

    def __init__(self, path: Path, topic: str) -> None:
        super().__init__(path)
        self._topic = queries.topic_number(self._database, topic)
        self._position = 0

    def receive(self, timeout: float) -> Message | None:
        """Return the next message of the topic; see `broker.protocol.Reader`."""
        return _poll(self._database, self._take, timeout)

    def _take(self) -> Message | None:
        message = queries.message_at(self._database, self._topic, self._position + 1)
        if message is not None:
            self._position += 1
        elif not self._database.read("SELECT 1 FROM topic WHERE id = ?", (self._topic,)):
            raise BrokerError(f"{self._database.path}: the topic has been deleted while it was read")
        return message


class SqliteConsumer(DatabaseClient):
    """Receives the messages of one topic through a subscription; see `broker.protocol.Consumer`.

    The oldest consumer of a failover subscription is active. When it is closed or crashes, the next one becomes active
    and receives the messages that it held.
    """

    def __init__(
        self, path: Path, topic: str, subscription: str, kind: SubscriptionType, ack_timeout: float | None
    ) -> None:
        check_ack_timeout(ack_timeout, kind)
        super().__init__(path)
        self._kind = kind
        self._ack_timeout = ack_timeout
        self._lock: ConsumerLock | None = None
        self._number = -1
        self._next_watch = 0.0
        try:
            self._topic = queries.topic_number(self._database, topic)
            self._subscription = queries.subscription_number(self._database, topic, subscription)
            remove_crashed_consumers(self._database, self._subscription)
            with self._database.transaction() as connection:
                self._join(connection)
        except BaseException:
            self.close()
            raise

    def receive(self, timeout: float) -> Message | None:
        """Return the next message, or None if none arrives in time; see `broker.protocol.Consumer`."""
        return _poll(self._database, self._take, timeout)

    def ack(self, *messages: Message) -> None:
        """Never deliver these messages again, even if another consumer holds them; see `broker.protocol.Consumer`."""
        positions = self._positions(messages)
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM delivery WHERE subscription = ? AND position = ?", positions)

    def nack(self, *messages: Message) -> None:
        """Let these messages be delivered again, unless another consumer holds them; see `broker.protocol.Consumer`."""
        positions = self._positions(messages)
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE delivery SET consumer = NULL WHERE subscription = ? AND position = ? AND consumer = ?",
                [(*position, self._number) for position in positions],
            )

    def close(self) -> None:
        """Let all messages held be delivered again; see `broker.protocol.Consumer`."""
        if self._lock is not None and self.usable:
            # If the write fails (a full disk), the others find the lock released and remove this consumer.
            with contextlib.suppress(BrokerError), self._database.transaction() as connection:
                connection.execute("DELETE FROM consumer WHERE id = ?", (self._number,))
                self._lock.remove_file()
            self._lock.release()
        super().close()

    def _take(self) -> Message | None:
        self._watch()
        if queries.next_position(self._database, self._subscription) is None:
            return None
        with self._database.transaction() as connection:
            if not self._may_take(connection):
                return None
            position = queries.next_position(self._database, self._subscription)
            if position is None:
                return None  # another consumer was faster
            due = None if self._ack_timeout is None else time.monotonic() + self._ack_timeout
            connection.execute(
                "UPDATE subscription SET cursor = ? WHERE id = ? AND cursor < ?",
                (position, self._subscription, position),
            )
            connection.execute(
                "INSERT INTO delivery (subscription, position, consumer, due) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (subscription, position) DO UPDATE SET consumer = excluded.consumer, due = excluded.due",
                (self._subscription, position, self._number, due),
            )
            return queries.message_at(self._database, self._topic, position)

    def _may_take(self, connection: sqlite3.Connection) -> bool:
        """Return whether this consumer may receive now; joins the subscription again if it has been removed."""
        if self._database.value("SELECT 1 FROM consumer WHERE id = ?", (self._number,)) is None:
            self._join(connection)
        if self._kind is SubscriptionType.SHARED:
            return True
        oldest = "SELECT min(id) FROM consumer WHERE subscription = ?"
        return bool(self._database.value(oldest, (self._subscription,)) == self._number)

    def _join(self, connection: sqlite3.Connection) -> None:
        """Become the newest consumer of the subscription."""
        found = self._database.read("SELECT kind FROM consumer WHERE subscription = ?", (self._subscription,))
        kinds = {kind for (kind,) in found}
        if kinds - {self._kind}:
            raise BrokerError(
                f"{self._database.path}: a {self._kind} consumer cannot join a subscription that has "
                f"{', '.join(sorted(kinds))} consumers"
            )
        folder = _lock_folder(self._database)
        remove_stale_files(folder, queries.tokens(self._database))
        if self._lock is None:
            self._lock = ConsumerLock(folder)
        elif not is_locked(folder, self._lock.token):  # somebody has deleted the files of a running scan
            self._lock.release()
            self._lock = ConsumerLock(folder)
        joined = connection.execute(
            "INSERT INTO consumer (subscription, kind, token) VALUES (?, ?, ?) RETURNING id",
            (self._subscription, self._kind, self._lock.token),
        )
        [(self._number,)] = joined

    def _watch(self) -> None:
        """Release the messages of crashed consumers, and those held beyond the acknowledgement timeout."""
        now = time.monotonic()
        if now < self._next_watch:
            return
        self._next_watch = now + WATCH_INTERVAL
        remove_crashed_consumers(self._database, self._subscription)
        overdue = "SELECT 1 FROM delivery WHERE subscription = ? AND due < ? AND consumer IS NOT NULL LIMIT 1"
        if self._database.value(overdue, (self._subscription, now)):
            with self._database.transaction() as connection:
                connection.execute(
                    "UPDATE delivery SET consumer = NULL WHERE subscription = ? AND due < ? AND consumer IS NOT NULL",
                    (self._subscription, now),
                )

    def _positions(self, messages: Iterable[Message]) -> list[tuple[int, int]]:
        """Return the keys in ``delivery`` of messages that this subscription has delivered; raises BrokerError."""
        cursor = self._database.value("SELECT cursor FROM subscription WHERE id = ?", (self._subscription,)) or 0
        positions = []
        for message in messages:
            match message.id:
                case (self._topic, int(position)) if position <= cursor:
                    positions.append((self._subscription, position))
                case _:
                    raise BrokerError(f"{self._database.path}: message {message.id} is not of this subscription")
        return positions


def _poll(database: Database, take: Callable[[], Message | None], timeout: float) -> Message | None:
    """Return a message as soon as there is one, or None after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        version = database.version()
        message = take()
        remaining = deadline - time.monotonic()
        if message is not None or remaining <= 0:
            return message
        # A write wakes it within one pause; without a write it calls ``take`` again after WATCH_INTERVAL.
        watch = time.monotonic() + min(remaining, WATCH_INTERVAL)
        while (left := watch - time.monotonic()) > 0 and database.version() == version:
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)


def _lock_folder(database: Database) -> Path:
    """Return the folder of the consumers' lock files."""
    return database.path.with_name(database.path.name + "-consumers")


def remove_crashed_consumers(database: Database, subscription: int) -> None:
    """Remove the consumers of a subscription that have crashed, which releases the messages that they held."""
    folder = _lock_folder(database)
    for number, token in database.read("SELECT id, token FROM consumer WHERE subscription = ?", (subscription,)):
        if not is_locked(folder, token):
            with database.transaction() as connection:
                connection.execute("DELETE FROM consumer WHERE id = ?", (number,))
                remove_stale_files(folder, queries.tokens(database))
