from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Broker, Outgoing, open_broker
from skymap_scanner.errors import BrokerDenied, BrokerError
from skymap_scanner.i3 import Frame, I3Int
from skymap_scanner.roles.topics import create_topics, ensure_topics, publish_metadata, read_metadata

TOPICS = ScanTopics.of("scan")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with open_broker(f"sqlite:///{tmp_path / 'broker.sqlite'}") as broker:
        yield broker


def frame(number: int = 7) -> Frame:
    made = Frame("G")
    made["Number"] = I3Int(number)
    return made


def stored(broker: Broker, topic: str) -> int:
    count = 0
    with broker.reader(topic) as reader:
        while reader.receive(0) is not None:
            count += 1
    return count


class Denying(Broker):
    """A broker whose topics exist, and whose admin interface shows only some of them to this role."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def create_topic(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        assert tuple(subscriptions) == TOPICS.subscriptions(topic)
        self.asked.append(topic)
        if topic != TOPICS.plan:
            raise BrokerDenied("401 Unauthorized to validateTopicOperation for operation [LOOKUP]")

    def create_namespace(self, base: str) -> None:
        self.asked.append(base)


def test_role_without_lookup_leaves_topics_as_they_are() -> None:
    broker = Denying()
    ensure_topics(broker, TOPICS)
    assert broker.asked == [*TOPICS.all(), TOPICS.metadata]
    with pytest.raises(BrokerDenied):
        create_topics(broker, TOPICS)


def test_frame_is_published_once_by_each_scan(broker: Broker) -> None:
    names = publish_metadata(broker, TOPICS, [frame(1), frame(2)])
    assert publish_metadata(broker, TOPICS, [frame(1), frame(2)]) == names
    assert [stored(broker, name) for name in names] == [1, 1]
    assert not set(publish_metadata(broker, ScanTopics.of("other"), [frame(1), frame(2)])) & set(names)
    assert read_metadata(broker, names[1])["Number"] == I3Int(2)


def test_duplicate_or_foreign_messages_do_not_hide_a_frame(broker: Broker) -> None:
    payload = frame().to_bytes()
    name = TOPICS.metadata + hashlib.sha256(payload).hexdigest()
    with broker.producer(name, "stranger") as stranger:
        stranger.send(Outgoing(b"something else"))
    assert publish_metadata(broker, TOPICS, [frame()]) == (name,)
    with broker.producer(name, "again") as again:
        again.send(Outgoing(payload))
    assert read_metadata(broker, name)["Number"] == I3Int(7)
    assert publish_metadata(broker, TOPICS, [frame()]) == (name,)
    assert stored(broker, name) == 3


def test_missing_metadata_topic_is_named(broker: Broker) -> None:
    (name,) = publish_metadata(broker, TOPICS, [frame()])
    broker.delete_topic(name)
    with pytest.raises(BrokerError, match=rf"there is no topic {name}"):
        read_metadata(broker, name, timeout=0.1)


def test_topics_are_named_after_the_scan_and_created_once(broker: Broker) -> None:
    create_topics(broker, TOPICS)
    create_topics(broker, TOPICS)
    named = [f"persistent://icecube/skymap/scan-{last}" for last in ("collected", "crash_reports", "plan", "progress")]
    assert broker.topics() == sorted([*named, TOPICS.to_be_scanned, TOPICS.scanned])
    assert broker.backlog(TOPICS.to_be_scanned, "workers").waiting == 0
    assert broker.backlog(TOPICS.scanned, "collector").waiting == 0
