from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from testing.waiting import eventually
from tests.unit.roles.conftest import Scan

from skymap_scanner.broker import Broker, Consumer, Message, Outgoing, Reader, SubscriptionType, open_broker
from skymap_scanner.errors import BrokerError
from skymap_scanner.i3 import Frame, I3String
from skymap_scanner.roles.collector import collector
from skymap_scanner.roles.collector.collector import collect
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics

MakeScan = Callable[..., Scan]
SHARED, FAILOVER = SubscriptionType.SHARED, SubscriptionType.FAILOVER


@pytest.fixture
def fitted(scan: MakeScan) -> tuple[Scan, list[Outgoing]]:
    """A scan of one pixel and three seeds without its best fits, and its three fits."""
    one = scan("1:0", pixels="4")
    one.run()
    with open_broker(one.url) as broker:
        with broker.reader(one.topics.scanned) as reader:
            fits = [Outgoing(fit.payload, key=fit.key) for fit in iter(lambda: reader.receive(0), None)]
        broker.delete_topic(one.topics.scanned)
        broker.delete_topic(one.topics.collected)
        create_topics(broker, one.topics)
    assert len(fits) == 3
    return one, fits


@contextmanager
def collecting(
    scan: Scan, opened: Callable[[str], Broker] = open_broker, **options: bool
) -> Iterator[threading.Thread]:
    """A collector at work; it should be done when the block is left."""
    stop = Stop()
    thread = threading.Thread(target=collect, args=(opened(scan.url), scan.topics, stop), kwargs=options)
    thread.start()
    try:
        yield thread
        thread.join(30)
        assert not thread.is_alive()
    finally:
        stop.request()
        thread.join(30)


def publish(scan: Scan, topic: str, *messages: Outgoing) -> None:
    with open_broker(scan.url) as broker, broker.producer(topic, "test") as producer:
        producer.send(*messages)


def collected(scan: Scan) -> list[str | None]:
    with open_broker(scan.url) as broker, broker.reader(scan.topics.collected) as reader:
        return [message.key for message in iter(lambda: reader.receive(0), None)]


def backlog(scan: Scan) -> tuple[int, int]:
    with open_broker(scan.url) as broker:
        found = broker.backlog(scan.topics.scanned, "collector")
    return found.waiting, found.unacked


def test_fits_of_a_pixel_collected_elsewhere_are_acknowledged(fitted: tuple[Scan, list[Outgoing]]) -> None:
    one, fits = fitted
    publish(one, one.topics.scanned, *fits[:2])  # the other collector acknowledged the third before it crashed
    with collecting(one) as thread:
        eventually(lambda: backlog(one), lambda found: found == (0, 2), within=30)
        assert thread.is_alive()
        publish(one, one.topics.collected, fits[0])
    assert backlog(one) == (0, 0)
    assert len(collected(one)) == 1


def test_embedded_broker_rejects_key_shared_collectors(scan: MakeScan) -> None:
    one = scan("1:0")
    one.run()
    with open_broker(one.url) as broker, pytest.raises(BrokerError, match="embedded broker has no key-shared"):
        collect(broker, one.topics, Stop(), key_shared=True)


def logging_receives(url: str, log: list[str], after_first_fit: Callable[[], None] = lambda: None) -> Broker:
    """The embedded broker, which logs what is read, and each fit as ``fit``."""
    broker = open_broker(url)
    reader, consumer = broker.reader, broker.consumer

    def logged_reader(topic: str, *, create: bool = True) -> Reader:
        opened = reader(topic, create=create)
        receive = opened.receive

        def logged(timeout: float) -> Message | None:
            log.append(topic.rpartition("-")[2])
            return receive(timeout)

        opened.receive = logged  # type: ignore[method-assign]
        return opened

    def logged_consumer(topic: str, subscription: str, kind: SubscriptionType) -> Consumer:
        opened = consumer(topic, subscription, kind)
        receive = opened.receive

        def logged(timeout: float) -> Message | None:
            message = receive(timeout)
            if message is not None:
                if "fit" not in log:
                    after_first_fit()
                log.append("fit")
            return message

        opened.receive = logged  # type: ignore[method-assign]
        return opened

    broker.reader = logged_reader  # type: ignore[method-assign]
    broker.consumer = logged_consumer  # type: ignore[assignment,method-assign]
    return broker


