"""The notices of a saver, which never fail its scan: what goes wrong with them is logged, and stays in the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from skymap_scanner.cli.notices import NoticeOptions, Notices
from skymap_scanner.errors import InputError
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.plan_entries import ScanEntry

log = logging.getLogger(__name__)


class SaverNotices:
    """An announcer (`roles.saver.saver`) with the outbox in ``folder``; ``read_options`` may raise InputError."""

    def __init__(self, folder: Path, read_options: Callable[[], NoticeOptions], stop: Stop) -> None:
        self._folder, self._read_options, self._stop = folder, read_options, stop
        self._stack = ExitStack()
        self._notices: Notices | None = None

    def began(self, scan: ScanEntry) -> None:
        """Send the initial notice."""
        try:
            self._open().begin(scan.event)
        except InputError as error:
            log.warning("no notice that the scan has begun: %s", error)

    def mapped(self, result: Path) -> None:
        """Send the result without waiting."""
        try:
            self._open().mapped(result)
        except InputError as error:
            log.warning("no notice about the result yet: %s", error)

    def written(self, outputs: Sequence[Path]) -> None:
        """Send the result, and wait until it is sent or given up."""
        # The result has the shortest name: those of the other files begin with its stem.
        found = (path for path in outputs if path.suffix in {".npz", ".json"})
        result = min(found, key=lambda path: len(path.name), default=self._folder)
        try:
            self._open().end(result, lambda: self._stop.requested)
        except InputError as error:
            log.warning("no notice about the result: %s", error)
        finally:
            self._stack.close()

    def _open(self) -> Notices:
        """Return the notices, opened at the first call that succeeds: the folder is not there from the start."""
        if self._notices is None:
            self._notices = self._stack.enter_context(Notices(self._folder, self._read_options()))
        return self._notices
