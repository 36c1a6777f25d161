"""Responses, refusals and limits of the server, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from testing.waiting import eventually
from tests.unit.live.conftest import MakeScan, Serve, kinds

from skymap_scanner.live import server as module
from skymap_scanner.live.fit_log import FitLog
from skymap_scanner.scan.pixels import Pixel


class FakeFollower:
    """Has the attributes of a follower that the stream reads."""

    def __init__(self) -> None:
        self.log = FitLog()
        self.status: dict[str, Any] = {"phase": "scanning"}
        self.version = 0
        self.report: bytes | None = None
        self.ended = False


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
def test_unknown_event_ids_restart_the_stream(last: str) -> None:
    follower = FakeFollower()
    follower.log.add_pixels([Pixel(1, 0)])
    follower.ended = True
    assert kinds(streamed(follower, last.replace("{id}", follower.log.id))) == ["begin", "pixels", "status", "end"]


def test_new_log_clears_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_silent_stream_sends_keep_alive_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPDATE_INTERVAL", 0.01)
    monkeypatch.setattr(module, "ALIVE_INTERVAL", 0.05)
    assert streamed(FakeFollower(), most=3).endswith(b": alive\n\n")


def test_event_is_one_line_of_json() -> None:
    event = module.encode("status", {"text": "a\n\nevent: end\r\u2028"}, "x:1").decode()
    assert event.count("\n") == 4
    assert json.loads(event.splitlines()[2].removeprefix("data: ")) == {"text": "a\n\nevent: end\r\u2028"}


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


def test_responses_have_security_headers_and_writes_are_rejected(scan: MakeScan, serve_scans: Serve) -> None:
    server = serve_scans(scan("1:0").open, "scan")
    for path in ("/", "/scans/scan/", "/scans/other/", "/nothing", "/scans/scan/report"):
        answer = httpx.get(f"{server.url}{path}")
        assert {name: answer.headers.get(name) for name in module.HEADERS} == module.HEADERS
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


def test_streams_are_refused_to_other_sites(scan: MakeScan, serve_scans: Serve) -> None:
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
def unread(port: int, path: str) -> Iterator[socket.socket]:
    """Request a stream with the smallest buffers, and read only its first byte, which shows that it is open."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(1) == b"H"
        yield client


def test_browser_that_reads_nothing_is_disconnected(
    scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEND_TIMEOUT", 2.0)
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

        assert other() == 503
        follower.status = {"phase": "waiting"}
        eventually(other, lambda status: status == 200, within=10)


def size_left(client: socket.socket) -> int:
    """Return how many bytes can be read before the connection ends."""
    client.settimeout(60)
    size = 0
    with suppress(ConnectionResetError):
        while found := client.recv(1 << 16):
            size += len(found)
    return size


def test_report_that_is_not_read_is_discarded(
    scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SEND_TIMEOUT", 2.0)
    monkeypatch.setattr(module, "MAX_REQUESTS", 1)
    server = serve_scans(scan("1:0").open, "scan")
    follower = server.scans.find("scan")
    assert follower is not None
    follower.report = b"x" * 8_000_000
    url = f"{server.url}/scans/scan/"
    with unread(server.port, "/scans/scan/report") as client:
        assert httpx.get(url).status_code == 503
        eventually(lambda: httpx.get(url).status_code, lambda status: status == 200, within=10)
        assert size_left(client) < len(follower.report)
    assert caplog.text == ""


def test_connection_whose_pages_are_not_read_is_ended(
    scan: MakeScan, serve_scans: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Many requests at once fill the buffers; the server must not keep a page for each such browser."""
    monkeypatch.setattr(module, "SEND_TIMEOUT", 2.0)
    server = serve_scans(scan("1:0").open, "scan")
    page = httpx.get(f"{server.url}/scans/scan/").content
    with unread(server.port, "/scans/scan/") as client:
        client.settimeout(30)
        request = b"GET /scans/scan/ HTTP/1.1\r\nHost: localhost\r\n\r\n"

        def ask_on() -> None:
            for _ in range(10_000):
                client.sendall(100 * request)
                time.sleep(0.05)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask_on()
        assert httpx.get(f"{server.url}/scans/scan/").content == page
    assert caplog.text == ""


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
