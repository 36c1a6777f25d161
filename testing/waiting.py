"""Waiting in tests and benchmarks: `eventually` a condition becomes true, or it stays true (`consistently`).

A probe returns the current value, or raises `UnavailableError` while the value does not exist. The pause between two
probes is three times as long as the probe took: cheap probes notice a change at once, and expensive ones (a process of
kubectl each) take a quarter of a core at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")

#: Default time limit of `eventually`, and default duration of `consistently` (s).
WITHIN, THROUGHOUT = 60.0, 2.0

#: Limits of the pause between two probes (s).
SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 1.0


class UnavailableError(AssertionError):
    """The probed value does not exist yet: `eventually` tries again."""


def eventually(probe: Callable[[], T], until: Callable[[T], object] = bool, within: float = WITHIN) -> T:
    """Return the first ``probe()`` for which ``until`` is true.

    Raises
    ------
    AssertionError
        After ``within`` seconds; the message shows the last value.
    """
    attempts = _attempts(probe, until, within)
    while True:
        try:
            time.sleep(next(attempts))
        except StopIteration as reached:
            return reached.value  # type: ignore[no-any-return]


async def eventually_async(probe: Callable[[], T], until: Callable[[T], object] = bool, within: float = WITHIN) -> T:
    """Wait like `eventually`, in an event loop that runs on between the probes."""
    attempts = _attempts(probe, until, within)
    while True:
        try:
            pause = next(attempts)
        except StopIteration as reached:
            return reached.value  # type: ignore[no-any-return]
        await asyncio.sleep(pause)


def consistently(probe: Callable[[], T], holds: Callable[[T], object] = bool, throughout: float = THROUGHOUT) -> T:
    """Probe for ``throughout`` seconds; return the last value.

    Raises
    ------
    AssertionError
        At the first value for which ``holds`` is false; the message shows it.
    """
    deadline = time.monotonic() + throughout
    while True:
        value = probe()
        assert holds(value), f"the value changed to: {value}"
        if time.monotonic() >= deadline:
            return value
        time.sleep(0.1)


def _attempts(probe: Callable[[], T], until: Callable[[T], object], within: float) -> Generator[float, None, T]:
    """Yield the pauses between the probes; return the value for which ``until`` is true."""
    deadline = time.monotonic() + within
    while True:
        began = time.monotonic()
        last: object
        try:
            last = value = probe()
            if until(value):
                return value
        except UnavailableError as error:
            last = error
        now = time.monotonic()
        assert now < deadline, f"not within {within:g} s; the last value was: {last}"
        yield min(max(3 * (now - began), SHORTEST_PAUSE), LONGEST_PAUSE)
