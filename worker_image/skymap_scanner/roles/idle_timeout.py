"""Idle timeout with exponential back-off."""

from __future__ import annotations


class IdleTimeout:
    """Expires after ``first`` seconds without a fit; each time it expires the timeout doubles, up to ``longest``.

    A completed pixel resets it to ``first``. The caller passes the time (s), so the class itself reads no clock.
    """

    def __init__(self, now: float, first: float, longest: float) -> None:
        self._idle_since = now
        self._seconds = self._first = first
        self._longest = longest

    def record(self, now: float, *, fits: int, completed: int) -> None:
        """Record the number of fits received, and of pixels that they completed."""
        if fits:
            self._idle_since = now
        if completed:
            self._seconds = self._first

    def expired(self, now: float) -> bool:
        """Return whether the timeout has expired; if so, restart it with twice the time."""
        if now - self._idle_since < self._seconds:
            return False
        self._idle_since = now
        self._seconds = min(2 * self._seconds, self._longest)
        return True
