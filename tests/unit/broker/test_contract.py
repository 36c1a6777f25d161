"""The contract of a broker: every implementation passes these tests (`conftest.IMPLEMENTATIONS`).

They use only the protocol, and processes that are killed. The errors and details of an implementation have tests of
their own.
"""

from __future__ import annotations

import signal
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.unit.broker.contract import (
    FAILOVER,
    MOMENT,
    PATIENCE,
    SHARED,
    Start,
    assert_backlog,
    find_active,
    number,
    numbered,
    take,
)

from skymap_scanner.broker import Broker, Outgoing
from skymap_scanner.errors import BrokerError

if TYPE_CHECKING:
    from tests.unit.broker.conftest import Place

# Sending and receiving


def test_messages_arrive_in_order(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    producer.send(*numbered(range(7)))
    for one in numbered(range(7, 20)):
        producer.send(one)
    consumer = broker.consumer(topic, "s", SHARED)
    assert [number(message) for message in take(consumer, 20)] == list(range(20))


def test_receive_without_messages_returns_none(broker: Broker, topic: str) -> None:
    consumer = broker.consumer(topic, "s", SHARED)
    assert consumer.receive(0) is None
    assert consumer.receive(MOMENT) is None
    assert broker.reader(topic).receive(MOMENT) is None


def test_send_without_messages_stores_nothing(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send()
    assert broker.reader(topic).receive(MOMENT) is None


def test_waiting_receive_returns_with_a_message(broker: Broker, topic: str) -> None:
    consumer = broker.consumer(topic, "s", SHARED)
    producer = broker.producer(topic, "p")
    timer = threading.Timer(MOMENT, producer.send, numbered([5]))
    timer.start()
    assert number(consumer.receive(PATIENCE)) == 5
    timer.join()


def test_message_keeps_all_its_parts(broker: Broker, topic: str) -> None:
    sent = Outgoing(
        bytes(range(256)),
        key="pixel 8/767 — Größe",
        properties={"metadata_topics": "mf_0;mf_1", "名前": "星図 ✨", "empty": "", "quotes": "\"'\\\n"},
        sequence_id=2**53,
    )
    broker.producer(topic, "producer é").send(sent)
    for source in broker.consumer(topic, "s", SHARED), broker.reader(topic):
        (got,) = take(source, 1)
        assert (got.payload, got.key, dict(got.properties)) == (sent.payload, sent.key, sent.properties)


def test_empty_message_arrives(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(Outgoing(b""))
    (got,) = take(broker.consumer(topic, "s", SHARED), 1)
    assert (got.payload, got.key, dict(got.properties)) == (b"", None, {})


def test_large_messages_arrive_whole(broker: Broker, topic: str) -> None:
    payloads = [bytes([fill]) * 5_000_000 for fill in range(3)]
    broker.producer(topic, "p").send(*(Outgoing(payload) for payload in payloads))
    assert [message.payload for message in take(broker.consumer(topic, "s", SHARED), 3)] == payloads


def test_message_ids_differ(broker: Broker, topic: str, place: Place) -> None:
    ids = set()
    for name in topic, place.topic("another"):
        broker.producer(name, "p").send(*numbered(range(10)))
        ids |= {message.id for message in take(broker.reader(name), 10)}
    assert len(ids) == 20


# Acknowledging


def test_acknowledged_messages_are_not_delivered_again(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(6)))
    with broker.consumer(topic, "s", SHARED) as consumer:
        messages = take(consumer, 6)
        consumer.ack(messages[4], messages[1])
        consumer.ack(messages[4])  # twice is once
        consumer.ack()
    with broker.consumer(topic, "s", SHARED) as consumer:
        assert sorted(number(message) for message in take(consumer, 4)) == [0, 2, 3, 5]
        assert consumer.receive(MOMENT) is None


def test_nacked_messages_are_delivered_again(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(4)))
    consumer = broker.consumer(topic, "s", SHARED)
    messages = take(consumer, 3)
    consumer.nack(messages[1])
    consumer.nack()
    rest = take(consumer, 2)
    assert {number(message) for message in rest} == {1, 3}
    assert consumer.receive(MOMENT) is None


def test_message_is_delivered_again_after_each_nack(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered([7]))
    consumer = broker.consumer(topic, "s", SHARED)
    for _ in range(5):
        (message,) = take(consumer, 1)
        consumer.nack(message)


def test_closed_consumer_gives_back_its_messages(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(3)))
    with broker.consumer(topic, "s", SHARED) as first:
        take(first, 3)
    second = broker.consumer(topic, "s", SHARED)
    assert sorted(number(message) for message in take(second, 3)) == [0, 1, 2]


