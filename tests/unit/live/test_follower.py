"""A follower shows what the saver writes, and leaves no trace on the broker."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import islice
from typing import Any, Self

import pytest
from testing.waiting import consistently, eventually
from tests.unit.live.conftest import MakeScan
from tests.unit.roles.conftest import Scan

from skymap_api.names import COLLECTOR_SUBSCRIPTION, WORKERS_SUBSCRIPTION
from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.broker.protocol import arrived
from skymap_scanner.errors import BrokerUnavailable
from skymap_scanner.live import follower as module
from skymap_scanner.live import status as status_module
from skymap_scanner.live.fit_log import FitLog
from skymap_scanner.live.follower import Follower, Pace
from skymap_scanner.roles.work import SeedWork


def followed(scan: Scan, *, until: str = "done", url: str = "") -> Follower:
    follower = Follower(lambda: open_broker(url or scan.url), "scan", scan.topics)
    follower.start()
    try:
        eventually(lambda: follower.status, lambda status: status["phase"] == until, within=60)
    finally:
        follower.stop()
    return follower


def without_files(report: bytes) -> str:
    return re.sub(r"<h2>Files</h2>.*?</ul>", "", report.decode(), flags=re.DOTALL)


def messages(scan: Scan) -> dict[str, int]:
    with scan.open() as broker:
        return {topic: sum(1 for _ in arrived(broker.reader(topic), 0)) for topic in broker.topics()}


def test_report_equals_that_of_the_saver(scan: MakeScan) -> None:
    one = scan("1:0 4:2")
    one.saver = replace(one.saver, formats=("json", "report"))
    one.run()
    (written,) = one.folder.glob("*.report.html")
    report = followed(one).report
    assert report is not None
    assert without_files(report).split() == without_files(written.read_bytes()).split()


def test_log_and_status_hold_the_whole_scan(scan: MakeScan) -> None:
    one = scan("1:0 4:2")
    one.run()
    follower = followed(one)
    result = json.loads(one.json)
    expected = {
        (int(level.removeprefix("nside-")), row[0]): row[1] for level, rows in result.items() for row in rows["data"]
    }
    batches = follower.log.since(0, most=10**6)
    pixels = {
        (level["nside"], index)
        for batch in batches
        if batch.kind == "pixels"
        for level in batch.data["levels"]
        for index in level["index"]
    }
    fits = {row[:2]: row[2] for batch in batches if batch.kind == "fits" for row in batch.data["fits"]}
    assert pixels == fits.keys() == expected.keys()
    assert all(fits[pixel] == pytest.approx(llh, abs=2e-3) for pixel, llh in expected.items())
    status = follower.status
    assert [(level["nside"], level["done"]) for level in status["levels"]] == [(1, 12), (4, 32)]
    assert status["fits"]["done"] == status["fits"]["planned"] == sum(w["fits"] for w in status["workers"]) == 132
    assert status["best"]["nside"] == 4
    assert status["contours"]
    json.dumps(status, allow_nan=False)


def test_follower_changes_nothing_on_the_broker(scan: MakeScan) -> None:
    one = scan("1:0")
    one.run()

    def state() -> Any:
        with one.open() as broker:
            backlogs = [
                broker.backlog(one.topics.to_be_scanned, WORKERS_SUBSCRIPTION),
                broker.backlog(one.topics.scanned, COLLECTOR_SUBSCRIPTION),
            ]
        return messages(one), backlogs

    before = state()
    followed(one)
    assert state() == before


def test_follower_waits_for_a_scan_without_creating_topics(scan: MakeScan) -> None:
    one = scan("1:0")
    follower = Follower(one.open, "scan", one.topics)
    follower.start()
    try:
        with one.open() as broker:
            consistently(broker.topics, lambda topics: topics == [], throughout=1)
        assert follower.status["phase"] == "waiting"
        one.run()
        eventually(lambda: follower.status["phase"], lambda phase: phase == "done", within=60)
    finally:
        follower.stop()


@pytest.mark.parametrize(("fits", "contours"), [(8, False), (30, True)])
def test_contours_come_once_the_first_level_is_covered(
    scan: MakeScan, monkeypatch: pytest.MonkeyPatch, fits: int, contours: bool
) -> None:
    one = scan("1:0 4:2", seeds=1)
    one.run()
    monkeypatch.setattr(status_module, "WHOLE_SKY", 0.0)  # so that no region is too small
    url = f"sqlite:///{one.folder / 'part.sqlite'}"
    with one.open() as source, open_broker(url) as target:
        for topic in source.topics():
            most = fits if topic == one.topics.collected else 10**6
            with source.reader(topic) as reader, target.producer(topic, "copy") as producer:
                for message in islice(arrived(reader, 0), most):
                    producer.send(Outgoing(message.payload, key=message.key, properties=message.properties))
    follower = Follower(lambda: open_broker(url), "scan", one.topics)
    follower.start()
    try:
        status = eventually(lambda: follower.status, lambda found: found.get("best"), within=30)
        assert status["phase"] == "scanning"
        assert bool(status["contours"]) == contours
        assert len(next(batch for batch in follower.log.since(0) if batch.kind == "fits").data["fits"]) == fits
    finally:
        follower.stop()


@pytest.mark.parametrize(
    ("limit", "value", "entries"),
    [("FitLog", lambda: FitLog(most=20), 20), ("MAX_SPOOL", 10_000, 60)],
    ids=["pixels", "bytes"],
)
def test_scan_beyond_a_limit_shows_only_its_progress(
    scan: MakeScan, monkeypatch: pytest.MonkeyPatch, limit: str, value: Any, entries: int
) -> None:
    one = scan("1:0 4:2")
    one.run()
    monkeypatch.setattr(module, limit, value)
    follower = followed(one)
    assert follower.report is None
    assert "too large for a page" in follower.status["note"]
    assert follower.status["fits"]["done"] == 132
    assert len(follower.log) <= entries


@pytest.mark.parametrize(("pixels", "resolved"), [(300, True), (5, False)])
def test_regions_smaller_than_a_pixel_are_not_shown(
    scan: MakeScan, monkeypatch: pytest.MonkeyPatch, pixels: int, resolved: bool
) -> None:
    one = scan("1:0 4:2")
    one.run()
    monkeypatch.setattr(status_module, "pixel_count", lambda _: pixels)
    status = followed(one).status
    areas = [contour["area"] for contour in status["contours"]]
    assert (areas != [], len(status["regions"])) == (resolved, len(areas))
    assert all(area >= status_module.WHOLE_SKY / pixels for area in areas)


class Flaky:
    """Wraps a broker or a reader; every third receive raises BrokerUnavailable."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def reader(self, topic: str, *, create: bool = True) -> Flaky:
        return Flaky(self._inner.reader(topic, create=create))

    def receive(self, timeout: float) -> Any:
        self._calls += 1
        if self._calls % 3 == 0:
            raise BrokerUnavailable("the broker is unavailable")
        return self._inner.receive(timeout)


