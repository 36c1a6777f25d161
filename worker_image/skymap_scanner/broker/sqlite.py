"""The embedded broker: one SQLite file on a local disk, shared by any number of processes of one machine.

A subscription is a cursor (the last position ever delivered) and a row for each delivered message that is not
acknowledged. So what it costs to receive depends on neither how much was acknowledged before nor how much waits.
Messages are kept, acknowledged or not, until their topic is deleted.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

from skymap_scanner.broker import queries
from skymap_scanner.broker.database import Database, prepare
from skymap_scanner.broker.presence import Presence, is_present, remove_leftovers
from skymap_scanner.broker.protocol import Backlog, Closing, Message, Outgoing, SubscriptionType, check_ack_timeout
from skymap_scanner.errors import BrokerError, InputError

#: A waiting receive looks for news after pauses that double from the first to the second of these (s).
FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.01

#: How often a receiving consumer looks for others that died or hang (s).
WATCH_INTERVAL = 0.1

_FULL_NAME = re.compile(r"persistent://[^/]+/[^/]+/[^/]+")
_INSERT = "INSERT INTO message (topic, position, key, properties, payload) VALUES (?, ?, ?, ?, ?)"


def path_of_url(url: str) -> Path:
    """Return the path in ``sqlite:///PATH``, taken literally, as SQLAlchemy does; raises InputError."""
    path = url.removeprefix("sqlite:///")
    if path == url or path in {"", ":memory:"} or "\0" in path:
        raise InputError(f"broker {url!r}: write sqlite:///PATH for a file (four slashes: an absolute path)")
    return Path(path)


class Open(Closing):
    """Something with a connection of its own, closed by ``with`` or `close`; closing twice does nothing."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    @property
    def usable(self) -> bool:
        """Whether it is open, in the process that opened it."""
        return self._database.usable

    def close(self) -> None:
        """Give back the connection."""
        self._database.close()


class SqliteBroker(Open):
    """The broker in the file at ``path``, made if missing; see `protocol.Broker`.

    It and what it hands out may be used by any thread: calls on one object take turns. After a fork, open anew.
    """

    def __init__(self, path: Path) -> None:
        path = path.resolve()  # every process must find the same lock files, whatever link it came by
        prepare(path)
        super().__init__(path)
        self._handed_out: list[Open] = []

    def create_topic(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Make the topic and its subscriptions; see `protocol.Broker`."""
        if not _FULL_NAME.fullmatch(topic):
            raise BrokerError(f"topic {topic!r}: write the full name, persistent://tenant/namespace/topic")
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO topic (name) VALUES (?)", (topic,))
            connection.executemany(
                "INSERT OR IGNORE INTO subscription (topic, name) SELECT id, ? FROM topic WHERE name = ?",
                [(subscription, topic) for subscription in subscriptions],
            )

    def prepare(self, base: str) -> None:
        """Do nothing: who may write the file may make topics; see `protocol.Broker`."""

    def producer(self, topic: str, name: str) -> SqliteProducer:
        """Open a producer; see `protocol.Broker`."""
        self.create_topic(topic)
        producer = SqliteProducer(self._database.path, topic, name)
        self._hand_out(producer)
        return producer

    def consumer(
        self,
        topic: str,
        subscription: str,
        kind: SubscriptionType,
        *,
        ack_timeout: float | None = None,
        prefetch: int = 0,  # noqa: ARG002 - nothing is far away: no message is fetched before it is received
    ) -> SqliteConsumer:
        """Open a consumer, shared or failover; see `protocol.Broker`."""
        if kind is SubscriptionType.KEY_SHARED:
            raise BrokerError(
                f"{self._database.path}: the embedded broker knows no key-shared subscriptions; "
                "use one failover consumer at a time, or Apache Pulsar"
            )
        self.create_topic(topic, [subscription])
        consumer = SqliteConsumer(self._database.path, topic, subscription, kind, ack_timeout)
        self._hand_out(consumer)
        return consumer

    def reader(self, topic: str, *, make: bool = True) -> SqliteReader:
        """Open a reader; see `protocol.Broker`."""
        if make:
            self.create_topic(topic)
        elif topic not in self.topics(topic):
            raise BrokerError(f"there is no topic {topic}: was it deleted?")
        reader = SqliteReader(self._database.path, topic)
        self._hand_out(reader)
        return reader

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count what waits and what living consumers hold; see `protocol.Broker`."""
        number = queries.subscription_number(self._database, topic, subscription)
        _remove_dead(self._database, number)
        return queries.backlog(self._database, number)

    def topics(self, prefix: str = "") -> list[str]:
        """List the topics; see `protocol.Broker`."""
        names = (name for (name,) in self._database.read("SELECT name FROM topic"))
        return sorted(name for name in names if name.startswith(prefix))

    def delete_topic(self, topic: str) -> None:
        """Delete the topic, its messages and its subscriptions; see `protocol.Broker`."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM topic WHERE name = ?", (topic,))

    def close(self) -> None:
        """Close what was handed out, then the broker."""
        for opened in self._handed_out:
            opened.close()
        super().close()

    def _hand_out(self, opened: Open) -> None:
        self._handed_out = [one for one in self._handed_out if one.usable] + [opened]


