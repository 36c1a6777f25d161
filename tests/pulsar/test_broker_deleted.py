"""A topic that is deleted while in use: every client soon raises a clear error."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest
from testing.pulsar.brokers import TIMEOUT, numbered, plain, take
from testing.pulsar.server import PulsarAddress

from skymap_scanner.broker import Access, Broker, Consumer, Reader, SubscriptionType, open_broker
from skymap_scanner.errors import BrokerError, BrokerUnavailable

GONE = "the topic has been deleted while in use"


@pytest.fixture
def delete(topic: str, broker: Broker) -> Callable[[], None]:
    """Delete the topic through another broker object than the one under test."""
    return lambda: broker.delete_topic(topic)


@pytest.fixture
def user(broker: Broker, topic: str, pulsar_server: PulsarAddress) -> Broker:
    broker.create_topic(topic, ["s"])
    return open_broker(pulsar_server.url, Access(pulsar_server.admin_url))


def receive_until_error(source: Consumer | Reader) -> BrokerError:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            assert source.receive(0.5) is None
        except BrokerError as error:
            return error
    raise AssertionError(f"no error came in {TIMEOUT:g} s")


@pytest.mark.parametrize("kind", SubscriptionType)
@pytest.mark.parametrize("used", [False, True])
def test_consumer_of_a_deleted_topic_raises(
    user: Broker, topic: str, delete: Callable[[], None], kind: SubscriptionType, *, used: bool
) -> None:
    with user, user.consumer(topic, "s", kind) as consumer:
        if used:
            user.producer(topic, "p").send(*plain(range(3)))
            messages = take(consumer, 3)
            consumer.ack(*messages)
        delete()
        error = receive_until_error(consumer)
        assert str(error) == f"{topic}: {GONE}"
        assert not isinstance(error, BrokerUnavailable)


def test_reader_of_a_deleted_topic_raises(user: Broker, topic: str, delete: Callable[[], None]) -> None:
    with user, user.reader(topic) as reader:
        user.producer(topic, "p").send(*plain(range(3)))
        take(reader, 3)
        delete()
        assert str(receive_until_error(reader)) == f"{topic}: {GONE}"


@pytest.mark.parametrize("make", [plain, numbered])
def test_producer_of_a_deleted_topic_raises(
    user: Broker, topic: str, delete: Callable[[], None], make: Callable[..., list[object]]
) -> None:
    with user, user.producer(topic, "p") as producer:
        producer.send(*make(range(3)))
        delete()
        for _ in range(2):
            with pytest.raises(BrokerError, match=f"{topic}: ") as raised:
                producer.send(*make(range(3, 5)))
            assert not isinstance(raised.value, BrokerUnavailable)
            future = producer.submit(make([3])[0])
            assert isinstance(future.exception(TIMEOUT), BrokerError)
    assert producer.closed


@pytest.mark.parametrize("make", [plain, numbered])
def test_pending_messages_of_a_deleted_topic_fail(
    user: Broker, broker: Broker, topic: str, delete: Callable[[], None], make: Callable[..., list[object]]
) -> None:
    with user, user.producer(topic, "p") as producer:
        futures = [producer.submit(message) for message in make(range(300))]
        delete()
        futures += [producer.submit(message) for message in make(range(300, 600))]
        errors = [future.exception(TIMEOUT) for future in futures]
    refused = [error for error in errors if error is not None]
    assert len(refused) >= 300  # all that were submitted after the deletion
    assert errors[-300:] == refused[-300:]
    assert all(isinstance(error, BrokerError) and topic in str(error) for error in refused)
    assert broker.topics(topic) == []


def test_deleted_topic_can_be_created_again(
    user: Broker, broker: Broker, topic: str, delete: Callable[[], None]
) -> None:
    with user, user.producer(topic, "p") as producer:
        producer.send(*numbered(range(5)))
        delete()
        with pytest.raises(BrokerError):
            producer.send(*numbered([5]))
    broker.create_topic(topic, ["s"])
    with broker.producer(topic, "p") as producer:
        assert producer.last_sequence_id == -1
        producer.send(*numbered(range(3)))
    with broker.consumer(topic, "s", SubscriptionType.SHARED) as consumer:
        assert [message.payload for message in take(consumer, 3)] == [b"0", b"1", b"2"]


def test_consumer_of_a_deleted_subscription_raises(user: Broker, topic: str, pulsar_server: PulsarAddress) -> None:
    with user, user.producer(topic, "p") as producer, user.consumer(topic, "s", SubscriptionType.SHARED) as consumer:
        producer.send(*plain(range(3)))
        consumer.ack(*take(consumer, 2))
        path = topic.replace("://", "/")
        url = f"{pulsar_server.admin_url}/admin/v2/{path}/subscription/s?force=true"
        httpx.delete(url, timeout=30).raise_for_status()
        # The client joins again and starts from the beginning: a receiver tolerates duplicates.
        assert sorted(message.payload for message in take(consumer, 3)) == [b"0", b"1", b"2"]
