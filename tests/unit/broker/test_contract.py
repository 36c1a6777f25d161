"""The contract of a broker: every implementation passes these tests (`conftest.IMPLEMENTATIONS`).

They see only the protocol, and processes that are killed. What an implementation may do beyond it, and how it fails,
is tested beside it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skymap_scanner.broker import Backlog, Broker, Consumer, Message, Outgoing, Reader, SubscriptionType
from skymap_scanner.errors import BrokerError

if TYPE_CHECKING:
    from tests.unit.broker.conftest import Place

SHARED, FAILOVER = SubscriptionType.SHARED, SubscriptionType.FAILOVER

#: How long to wait for what must come (s), and to see that nothing comes (s).
PATIENCE, MOMENT = 45.0, 0.3

Start = Callable[..., Any]


def numbered(numbers: Iterable[int]) -> list[Outgoing]:
    return [Outgoing(f"{number}".encode(), sequence_id=number) for number in numbers]


def number(message: Message | None) -> int:
    assert message is not None, "no message came"
    return int(message.payload)


def take(source: Consumer | Reader, count: int) -> list[Message]:
    messages = [source.receive(PATIENCE) for _ in range(count)]
    assert None not in messages, f"only {len(messages) - messages.count(None)} of {count} messages came"
    return [message for message in messages if message is not None]


def assert_backlog(broker: Broker, topic: str, waiting: int, unacked: int) -> None:
    """Wait until the backlog of the subscription "s" is as given: a broker may take a moment to count."""
    deadline = time.monotonic() + PATIENCE
    while (backlog := broker.backlog(topic, "s")) != Backlog(waiting, unacked) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert backlog == Backlog(waiting, unacked)


# Sending and receiving


def test_messages_arrive_in_order(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    producer.send(*numbered(range(7)))
    for one in numbered(range(7, 20)):
        producer.send(one)
    consumer = broker.consumer(topic, "s", SHARED)
    assert [number(message) for message in take(consumer, 20)] == list(range(20))


def test_receive_of_nothing_returns_none(broker: Broker, topic: str) -> None:
    consumer = broker.consumer(topic, "s", SHARED)
    assert consumer.receive(0) is None
    assert consumer.receive(MOMENT) is None
    assert broker.reader(topic).receive(MOMENT) is None


def test_send_of_nothing_stores_nothing(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send()
    assert broker.reader(topic).receive(MOMENT) is None


def test_a_waiting_receive_is_woken_by_a_message(broker: Broker, topic: str) -> None:
    consumer = broker.consumer(topic, "s", SHARED)
    producer = broker.producer(topic, "p")
    timer = threading.Timer(MOMENT, producer.send, numbered([5]))
    timer.start()
    assert number(consumer.receive(PATIENCE)) == 5
    timer.join()


def test_a_message_keeps_all_its_parts(broker: Broker, topic: str) -> None:
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
        assert got.attempts == 1


def test_a_message_may_have_no_parts(broker: Broker, topic: str) -> None:
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


def test_acknowledged_messages_never_come_back(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(6)))
    with broker.consumer(topic, "s", SHARED) as consumer:
        messages = take(consumer, 6)
        consumer.ack(messages[4], messages[1])
        consumer.ack(messages[4])  # twice is once
        consumer.ack()
    with broker.consumer(topic, "s", SHARED) as consumer:
        assert sorted(number(message) for message in take(consumer, 4)) == [0, 2, 3, 5]
        assert consumer.receive(MOMENT) is None


def test_messages_given_back_come_again(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(4)))
    consumer = broker.consumer(topic, "s", SHARED)
    messages = take(consumer, 3)
    consumer.nack(messages[1])
    consumer.nack()
    rest = take(consumer, 2)
    assert {(number(message), message.attempts) for message in rest} == {(1, 2), (3, 1)}
    assert consumer.receive(MOMENT) is None


def test_attempts_count_every_delivery(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered([7]))
    consumer = broker.consumer(topic, "s", SHARED)
    for attempt in range(1, 6):
        (message,) = take(consumer, 1)
        assert message.attempts == attempt
        consumer.nack(message)


def test_closing_a_consumer_gives_back_what_it_held(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(3)))
    with broker.consumer(topic, "s", SHARED) as first:
        take(first, 3)
    second = broker.consumer(topic, "s", SHARED)
    assert sorted(number(message) for message in take(second, 3)) == [0, 1, 2]


def test_a_message_of_another_subscription_cannot_be_acknowledged(broker: Broker, topic: str, place: Place) -> None:
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


def test_two_subscriptions_know_nothing_of_each_other(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(3)))
    one, other = broker.consumer(topic, "one", SHARED), broker.consumer(topic, "other", FAILOVER)
    one.ack(*take(one, 3))
    assert one.receive(MOMENT) is None
    assert [number(message) for message in take(other, 3)] == [0, 1, 2]


def test_a_late_subscription_starts_at_the_first_message(broker: Broker, topic: str) -> None:
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
    for consumer in consumers:  # where messages are sent ahead, some wait at another consumer
        while (message := consumer.receive(MOMENT)) is not None:
            got.append(number(message))
    assert sorted(got) == list(range(10))


def test_no_message_is_held_twice_at_a_time(broker: Broker, topic: str, actor: Start, tmp_path: Path) -> None:
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
        assert set(ends[1:]) <= {"done"}  # what was acknowledged may come once more when its consumer is closed
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(times))
    assert_backlog(broker, topic, waiting=0, unacked=0)


def test_the_kinds_of_consumers_do_not_mix(broker: Broker, topic: str) -> None:
    with broker.consumer(topic, "s", SHARED), pytest.raises(BrokerError, match="shared"):
        broker.consumer(topic, "s", FAILOVER)
    with broker.consumer(topic, "s", FAILOVER):
        pass


# Death


def test_what_a_killed_consumer_held_is_delivered_again(broker: Broker, place: Place, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered(range(4)))
    consumer = broker.consumer(topic, "s", SHARED)
    victim = actor("hold", topic, "shared", 0, 2)
    assert [victim.line() for _ in range(3)] == ["ready", "0 1", "1 1"]
    assert_backlog(broker, topic, waiting=2, unacked=2)
    consumer.ack(*take(consumer, 2))
    assert consumer.receive(MOMENT) is None  # alive, it keeps them
    victim.kill()
    again = take(consumer, 2)
    assert sorted((number(message), message.attempts) for message in again) == [(0, place.again), (1, place.again)]


def test_the_backlog_knows_of_a_death(broker: Broker, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered(range(3)))
    victim = actor("hold", topic, "shared", 0, 3)
    assert [victim.line() for _ in range(4)][-1] == "2 1"
    victim.kill()
    assert_backlog(broker, topic, waiting=3, unacked=0)


def test_a_message_that_kills_comes_again_and_again(broker: Broker, place: Place, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    for attempt in range(1, 4):
        victim = actor("hold", topic, "shared", 0, 1)
        assert [victim.line() for _ in range(2)] == ["ready", f"0 {attempt if place.counts_deaths else 1}"]
        victim.kill()
    (message,) = take(broker.consumer(topic, "s", SHARED), 1)
    assert message.attempts == (4 if place.counts_deaths else 1)


def test_what_a_hanging_consumer_holds_goes_to_another(broker: Broker, place: Place, topic: str, actor: Start) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    victim = actor("hold", topic, "shared", 1.0, 1)
    assert [victim.line() for _ in range(2)] == ["ready", "0 1"]
    victim.send_signal(signal.SIGSTOP)
    consumer = broker.consumer(topic, "s", SHARED, ack_timeout=PATIENCE)
    assert consumer.receive(MOMENT) is None
    (message,) = take(consumer, 1)
    assert message.attempts == place.again
    consumer.ack(message)
    victim.send_signal(signal.SIGCONT)
    assert consumer.receive(MOMENT) is None
    assert_backlog(broker, topic, waiting=0, unacked=0)


def test_a_late_acknowledgement_counts(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    slow = broker.consumer(topic, "s", SHARED, ack_timeout=MOMENT)
    other = broker.consumer(topic, "s", SHARED)
    (early,) = take(slow, 1)
    (late,) = take(other, 1)
    assert (early.attempts, late.attempts) == (1, 2)
    slow.ack(early)
    other.nack(late)  # it has been done meanwhile
    assert_backlog(broker, topic, waiting=0, unacked=0)
    assert other.receive(MOMENT) is None


def test_a_late_give_back_takes_nothing_from_the_new_holder(broker: Broker, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered([0]))
    slow = broker.consumer(topic, "s", SHARED, ack_timeout=MOMENT)
    other = broker.consumer(topic, "s", SHARED)
    (early,) = take(slow, 1)
    take(other, 1)
    slow.nack(early)
    assert slow.receive(MOMENT) is None
    assert_backlog(broker, topic, waiting=0, unacked=1)


# Failover


def test_only_the_active_consumer_receives(broker: Broker, place: Place, topic: str) -> None:
    broker.producer(topic, "p").send(*numbered(range(6)))
    active, standby = (broker.consumer(topic, "s", FAILOVER) for _ in range(2))
    assert standby.receive(MOMENT) is None
    messages = take(active, 4)
    assert [number(message) for message in messages] == [0, 1, 2, 3]
    active.ack(messages[0], messages[2])
    assert standby.receive(MOMENT) is None
    active.close()
    again = take(standby, 4)
    assert [(number(message), message.attempts) for message in again] == [
        (1, place.again),
        (3, place.again),
        (4, 1),
        (5, 1),
    ]


def test_a_standby_takes_over_from_a_killed_consumer_in_order(
    broker: Broker, place: Place, topic: str, actor: Start
) -> None:
    broker.producer(topic, "p").send(*numbered(range(10)))
    victim = actor("hold", topic, "failover", 0, 3)
    assert [victim.line() for _ in range(4)][-1] == "2 1"
    second, third = (broker.consumer(topic, "s", FAILOVER) for _ in range(2))
    assert second.receive(MOMENT) is None
    victim.kill()
    assert third.receive(MOMENT) is None
    messages = take(second, 10)
    assert [(number(message), message.attempts) for message in messages] == [
        (expected, place.again if expected < 3 else 1) for expected in range(10)
    ]
    assert third.receive(MOMENT) is None


# Deduplication, and crashes


def test_repeats_are_dropped(broker: Broker, topic: str) -> None:
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


def test_everything_survives_a_new_start(place: Place, topic: str) -> None:
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
        got = {number(message): message.attempts for message in take(broker.consumer(topic, "s", SHARED), 5)}
        assert got == {0: place.again, 2: place.again, 3: 1, 4: 1, 5: 1}


def test_nothing_stored_is_lost_when_the_sender_is_killed(place: Place, topic: str, actor: Start) -> None:
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


def test_a_reader_sees_everything_from_the_start(broker: Broker, topic: str) -> None:
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


def test_topics_can_be_made_again_listed_and_deleted(broker: Broker, place: Place, topic: str) -> None:
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


def test_a_deleted_topic_starts_anew(broker: Broker, topic: str) -> None:
    for _ in range(2):
        with broker.producer(topic, "p") as producer, broker.consumer(topic, "s", SHARED) as consumer:
            assert producer.last_sequence_id == -1
            producer.send(*numbered(range(3)))
            assert [message.attempts for message in take(consumer, 3)] == [1, 1, 1]
        broker.delete_topic(topic)


def test_a_topic_is_made_by_who_needs_it(broker: Broker, place: Place) -> None:
    broker.producer(place.topic("made-a"), "p")
    broker.consumer(place.topic("made-b"), "s", FAILOVER)
    broker.reader(place.topic("made-c"))
    assert broker.topics(place.topic("made-")) == [place.topic(f"made-{letter}") for letter in "abc"]


def test_a_topic_needs_its_full_name(broker: Broker) -> None:
    for name in "short", "", "persistent://tenant/topic", "persistent://tenant/space/", "http://a/b/c":
        with pytest.raises(BrokerError, match="persistent://"):
            broker.create_topic(name)


# Backlog


def test_the_backlog_counts_what_waits_and_what_is_held(broker: Broker, topic: str) -> None:
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


def test_the_backlog_of_nothing_is_an_error(broker: Broker, topic: str) -> None:
    with pytest.raises(BrokerError, match=topic):
        broker.backlog(topic, "s")
    broker.create_topic(topic)
    with pytest.raises(BrokerError, match="'s'"):
        broker.backlog(topic, "s")


# Closing


def test_what_is_closed_says_so(broker: Broker, topic: str) -> None:
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


def test_closing_a_broker_closes_what_it_handed_out(place: Place, topic: str) -> None:
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
