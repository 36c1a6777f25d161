"""A Pulsar that scans name and that does not answer: each visit ends, and then it is left alone for a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.operator.fakes import FakeCluster
from tests.unit.operator.world import SETTINGS
from tests.unit.security.conftest import Answer, Hostile
from tests.unit.security.test_urls import OK, drips, says

from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable
from skymap_api.resource.spec import TokenSecret
from skymap_operator.pulsar import connections
from skymap_operator.pulsar.access import PulsarAccess
from skymap_operator.pulsar.breaker import FIRST_PAUSE
from skymap_operator.pulsar.connections import Pulsars

Start = Callable[[Answer], Hostile]
EMPTY = says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]")


def access(server: Hostile, **more: Any) -> PulsarAccess:
    url = f"http://127.0.0.1:{server.port}"
    return PulsarAccess("pulsar://theirs:6650", url, "theirs", own=False, addresses=("127.0.0.0/8",), **more)


async def list_topics(pulsars: Pulsars, server: Hostile, **more: Any) -> frozenset[str]:
    async with pulsars.reach("ns", access(server, **more)) as admin:
        return await admin.topics("theirs", "skymap")


def run(test: Callable[[Pulsars], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with Pulsars(FakeCluster(), SETTINGS) as pulsars:
            await test(pulsars)

    asyncio.run(inside())


class Clock:
    """The running loop's clock, which can be set ahead (s)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self.ahead)


def test_visit_of_many_slow_requests_ends(hostile: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is answered in time, and there is always another."""
    server = hostile(EMPTY)
    monkeypatch.setattr(connections, "LONGEST_VISIT", 0.5)

    async def visit(pulsars: Pulsars) -> None:
        async with pulsars.reach("ns", access(server)) as admin:
            while True:
                await admin.topics("theirs", "skymap")

    async def test(pulsars: Pulsars) -> None:
        with pytest.raises(PulsarUnavailable, match=r"takes more than 0\.5 s"):
            await visit(pulsars)

    run(test)


def test_server_that_drips_is_left_alone_for_a_while(
    hostile: Start, over: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, fine = hostile(drips(OK, b"X-Header: 1\r\n", over)), hostile(EMPTY)
    monkeypatch.setattr(connections, "LONGEST_VISIT", 0.5)

    async def test(pulsars: Pulsars) -> None:
        clock = Clock(monkeypatch)
        with pytest.raises(PulsarUnavailable, match="takes more than"):
            await list_topics(pulsars, server)
        asked = len(server.requests)
        for _ in range(3):
            with pytest.raises(PulsarUnavailable, match="did not answer: it is asked again after a pause of up to"):
                await list_topics(pulsars, server)
        assert len(server.requests) == asked
        monkeypatch.setattr(connections, "LONGEST_VISIT", 60.0)
        assert await list_topics(pulsars, fine) == frozenset(), "another Pulsar is asked"
        server.answer = EMPTY
        clock.ahead = FIRST_PAUSE + 1.0
        for _ in range(2):
            assert await list_topics(pulsars, server) == frozenset(), "it is asked again, and then by all"

    run(test)


def test_one_scan_at_a_time_tries_again(hostile: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = hostile(says(b""))

    async def test(pulsars: Pulsars) -> None:
        clock = Clock(monkeypatch)
        with pytest.raises(PulsarUnavailable, match="breaks off"):
            await list_topics(pulsars, server)
        clock.ahead = FIRST_PAUSE + 1.0
        server.answer = EMPTY
        async with pulsars.reach("ns", access(server)):
            with pytest.raises(PulsarUnavailable, match="did not answer"):
                await list_topics(pulsars, server)
        assert await list_topics(pulsars, server) == frozenset()

    run(test)


def test_mistake_of_one_scan_neither_blocks_nor_frees_its_pulsar(
    hostile: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = hostile(says(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
    missing = TokenSecret(name="missing")

    async def test(pulsars: Pulsars) -> None:
        clock = Clock(monkeypatch)
        for _ in range(3):
            with pytest.raises(PulsarAdminError, match="403"):
                await list_topics(pulsars, server)
            with pytest.raises(PulsarAdminError, match="Secret missing"):
                await list_topics(pulsars, server, token=missing)
        server.answer = says(b"")
        with pytest.raises(PulsarUnavailable, match="breaks off"):
            await list_topics(pulsars, server)
        clock.ahead = FIRST_PAUSE + 1.0
        with pytest.raises(PulsarAdminError, match="Secret missing"):
            await list_topics(pulsars, server, token=missing)
        with pytest.raises(PulsarUnavailable, match="breaks off"):
            await list_topics(pulsars, server)
        clock.ahead += FIRST_PAUSE + 1.0
        with pytest.raises(PulsarUnavailable, match="did not answer"):
            await list_topics(pulsars, server)  # the second pause is longer

    run(test)