def test_message_of_another_subscription_cannot_be_acknowledged(broker: Broker, topic: str, place: Place) -> None:
    broker.producer(topic, "p").send(*numbered(range(2)))
    broker.producer(place.topic("other"), "p").send(*numbered(range(2)))
    consumer = broker.consumer(topic, "s", SHARED)
    (stranger,) = take(broker.consumer(place.topic("other"), "s", SHARED), 1)
    (unreceived,) = take(broker.reader(topic), 1)
    for message in stranger, unreceived:
        with pytest.raises(BrokerError):
            consumer.ack(message)
        with pytest.raises(BrokerError):
            consumer.nack(message)
    assert_backlog(broker, topic, waiting=2, unacked=0)


# Many consumers, many subscriptions


def test_subscriptions_are_independent(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(3)))
    one, other = broker.consumer(topic, "one", SHARED), broker.consumer(topic, "other", FAILOVER)
    one.ack(*take(one, 3))
    assert one.receive(MOMENT) is None
    assert [number(message) for message in take(other, 3)] == [0, 1, 2]


def test_late_subscription_starts_at_the_first_message(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    producer.send(*numbered(range(3)))
    early = broker.consumer(topic, "early", SHARED)
    early.ack(*take(early, 3))
    producer.send(*numbered(range(3, 5)))
    assert [number(message) for message in take(broker.consumer(topic, "late", SHARED), 5)] == [0, 1, 2, 3, 4]


def test_consumers_of_one_subscription_share_its_messages(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(10)))
    consumers = [broker.consumer(topic, "s", SHARED) for _ in range(3)]
    got = []
    for turn in range(10):
        message = consumers[turn % 3].receive(MOMENT)
        if message is not None:
            got.append(number(message))
    for consumer in consumers:  # prefetched messages wait at another consumer
        while (message := consumer.receive(MOMENT)) is not None:
            got.append(number(message))
    assert sorted(got) == list(range(10))


def test_message_is_held_by_one_consumer_at_a_time(broker: Broker, topic: str, actor: Start, tmp_path: Path) -> None:
    count = 600
    broker.create_topic(topic, ["s"])
    broker.producer(topic, "p").send(*numbered(range(count)))
    workers = [actor("work", topic, tmp_path / "start") for _ in range(4)]
    for worker in workers:
        worker.line()
    (tmp_path / "start").touch()
    held: dict[int, list[tuple[float, float, str]]] = {}
    for worker in workers:
        for line in worker.lines():
            what, received, released, end = line.split()
            held.setdefault(int(what), []).append((float(received), float(released), end))
        assert worker.process.wait() == 0
    assert sorted(held) == list(range(count))
    for what, times in held.items():
        times.sort()
        ends = [end for *_, end in times]
        assert ends[: 1 + (what % 5 == 0)] == (["back", "done"] if what % 5 == 0 else ["done"])
        assert set(ends[1:]) <= {"done"}  # an acknowledged message may be delivered again when its consumer is closed
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(times))
    assert_backlog(broker, topic, waiting=0, unacked=0)


def test_kinds_of_consumers_do_not_mix(broker: Broker, topic: str) -> None:
    with broker.consumer(topic, "s", SHARED), pytest.raises(BrokerError, match="shared"):
        broker.consumer(topic, "s", FAILOVER)
    with broker.consumer(topic, "s", FAILOVER):
        pass


# Crashes


