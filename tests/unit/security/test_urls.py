"""Endless responses and forbidden addresses: each is one error, in bounded time and memory."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from testing.pulsar.certificates import make_certificates
from tests.unit.security.conftest import Answer, Hostile, Servers, at_most

from skymap_api.addresses import Addresses
from skymap_scanner.errors import InputError
from skymap_scanner.event.download import download
from skymap_scanner.event.download_options import Credentials, DownloadLimits

Start = Callable[[Answer], Hostile]
QUICK = DownloadLimits(size=1_000_000, idle_timeout=2, duration=0.5, attempts=2, backoff=0.01)
PATIENT = DownloadLimits(size=1_000_000, idle_timeout=5, duration=60, attempts=2, backoff=0.01)
OK = b"HTTP/1.1 200 OK\r\n"
CONTENT = b"an event"
PLAIN = OK + b"Content-Length: 8\r\n\r\n" + CONTENT
SECRET = "s3cr3t-t0ken"  # noqa: S105 - a made-up one, to look for


def fetch(url: str, limits: DownloadLimits = PATIENT, addresses: str = "any", token: str | None = None) -> bytes:
    credentials = None if token is None else Credentials(token=token)
    return download(url, credentials, addresses=Addresses.parse(addresses), limits=limits, sleep=lambda _: None)


def says(body: bytes) -> Answer:
    return lambda client: client.sendall(body)


def drips(before: bytes, piece: bytes, over: threading.Event) -> Answer:
    """Send a start, then one piece every 20 ms, without end."""

    def answer(client: socket.socket) -> None:
        client.sendall(before)
        while not over.wait(0.02):
            client.sendall(piece)

    return answer


# --- Endless responses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"", b"H"),
        (OK, b"X-Header: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\n", b"x"),
    ],
    ids=["status", "headers", "interim responses", "body", "chunks", "error body"],
)
def test_slow_server_is_abandoned_at_the_deadline(
    hostile: Start, over: threading.Event, before: bytes, piece: bytes
) -> None:
    server = hostile(drips(before, piece, over))
    began = time.monotonic()
    with pytest.raises(InputError, match=r"not finished after 0\.5 s|404|[Ii]llegal|protocol|too much"):
        fetch(server.url, QUICK)
    assert time.monotonic() - began < 30  # the server would never stop


def test_redirects_between_servers_share_one_deadline(hostile: Start, over: threading.Event) -> None:
    second = hostile(drips(OK, b"X: 1\r\n", over))
    first = hostile(says(f"HTTP/1.1 302 Found\r\nLocation: {second.url}\r\nContent-Length: 0\r\n\r\n".encode()))
    with pytest.raises(InputError, match=f"^{first.url}: not finished after 0.5 s$"):
        fetch(first.url, QUICK)


def test_endless_headers_are_abandoned_early(hostile: Start) -> None:
    server = hostile(says(OK + b"X-Header: " + b"x" * 10_000_000))
    with at_most(8), pytest.raises(InputError, match="attempts: 2"):
        fetch(server.url)


@pytest.mark.parametrize("body", [b"x" * 2_000_000, gzip.compress(bytes(2_000_000))], ids=["plain", "gzip"])
def test_body_beyond_the_limit_is_abandoned(hostile: Start, body: bytes) -> None:
    encoding = b"Content-Encoding: gzip\r\n" if body.startswith(b"\x1f") else b""
    server = hostile(says(OK + encoding + b"\r\n" + body))
    with at_most(16), pytest.raises(InputError, match="more than the 1000000 bytes allowed"):
        fetch(server.url)


def bomb(encoding: str) -> bytes:
    zeros = bytes(50_000_000)
    if encoding == "zstd":
        return zstandard.ZstdCompressor().compress(zeros)
    body = gzip.compress(zeros)
    return gzip.compress(body) if "," in encoding else body


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gzip", "more than the 1000000 bytes"),
        ("gzip, gzip", "encodes the content as 'gzip, gzip'"),
        ("zstd", "encodes the content as 'zstd'"),
        ("br", "encodes the content as 'br'"),
    ],
)
def test_decompression_bomb_does_not_fill_the_memory(hostile: Start, encoding: str, words: str) -> None:
    body = bomb(encoding)
    server = hostile(says(OK + f"Content-Encoding: {encoding}\r\n\r\n".encode() + body))
    with at_most(8), pytest.raises(InputError, match=words):
        fetch(server.url)


# --- where they lead --------------------------------------------------------------------------------------------------

#: This machine, in every way that a URL can write it.
FORMS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0.0.0.0",  # noqa: S104 - an address that reaches this machine
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
]


@pytest.mark.parametrize("host", FORMS)
def test_loopback_addresses_are_rejected_in_every_notation(hostile: Start, host: str) -> None:
    server = hostile(says(PLAIN))
    with pytest.raises(InputError, match=r"events may not be fetched from .*SKYMAP_EVENT_ADDRESSES") as raised:
        fetch(f"http://{host}:{server.port}/event", addresses="public")
    assert f"http://{host.lower()}:{server.port}/event: events may not" in str(raised.value)
    assert server.requests == []


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "10.96.0.1", "192.168.0.1", "[64:ff9b::10.96.0.1]"],
)
@pytest.mark.parametrize("port", ["", ":10250", ":6443", ":22"])
def test_cluster_metadata_and_services_are_rejected_at_any_port(host: str, port: str) -> None:
    with pytest.raises(InputError, match="events may not be fetched from"):
        fetch(f"http://{host}{port}/latest/meta-data", addresses="public")


def test_allowed_network_is_fetched_from(hostile: Start) -> None:
    server = hostile(says(PLAIN))
    assert fetch(server.url, addresses="public 127.0.0.0/8") == CONTENT
    assert fetch(f"http://localhost:{server.port}/", addresses="127.0.0.1") == CONTENT


def test_redirects_must_lead_to_allowed_addresses(hostile: Start) -> None:
    inner = hostile(says(PLAIN))
    outer = hostile(says(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:{inner.port}/secret\r\n\r\n".encode()))
    with pytest.raises(InputError, match=re.escape("events may not be fetched from 127.0.0.2")):
        fetch(outer.url, addresses="127.0.0.1")
    assert inner.requests == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/event", "gopher://127.0.0.1:1/x"])
def test_redirect_to_another_scheme_is_rejected(hostile: Start, target: str) -> None:
    server = hostile(says(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n".encode()))
    with pytest.raises(InputError, match="only http and https are fetched"):
        fetch(server.url)


def test_endless_redirects_are_abandoned(hostile: Start) -> None:
    server = hostile(says(b"HTTP/1.1 302 Found\r\nLocation: /event\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(InputError, match="more than 5 redirects"):
        fetch(server.url)
    assert len(server.requests) == 6


@pytest.mark.parametrize("encoding", [b"", b"Content-Encoding: gzip\r\n"], ids=["plain", "gzip"])
def test_body_of_a_redirect_is_not_read(hostile: Start, encoding: bytes) -> None:
    target = hostile(says(PLAIN))
    body = gzip.compress(bytes(50_000_000)) if encoding else bytes(50_000_000)
    location = f"Location: {target.url}\r\nContent-Length: {len(body)}\r\n".encode()
    server = hostile(says(b"HTTP/1.1 302 Found\r\n" + location + encoding + b"\r\n" + body))
    with at_most(8):
        assert fetch(server.url) == CONTENT


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Answer]:
    """Answer over TLS, with a certificate that downloads trust."""
    made = make_certificates(tmp_path / "certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server, made.server_key)
    context.num_tickets = 0

    def encrypt(answer: Answer) -> Answer:
        def encrypted_answer(client: socket.socket) -> None:
            with context.wrap_socket(client, server_side=True) as secured:
                secured.recv(65536)
                answer(secured)

        return encrypted_answer

    return encrypt


def test_redirects_from_https_to_http_are_rejected(servers: Servers, encrypted: Callable[[Answer], Answer]) -> None:
    plain = servers.start(says(PLAIN))
    secured = servers.start(encrypted(says(PLAIN)), reads=False)
    address = f"https://127.0.0.1:{secured.port}/event"

    def redirects(target: str) -> Answer:
        return says(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())

    assert fetch(servers.start(redirects(address)).url) == CONTENT  # from http to https
    for target in (plain.url, plain.url.replace("http:", "HTTP:")):
        first = servers.start(encrypted(redirects(target)), reads=False)
        with pytest.raises(InputError, match="redirects from https to http, which is not followed"):
            fetch(f"https://127.0.0.1:{first.port}/event", token=SECRET)
    assert plain.requests == []


def test_credentials_do_not_follow_redirects_to_another_server(hostile: Start) -> None:
    other = hostile(says(PLAIN))
    for target in (f"http://127.0.0.1:{other.port}/", f"http://u:p@127.0.0.1:{other.port}/"):
        first = hostile(says(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n".encode()))
        assert fetch(first.url, token=SECRET) == CONTENT
        assert SECRET.encode() in first.requests[0]
    assert len(other.requests) == 2
    assert [request for request in other.requests if b"uthorization" in request] == []


def answers(monkeypatch: pytest.MonkeyPatch, *lookups: list[str]) -> list[str]:
    """Resolve names as a hostile name server does, one answer after the other; return the list of queries."""
    asked: list[str] = []

    def lookup(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        if isinstance(host, str) and host.replace(".", "").isdigit():
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        found = lookups[min(len(asked), len(lookups)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def test_name_that_resolves_to_a_private_address_is_rejected(hostile: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = hostile(says(PLAIN))
    answers(monkeypatch, ["127.0.0.1"])
    with pytest.raises(InputError, match=r"from events\.example\.org \(127\.0\.0\.1\)"):
        fetch(f"http://events.example.org:{server.port}/", addresses="public")
    assert server.requests == []


def test_name_is_resolved_once_and_connected_to_the_checked_address(
    hostile: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = hostile(says(PLAIN))
    asked = answers(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])  # allowed when it is checked, then another
    assert fetch(f"http://rebind.example.org:{server.port}/", addresses="127.0.0.1") == CONTENT
    assert asked == ["rebind.example.org"]
    with pytest.raises(InputError, match=r"127\.0\.0\.2"):
        fetch(f"http://rebind.example.org:{server.port}/", addresses="127.0.0.1")


def test_only_allowed_addresses_of_a_name_are_tried(hostile: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = hostile(says(PLAIN))
    answers(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    assert fetch(f"http://both.example.org:{server.port}/", addresses="127.0.0.1") == CONTENT


def test_proxy_is_used_only_for_allowed_addresses(hostile: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = hostile(says(PLAIN))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "")
    answers(monkeypatch, [])
    assert fetch("http://no-such-name.invalid/event", addresses="public") == CONTENT  # the proxy resolves it
    assert proxy.requests[0].startswith(b"GET http://no-such-name.invalid/event HTTP/1.1\r\n")
    with pytest.raises(InputError, match=r"events may not be fetched from 169\.254\.169\.254"):
        fetch("http://169.254.169.254/latest", addresses="public")
    assert len(proxy.requests) == 1
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = hostile(says(PLAIN))
    assert fetch(server.url) == CONTENT
    assert (len(proxy.requests), len(server.requests)) == (1, 1)


# --- Malformed URLs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/event\r\nX-Injected: 1",
        "http://127.0.0.1:{port}/event%0d%0aX-Injected:%201",
        "http://127.0.0.1:{port}\r\nX-Injected: 1/event",
        "http://127.0.0.1:{port}/\x00event",
        "http://127.0.0.1:{port}/\x1b[31mevent",
    ],
)
def test_urls_cannot_inject_headers(hostile: Start, url: str) -> None:
    server = hostile(says(PLAIN))
    try:
        fetch(url.format(port=server.port))
    except InputError as error:
        assert str(error).isprintable()  # noqa: PT017 - some of them are addresses
    assert [request for request in server.requests if b"\nX-Injected" in request] == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://user:{SECRET}@127.0.0.1/", "holds a user or password"),
        (f"http://{SECRET}@127.0.0.1/", "holds a user or password"),
        ("http://127.0.0.1:99999/", "not a valid URL"),
        ("http://127.0.0.1:-1/", "not a valid URL"),
        ("http://[::1/", "not a valid URL"),
        ("http://0177.0.0.1/", "Invalid IPv4 address"),
        ("http://127.0.0.1/an event", "a blank, a line break or another character"),
        ("http:///event", "only http:// and https:// are fetched"),
        ("file:///etc/passwd", "only http:// and https:// are fetched"),
        ("http://" + "a" * 300 + ".example/", "."),
        ("http://a..example/", "."),
    ],
)
def test_invalid_url_is_one_error_without_its_secrets(url: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        fetch(url, QUICK, addresses="public")
    if "user or password" in words:
        assert SECRET not in str(raised.value)
