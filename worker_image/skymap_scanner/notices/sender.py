"""Sends the entries of an outbox, in one thread per destination: neither other destinations nor the scan wait for it.

A destination gets its notices in order. Attempts are repeated with growing pauses until `Sender.finish` gives up; what
is left stays in the outbox, and the next process sends it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from skymap_scanner.errors import InputError
from skymap_scanner.notices.channel import Channel, NotDelivered, Undeliverable
from skymap_scanner.notices.notice import utc_now
from skymap_scanner.notices.outbox import Entry, Outbox

log = logging.getLogger(__name__)

#: Extra time for an attempt that cannot be interrupted, such as a DNS lookup (s).
GRACE = 5.0
#: Seconds until an idle thread looks for new entries again.
_IDLE = 0.2
#: Seconds between looks whether a stop is requested, while attempts go on.
_POLL = 0.1


@dataclass(frozen=True)
class Retries:
    """How attempts are repeated."""

    #: Longest attempt (s).
    attempt: float = 20.0
    #: Pause after the first attempt that failed (s); it doubles each time, up to `longest`, and is drawn from its half
    #: to its whole.
    pause: float = 1.0
    longest: float = 60.0

    def pause_after(self, failures: int) -> float:
        """Return the pause (s) after so many failures in a row."""
        whole: float = min(self.pause * 2 ** min(failures - 1, 30), self.longest)
        return whole * Random().uniform(0.5, 1)  # noqa: S311 - spreads load


class Sender:
    """Sends the pending entries of ``outbox`` through ``channels`` (by label), now and as they are added.

    ``show`` is called, from any thread, with each entry that was sent or has failed.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        show: Callable[[Entry], None],
        retries: Retries = Retries(),
    ) -> None:
        self._outbox, self._channels, self._show, self._retries = outbox, dict(channels), show, retries
        self._changed = threading.Condition()
        self._end: float | None = None  # of the monotonic clock; None: not finishing yet
        self._fault: InputError | None = None
        self._refused: set[tuple[str, str]] = set()
        self._threads = [threading.Thread(target=self._run, args=(label,), daemon=True) for label in self._channels]

    def start(self) -> None:
        """Start sending."""
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float, stopped: Callable[[], bool] = lambda: False) -> list[Entry]:
        """Send what is left, for so many seconds at most; return what was refused meanwhile, or is still pending.

        ``stopped``: whether to give up at once. Raises InputError if the outbox cannot be written.
        """
        with self._changed:
            self._end = time.monotonic() + seconds
            self._changed.notify_all()
        late = self._end + GRACE
        while (
            not stopped()
            and time.monotonic() < late
            and (running := [thread for thread in self._threads if thread.is_alive()])
        ):
            running[0].join(_POLL)
        if self._fault is not None:
            raise self._fault
        left = [one for one in self._outbox.entries if one.destination in self._channels and one.state != "sent"]
        return [one for one in left if one.state == "pending" or (one.destination, one.key) in self._refused]

    def _run(self, label: str) -> None:
        failures = 0
        try:
            while (left := self._left()) > 0:
                entry = self._outbox.next_pending(label)
                if entry is None:
                    if self._end is not None:
                        return
                    self._wait(_IDLE)
                    continue
                pause = self._attempt(entry, min(left, self._retries.attempt), failures + 1)
                failures = 0 if pause is None else failures + 1
                if pause is not None:
                    self._wait(pause)
        except InputError as error:
            log.warning("notices to %s: %s", label, error)
            self._fault = error

    def _attempt(self, entry: Entry, seconds: float, failures: int) -> float | None:
        """Try once; return the pause (s) before the next attempt, None where the entry is done."""
        entry = self._outbox.update(entry, attempts=entry.attempts + 1)
        try:
            self._channels[entry.destination].send(entry, seconds)
        except NotDelivered as failure:
            pause = failure.wait or self._retries.pause_after(failures)
            log.warning("notice %s to %s: %s; attempt %d", entry.key, entry.destination, failure, entry.attempts)
            self._outbox.update(entry, error=str(failure))
            return pause
        except Undeliverable as failure:
            log.warning("notice %s to %s: %s; given up", entry.key, entry.destination, failure)
            self._refused.add((entry.destination, entry.key))
            self._show(self._outbox.update(entry, state="failed", error=str(failure)))
        else:
            self._show(self._outbox.update(entry, state="sent", sent=utc_now(time.time()), error=None))
        return None

    def _left(self) -> float:
        """Return the seconds that are left."""
        return float("inf") if self._end is None else self._end - time.monotonic()

    def _wait(self, pause: float) -> None:
        """Wait for so many seconds, but not beyond the end."""
        until = time.monotonic() + pause
        with self._changed:
            while (left := min(until - time.monotonic(), self._left())) > 0:
                self._changed.wait(left)
                if pause == _IDLE:
                    return