class SqliteProducer(Open):
    """Stores messages on one topic; see `protocol.Producer`."""

    def __init__(self, path: Path, topic: str, name: str) -> None:
        super().__init__(path)
        self._name = name
        self._topic = queries.topic_number(self._database, topic)

    @property
    def last_sequence_id(self) -> int:
        """Highest sequence id stored under this name, -1 if none."""
        return queries.last_sequence_id(self._database, self._topic, self._name)

    def send(self, *messages: Outgoing) -> None:
        """Store the messages, all or none of them; see `protocol.Producer`."""
        with self._database.transaction() as connection:
            before = self.last_sequence_id
            fresh, last = _without_repeats(messages, before)
            position = queries.last_position(self._database, self._topic)
            connection.executemany(
                _INSERT,
                [
                    (self._topic, at, m.key, json.dumps(dict(m.properties)), m.payload)
                    for at, m in enumerate(fresh, start=position + 1)
                ],
            )
            if last > before:
                connection.execute(
                    "INSERT OR REPLACE INTO producer (topic, name, last_sequence_id) VALUES (?, ?, ?)",
                    (self._topic, self._name, last),
                )

    def submit(self, message: Outgoing) -> Future[None]:
        """Store the message, at once: there is no way to wait for; see `protocol.Producer`."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        try:
            self.send(message)
        except BrokerError as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        return future


class SqliteReader(Open):
    """Walks one topic; see `protocol.Reader`."""

    def __init__(self, path: Path, topic: str) -> None:
        super().__init__(path)
        self._topic = queries.topic_number(self._database, topic)
        self._position = 0

    def receive(self, timeout: float) -> Message | None:
        """Return the next message of the topic; see `protocol.Reader`."""
        return _poll(self._database, self._take, timeout)

    def _take(self) -> Message | None:
        message = queries.message_at(self._database, self._topic, self._position + 1, attempts=1)
        if message is not None:
            self._position += 1
        elif not self._database.read("SELECT 1 FROM topic WHERE id = ?", (self._topic,)):
            raise BrokerError(f"{self._database.path}: the topic has been deleted while it was read")
        return message


class SqliteConsumer(Open):
    """Takes messages of one topic through a subscription; see `protocol.Consumer`.

    Of a failover subscription's consumers the one that came first is active. It loses its place, and what it holds,
    when it is closed and when it dies.
    """

    def __init__(
        self, path: Path, topic: str, subscription: str, kind: SubscriptionType, ack_timeout: float | None
    ) -> None:
        check_ack_timeout(ack_timeout, kind)
        super().__init__(path)
        self._kind = kind
        self._ack_timeout = ack_timeout
        self._presence: Presence | None = None
        self._number = -1
        self._next_watch = 0.0
        try:
            self._topic = queries.topic_number(self._database, topic)
            self._subscription = queries.subscription_number(self._database, topic, subscription)
            _remove_dead(self._database, self._subscription)
            with self._database.transaction() as connection:
                self._queue(connection)
        except BaseException:
            self.close()
            raise

    def receive(self, timeout: float) -> Message | None:
        """Return the next message, None when none came in time; see `protocol.Consumer`."""
        return _poll(self._database, self._take, timeout)

    def ack(self, *messages: Message) -> None:
        """Never deliver these again, whoever holds them by now; see `protocol.Consumer`."""
        positions = self._positions(messages)
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM delivery WHERE subscription = ? AND position = ?", positions)

    def nack(self, *messages: Message) -> None:
        """Give these back, unless they are another's by now; see `protocol.Consumer`."""
        positions = self._positions(messages)
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE delivery SET consumer = NULL WHERE subscription = ? AND position = ? AND consumer = ?",
                [(*position, self._number) for position in positions],
            )

    def close(self) -> None:
        """Give back everything held; see `protocol.Consumer`."""
        if self._presence is not None and self.usable:
            # Should the database refuse (a full disk): the lock is gone, so the others will find this consumer dead.
            with contextlib.suppress(BrokerError), self._database.transaction() as connection:
                connection.execute("DELETE FROM consumer WHERE id = ?", (self._number,))
                self._presence.remove()
            self._presence.leave()
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
                "INSERT INTO delivery (subscription, position, consumer, attempts, due) VALUES (?, ?, ?, 1, ?) "
                "ON CONFLICT (subscription, position) DO UPDATE "
                "SET consumer = excluded.consumer, attempts = attempts + 1, due = excluded.due",
                (self._subscription, position, self._number, due),
            )
            attempts = queries.attempts(self._database, self._subscription, position)
            return queries.message_at(self._database, self._topic, position, attempts)

    def _may_take(self, connection: sqlite3.Connection) -> bool:
        """Whether it is this consumer's turn; queues it again when it has lost its place."""
        if not queries.is_queued(self._database, self._number):
            self._queue(connection)
        if self._kind is SubscriptionType.SHARED:
            return True
        return queries.active_consumer(self._database, self._subscription) == self._number

    def _queue(self, connection: sqlite3.Connection) -> None:
        """Make this a consumer of the subscription, behind all others."""
        kinds = queries.kinds(self._database, self._subscription)
        if kinds - {self._kind}:
            raise BrokerError(
                f"{self._database.path}: a {self._kind} consumer cannot join a subscription that has "
                f"{', '.join(sorted(kinds))} consumers"
            )
        folder = _folder(self._database)
        remove_leftovers(folder, queries.tokens(self._database))
        if self._presence is None:
            self._presence = Presence(folder)
        elif not is_present(folder, self._presence.token):  # somebody cleaned up the folder of a running scan
            self._presence.leave()
            self._presence = Presence(folder)
        connection.execute(
            "INSERT INTO consumer (subscription, kind, token) VALUES (?, ?, ?)",
            (self._subscription, self._kind, self._presence.token),
        )
        self._number = queries.newest_consumer(self._database, self._subscription)

    def _watch(self) -> None:
        """Look for other consumers that died or hold a message for too long, and give that back."""
        now = time.monotonic()
        if now < self._next_watch:
            return
        self._next_watch = now + WATCH_INTERVAL
        _remove_dead(self._database, self._subscription)
        if queries.any_overdue(self._database, self._subscription, now):
            with self._database.transaction() as connection:
                connection.execute(
                    "UPDATE delivery SET consumer = NULL WHERE subscription = ? AND due < ? AND consumer IS NOT NULL",
                    (self._subscription, now),
                )

    def _positions(self, messages: Iterable[Message]) -> list[tuple[int, int]]:
        """Return the keys in ``delivery`` of messages that this subscription has delivered; raises BrokerError."""
        cursor = queries.cursor(self._database, self._subscription)
        positions = []
        for message in messages:
            match message.id:
                case (self._topic, int(position)) if position <= cursor:
                    positions.append((self._subscription, position))
                case _:
                    raise BrokerError(f"{self._database.path}: message {message.id} is not of this subscription")
        return positions


