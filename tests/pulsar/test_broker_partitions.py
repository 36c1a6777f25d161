"""A topic that its administrators have divided into partitions serves like any other."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest
from testing.pulsar.brokers import number, numbered, rest, take
from testing.pulsar.server import PulsarAddress
from testing.waiting import eventually

from skymap_scanner.broker import Backlog, Broker, Outgoing, SubscriptionType
from skymap_scanner.errors import BrokerError

PARTITIONS = 3
KEYS = [f"8/{pixel}" for pixel in range(12)]


@pytest.fixture
def partitioned(broker: Broker, topic: str, pulsar_server: PulsarAddress) -> str:
    broker.create_topic(f"{topic}-beside")  # makes the namespace
    path = topic.replace("://", "/")
    httpx.put(f"{pulsar_server.admin_url}/admin/v2/{path}/partitions", json=PARTITIONS).raise_for_status()
    return topic


def keyed(count: int) -> list[Outgoing]:
    return [Outgoing(f"{index}".encode(), key=KEYS[index % len(KEYS)]) for index in range(count)]


@pytest.mark.parametrize("kind", SubscriptionType)
def test_every_kind_of_consumer_receives_everything_once(
    broker: Broker, partitioned: str, kind: SubscriptionType
) -> None:
    consumer = broker.consumer(partitioned, "s", kind)
    with broker.producer(partitioned, "p") as producer:
        producer.send(*keyed(60))
    messages = take(consumer, 60)
    assert sorted(map(number, messages)) == list(range(60))
    assert len({message.id for message in messages}) == 60
    for key in KEYS:  # in order within a key
        of_key = [number(message) for message in messages if message.key == key]
        assert of_key == sorted(of_key)
    consumer.ack(*messages[:50])
    consumer.nack(*messages[50:])
    again = take(consumer, 10)
    assert sorted(map(number, again)) == sorted(map(number, messages[50:]))
    consumer.ack(*again)
    eventually(lambda: broker.backlog(partitioned, "s"), lambda backlog: backlog == Backlog(0, 0))
    consumer.close()
    with broker.consumer(partitioned, "s", kind) as after:
        assert rest(after) == []


def test_messages_without_a_key_use_all_partitions(
    broker: Broker, partitioned: str, pulsar_server: PulsarAddress
) -> None:
    broker.create_topic(partitioned, ["s"])
    with broker.producer(partitioned, "p") as producer:
        producer.send(*(Outgoing(b"") for _ in range(30)))
    assert broker.backlog(partitioned, "s") == Backlog(30, 0)
    path = partitioned.replace("://", "/")
    stats = httpx.get(f"{pulsar_server.admin_url}/admin/v2/{path}/partitioned-stats").raise_for_status().json()
    assert [one["msgInCounter"] for one in stats["partitions"].values()] == [10, 10, 10]
    with broker.consumer(partitioned, "s", SubscriptionType.SHARED) as consumer:
        consumer.ack(*take(consumer, 4))
        take(consumer, 6)
        # 6 messages are held, and up to one more for each partition with an open request. Each partition counts for
        # itself, so the sum is right only when all have seen the acknowledgements.
        eventually(
            lambda: broker.backlog(partitioned, "s"),
            lambda found: found.unacked in range(6, 10) and found.waiting + found.unacked == 26,
        )


def test_early_and_late_readers_read_everything(broker: Broker, partitioned: str) -> None:
    with broker.reader(partitioned) as early, broker.producer(partitioned, "p") as producer:
        assert early.receive(0) is None
        producer.send(*keyed(30))
        assert sorted(map(number, take(early, 30))) == list(range(30))
        assert early.receive(0) is None
    with broker.reader(partitioned) as late:
        assert sorted(map(number, iter(lambda: late.receive(0), None))) == list(range(30))


def test_duplicates_are_dropped_with_any_key(broker: Broker, partitioned: str) -> None:
    def send(numbers: range) -> None:
        with broker.producer(partitioned, "p") as producer:
            for index in numbers:
                producer.send(*numbered([index], key=KEYS[index % len(KEYS)]))
            assert producer.last_sequence_id == max(numbers)

    send(range(20))
    send(range(10, 30))
    with broker.producer(partitioned, "p") as producer:
        assert producer.last_sequence_id == 29
        producer.send(*numbered(range(30)))
        producer.send(*numbered([30]))
    with broker.reader(partitioned) as reader:
        assert [number(message) for message in iter(lambda: reader.receive(0), None)] == list(range(31))


def test_keys_are_distributed_among_consumers(broker: Broker, partitioned: str) -> None:
    one, other = (broker.consumer(partitioned, "s", SubscriptionType.KEY_SHARED) for _ in range(2))
    with broker.producer(partitioned, "p") as producer:
        producer.send(*keyed(120))
    got = [[], []]  # type: list[list[str | None]]
    while sum(map(len, got)) < 120:
        for keys, consumer in zip(got, (one, other), strict=True):
            messages = rest(consumer)
            consumer.ack(*messages)
            keys += [message.key for message in messages]
    assert Counter(got[0] + got[1]) == dict.fromkeys(KEYS, 10)
    assert not set(got[0]) & set(got[1])


def test_partitioned_topic_is_listed_once_and_deleted_whole(
    broker: Broker, partitioned: str, pulsar_server: PulsarAddress
) -> None:
    broker.create_topic(partitioned, ["s"])  # is there already, and stays partitioned
    namespace = partitioned.rpartition("/")[0]
    assert broker.topics(f"{namespace}/") == [partitioned, f"{partitioned}-beside"]
    producer = broker.producer(partitioned, "p")
    producer.send(*keyed(3))
    broker.delete_topic(partitioned)
    broker.delete_topic(partitioned)
    assert broker.topics(f"{namespace}/") == [f"{partitioned}-beside"]
    path = namespace.replace("://", "/")
    everything = httpx.get(f"{pulsar_server.admin_url}/admin/v2/{path}").raise_for_status().json()
    assert [one for one in everything if "partition" in one] == []
    with pytest.raises(BrokerError, match=partitioned):
        producer.send(*keyed(3))


def test_prefetched_messages_come_from_all_partitions_once(broker: Broker, partitioned: str) -> None:
    broker.create_topic(partitioned, ["s"])
    with broker.producer(partitioned, "p") as producer:
        producer.send(*(Outgoing(f"{index}".encode()) for index in range(60)))
    with broker.consumer(partitioned, "s", SubscriptionType.SHARED, prefetch=5) as consumer:
        first = take(consumer, 30)
        consumer.ack(*first)
    with broker.consumer(partitioned, "s", SubscriptionType.SHARED, prefetch=5) as consumer:
        second = take(consumer, 30)
        consumer.ack(*second)
        assert sorted(map(number, [*first, *second])) == list(range(60))
        eventually(lambda: broker.backlog(partitioned, "s"), lambda backlog: backlog == Backlog(0, 0))
