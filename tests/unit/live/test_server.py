"""What the server answers, refuses and bounds, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from testing.waiting import consistently, eventually
from tests.unit.live.conftest import Serve
from tests.unit.roles.conftest import Scan

from skymap_api.names import ScanTopics, TopicBases
from skymap_api.progress import FitCounts, Progress, ProgressPhase, encode_progress
from skymap_scanner.broker import Broker, Outgoing
from skymap_scanner.live import scans as scans_module
from skymap_scanner.live import server as module
from skymap_scanner.live.fit_log import FitLog
from skymap_scanner.live.pages import live_html, scans_html
from skymap_scanner.live.scans import ListedScan, Scans
from skymap_scanner.scan.pixels import Pixel

MakeScan = Callable[..., Scan]


def progress(name: str, obstacle: str | None = None) -> Progress:
    counts = FitCounts(done=1, started=2, planned=3)
    return Progress(
        name=name, phase=ProgressPhase.SCANNING, levels=(), fits=counts, rate=1.0, eta=2.0, elapsed=3.0, best=None,
        obstacle=obstacle,
    )  # fmt: skip


class FakeFollower:
    """What the stream reads of a follower."""

    def __init__(self) -> None:
        self.log = FitLog()
        self.status: dict[str, Any] = {"phase": "scanning"}
        self.version = 0
        self.report: bytes | None = None
        self.ended = False


def kinds(chunk: bytes) -> list[str]:
    return re.findall(r"^event: (\w+)$", chunk.decode(), re.MULTILINE)


def streamed(follower: FakeFollower, last: str = "", most: int = 10**6) -> bytes:
    """Return the first ``most`` events of a stream, or all until it ends."""

    async def read() -> bytes:
        found = b""
        stream = module.events(follower, last)  # type: ignore[arg-type]
        async for one in stream:
            found += one
            if found.count(b"\n\n") >= most:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        return found

    return asyncio.run(read())


def test_stream_has_everything_and_ends_with_the_report() -> None:
    follower = FakeFollower()
    follower.log.add_pixels([Pixel(1, 0)])
    follower.ended, follower.report = True, b"<html>"
    found = streamed(follower)
    assert kinds(found) == ["begin", "pixels", "status", "end"]
    assert f"id: {follower.log.id}:1\n".encode() in found
    assert found.endswith(b'data: {"report":true}\n\n')


def test_stream_continues_after_the_last_event() -> None:
    follower = FakeFollower()
    follower.log.add_pixels([Pixel(1, 0), Pixel(1, 1)])
    follower.ended = True
    found = streamed(follower, f"{follower.log.id}:1")
    assert kinds(found) == ["pixels", "status", "end"]
    assert b'"index":[1]' in found


@pytest.mark.parametrize("last", ["", "other:1", "{id}:-1", "{id}:x", "{id}:²", "{id}", ":1", "{id}:99999999999999999"])
def test_unknown_places_begin_at_the_start(last: str) -> None:
    follower = FakeFollower()
    follower.log.add_pixels([Pixel(1, 0)])
    follower.ended = True
    assert kinds(streamed(follower, last.replace("{id}", follower.log.id))) == ["begin", "pixels", "status", "end"]


def test_follower_that_begins_anew_clears_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPDATE_INTERVAL", 0.01)
    follower = FakeFollower()
    follower.log.add_pixels([Pixel(1, 0)])

    async def read() -> list[str]:
        found = []
        async for one in module.events(follower):  # type: ignore[arg-type]
            found += kinds(one)
            if found == ["begin", "pixels", "status"]:
                follower.log, follower.ended = FitLog(), True
        return found

    assert asyncio.run(read()) == ["begin", "pixels", "status", "begin", "end"]


def test_silent_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPDATE_INTERVAL", 0.01)
    monkeypatch.setattr(module, "ALIVE_INTERVAL", 0.05)
    assert streamed(FakeFollower(), most=3).endswith(b": alive\n\n")


def test_page_follows_the_scan_and_becomes_its_report(scan: MakeScan, serve_scans: Serve) -> None:
    one = scan("1:0 4:2")
    server = serve_scans(one.open, "scan")
    first = httpx.get(server.url, follow_redirects=True)
    assert str(first.url) == f"{server.url}/scans/scan/"
    assert httpx.get(f"{first.url}report").headers["Location"] == "/scans/scan/"
    one.run()
    with httpx.stream("GET", f"{first.url}events", timeout=60) as stream:
        text = "".join(stream.iter_text())
    assert kinds(text.encode())[-1] == "end"
    report = httpx.get(f"{first.url}report")
    assert b'id="card"' in report.content
    assert report.headers["Content-Type"] == "text/html; charset=utf-8"


def test_every_answer_has_the_headers_and_no_method_writes(scan: MakeScan, serve_scans: Serve) -> None:
    server = serve_scans(scan("1:0").open, "scan")
    for path in ("/", "/scans/scan/", "/scans/other/", "/nothing", "/scans/scan/report"):
        answer = httpx.get(f"{server.url}{path}")
        assert module.HEADERS.items() <= answer.headers.items() or answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert httpx.request(method, f"{server.url}/scans/scan/").status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("[::1]:9", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@localhost.evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_other_host_names_are_refused(scan: MakeScan, serve_scans: Serve, host: str, status: int) -> None:
    server = serve_scans(scan("1:0").open, "scan")
    for path in ("", "events"):
        with httpx.stream("GET", f"{server.url}/scans/scan/{path}", headers={"Host": host}) as answer:
            assert answer.status_code == status


def test_updates_are_for_the_page_alone(scan: MakeScan, serve_scans: Serve) -> None:
    server = serve_scans(scan("1:0").open, "scan")
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        headers = {"Sec-Fetch-Site": site}
        with httpx.stream("GET", f"{server.url}/scans/scan/events", headers=headers) as answer:
            assert answer.status_code == status


def test_streams_are_bounded(scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS", 2)
    server = serve_scans(scan("1:0").open, "scan")
    url = f"{server.url}/scans/scan/events"
    with httpx.stream("GET", url) as first:
        with httpx.stream("GET", url) as second:
            assert (first.status_code, second.status_code, httpx.get(url).status_code) == (200, 200, 503)

        def again() -> int:
            with httpx.stream("GET", url) as third:
                return third.status_code

        eventually(again, lambda status: status == 200, within=10)


@contextmanager
def unread(port: int, path: str) -> Any:
    """Ask for a stream with the smallest buffers, and read nothing of it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield client


