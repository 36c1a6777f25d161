"""A log of warnings that anybody can cause as often as they like."""

from __future__ import annotations

import logging
import time

from skymap_api.text import printable_line

log = logging.getLogger(__name__)

#: Shortest time between two lines (s).
LOG_INTERVAL = 10.0


class SeldomLog:
    """Logs warnings that anybody can cause as often as they like: one in `LOG_INTERVAL`; for one thread."""

    def __init__(self) -> None:
        self._left_out = 0
        self._next = 0.0

    def warn(self, text: str) -> None:
        """Log a warning, or count it if there was one just now."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        log.warning("%s (%d such lines were left out before)", printable_line(text), self._left_out)
        self._left_out, self._next = 0, now + LOG_INTERVAL
