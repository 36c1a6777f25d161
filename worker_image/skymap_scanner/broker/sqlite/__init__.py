"""The embedded broker: one SQLite file on a local disk, shared by any number of processes of one machine.

A subscription is a cursor (the last position ever delivered) and one row for each message that is delivered and not
acknowledged. The cost of a receive depends neither on the number of acknowledged messages nor on the backlog. Messages
are kept, acknowledged or not, until their topic is deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from skymap_scanner.broker.access import embedded_url
from skymap_scanner.broker.protocol import Backlog, Capabilities, SubscriptionType
from skymap_scanner.broker.sqlite import queries
from skymap_scanner.broker.sqlite.consumer import SqliteConsumer, SqliteReader, remove_crashed_consumers
from skymap_scanner.broker.sqlite.database import DatabaseClient, prepare
from skymap_scanner.broker.sqlite.producer import SqliteProducer
from skymap_scanner.errors import BrokerError

__all__ = ["SqliteBroker"]

_FULL_NAME = re.compile(r"persistent://[^/]+/[^/]+/[^/]+")


class SqliteBroker(DatabaseClient):
    """The broker in the file at ``path``, made if missing; see `broker.protocol.Broker`.

    The broker and everything it opens may be used by any thread: calls on one object take turns. A forked child must
    open the broker again.
    """

    capabilities = Capabilities(key_shared=False, keeps_active_consumer=True)

    def __init__(self, path: Path) -> None:
        path = path.resolve()  # all processes must find the same lock files, even if they open the file by a link
        prepare(path)
        super().__init__(path)
        self._opened: list[DatabaseClient] = []

    @property
    def url(self) -> str:
        """The URL with the absolute path; see `broker.protocol.Broker`."""
        return embedded_url(self._database.path)

    def create_topic(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Create the topic and its subscriptions; see `broker.protocol.Broker`."""
        if not _FULL_NAME.fullmatch(topic):
            raise BrokerError(f"topic {topic!r}: write the full name, persistent://tenant/namespace/topic")
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO topic (name) VALUES (?)", (topic,))
            connection.executemany(
                "INSERT OR IGNORE INTO subscription (topic, name) SELECT id, ? FROM topic WHERE name = ?",
                [(subscription, topic) for subscription in subscriptions],
            )

    def create_namespace(self, base: str) -> None:
        """Do nothing: the file has no namespaces; see `broker.protocol.Broker`."""

    def producer(self, topic: str, name: str) -> SqliteProducer:
        """Open a producer; see `broker.protocol.Broker`."""
        self.create_topic(topic)
        producer = SqliteProducer(self._database.path, topic, name)
        self._remember(producer)
        return producer

    def consumer(
        self,
        topic: str,
        subscription: str,
        kind: SubscriptionType,
        *,
        ack_timeout: float | None = None,
        prefetch: int = 0,  # noqa: ARG002 - without a network there is nothing to prefetch
    ) -> SqliteConsumer:
        """Open a shared or failover consumer; see `broker.protocol.Broker`."""
        if kind is SubscriptionType.KEY_SHARED:
            raise BrokerError(
                f"{self._database.path}: the embedded broker has no key-shared subscriptions; "
                "run one failover consumer at a time, or use Apache Pulsar"
            )
        self.create_topic(topic, [subscription])
        consumer = SqliteConsumer(self._database.path, topic, subscription, kind, ack_timeout)
        self._remember(consumer)
        return consumer

    def reader(self, topic: str, *, create: bool = True) -> SqliteReader:
        """Open a reader; see `broker.protocol.Broker`."""
        if create:
            self.create_topic(topic)
        elif topic not in self.topics(topic):
            raise BrokerError(f"there is no topic {topic}: was it deleted?")
        reader = SqliteReader(self._database.path, topic)
        self._remember(reader)
        return reader

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count the messages that wait and those that live consumers hold; see `broker.protocol.Broker`."""
        number = queries.subscription_number(self._database, topic, subscription)
        remove_crashed_consumers(self._database, number)
        return queries.backlog(self._database, number)

    def topics(self, prefix: str = "") -> list[str]:
        """List the topics; see `broker.protocol.Broker`."""
        names = (name for (name,) in self._database.read("SELECT name FROM topic"))
        return sorted(name for name in names if name.startswith(prefix))

    def delete_topic(self, topic: str) -> None:
        """Delete the topic, its messages and its subscriptions; see `broker.protocol.Broker`."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM topic WHERE name = ?", (topic,))

    def close(self) -> None:
        """Close everything that the broker opened, then the broker."""
        for opened in self._opened:
            opened.close()
        super().close()

    def _remember(self, opened: DatabaseClient) -> None:
        self._opened = [one for one in self._opened if one.usable] + [opened]
