"""What the tests of the broker over Pulsar share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from skymap_scanner.broker import Access, Consumer, Message, Outgoing, Reader
from testing.pulsar.server import PulsarServer

#: How long to wait for what must come (s), and to see that nothing comes (s).
PATIENCE, MOMENT = 60.0, 0.3


def eventually(probe: Callable[[], object], until: str, within: float = PATIENCE) -> None:
    """Wait until ``probe()`` is true; late, say what was waited for."""
    deadline = time.monotonic() + within
    while not probe():
        assert time.monotonic() < deadline, f"after {within:g} s still not: {until}"
        time.sleep(0.02)


def numbered(numbers: Iterable[int], **more: str) -> list[Outgoing]:
    """Make messages that carry their sequence ids."""
    return [Outgoing(f"{number}".encode(), sequence_id=number, **more) for number in numbers]


def plain(numbers: Iterable[int]) -> list[Outgoing]:
    """Make messages without sequence ids."""
    return [Outgoing(f"{number}".encode()) for number in numbers]


def number(message: Message | None) -> int:
    assert message is not None, "no message came"
    return int(message.payload)


def take(source: Consumer | Reader, count: int) -> list[Message]:
    """Receive so many messages, which must come."""
    messages: list[Message] = []
    deadline = time.monotonic() + PATIENCE
    while len(messages) < count:
        assert time.monotonic() < deadline, f"only {len(messages)} of {count} messages came"
        message = source.receive(1.0)
        if message is not None:
            messages.append(message)
    return messages


def rest(source: Consumer | Reader) -> list[Message]:
    """Receive until nothing more comes."""
    return list(iter(lambda: source.receive(MOMENT), None))


def access_to(server: PulsarServer, token_file: Path | None = None) -> Access:
    """Return the addresses of a server of our own, trusting its authority."""
    trusted = None if server.certificates is None else server.certificates.authority
    return Access(server.admin_url, token_file, trusted)
