"""Hostile servers at the address of Pulsar's admin interface, for the client of the operator and that of the scanner.

Each is one error in bounded time and memory, which repeats nothing of the server, and no other server is asked.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.security.conftest import Answer, Hostile, at_most
from tests.unit.security.test_urls import OK, drips, says

from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable
from skymap_operator.pulsar.admin import PulsarAdmin as OperatorsAdmin
from skymap_operator.pulsar.bounded_http import FOREIGN
from skymap_scanner.broker import Access
from skymap_scanner.broker.pulsar import admin as scanners
from skymap_scanner.errors import BrokerError, BrokerUnavailable

Start = Callable[[Answer], Hostile]
#: Asks the server at a URL to delete a topic, which reads its partitions first, within a time (s).
Delete = Callable[..., None]

NAMESPACE = "persistent://tenant/skymap"
TOPIC = f"{NAMESPACE}/scan-plan"
PATH = "/admin/v2/persistent/tenant/skymap/scan-plan"
ERRORS = (PulsarAdminError, BrokerError)
UNAVAILABLE = (PulsarUnavailable, BrokerUnavailable)


def host(server: Hostile) -> str:
    return f"http://127.0.0.1:{server.port}"


def by_the_operator(url: str, seconds: float = 60.0) -> None:
    async def delete() -> None:
        async with OperatorsAdmin(url, limits=replace(FOREIGN, duration=seconds)) as admin:
            await admin.delete(TOPIC)

    asyncio.run(delete())


def by_the_scanner(url: str, seconds: float = 60.0) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scanners, "DURATION", seconds)
        scanners.PulsarAdmin("pulsar://nowhere.invalid", Access(url)).delete_topic(TOPIC)


@pytest.fixture(params=[by_the_operator, by_the_scanner])
def delete(request: pytest.FixtureRequest) -> Delete:
    found: Delete = request.param
    return found


def answer(status: str, body: bytes = b"", *headers: str) -> Answer:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return says("\r\n".join(lines).encode() + body)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gzip", "more than the 1048576 bytes allowed"),
        ("gzip, gzip", "the server encodes the content as 'gzip, gzip'"),
        ("gzip\r\nContent-Encoding: gzip", "the server encodes the content as 'gzip, gzip'"),
        ("br", "the server encodes the content as 'br'"),
        ("identity", "more than the 1048576 bytes allowed"),
    ],
)
def test_bomb_costs_no_more_than_its_limit(hostile: Start, delete: Delete, encoding: str, words: str) -> None:
    body = bytes(50_000_000) if encoding == "identity" else gzip.compress(gzip.compress(bytes(50_000_000)))
    body = gzip.compress(bytes(50_000_000)) if encoding == "gzip" else body
    server = hostile(says(OK + f"Content-Encoding: {encoding}\r\n\r\n".encode() + body))
    with at_most(12), pytest.raises(ERRORS, match=words):
        delete(host(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"", b"H"),
        (OK, b"X-Header: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
        (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\0"),
    ],
    ids=["status", "headers", "interim responses", "body", "gzip"],
)
def test_server_that_drips_is_abandoned(
    hostile: Start, over: threading.Event, delete: Delete, before: bytes, piece: bytes
) -> None:
    server = hostile(drips(before, piece, over))
    began = time.monotonic()
    words = r"does not finish its answer within 1 s|timed out|not follow the protocol|encoded as gzip"
    with pytest.raises(ERRORS, match=words):
        delete(host(server), seconds=1.0)
    assert time.monotonic() - began < 60  # the server would never stop


def test_endless_headers_are_abandoned(hostile: Start, delete: Delete) -> None:
    server = hostile(says(OK + b"X-Header: " + b"x" * 10_000_000))
    with at_most(12), pytest.raises(UNAVAILABLE):
        delete(host(server))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["127.0.0.2", "localhost", "victim.127.0.0.1"])
def test_redirect_to_another_host_reaches_nobody(hostile: Start, delete: Delete, status: int, place: str) -> None:
    victim = hostile(answer("200 OK", b"{}"))
    location = f"Location: http://{place}:{victim.port}{PATH}"
    server = hostile(answer(f"{status} Elsewhere", b"", location))
    with pytest.raises(ERRORS, match=f"{status}") as raised:
        delete(host(server))
    assert victim.requests == []
    assert place not in str(raised.value)


def test_redirect_to_another_topic_is_not_followed(hostile: Start, delete: Delete) -> None:
    location = "Location: /admin/v2/persistent/tenant/skymap/other-plan"
    server = hostile(answer("307 Temporary Redirect", b"", location))
    with pytest.raises(UNAVAILABLE, match=r"redirects \(307\) to another path, which is not followed"):
        delete(host(server))
    assert [one.split()[0] for one in server.requests] == [b"GET"]


def test_redirect_to_a_listed_broker_is_followed(hostile: Start, delete: Delete) -> None:
    owner = hostile(answer("404 Not Found"))
    server = hostile(says(b""))

    def redirect(client: socket.socket) -> None:
        path = server.requests[-1].split()[1].partition(b"?")[0].decode()
        location = f"Location: {host(owner)}{path}?authoritative=true"
        answer("307 Temporary Redirect", b"", location)(client)

    server.answer = redirect
    delete(f"{host(server)},127.0.0.1:{owner.port}")
    lines = [one.partition(b"\r\n")[0].decode() for one in owner.requests]
    assert lines == [
        f"GET {PATH}/partitions?authoritative=true HTTP/1.1",
        f"DELETE {PATH}?force=true&authoritative=true HTTP/1.1",
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 418, 500, 503])
def test_answer_of_the_server_reaches_no_error(hostile: Start, delete: Delete, status: int) -> None:
    server = hostile(answer(f"{status} s3cret", b'{"reason": "s3cret"}', "X-s3cret: s3cret"))
    try:
        delete(host(server))
    except ERRORS as error:
        assert str(status) in str(error)  # noqa: PT017 - with 404 there is nothing to delete
        assert "s3cret" not in str(error) + repr(error.__cause__)  # noqa: PT017


@pytest.mark.parametrize(
    "banner", [b"SSH-2.0-s3cret\r\n\r\n", b"-ERR s3cret\r\n\r\n", b"HTTP/1.1 200 OK\r\ns3cret\r\n\r\n"]
)
def test_banner_of_another_protocol_reaches_no_error(hostile: Start, delete: Delete, banner: bytes) -> None:
    server = hostile(says(banner))
    with pytest.raises(UNAVAILABLE, match="the answer breaks off, or does not follow the protocol HTTP") as raised:
        delete(host(server))
    assert "s3cret" not in str(raised.value)
