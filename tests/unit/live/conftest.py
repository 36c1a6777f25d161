"""Scans in threads, as the tests of the roles have them, and a server of their pages."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from tests.unit.roles.conftest import Scan, event, scan  # noqa: F401 - fixtures

from skymap_api.names import TopicBases
from skymap_api.progress import FitCounts, Progress, ProgressPhase
from skymap_scanner.broker import Broker
from skymap_scanner.live.scans import Scans
from skymap_scanner.live.server import LocalPages, serve
from skymap_scanner.roles.stop import Stop


def progress(name: str, obstacle: str | None = None) -> Progress:
    counts = FitCounts(done=1, started=2, planned=3)
    return Progress(
        name=name, phase=ProgressPhase.SCANNING, levels=(), fits=counts, rate=1.0, eta=2.0, elapsed=3.0, best=None,
        obstacle=obstacle,
    )  # fmt: skip


def kinds(chunk: bytes) -> list[str]:
    """Return the kinds of the events in a stream."""
    return re.findall(r"^event: (\w+)$", chunk.decode(), re.MULTILINE)


@dataclass
class Server:
    """A running server; ``scan_ended`` is set as by the end of the standard input that `run` gives it."""

    port: int
    scans: Scans
    thread: threading.Thread
    stop: Stop = field(default_factory=Stop)
    scan_ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


MakeScan = Callable[..., Scan]
Serve = Callable[..., Server]


@contextmanager
def serving(open_broker: Callable[[], Broker | None], name: str | None = None) -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    scans = Scans(open_broker, TopicBases(), name)
    server = Server(listener.getsockname()[1], scans, threading.Thread())
    server.thread = threading.Thread(target=serve, args=(listener, LocalPages(scans), server.stop, server.scan_ended))
    server.thread.start()
    try:
        yield server
    finally:
        server.stop.request()
        server.thread.join(20)
        scans.close()
        listener.close()
    assert not server.thread.is_alive()


@pytest.fixture
def serve_scans() -> Iterator[Serve]:
    """Serve the scans of a broker until the end of the test."""
    with ExitStack() as stack:
        yield lambda *scans: stack.enter_context(serving(*scans))
