from __future__ import annotations

from concurrent.futures import Future

import pytest

from skymap_scanner.broker import Message, Outgoing
from skymap_scanner.errors import BrokerUnavailable
from skymap_scanner.roles.worker.worker import PendingPublishes

LIMIT = 8


class Slow:
    """A broker that stores a fit when the test tells it to."""

    def __init__(self) -> None:
        self.futures: list[Future[None]] = []
        self.acked: list[int] = []

    def submit(self, fit: Outgoing) -> Future[None]:  # noqa: ARG002 - the protocol's signature
        self.futures.append(Future())
        return self.futures[-1]

    def ack(self, *messages: Message) -> None:
        self.acked += [int(message.payload) for message in messages]

    def store(self, *numbers: int) -> None:
        for number in numbers:
            self.futures[number].set_result(None)


def task(number: int) -> Message:
    return Message(number, f"{number}".encode(), None, {})


def test_task_is_acknowledged_after_its_fit_is_stored() -> None:
    slow = Slow()
    pending = PendingPublishes(slow, slow, LIMIT)  # type: ignore[arg-type]
    for number in range(3):
        pending.publish(task(number), Outgoing(b""))
    assert (len(pending), slow.acked) == (3, [])
    slow.store(1)
    pending.publish(task(3), Outgoing(b""))
    assert slow.acked == []  # in order: the first is not stored
    slow.store(0)
    pending.publish(task(4), Outgoing(b""))
    assert (len(pending), slow.acked) == (3, [0, 1])
    slow.store(2, 3, 4)
    pending.flush()
    assert (len(pending), slow.acked) == (0, [0, 1, 2, 3, 4])


def test_pending_publishes_are_limited() -> None:
    class Storing(Slow):
        def submit(self, fit: Outgoing) -> Future[None]:
            assert len(self.futures) - len(self.acked) <= LIMIT
            future = super().submit(fit)
            if len(self.futures) > LIMIT:  # so that waiting for the oldest one ends
                self.store(len(self.futures) - LIMIT - 1)
            return future

    storing = Storing()
    pending = PendingPublishes(storing, storing, LIMIT)  # type: ignore[arg-type]
    for number in range(3 * LIMIT):
        pending.publish(task(number), Outgoing(b""))
    assert len(pending) == LIMIT
    assert storing.acked == list(range(2 * LIMIT))


def test_fits_before_a_failure_are_acknowledged_and_it_is_raised() -> None:
    slow = Slow()
    pending = PendingPublishes(slow, slow, LIMIT)  # type: ignore[arg-type]
    for number in range(3):
        pending.publish(task(number), Outgoing(b""))
    slow.store(0, 2)
    slow.futures[1].set_exception(BrokerUnavailable("away"))
    with pytest.raises(BrokerUnavailable, match="away"):
        pending.flush()
    assert slow.acked == [0]
