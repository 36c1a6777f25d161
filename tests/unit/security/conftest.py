"""Hostile servers, and a limit on the memory that they may cost."""

from __future__ import annotations

import contextlib
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

Answer = Callable[[socket.socket], None]


@dataclass
class Hostile:
    """A server that answers every request with ``answer`` and records the requests.

    Without ``reads``, the answer reads the request itself.
    """

    port: int
    answer: Answer
    reads: bool = True
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/event"


class Servers:
    """The servers of one test."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.over = threading.Event()

    def start(self, answer: Answer, *, reads: bool = True) -> Hostile:
        """Start a server on this machine with the given answer."""
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(0.05)
        hostile = Hostile(listening.getsockname()[1], answer, reads)
        self._sockets.append(listening)
        self._run(lambda: self._accept(listening, hostile))
        return hostile

    def _run(self, what: Callable[[], None]) -> None:
        thread = threading.Thread(target=what)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket, hostile: Hostile) -> None:
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = listening.accept()
                self._run(lambda client=client: self._serve(client, hostile))  # type: ignore[misc]

    def _serve(self, client: socket.socket, hostile: Hostile) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            if hostile.reads:
                request = b""
                while b"\r\n\r\n" not in request and (piece := client.recv(65536)):
                    request += piece
                hostile.requests.append(request)
            hostile.answer(client)

    def end(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


@pytest.fixture
def servers() -> Iterator[Servers]:
    running = Servers()
    yield running
    running.end()


@pytest.fixture
def hostile(servers: Servers) -> Callable[[Answer], Hostile]:
    """Start a server on this machine with the given answer."""
    return servers.start


@pytest.fixture
def over(servers: Servers) -> threading.Event:
    """Event that is set at the end of the test, for servers that would never stop."""
    return servers.over


@contextlib.contextmanager
def at_most(mebibytes: float) -> Iterator[None]:
    """Fail if the block allocates more memory for Python objects and arrays (MiB)."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert peak <= mebibytes, f"{peak:.0f} MiB"
