"""The followers of the scans that a server shows: few at a time, and those without a page end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Broker
from skymap_scanner.errors import SkymapError
from skymap_scanner.live.follower import Follower

#: Most scans that are followed at a time, and how long one without a page is followed (s).
MAX_FOLLOWERS, IDLE_TIME = 8, 60.0
#: Most followers that are about to stop: one notices it late while it opens a broker, or makes a report.
MAX_STOPPING = 2


@dataclass
class _Followed:
    follower: Follower
    pages: int = 0
    left: float = field(default_factory=time.monotonic)


class TooManyScansError(SkymapError):
    """No further scan can be followed now."""


class Followers:
    """The followers of scans, each by a key; those that no page shows end after a while unless they are ``lasting``.

    The methods may be called by any thread, and do not block, except for `close`.
    """

    def __init__(self, open_broker: Callable[[], Broker | None], *, lasting: bool = False) -> None:
        self.lasting = lasting
        self._open_broker = open_broker
        self._lock = threading.Lock()
        self._followed: dict[str, _Followed] = {}
        self._stopping: list[Follower] = []

    def close(self, timeout: float = 5.0) -> None:
        """Stop following all scans, and wait for their threads (s)."""
        with self._lock:
            ending = [*self._stopping, *(one.follower for one in self._followed.values())]
        for one in ending:
            one.stop(0)
        until = time.monotonic() + timeout
        for one in ending:
            one.stop(max(until - time.monotonic(), 0))

    def get(self, key: str) -> Follower | None:
        """Return the follower of a scan if there is one."""
        with self._lock:
            return self._followed[key].follower if key in self._followed else None

    def awaiting_page(self, key: str) -> tuple[Follower | None, bool]:
        """Return the follower of a scan of which a page is about to open, and whether it has ended and has no page."""
        with self._lock:
            one = self._followed.get(key)
            if one is None:
                return None, False
            one.left = time.monotonic()
            return one.follower, one.follower.ended and not one.pages

    def follow(
        self, name: str, topics: ScanTopics, key: str | None = None, instead_of: Follower | None = None
    ) -> Follower:
        """Return the follower of a scan, which begins now if none does, or only ``instead_of`` does.

        ``key``: the name by default. Raises TooManyScansError if all followers have pages, or have not stopped yet.
        """
        key = key or name
        with self._lock:
            if instead_of is not None and key in self._followed and self._followed[key].follower is instead_of:
                del self._followed[key]
            if key not in self._followed:
                self._make_room()
                follower = Follower(self._open_broker, name, topics, key)
                follower.start()
                self._followed[key] = _Followed(follower)
            return self._followed[key].follower

    def _make_room(self) -> None:
        """Make room for one more follower; those without a page for longest are stopped first."""
        idle = sorted((one.left, key) for key, one in self._followed.items() if not one.pages)
        for _, key in idle[: max(len(self._followed) - MAX_FOLLOWERS + 1, 0)]:
            self._stop(key)
        if len(self._followed) >= MAX_FOLLOWERS:
            raise TooManyScansError(
                f"{MAX_FOLLOWERS} scans are shown already: close the page of another one, or try again in a minute"
            )

    def _stop(self, key: str) -> None:
        """Stop following a scan, unless too many others are about to stop."""
        self._stopping = [one for one in self._stopping if one.runs]
        if not self._followed[key].follower.runs:
            del self._followed[key]
        elif len(self._stopping) < MAX_STOPPING:
            follower = self._followed.pop(key).follower
            follower.stop(0)
            self._stopping.append(follower)

    def stop_idle(self) -> None:
        """Stop following scans that no page has shown for long; one that has ended costs nothing, and stays."""
        if self.lasting:
            return
        with self._lock:
            now = time.monotonic()
            for key, one in list(self._followed.items()):
                if not one.pages and not one.follower.ended and now - one.left > IDLE_TIME:
                    self._stop(key)

    def page_opened(self, key: str) -> None:
        """Note that a page shows the scan."""
        with self._lock:
            if key in self._followed:
                self._followed[key].pages += 1

    def page_closed(self, key: str) -> None:
        """Note that a page no longer shows the scan."""
        with self._lock:
            if key in self._followed:
                one = self._followed[key]
                one.pages, one.left = max(one.pages - 1, 0), time.monotonic()
