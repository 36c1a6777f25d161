"""Messages for the tests of the broker over Pulsar."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from skymap_scanner.broker import Access, Consumer, Message, Outgoing, Reader
from testing.pulsar.server import PulsarServer

#: How long to wait for a message (s), and how long no message may come (s).
TIMEOUT, QUIET = 60.0, 0.3


def numbered(numbers: Iterable[int], **more: str) -> list[Outgoing]:
    """Return messages with sequence ids."""
    return [Outgoing(f"{number}".encode(), sequence_id=number, **more) for number in numbers]


def plain(numbers: Iterable[int]) -> list[Outgoing]:
    """Return messages without sequence ids."""
    return [Outgoing(f"{number}".encode()) for number in numbers]


def number(message: Message | None) -> int:
    assert message is not None, "no message came"
    return int(message.payload)


def take(source: Consumer | Reader, count: int) -> list[Message]:
    """Receive ``count`` messages within the time limit."""
    messages: list[Message] = []
    deadline = time.monotonic() + TIMEOUT
    while len(messages) < count:
        assert time.monotonic() < deadline, f"only {len(messages)} of {count} messages came"
        message = source.receive(1.0)
        if message is not None:
            messages.append(message)
    return messages


def rest(source: Consumer | Reader) -> list[Message]:
    """Receive until no more messages arrive."""
    return list(iter(lambda: source.receive(QUIET), None))


def access_to(server: PulsarServer, token_file: Path | None = None) -> Access:
    """Return the access to a server, with its certificate authority."""
    trusted = None if server.certificates is None else server.certificates.authority
    return Access(server.admin_url, token_file, trusted)
