"""The notices of a saver, which never fail its scan: what goes wrong with them is logged, and stays in the outbox."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from skymap_api.resource.status import NoticesStatus, NoticeStatus
from skymap_api.text import bounded_line
from skymap_scanner.cli.notices import NoticeOptions, Notices
from skymap_scanner.errors import BrokerUnavailable, InputError
from skymap_scanner.notices.outbox import Entry
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.plan_entries import ScanEntry

log = logging.getLogger(__name__)

#: Most destinations in the status, and most characters of a fault and of the reason of a failed attempt there.
MOST_SHOWN, LONGEST_FAULT, LONGEST_REASON = 8, 1024, 512
#: How long the broker is asked again to show the last state, and how often (s).
SHOW_SECONDS, SHOW_PAUSE = 60.0, 2.0


class SaverNotices:
    """An announcer (`roles.saver.saver`) with the outbox in ``folder``; ``read_options`` may raise InputError."""

    def __init__(self, folder: Path, read_options: Callable[[], NoticeOptions], stop: Stop) -> None:
        self._folder, self._read_options, self._stop = folder, read_options, stop
        self._stack = ExitStack()
        self._notices: Notices | None = None
        self._labels: tuple[str, ...] = ()
        self._event_id = ""  # the folder may hold notices of other events
        self._fault: str | None = None
        self._ended = False

    def began(self, scan: ScanEntry) -> None:
        """Send the initial notice."""
        self._event_id = f"{scan.event.run}_{scan.event.event}"
        with self._faults("that the scan has begun"):
            self._open().begin(scan.event)

    def mapped(self, result: Path) -> None:
        """Send the result without waiting."""
        with self._faults("about the result yet"):
            self._open().mapped(result)

    def written(self, outputs: Sequence[Path], changed: Callable[[], None]) -> bool:
        """Send the result, and wait until it is sent or given up; False if a stop has left that to the next saver."""
        shown, seen, again = self.status(), self._entries(), 0.0

        def stopped() -> bool:
            nonlocal shown, seen, again
            entries = self._entries()
            if entries != seen and time.monotonic() >= again:
                try:
                    if (now := self.status()) != shown:
                        changed()
                    shown, seen = now, entries
                except BrokerUnavailable as error:
                    log.warning("the state of the notices is not shown yet: %s", error)
                    again = time.monotonic() + SHOW_PAUSE
            return self._stop.requested

        # The result has the shortest name: those of the other files begin with its stem.
        found = (path for path in outputs if path.suffix in {".npz", ".json"})
        result = min(found, key=lambda path: len(path.name), default=self._folder)
        try:
            with self._faults("about the result"):
                self._open().end(result, stopped)
        finally:
            self._stack.close()
        left = any(one.state == "Pending" for one in self.status().destinations)
        self._ended = not (left and self._stop.requested)
        self._show_end(changed)
        return self._ended

    def _show_end(self, changed: Callable[[], None]) -> None:
        """Show the last state. Raises BrokerUnavailable if that fails for long: then the saver reads the scan again."""
        until = time.monotonic() + SHOW_SECONDS
        while True:
            try:
                return changed()
            except BrokerUnavailable as error:
                if self._stop.requested or time.monotonic() > until:
                    raise
                log.warning("the state of the notices is not shown yet: %s", error)
            self._stop.wait(SHOW_PAUSE)

    def status(self) -> NoticesStatus:
        """Return the latest notice to each destination, and what keeps notices from being made."""
        latest = {one.destination: one for one in self._entries() if one.notice.event_id == self._event_id}
        shown = [_status(latest[label]) for label in self._labels if label in latest]
        return NoticesStatus(destinations=tuple(shown[:MOST_SHOWN]), fault=self._fault, ended=self._ended)

    def _entries(self) -> list[Entry]:
        return [] if self._notices is None else self._notices.outbox.entries

    @contextmanager
    def _faults(self, missing: str) -> Iterator[None]:
        """Log an error, and show it in the status until a later step succeeds."""
        try:
            yield
        except InputError as error:
            log.warning("no notice %s: %s", missing, error)
            self._fault = bounded_line(str(error), LONGEST_FAULT)
        else:
            self._fault = None

    def _open(self) -> Notices:
        """Return the notices, opened at the first call that succeeds: the folder is not there from the start."""
        if self._notices is None:
            options = self._read_options()
            self._notices = self._stack.enter_context(Notices(self._folder, options))
            self._labels = tuple(options.kinds)
        return self._notices


def _status(entry: Entry) -> NoticeStatus:
    states: dict[str, Literal["Pending", "Sent", "Failed"]] = {"pending": "Pending", "sent": "Sent", "failed": "Failed"}
    return NoticeStatus(
        to=bounded_line(entry.destination, LONGEST_FAULT),
        type=entry.notice.type,
        state=states[entry.state],
        sent=None if entry.sent is None else datetime.fromisoformat(entry.sent),
        message=None if entry.error is None else bounded_line(entry.error, LONGEST_REASON),
    )
