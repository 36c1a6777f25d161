"""The list of the scans on a broker, and which of them the server follows."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import httpx
import pytest
from testing.waiting import consistently, eventually
from tests.unit.live.conftest import MakeScan, Serve, kinds, progress
from tests.unit.roles.conftest import Scan

from skymap_api.names import ScanTopics, TopicBases
from skymap_api.progress import encode_progress
from skymap_scanner.broker import Broker, Outgoing
from skymap_scanner.errors import SkymapError
from skymap_scanner.live import followers
from skymap_scanner.live import scans as module
from skymap_scanner.live.scans import ListedScan, Scans


def report_progress(one: Scan, *names: str) -> None:
    """Send a snapshot of each scan, as its saver would."""
    with one.open() as broker:
        for name in names:
            with broker.producer(ScanTopics.of(name).progress, "p") as producer:
                producer.send(Outgoing(encode_progress(progress(name))))


def test_all_scans_are_listed_and_shown(scan: MakeScan, serve_scans: Serve) -> None:
    one = scan("1:0")
    one.run()
    server = serve_scans(one.open)
    listed = httpx.get(server.url).text
    assert '<a href="scans/scan/">scan</a>' in listed
    assert "<td>done</td><td>12</td><td>12</td>" in listed
    with httpx.stream("GET", f"{server.url}/scans/scan/events", timeout=60) as stream:
        assert "".join(stream.iter_text()).endswith('data: {"report":true}\n\n')
    assert httpx.get(f"{server.url}/scans/scan/report").status_code == 200
    assert httpx.get(f"{server.url}/scans/none/").status_code == 404
    with one.open() as broker:
        assert not [topic for topic in broker.topics() if "none" in topic]


def test_followers_are_bounded_and_idle_ones_make_room(
    scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "MAX_FOLLOWERS", 1)
    one = scan("1:0")
    report_progress(one, "a", "b")
    server = serve_scans(one.open)
    with httpx.stream("GET", f"{server.url}/scans/a/events") as stream:
        assert stream.status_code == 200
        refused = httpx.get(f"{server.url}/scans/b/")
        assert (refused.status_code, "close the page of another" in refused.text) == (503, True)
    eventually(lambda: httpx.get(f"{server.url}/scans/b/").status_code, lambda status: status == 200, within=10)


def test_followers_without_a_page_end(scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "IDLE_TIME", 1.0)
    one = scan("1:0")
    report_progress(one, "a")
    server = serve_scans(one.open)

    def following() -> bool:
        return "follow a" in {thread.name for thread in threading.enumerate()}

    with httpx.stream("GET", f"{server.url}/scans/a/events") as stream:
        assert stream.status_code == 200
        consistently(following, throughout=2)
    eventually(lambda: not following(), within=10)


class SlowBroker:
    """Opens a broker. Once ``slow`` is set, it waits for ``open`` first, and sets ``waiting``."""

    def __init__(self, one: Scan) -> None:
        self._one = one
        self.slow, self.open, self.waiting = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> Broker:
        if self.slow.is_set():
            self.waiting.set()
            assert self.open.wait(30)
        return self._one.open()


def test_slow_listing_delays_no_other_answer(
    scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIST_INTERVAL", 0)
    one = scan("1:0")
    one.run()
    broker = SlowBroker(one)
    server = serve_scans(broker)
    with httpx.stream("GET", f"{server.url}/scans/scan/events", timeout=60) as stream:
        stream.read()
    broker.slow.set()
    listing = threading.Thread(target=httpx.get, args=(server.url,), kwargs={"timeout": 60})
    listing.start()
    try:
        assert broker.waiting.wait(30)  # otherwise a request below might do the listing
        for _ in range(10):
            assert "scans/scan/" in httpx.get(server.url, timeout=20).text
        with httpx.stream("GET", f"{server.url}/scans/scan/events", timeout=20) as stream:
            assert kinds(stream.read())[-1] == "end"
    finally:
        broker.open.set()
        listing.join(30)


def test_progress_is_read_in_turn_where_time_is_short(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scan("1:0")
    names = {f"scan-{number}" for number in range(4)}
    report_progress(one, *names)
    scans = Scans(one.open, TopicBases())
    monkeypatch.setattr(module, "LIST_INTERVAL", 0)
    monkeypatch.setattr(module, "LIST_TIME", 1.0)
    clock = iter(range(10_000))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))  # each call takes a second
    read = [{listed.name for listed in scans.listed() if listed.progress} for _ in range(6)]
    assert len(read[0]) < 4
    assert read[-1] == names


def test_scan_deleted_while_it_is_listed_stays_deleted(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scan("1:0")
    topic = ScanTopics.of("gone").progress
    monkeypatch.setattr(module, "find_scans", lambda *_: {"gone": frozenset({topic})})
    scans = Scans(one.open, TopicBases())
    assert scans.listed() == [ListedScan("gone", None)]
    with one.open() as broker:
        assert broker.topics() == []


def test_follower_waiting_for_its_broker_delays_no_page(
    scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIST_INTERVAL", 1000)
    one = scan("1:0")
    report_progress(one, "a")
    broker = SlowBroker(one)
    server = serve_scans(broker)
    assert ">a</a>" in httpx.get(server.url).text
    broker.slow.set()
    try:
        assert httpx.get(f"{server.url}/scans/a/", timeout=20).status_code == 200
        assert broker.waiting.wait(30)
        for _ in range(3):
            with httpx.stream("GET", f"{server.url}/scans/a/events", timeout=20) as stream:
                assert next(stream.iter_text()).startswith("id: ")
    finally:
        broker.open.set()


def test_unreachable_broker_is_reported_and_tried_once(serve_scans: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIST_INTERVAL", 1000)
    attempts = []

    def fail() -> None:
        attempts.append(1)
        raise SkymapError("no broker\x1b[2J")

    server = serve_scans(fail)
    for _ in range(3):
        answer = httpx.get(server.url)
        assert (answer.status_code, answer.text) == (502, "The broker cannot be read: no broker\\x1b[2J\n")
    assert len(attempts) == 1  # not one a browser: each may take the broker's timeouts
