"""The time of the API server, to which the operator compares all times in Kubernetes.

The API server writes when objects are created and deleted, and it may differ by minutes from the clock of the
operator's machine. Each of its answers has the time in the header ``Date``. The operator keeps the difference from its
own monotonic clock, so that a step of its machine's clock changes nothing. No other module of it reads the clock of its
machine.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import median_low

log = logging.getLogger(__name__)

#: Answers of which the median counts: a single wrong one, as of a proxy, changes nothing.
ANSWERS = 15

#: An answer that took longer (s) says too little about the time.
SLOWEST = 5.0

#: Difference (s) that is no change, since ``Date`` has whole seconds, and one that is logged.
TOLERANCE, REMARKABLE = 1.5, 30.0


class ServerClock:
    """Estimates the API server's time to about a second, and that of this machine until there is an answer.

    ``timer``: seconds that pass evenly. ``wall``: this machine's time in seconds since 1970.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._timer = timer
        self._wall = wall
        self._differences: deque[float] = deque(maxlen=ANSWERS)
        #: What is added to the timer (s); None before the first answer.
        self._difference: float | None = None

    def timer(self) -> float:
        """Return the time (s) at which a request is sent, for `observe`."""
        return self._timer()

    def now(self) -> datetime:
        """Return the time. It may go back at the first answer, and by some seconds when the difference changes."""
        seconds = self._wall() if self._difference is None else self._timer() + self._difference
        return datetime.fromtimestamp(seconds, UTC)

    def observe(self, date: str | None, sent: float) -> None:
        """Take over the header ``Date`` of an answer that has just come, to a request of the time ``sent``."""
        received = self._timer()
        seconds = _seconds(date)
        if seconds is None or received - sent > SLOWEST:
            return
        # The header's time is cut to the second.
        self._differences.append(seconds + 0.5 - (sent + received) / 2)
        median = median_low(self._differences)
        if self._difference is not None and abs(median - self._difference) <= TOLERANCE:
            return
        self._difference = median
        ahead = self._wall() - received - median
        if abs(ahead) > REMARKABLE:
            way = "ahead of" if ahead > 0 else "behind"
            log.warning("this machine's clock is %.0f s %s that of the API server, which counts", abs(ahead), way)


def _seconds(date: str | None) -> float | None:
    """Return the time in a header ``Date`` in seconds since 1970; None if it holds none."""
    try:
        found = parsedate_to_datetime(date or "")
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
