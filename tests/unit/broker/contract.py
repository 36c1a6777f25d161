"""Helpers of the contract suite: creating, receiving and counting messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from testing.waiting import eventually

from skymap_scanner.broker import Backlog, Broker, Consumer, Message, Outgoing, Reader, SubscriptionType

SHARED, FAILOVER = SubscriptionType.SHARED, SubscriptionType.FAILOVER

#: How long to wait for a message that must arrive (s), and for one that must not (s).
PATIENCE, MOMENT = 45.0, 0.3

Start = Callable[..., Any]


def numbered(numbers: Iterable[int]) -> list[Outgoing]:
    return [Outgoing(f"{number}".encode(), sequence_id=number) for number in numbers]


def number(message: Message | None) -> int:
    assert message is not None, "no message came"
    return int(message.payload)


def take(source: Consumer | Reader, count: int) -> list[Message]:
    messages = [source.receive(PATIENCE) for _ in range(count)]
    assert None not in messages, f"only {len(messages) - messages.count(None)} of {count} messages came"
    return [message for message in messages if message is not None]


def assert_backlog(broker: Broker, topic: str, waiting: int, unacked: int) -> None:
    """Wait until the backlog of the subscription "s" is as given: a broker may take a moment to count."""
    eventually(lambda: broker.backlog(topic, "s"), lambda found: found == Backlog(waiting, unacked), PATIENCE)


def find_active(consumers: list[Consumer]) -> tuple[Message, Consumer, list[Consumer]]:
    """Wait for the first message of a failover subscription; return it, its consumer, and the other consumers.

    The broker chooses the active consumer, and may choose another when one joins.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for one in consumers:
            if (message := one.receive(MOMENT)) is not None:
                return message, one, [other for other in consumers if other is not one]
    raise AssertionError("no consumer is active")
