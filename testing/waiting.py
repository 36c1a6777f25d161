"""Waiting for what a cluster does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from testing.cluster.cluster import KubectlError

T = TypeVar("T")

#: How long to wait for what must come, and to see that something stays (s).
PATIENCE, MOMENT = 60.0, 2.0

#: Between two looks (s): at first, and at most, since each is a process of kubectl, which the others wait for.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0


def eventually(probe: Callable[[], T], until: Callable[[T], object] = bool, within: float = PATIENCE) -> T:
    """Return the first ``probe()`` that ``until`` is true of; late, say what the last one was.

    A `KubectlError` is an answer too: what is waited for may not be there yet.
    """
    deadline, pause = time.monotonic() + within, FIRST_PAUSE
    while True:
        last: object
        try:
            found = probe()
            if until(found):
                return found
            last = found
        except KubectlError as error:
            last = error
        assert time.monotonic() < deadline, f"not within {within:g} s; the last was: {last}"
        time.sleep(pause)
        pause = min(1.2 * pause, LONGEST_PAUSE)


def consistently(probe: Callable[[], T], stays: Callable[[T], object] = bool, throughout: float = MOMENT) -> T:
    """Look again and again: ``stays`` must be true of every ``probe()``. Return the last one."""
    deadline = time.monotonic() + throughout
    while True:
        found = probe()
        assert stays(found), f"it did not stay so; it became: {found}"
        if time.monotonic() >= deadline:
            return found
        time.sleep(FIRST_PAUSE)
