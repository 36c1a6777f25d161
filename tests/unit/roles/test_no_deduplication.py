"""Scans over a broker without deduplication, which drops no duplicates and remembers no sequence ids."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Self

import pytest
from testing.waiting import eventually
from tests.unit.roles.conftest import Scan

from skymap_scanner.broker import Broker, Outgoing, Producer, open_broker
from skymap_scanner.errors import InputError
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.stop import Stop

MakeScan = Callable[..., Scan]


class Forgetful:
    """A producer of the embedded broker without deduplication."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    @property
    def last_sequence_id(self) -> int:
        return -1

    def send(self, *messages: Outgoing) -> None:
        self._producer.send(*(replace(message, sequence_id=None) for message in messages))

    def submit(self, message: Outgoing) -> Future[None]:
        return self._producer.submit(replace(message, sequence_id=None))

    def close(self) -> None:
        self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def forgetful(url: str) -> Broker:
    broker = open_broker(url)
    remembering = broker.producer
    broker.producer = lambda topic, name: Forgetful(remembering(topic, name))  # type: ignore[assignment,method-assign]
    return broker


def keys(scan: Scan, topic: str) -> Counter[str | None]:
    with open_broker(scan.url) as broker, broker.reader(topic) as reader:
        return Counter(message.key for message in iter(lambda: reader.receive(0), None))


def produce_first_level(scan: Scan) -> None:
    """Run the producer alone until the tasks of the first level are stored, then stop it."""
    stop = Stop()
    role = threading.Thread(target=produce, args=(scan.opened(scan.url), scan.topics, scan.event, scan.settings, stop))
    before = keys(scan, scan.topics.to_be_scanned).total()
    role.start()
    try:
        eventually(lambda: keys(scan, scan.topics.to_be_scanned).total(), lambda total: total == before + 36)
    finally:
        stop.request()
        role.join(30)


def test_restarted_producer_republishes_neither_plan_nor_metadata(scan: MakeScan) -> None:
    plain, one = scan("1:0 4:2", "plain"), scan("1:0 4:2", "one")
    plain.run()
    one.opened = forgetful
    for _ in range(3):
        produce_first_level(one)
    assert keys(one, one.topics.plan).total() == 2  # the scan and its first level
    one.run()
    assert (one.json, one.i3) == (plain.json, plain.i3)
    assert set(keys(one, one.topics.collected).values()) == {1}
    entries = keys(one, one.topics.plan).total()
    assert entries == keys(plain, plain.topics.plan).total()
    with open_broker(one.url) as broker:
        assert [keys(one, topic).total() for topic in broker.topics("persistent://icecube/skymap_metadata/")] == [1] * 5


def test_finished_tasks_are_not_sent_again(scan: MakeScan) -> None:
    one = scan("1:0 4:2")
    one.opened = forgetful
    one.run()
    before = keys(one, one.topics.to_be_scanned)
    for path in (*one.folder.glob("*.json"), one.folder / "scan.i3"):
        path.unlink()
    one.run()
    assert keys(one, one.topics.to_be_scanned) == before


@pytest.mark.parametrize("remembers", [True, False])
def test_concurrent_producers_follow_one_plan(scan: MakeScan, remembers: bool) -> None:
    plain, one = scan("1:0 4:3 8:4", "plain"), scan("1:0 4:3 8:4", "one", predictive=0.3)
    plain.run()
    one.opened = open_broker if remembers else forgetful
    one.run(workers=2, producers=2)
    assert (one.json, one.i3) == (plain.json, plain.i3)


def test_different_scan_of_the_same_name_leaves_the_plan(scan: MakeScan) -> None:
    one = scan("1:0")
    one.opened = forgetful
    one.run()
    before = keys(one, one.topics.plan).total()
    with one.opened(one.url) as broker, pytest.raises(InputError, match="with seeds 3, not 2"):
        produce(broker, one.topics, one.event, replace(one.settings, seeds=2), Stop())
    assert keys(one, one.topics.plan).total() == before


def test_concurrent_collectors_collect_each_pixel_once(scan: MakeScan) -> None:
    one = scan("1:0 4:2")
    one.run(collectors=3)
    assert set(keys(one, one.topics.collected).values()) == {1}
    with open_broker(one.url) as broker:
        backlog = broker.backlog(one.topics.scanned, "collector")
    assert (backlog.waiting, backlog.unacked) == (0, 0)
