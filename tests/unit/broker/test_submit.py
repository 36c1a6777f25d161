"""The contract of a broker, continued: `submit` and `prefetch`."""

from __future__ import annotations

import pytest

from skymap_scanner.broker import Broker, Outgoing, SubscriptionType
from skymap_scanner.errors import BrokerError

PATIENCE = 20.0


def received(broker: Broker, topic: str, count: int) -> list[tuple[bytes, str | None, dict[str, str]]]:
    messages = []
    with broker.reader(topic) as reader:
        for _ in range(count):
            message = reader.receive(PATIENCE)
            assert message is not None, f"only {len(messages)} of {count} messages came"
            messages.append((message.payload, message.key, dict(message.properties)))
        assert reader.receive(0.3) is None
    return messages


def test_submitted_message_is_stored_when_its_future_is_done(broker: Broker, topic: str) -> None:
    with broker.producer(topic, "p") as producer:
        future = producer.submit(Outgoing(b"one", key="8/7", properties={"colour": "blue"}))
        assert future.result(PATIENCE) is None
        assert received(broker, topic, 1) == [(b"one", "8/7", {"colour": "blue"})]


def test_submitted_and_sent_messages_keep_their_order(broker: Broker, topic: str) -> None:
    with broker.producer(topic, "p") as producer:
        futures = [producer.submit(Outgoing(f"{number}".encode())) for number in range(20)]
        producer.send(Outgoing(b"20"), Outgoing(b"21"))
        futures.append(producer.submit(Outgoing(b"22")))
        for future in futures:
            future.result(PATIENCE)
    assert [int(payload) for payload, _, _ in received(broker, topic, 23)] == list(range(23))


def test_closing_waits_for_pending_messages(broker: Broker, topic: str) -> None:
    with broker.producer(topic, "p") as producer:
        futures = [producer.submit(Outgoing(b"x" * 10_000)) for _ in range(50)]
    assert all(future.done() and future.exception() is None for future in futures)
    assert len(received(broker, topic, 50)) == 50


def test_future_cannot_be_cancelled(broker: Broker, topic: str) -> None:
    with broker.producer(topic, "p") as producer:
        future = producer.submit(Outgoing(b"one"))
        assert not future.cancel()
        future.result(PATIENCE)
    assert len(received(broker, topic, 1)) == 1


def test_submitted_duplicate_is_dropped_without_an_error(broker: Broker, topic: str) -> None:
    with broker.producer(topic, "p") as producer:
        for number in (0, 1, 1, 0, 2):
            producer.submit(Outgoing(f"{number}".encode(), sequence_id=number)).result(PATIENCE)
        assert producer.last_sequence_id == 2
    assert [payload for payload, _, _ in received(broker, topic, 3)] == [b"0", b"1", b"2"]


def test_submitting_to_a_deleted_topic_fails_as_sending_does(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    producer.submit(Outgoing(b"one")).result(PATIENCE)
    broker.delete_topic(topic)
    with pytest.raises(BrokerError):
        producer.submit(Outgoing(b"two")).result(PATIENCE)


def test_submitting_to_a_closed_producer_fails(broker: Broker, topic: str) -> None:
    producer = broker.producer(topic, "p")
    producer.close()
    with pytest.raises(BrokerError):
        producer.submit(Outgoing(b"two")).result(PATIENCE)


def test_consumer_holds_one_message_after_an_empty_receive(broker: Broker, topic: str) -> None:
    one = broker.consumer(topic, "s", SubscriptionType.SHARED)
    assert one.receive(0.2) is None  # its request stays open
    with broker.producer(topic, "p") as producer:
        producer.send(Outgoing(b"0"), Outgoing(b"1"), Outgoing(b"2"))
    other = broker.consumer(topic, "s", SubscriptionType.SHARED)
    in_hand = one.receive(PATIENCE)
    assert in_hand is not None
    others = [message.payload for message in iter(lambda: other.receive(1.0), None)]
    assert sorted([in_hand.payload, *others]) == [b"0", b"1", b"2"]


def test_prefetch_is_limited(broker: Broker, topic: str) -> None:
    with broker.producer(topic, "p") as producer:
        producer.send(*(Outgoing(f"{number}".encode()) for number in range(20)))
    with broker.consumer(topic, "s", SubscriptionType.SHARED, prefetch=4) as one:
        first = one.receive(PATIENCE)
        assert first is not None
        one.ack(first)
        other = broker.consumer(topic, "s", SubscriptionType.SHARED)
        others = [message.payload for message in iter(lambda: other.receive(1.0), None)]
        assert 20 - 1 - 2 * 4 <= len(others) <= 19  # Pulsar may send one queue of messages more
    rest = [message.payload for message in iter(lambda: other.receive(2.0), None)]
    assert sorted([first.payload, *others, *rest]) == sorted(f"{number}".encode() for number in range(20))
