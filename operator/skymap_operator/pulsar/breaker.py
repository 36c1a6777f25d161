"""A circuit breaker for the admin interface of a Pulsar that scans name, which is left alone while it does not answer.

Every scan that names it waits for it otherwise, again and again, in one of the few places that such scans have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: Pause after the first failure (s), doubled by each further one, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one endpoint: failures in a row, and when it may be asked again (s, on the clock of ``now``)."""

    failures: int = 0
    again: float = -math.inf

    def allows(self, now: float) -> bool:
        """Return whether the endpoint may be asked."""
        return now >= self.again

    def tried(self, now: float) -> Breaker:
        """Note that it is asked. After a failure it is asked by one scan at a time, unless that takes very long."""
        return replace(self, again=now + LONGEST_PAUSE) if self.failures else self

    def failed(self, now: float) -> Breaker:
        """Note that it did not answer."""
        pause = min(FIRST_PAUSE * 2.0 ** min(self.failures, 10), LONGEST_PAUSE)
        return Breaker(self.failures + 1, now + pause)
