"""The contract of a broker, continued: deduplication, crashes, readers, topics, the backlog, closing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.unit.broker.contract import (
    FAILOVER,
    MOMENT,
    PATIENCE,
    SHARED,
    Start,
    assert_backlog,
    number,
    numbered,
    take,
)

from skymap_scanner.broker import Backlog, Broker, Outgoing
from skymap_scanner.errors import BrokerError

if TYPE_CHECKING:
    from tests.unit.broker.conftest import Place

# Deduplication, and crashes


def test_duplicates_are_dropped(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    assert producer.last_sequence_id == -1
    producer.send(*numbered([0, 1, 1, 0, 2]))
    producer.send(*numbered([2, 1, 5]))
    producer.send(*numbered([4, 5, 6]))
    assert producer.last_sequence_id == 6
    reader = broker.reader(topic)
    assert [number(message) for message in take(reader, 5)] == [0, 1, 2, 5, 6]
    assert reader.receive(MOMENT) is None


def test_deduplication_is_by_name_and_topic(broker: Broker, topic: str, place: Place) -> None:
    other = broker.producer(topic, "other")
    broker.producer(topic, "p").send(*numbered(range(3)))
    assert other.last_sequence_id == -1
    assert broker.producer(place.topic("other"), "p").last_sequence_id == -1
    other.send(*numbered(range(3)))
    assert [number(message) for message in take(broker.reader(topic), 6)] == [0, 1, 2, 0, 1, 2]


def test_messages_without_a_sequence_id_are_never_dropped(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    producer.send(*numbered([3]))
    producer.send(Outgoing(b"8"), Outgoing(b"8"))
    assert producer.last_sequence_id == 3
    assert [number(message) for message in take(broker.reader(topic), 3)] == [3, 8, 8]


def test_restart_loses_no_topic_message_or_subscription(place: Place, topic: str) -> None:
    with place.open() as broker:
        broker.producer(topic, "p").send(*numbered(range(5)))
        consumer = broker.consumer(topic, "s", SHARED)
        messages = take(consumer, 3)
        consumer.ack(messages[1])
    with place.open() as broker:
        producer = broker.producer(topic, "p")
        assert producer.last_sequence_id == 4
        producer.send(*numbered(range(3, 6)))
        assert_backlog(broker, topic, waiting=5, unacked=0)
        got = take(broker.consumer(topic, "s", SHARED), 5)
        assert sorted(number(message) for message in got) == [0, 2, 3, 4, 5]


def test_stored_messages_survive_a_killed_sender(place: Place, topic: str, actor: Start) -> None:
    stored = -1
    for lines in 1, 40, 7, 23:
        sender = actor("send", topic, "p")
        word, last = sender.line().split()
        assert word == "ready"
        assert int(last) >= stored, "deduplication forgot what was stored"
        for _ in range(lines):
            sender.line()
        sender.kill()
        stored = max(int(line) for line in [last, *sender.lines()])
    with place.open() as broker:
        last = broker.producer(topic, "p").last_sequence_id
        assert last >= stored
        messages = take(broker.reader(topic), last + 1)
        assert [number(message) for message in messages] == list(range(last + 1))


# Readers


def test_reader_reads_everything_from_the_start(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    producer.send(*numbered(range(5)))
    consumer = broker.consumer(topic, "s", SHARED)
    consumer.ack(*take(consumer, 5))
    reader = broker.reader(topic)
    assert [number(message) for message in take(reader, 5)] == list(range(5))
    assert reader.receive(MOMENT) is None
    producer.send(*numbered(range(5, 7)))
    assert [number(message) for message in take(reader, 2)] == [5, 6]
    assert [number(message) for message in take(broker.reader(topic), 7)] == list(range(7))
    assert_backlog(broker, topic, waiting=2, unacked=0)


# Topics


def test_topics_are_created_listed_and_deleted(broker: Broker, place: Place, topic: str) -> None:
    names = [place.topic(f"scan-{name}") for name in ("a", "b")] + [place.topic("other")]
    for name in names:
        broker.create_topic(name, ["s", "t"])
    broker.producer(names[0], "p").send(*numbered(range(3)))
    broker.create_topic(names[0], ["t", "u"])
    assert broker.backlog(names[0], "s") == broker.backlog(names[0], "u") == Backlog(waiting=3, unacked=0)
    assert set(names) <= set(broker.topics())
    assert broker.topics(place.topic("scan-")) == sorted(names[:2])
    broker.delete_topic(names[0])
    broker.delete_topic(names[0])
    assert broker.topics(place.topic("scan-")) == [names[1]]


def test_deleted_topic_can_be_created_again(broker: Broker, topic: str) -> None:
    for _ in range(2):
        with broker.producer(topic, "p") as producer, broker.consumer(topic, "s", SHARED) as consumer:
            assert producer.last_sequence_id == -1
            producer.send(*numbered(range(3)))
            assert [number(message) for message in take(consumer, 3)] == [0, 1, 2]
        broker.delete_topic(topic)


def test_missing_topic_is_created_on_opening(broker: Broker, place: Place) -> None:
    broker.producer(place.topic("made-a"), "p")
    broker.consumer(place.topic("made-b"), "s", FAILOVER)
    broker.reader(place.topic("made-c"))
    assert broker.topics(place.topic("made-")) == [place.topic(f"made-{letter}") for letter in "abc"]


def test_reader_without_create_rejects_a_missing_topic(broker: Broker, place: Place) -> None:
    for _ in range(2):
        broker.create_namespace(place.topic("prepared-"))
    name = place.topic("prepared-a")
    with pytest.raises(BrokerError, match=f"there is no topic {name}: was it deleted"):
        broker.reader(name, create=False)
    assert broker.topics(name) == []
    broker.producer(name, "p").send(*numbered([7]))
    assert [number(message) for message in take(broker.reader(name, create=False), 1)] == [7]


def test_topic_needs_its_full_name(broker: Broker) -> None:
    for name in "short", "", "persistent://tenant/topic", "persistent://tenant/space/", "http://a/b/c":
        with pytest.raises(BrokerError, match="persistent://"):
            broker.create_topic(name)


# Backlog


def test_backlog_counts_waiting_and_unacked_messages(broker: Broker, topic: str) -> None:
    broker.create_topic(topic, ["s"])
    assert_backlog(broker, topic, waiting=0, unacked=0)
    broker.producer(topic, "p").send(*numbered(range(5)))
    assert_backlog(broker, topic, waiting=5, unacked=0)
    consumer = broker.consumer(topic, "s", SHARED)
    messages = take(consumer, 3)
    assert_backlog(broker, topic, waiting=2, unacked=3)
    consumer.ack(messages[0])
    consumer.nack(messages[1])
    assert_backlog(broker, topic, waiting=3, unacked=1)
    consumer.close()
    assert_backlog(broker, topic, waiting=4, unacked=0)


def test_backlog_of_a_missing_subscription_is_an_error(broker: Broker, topic: str) -> None:
    with pytest.raises(BrokerError, match=topic):
        broker.backlog(topic, "s")
    broker.create_topic(topic)
    with pytest.raises(BrokerError, match="'s'"):
        broker.backlog(topic, "s")


# Closing


def test_closed_objects_raise_errors(broker: Broker, topic: str) -> None:
    producer, reader = broker.producer(topic, "p"), broker.reader(topic)
    consumer = broker.consumer(topic, "s", SHARED)
    for opened in producer, consumer, reader:
        opened.close()
        opened.close()
    with pytest.raises(BrokerError, match="closed"):
        producer.send(Outgoing(b""))
    with pytest.raises(BrokerError, match="closed"):
        consumer.receive(0)
    with pytest.raises(BrokerError, match="closed"):
        reader.receive(0)


def test_closing_a_broker_closes_everything_it_opened(place: Place, topic: str) -> None:
    with place.open() as broker:
        producer, consumer = broker.producer(topic, "p"), broker.consumer(topic, "s", SHARED)
        producer.send(*numbered([0]))
        take(consumer, 1)
    with pytest.raises(BrokerError, match="closed"):
        producer.send(Outgoing(b""))
    with place.open() as broker:
        assert number(broker.consumer(topic, "s", SHARED).receive(PATIENCE)) == 0


def test_threads_may_share_a_consumer(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(60)))
    consumer = broker.consumer(topic, "s", SHARED)
    got: list[int] = []

    def work() -> None:
        while (message := consumer.receive(MOMENT)) is not None:
            got.append(number(message))
            consumer.ack(message)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(60))