def test_browser_that_reads_nothing_is_disconnected(
    scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEND_TIMEOUT", 0.3)
    monkeypatch.setattr(module, "MAX_STREAMS", 1)
    one = scan("1:0")
    server = serve_scans(one.open, "scan")
    follower = server.scans.find("scan")
    assert follower is not None
    follower.status = {"phase": "waiting", "note": "x" * 8_000_000}
    url = f"{server.url}/scans/scan/events"
    with unread(server.port, "/scans/scan/events"):

        def other() -> int:
            with httpx.stream("GET", url) as answer:
                return answer.status_code

        eventually(other, lambda status: status == 503, within=10)
        follower.status = {"phase": "waiting"}
        eventually(other, lambda status: status == 200, within=10)


def test_server_ends_once_open_pages_have_the_report(scan: MakeScan, serve_scans: Serve) -> None:
    one = scan("1:0")
    server = serve_scans(one.open, "scan")
    url = f"{server.url}/scans/scan"
    with httpx.stream("GET", f"{url}/events", timeout=60) as stream:
        one.run()
        server.scan_ended.set()
        assert "".join(stream.iter_text()).endswith('data: {"report":true}\n\n')
    assert server.thread.is_alive()
    assert httpx.get(f"{url}/report").status_code == 200
    server.thread.join(10)
    assert not server.thread.is_alive()


def test_server_without_pages_ends_at_once(scan: MakeScan, serve_scans: Serve) -> None:
    server = serve_scans(scan("1:0").open, "scan")
    server.scan_ended.set()
    server.thread.join(5)
    assert not server.thread.is_alive()


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
    monkeypatch.setattr(scans_module, "MAX_FOLLOWERS", 1)
    one = scan("1:0")
    with one.open() as broker:
        for name in ("a", "b"):
            with broker.producer(ScanTopics.of(name).progress, "p") as producer:
                producer.send(Outgoing(encode_progress(progress(name))))
    server = serve_scans(one.open)
    with httpx.stream("GET", f"{server.url}/scans/a/events") as stream:
        assert stream.status_code == 200
        refused = httpx.get(f"{server.url}/scans/b/")
        assert (refused.status_code, "close the page of another" in refused.text) == (503, True)
    eventually(lambda: httpx.get(f"{server.url}/scans/b/").status_code, lambda status: status == 200, within=10)


def test_followers_without_a_page_end(scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans_module, "IDLE_TIME", 0.3)
    one = scan("1:0")
    with one.open() as broker, broker.producer(ScanTopics.of("a").progress, "p") as producer:
        producer.send(Outgoing(encode_progress(progress("a"))))
    server = serve_scans(one.open)

    def following() -> bool:
        return "follow a" in {thread.name for thread in threading.enumerate()}

    with httpx.stream("GET", f"{server.url}/scans/a/events") as stream:
        assert stream.status_code == 200
        consistently(following, throughout=1)
    eventually(lambda: not following(), within=10)


class SlowBroker:
    """Opens a broker, after ``open`` is set if ``slow`` is; ``waiting`` is set where somebody waits for that."""

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
    monkeypatch.setattr(scans_module, "LIST_INTERVAL", 0)
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
        assert broker.waiting.wait(30)  # else one of the requests below might be what lists
        for _ in range(10):
            assert "scans/scan/" in httpx.get(server.url, timeout=20).text
        with httpx.stream("GET", f"{server.url}/scans/scan/events", timeout=20) as stream:
            assert kinds(stream.read())[-1] == "end"
    finally:
        broker.open.set()
        listing.join(30)


def test_progress_of_many_scans_is_read_in_turn(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scan("1:0")
    with one.open() as broker:
        for number in range(4):
            name = f"scan-{number}"
            with broker.producer(ScanTopics.of(name).progress, "p") as producer:
                producer.send(Outgoing(encode_progress(progress(name))))
    scans = Scans(one.open, TopicBases())
    monkeypatch.setattr(scans_module, "LIST_INTERVAL", 0)
    monkeypatch.setattr(scans_module, "LIST_TIME", 1.0)
    clock = iter(range(10_000))
    monkeypatch.setattr(scans_module.time, "monotonic", lambda: next(clock))  # each look takes a second
    read = [{listed.name for listed in scans.listed() if listed.progress} for _ in range(6)]
    assert len(read[0]) < 4
    assert read[-1] == {f"scan-{number}" for number in range(4)}


def test_scan_deleted_while_it_is_listed_stays_deleted(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scan("1:0")
    topic = ScanTopics.of("gone").progress
    monkeypatch.setattr(scans_module, "find_scans", lambda *_: {"gone": frozenset({topic})})
    scans = Scans(one.open, TopicBases())
    assert scans.listed() == [ListedScan("gone", None)]
    with one.open() as broker:
        assert broker.topics() == []


def test_broker_that_does_not_answer_delays_no_open_page(scan: MakeScan, serve_scans: Serve) -> None:
    one, answer = scan("1:0"), threading.Event()

    def open_broker() -> Broker:
        if opened:
            answer.wait(30)
        opened.append(1)
        return one.open()

    opened: list[int] = []
    with one.open() as broker, broker.producer(ScanTopics.of("a").progress, "p") as producer:
        producer.send(Outgoing(encode_progress(progress("a"))))
    server = serve_scans(open_broker)
    assert httpx.get(f"{server.url}/scans/a/").status_code == 200  # lists once; its follower waits for the broker
    with ThreadPoolExecutor() as pool:
        for _ in range(20):
            pool.submit(httpx.get, server.url, timeout=60)  # lists that wait
        try:
            for _ in range(3):
                with httpx.stream("GET", f"{server.url}/scans/a/events", timeout=5) as stream:
                    assert next(stream.iter_text()).startswith("id: ")
        finally:
            answer.set()


def test_unreachable_broker_is_an_answer(serve_scans: Serve) -> None:
    attempts = []

    def fail() -> None:
        attempts.append(1)
        raise module.SkymapError("no broker\x1b[2J")

    server = serve_scans(fail)
    for _ in range(3):
        answer = httpx.get(server.url)
        assert (answer.status_code, answer.text) == (502, "The broker cannot be read: no broker\\x1b[2J\n")
    assert len(attempts) == 1  # not one a browser: each may take the broker's timeouts


def test_hostile_texts_stay_text_in_the_pages() -> None:
    hostile = "<script>alert(1)</script>"
    page = scans_html([ListedScan("a", progress("a", hostile))]).decode()
    assert hostile not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert hostile not in live_html(hostile, others=True).decode()


def test_policies_allow_requests_to_the_server_alone() -> None:
    for page in (live_html("a", others=False), scans_html([])):
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page.decode())
        assert policy.startswith("default-src &#39;none&#39;; ")
        assert policy.endswith("connect-src &#39;self&#39;")
        assert "unsafe" not in policy
        assert not re.findall(rb"innerHTML|eval\(|new Function|insertAdjacentHTML|https?://(?!www.w3.org)", page)


def test_event_is_one_line_of_json() -> None:
    event = module.encode("status", {"text": "a\n\nevent: end\r\u2028"}, "x:1").decode()
    assert event.count("\n") == 4
    assert json.loads(event.splitlines()[2].removeprefix("data: ")) == {"text": "a\n\nevent: end\r\u2028"}
