"""Apache Pulsar as the broker, for scans on many machines."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from typing import TypeVar

from skymap_scanner.broker.access import Access
from skymap_scanner.broker.protocol import Backlog, Capabilities, Closing, SubscriptionType
from skymap_scanner.broker.pulsar.admin import check_topic
from skymap_scanner.broker.pulsar.connection import Connection
from skymap_scanner.broker.pulsar.consumer import PulsarConsumer, PulsarReader
from skymap_scanner.broker.pulsar.producer import PulsarProducer
from skymap_scanner.errors import BrokerError

__all__ = ["PulsarBroker"]

T = TypeVar("T", PulsarProducer, PulsarConsumer, PulsarReader)


class PulsarBroker(Closing):
    """The cluster at ``url``; see `broker.protocol.Broker`.

    The client sends and receives messages; the admin REST interface manages topics. An existing topic is used as it is,
    so a role whose topics were created before needs only the permissions to produce and to consume.
    """

    capabilities = Capabilities(key_shared=True, keeps_active_consumer=False)

    def __init__(self, url: str, access: Access) -> None:
        self._connection = Connection(url, access)
        self._opened: list[PulsarProducer | PulsarConsumer | PulsarReader] = []
        atexit.register(self.close)  # an open client would abort the process at its end

    @property
    def url(self) -> str:
        """The URL of the cluster; see `broker.protocol.Broker`."""
        return self._connection.url

    def create_topic(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        """Create the topic, its subscriptions and its namespace if missing; see `broker.protocol.Broker`."""
        self._connection.admin.create_topic(topic)
        for subscription in subscriptions:
            self._connection.admin.create_subscription(topic, subscription)

    def create_namespace(self, base: str) -> None:
        """Create the namespace of these topics if it is missing; see `broker.protocol.Broker`."""
        self._connection.admin.create_namespace(base)

    def producer(self, topic: str, name: str) -> PulsarProducer:
        """Open a producer; see `broker.protocol.Broker`."""
        check_topic(topic)
        return self._remember(PulsarProducer(self._connection, topic, name))

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
        check_topic(topic)
        return self._remember(PulsarConsumer(self._connection, topic, subscription, kind, ack_timeout, prefetch))

    def reader(self, topic: str, *, create: bool = True) -> PulsarReader:
        """Open a reader; see `broker.protocol.Broker`."""
        check_topic(topic)
        if not create and not self._connection.admin.exists(topic):  # Pulsar itself may create topics on demand
            raise BrokerError(f"there is no topic {topic}: was it deleted?")
        return self._remember(PulsarReader(self._connection, topic))

    def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count the messages that wait and those that consumers hold; see `broker.protocol.Broker`."""
        return self._connection.admin.backlog(topic, subscription)

    def topics(self, prefix: str = "") -> list[str]:
        """List the topics; see `broker.protocol.Broker`."""
        return self._connection.admin.topics(prefix)

    def delete_topic(self, topic: str) -> None:
        """Delete the topic, its messages and its subscriptions; see `broker.protocol.Broker`."""
        self._connection.admin.delete_topic(topic)

    def close(self) -> None:
        """Close everything that the broker opened, then the connection."""
        atexit.unregister(self.close)
        for opened in self._opened:
            opened.close()
        self._opened.clear()
        self._connection.close()

    def _remember(self, opened: T) -> T:
        self._opened = [one for one in self._opened if not one.closed]
        self._opened.append(opened)
        return opened
