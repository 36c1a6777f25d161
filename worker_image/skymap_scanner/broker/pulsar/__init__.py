"""Apache Pulsar as the broker: many machines, nothing lost."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from typing import TypeVar

from skymap_scanner.broker.access import Access
from skymap_scanner.broker.protocol import Backlog, Closing, SubscriptionType
from skymap_scanner.broker.pulsar.admin import REST
from skymap_scanner.broker.pulsar.connection import Connection
from skymap_scanner.broker.pulsar.consumer import PulsarConsumer, PulsarReader
from skymap_scanner.broker.pulsar.producer import PulsarProducer
from skymap_scanner.errors import BrokerError

__all__ = ["PulsarBroker"]

T = TypeVar("T", PulsarProducer, PulsarConsumer, PulsarReader)


class PulsarBroker(Closing):
    """The cluster at ``url``; see `broker.protocol.Broker`.

    Messages travel by the client, everything about topics by admin REST. What a role opens is taken as it is, and made
    only where it is missing: with its topics made before, a role needs no rights but to produce and to consume.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._connection = Connection(url, access)
        self._handed_out: list[PulsarProducer | PulsarConsumer | PulsarReader] = []
        atexit.register(self.close)  # the client, left open, would abort the process at its end

    def create_topic(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Make the topic, its subscriptions, and its namespace where missing; see `broker.protocol.Broker`."""
        self._connection.check_open()
        self._connection.admin.create_topic(topic)
        for subscription in subscriptions:
            self._connection.admin.create_subscription(topic, subscription)

    def prepare(self, base: str) -> None:
        """Make the namespace of these topics where it is missing; see `broker.protocol.Broker`."""
        self._connection.check_open()
        self._connection.admin.prepare(base)

    def producer(self, topic: str, name: str) -> PulsarProducer:
        """Open a producer; see `broker.protocol.Broker`."""
        REST.split_topic(topic)
        return self._hand_out(PulsarProducer(self._connection, topic, name))

    def consumer(
        self,
        topic: str,
        subscription: str,
        kind: SubscriptionType,
        *,
        ack_timeout: float | None = None,
        prefetch: int = 0,
    ) -> PulsarConsumer:
        """Open a consumer; see `broker.protocol.Broker`."""
        REST.split_topic(topic)
        return self._hand_out(PulsarConsumer(self._connection, topic, subscription, kind, ack_timeout, prefetch))

    def reader(self, topic: str, *, make: bool = True) -> PulsarReader:
        """Open a reader; see `broker.protocol.Broker`."""
        REST.split_topic(topic)
        self._connection.check_open()
        if not make and not self._connection.admin.exists(topic):  # Pulsar itself could make it for who asks
            raise BrokerError(f"there is no topic {topic}: was it deleted?")
        return self._hand_out(PulsarReader(self._connection, topic))

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count what waits and what consumers hold; see `broker.protocol.Broker`."""
        self._connection.check_open()
        return self._connection.admin.backlog(topic, subscription)

    def topics(self, prefix: str = "") -> list[str]:
        """List the topics; see `broker.protocol.Broker`."""
        self._connection.check_open()
        return sorted(self._connection.admin.topics(prefix))

    def delete_topic(self, topic: str) -> None:
        """Delete the topic, its messages and its subscriptions; see `broker.protocol.Broker`."""
        self._connection.check_open()
        self._connection.admin.delete_topic(topic)

    def close(self) -> None:
        """Close what was handed out, then the connection."""
        atexit.unregister(self.close)
        for opened in self._handed_out:
            opened.close()
        self._handed_out.clear()
        self._connection.close()

    def _hand_out(self, opened: T) -> T:
        self._handed_out = [one for one in self._handed_out if not one.closed]
        self._handed_out.append(opened)
        return opened