def _poll(database: Database, take: Callable[[], Message | None], timeout: float) -> Message | None:
    """Take a message as soon as there is one, at most ``timeout`` seconds from now."""
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        version = database.version()
        message = take()
        remaining = deadline - time.monotonic()
        if message is not None or remaining <= 0:
            return message
        # News wake it up within a pause; without news it takes a look for the dead every WATCH_INTERVAL.
        look = time.monotonic() + min(remaining, WATCH_INTERVAL)
        while (left := look - time.monotonic()) > 0 and database.version() == version:
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)


def _without_repeats(messages: Iterable[Outgoing], last: int) -> tuple[list[Outgoing], int]:
    """Drop the messages whose sequence id is not above all before; also return the highest id."""
    fresh = []
    for message in messages:
        if message.sequence_id is not None:
            if message.sequence_id <= last:
                continue
            last = message.sequence_id
        fresh.append(message)
    return fresh, last


def _folder(database: Database) -> Path:
    """Return the folder of the consumers' lock files."""
    return database.path.with_name(database.path.name + "-consumers")


def _remove_dead(database: Database, subscription: int) -> None:
    """Remove the subscription's consumers that died, which gives back what they held."""
    folder = _folder(database)
    for number, token in queries.consumers(database, subscription):
        if not is_present(folder, token):
            _remove(database, number)


def _remove(database: Database, consumer: int) -> None:
    with database.transaction() as connection:
        connection.execute("DELETE FROM consumer WHERE id = ?", (consumer,))
        remove_leftovers(_folder(database), queries.tokens(database))