def test_follower_loses_nothing_while_the_broker_is_unavailable(
    scan: MakeScan, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scan("1:0 4:2", seeds=1)
    one.run()
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    expected, troubles = followed(one), []
    follower = Follower(lambda: Flaky(one.open()), "scan", one.topics)  # type: ignore[arg-type, return-value]
    original = follower._publish
    follower._publish = lambda **changes: (troubles.append(changes.get("trouble")), original(**changes))  # type: ignore[method-assign, func-returns-value]
    follower.start()
    try:
        eventually(lambda: follower.status["phase"], lambda phase: phase == "done", within=60)
    finally:
        follower.stop()
    assert "the broker is unavailable" in troubles
    assert follower.status.get("trouble") is None
    assert follower.report == expected.report
    assert {
        row[:2] for batch in follower.log.since(0, 10**6) if batch.kind == "fits" for row in batch.data["fits"]
    } == {row[:2] for batch in expected.log.since(0, 10**6) if batch.kind == "fits" for row in batch.data["fits"]}


def test_deleted_topics_end_the_follower_with_a_reason(scan: MakeScan) -> None:
    one = scan("1:0")
    one.run()
    with one.open() as broker:
        for topic in broker.topics(one.topics.metadata):
            broker.delete_topic(topic)
    follower = followed(one, until="failed")
    assert "was it deleted?" in follower.status["trouble"]
    assert follower.report is None


def test_invalid_messages_do_not_end_the_follower(scan: MakeScan) -> None:
    one = scan("1:0")
    one.run()
    with one.open() as broker:
        for topic in (one.topics.collected, one.topics.progress):
            with broker.producer(topic, "hostile") as producer:
                producer.send(Outgoing(b"\xff" * 1000, key="</script>", properties={"work": "[[["}))
    assert followed(one).report is not None


@pytest.mark.parametrize(("cost", "pause"), [(0.0, 1.0), (0.02, 1.0), (0.2, 8.0), (2.0, 10.0), (5.0, 15.0)])
def test_pace_limits_the_share_of_a_core(cost: float, pause: float) -> None:
    pace = Pace(1.0)
    assert pace.due(0.0)
    pace.done(100.0, cost)
    assert (pace.due(100 + pause - 0.01), pace.due(100 + pause)) == (False, True)


def test_workers_are_bounded_and_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "MAX_WORKERS", 2)
    workers = status_module.Workers()
    for name, attempt, llh in (("a\x1b[2J", 1, 1.0), ("a\x1b[2J", 2, None), ("b", 1, 1.0), ("c", 1, 1.0)):
        workers.add([SeedWork(worker=name, began=1.0, ended=2.0, attempt=attempt, seed=0, llh=llh)])
    assert workers.listed() == [
        {"name": "a\\x1b[2J", "fits": 2, "failed": 1, "repeated": 1, "last": 2.0},
        {"name": "b", "fits": 1, "failed": 0, "repeated": 0, "last": 2.0},
    ]