def test_collector_reads_no_topic_with_every_batch_of_fits(
    fitted: tuple[Scan, list[Outgoing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "BATCH", 1)
    monkeypatch.setattr(collector, "READ_INTERVAL", 60.0)
    one, fits = fitted
    publish(one, one.topics.scanned, *fits[:1] * 20, *fits)
    log: list[str] = []
    with collecting(one, lambda url: logging_receives(url, log)):
        pass
    last = len(log) - log[::-1].index("fit")
    assert log[log.index("fit") : last] == ["fit", "collected", *["fit"] * 22]


def test_standby_reads_best_fits_before_its_first_fits(
    fitted: tuple[Scan, list[Outgoing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They decide whose fits make the map, and the collector before it may have stored them at its end."""
    monkeypatch.setattr(collector, "READ_INTERVAL", 60.0)
    one, (first, second, _) = fitted
    frame = Frame.from_bytes(second.payload)
    frame["SCAN_Likelihood"] = I3String("bowl 2")
    log: list[str] = []
    with collecting(one, lambda url: logging_receives(url, log, lambda: publish(one, one.topics.collected, first))):
        eventually(lambda: log.count("collected"), lambda found: found > 1, within=30)
        publish(one, one.topics.scanned, replace(second, payload=frame.to_bytes()))
    assert backlog(one) == (0, 0)
    assert len(collected(one)) == 1


def test_plan_is_read_for_the_fit_of_a_new_pixel(fitted: tuple[Scan, list[Outgoing]]) -> None:
    one, fits = fitted
    with open_broker(one.url) as broker:
        with broker.reader(one.topics.plan) as reader:
            first, *others = [Outgoing(entry.payload) for entry in iter(lambda: reader.receive(0), None)]
        broker.delete_topic(one.topics.plan)
        create_topics(broker, one.topics)
    publish(one, one.topics.plan, first)
    publish(one, one.topics.scanned, *fits)
    log: list[str] = []
    with collecting(one, lambda url: logging_receives(url, log, lambda: publish(one, one.topics.plan, *others))):
        pass
    assert "plan" in log[log.index("fit") :]
    assert collected(one) == ["1/4"]
    assert backlog(one) == (0, 0)


def sharing(url: str) -> Broker:
    """The embedded broker, whose key-shared consumers get any key, and rest when they have given something back."""
    broker = open_broker(url)
    consumer = broker.consumer

    def share(topic: str, subscription: str, kind: SubscriptionType, *, ack_timeout: float | None = None) -> Consumer:
        opened = consumer(topic, subscription, SHARED if kind == SubscriptionType.KEY_SHARED else kind)
        nack = opened.nack

        def give_back(*messages: Message) -> None:
            nack(*messages)
            time.sleep(2.0 if messages else 0.0)  # for others to take it

        opened.nack = give_back  # type: ignore[method-assign]
        return opened

    broker.consumer = share  # type: ignore[assignment,method-assign]
    return broker


def test_idle_key_shared_collector_returns_fits_to_the_broker(
    fitted: tuple[Scan, list[Outgoing]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "NACK_AFTER", 0.2)
    monkeypatch.setattr(collector, "LONGEST_NACK", 0.4)
    one, fits = fitted
    publish(one, one.topics.scanned, fits[0])
    with collecting(one, sharing, key_shared=True), open_broker(one.url) as broker:
        with broker.consumer(one.topics.scanned, "collector", SHARED) as other:
            held = eventually(lambda: other.receive(0.5))  # after the collector has returned it
            assert held is not None
            assert held.payload == fits[0].payload
        publish(one, one.topics.scanned, *fits[1:])
    assert collected(one) == ["1/4"]
    assert backlog(one) == (0, 0)