def test_messages_of_a_killed_consumer_are_delivered_again(broker: Broker, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered(range(4)))
    consumer = broker.consumer(topic, "s", SHARED)
    victim = actor("hold", topic, "shared", 0, 2)
    assert [victim.line() for _ in range(3)] == ["ready", "0", "1"]
    assert_backlog(broker, topic, waiting=2, unacked=2)
    consumer.ack(*take(consumer, 2))
    assert consumer.receive(MOMENT) is None  # alive, it keeps them
    victim.kill()
    again = take(consumer, 2)
    assert sorted(number(message) for message in again) == [0, 1]


def test_backlog_counts_messages_of_a_killed_consumer_as_waiting(broker: Broker, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered(range(3)))
    victim = actor("hold", topic, "shared", 0, 3)
    assert [victim.line() for _ in range(4)][-1] == "2"
    victim.kill()
    assert_backlog(broker, topic, waiting=3, unacked=0)


def test_message_that_kills_consumers_is_delivered_every_time(broker: Broker, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    for _ in range(3):
        victim = actor("hold", topic, "shared", 0, 1)
        assert [victim.line() for _ in range(2)] == ["ready", "0"]
        victim.kill()
    assert number(broker.consumer(topic, "s", SHARED).receive(PATIENCE)) == 0


def test_messages_of_a_hanging_consumer_go_to_another(broker: Broker, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    victim = actor("hold", topic, "shared", 1.0, 1)
    assert [victim.line() for _ in range(2)] == ["ready", "0"]
    victim.send_signal(signal.SIGSTOP)
    consumer = broker.consumer(topic, "s", SHARED, ack_timeout=PATIENCE)
    assert consumer.receive(MOMENT) is None
    (message,) = take(consumer, 1)
    assert number(message) == 0
    consumer.ack(message)
    victim.send_signal(signal.SIGCONT)
    assert consumer.receive(MOMENT) is None
    assert_backlog(broker, topic, waiting=0, unacked=0)


def test_late_acknowledgement_counts(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    slow = broker.consumer(topic, "s", SHARED, ack_timeout=MOMENT)
    other = broker.consumer(topic, "s", SHARED)
    (early,) = take(slow, 1)
    (late,) = take(other, 1)
    assert number(early) == number(late) == 0
    slow.ack(early)
    other.nack(late)  # already acknowledged
    assert_backlog(broker, topic, waiting=0, unacked=0)
    assert other.receive(MOMENT) is None


def test_late_nack_leaves_the_message_with_its_new_consumer(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    slow = broker.consumer(topic, "s", SHARED, ack_timeout=MOMENT)
    other = broker.consumer(topic, "s", SHARED)
    (early,) = take(slow, 1)
    take(other, 1)
    slow.nack(early)
    assert slow.receive(MOMENT) is None
    assert_backlog(broker, topic, waiting=0, unacked=1)


# Failover


def test_only_the_active_consumer_receives(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(6)))
    first, active, (standby,) = find_active([broker.consumer(topic, "s", FAILOVER) for _ in range(2)])
    messages = [first, *take(active, 3)]
    assert [number(message) for message in messages] == [0, 1, 2, 3]
    active.ack(messages[0], messages[2])
    assert standby.receive(MOMENT) is None
    active.close()
    again = take(standby, 4)
    assert [number(message) for message in again] == [1, 3, 4, 5]


def test_standby_takes_over_from_a_killed_consumer_in_order(broker: Broker, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered(range(10)))
    victim = actor("hold", topic, "failover", 0, 3)
    assert [victim.line() for _ in range(4)][-1] == "2"
    standby = broker.consumer(topic, "s", FAILOVER)
    if broker.capabilities.keeps_active_consumer:
        assert standby.receive(MOMENT) is None
        third = broker.consumer(topic, "s", FAILOVER)
    victim.kill()
    messages = take(standby, 10)
    assert [number(message) for message in messages] == [*range(10)]
    if broker.capabilities.keeps_active_consumer:
        assert third.receive(MOMENT) is None
