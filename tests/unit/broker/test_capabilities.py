"""The contract of a broker, continued: its URL, and what one broker can do and another cannot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.unit.broker.contract import FAILOVER, find_active, numbered, take

from skymap_scanner.broker import Access, Broker, Outgoing, SubscriptionType, open_broker
from skymap_scanner.errors import BrokerError

if TYPE_CHECKING:
    from tests.unit.broker.conftest import Place

KEY_SHARED = SubscriptionType.KEY_SHARED


def test_url_opens_the_same_broker_from_any_folder(
    broker: Broker, place: Place, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.create_topic(topic)
    monkeypatch.chdir(tmp_path.parent)
    with open_broker(broker.url, Access(admin_url=place.admin_url)) as other:
        assert other.url == broker.url
        assert other.topics(topic) == [topic]


def test_relative_and_absolute_paths_have_one_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    urls = ["sqlite:///x.sqlite", f"sqlite:///{tmp_path}/x.sqlite", "sqlite:///link/x.sqlite"]
    found = set()
    for url in urls:
        with open_broker(url) as broker:
            found.add(broker.url)
    assert found == {f"sqlite:///{tmp_path.resolve()}/x.sqlite"}


def test_key_has_one_consumer_or_the_subscription_is_rejected(broker: Broker, topic: str) -> None:
    if not broker.capabilities.key_shared:
        with pytest.raises(BrokerError, match="key-shared"):
            broker.consumer(topic, "s", KEY_SHARED)
        return
    consumers = [broker.consumer(topic, "s", KEY_SHARED) for _ in range(2)]
    with broker.producer(topic, "p") as producer:
        producer.send(*(Outgoing(b"", key=f"8/{number % 30}") for number in range(300)))
    keys: list[set[str | None]] = [set(), set()]
    total = 0
    while total < 300:
        for received, consumer in zip(keys, consumers, strict=True):
            while (message := consumer.receive(0.2)) is not None:
                received.add(message.key)
                consumer.ack(message)
                total += 1
    assert not keys[0] & keys[1]
    assert keys[0] | keys[1] == {f"8/{number}" for number in range(30)}


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # over Pulsar one that joins may become active
def test_active_consumer_stays_active_as_stated(broker: Broker, topic: str) -> None:
    assert broker.capabilities.keeps_active_consumer
    broker.producer(topic, "p").send(*numbered(range(6)))
    active = broker.consumer(topic, "s", FAILOVER)
    take(active, 1)
    joined = [broker.consumer(topic, "s", FAILOVER) for _ in range(2)]
    assert [consumer.receive(0.3) for consumer in joined] == [None, None]
    take(active, 5)
    active.close()
    message, _, _ = find_active(joined)
    assert message.payload == b"0"
