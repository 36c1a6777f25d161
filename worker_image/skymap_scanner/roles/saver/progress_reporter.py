"""Publishing the progress of a scan, and writing the partial result, at regular intervals."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skymap_api.progress import MAX_OBSTACLE, Progress, ProgressPhase, encode_progress
from skymap_api.resource.base import INT32
from skymap_api.resource.status import BestFitStatus, LevelStatus, NoticesStatus
from skymap_api.text import printable_line
from skymap_scanner.atomic_file import write_atomically
from skymap_scanner.broker.protocol import Outgoing, Producer
from skymap_scanner.errors import InputError
from skymap_scanner.results.result import result_to_json
from skymap_scanner.roles.readers import BestFitReader
from skymap_scanner.roles.saver.scan_state import (
    Statements,
    best_fit,
    calibration_progress,
    fit_counts,
    level_progress,
    scan_result,
)
from skymap_scanner.roles.task_frames import FitStatement
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan

log = logging.getLogger(__name__)

#: Least seconds between two progress snapshots, and between two partial results.
PROGRESS_INTERVAL, PARTIAL_INTERVAL = 1.0, 10.0

#: The partial result, in the folder of the results.
PARTIAL = "partial.json"


@dataclass
class SaveAttempts:
    """Why the last attempt to save failed (``obstacle``), and how many rounds of pixels it had.

    One object serves all attempts. The progress shows the obstacle until an attempt has more rounds.
    """

    obstacle: str = ""
    rounds: int = 0

    def blocked(self, rounds: int) -> bool:
        """Return whether an attempt with this number of rounds has come no further than the failed one."""
        return bool(self.obstacle) and rounds <= self.rounds


@dataclass(frozen=True)
class Outlook:
    """What a saver knows when it starts.

    ``last``: the latest snapshot of an earlier saver; until this one has read as many fits, it is repeated.
    ``left_out``: formats that are not written, and why. ``shortage`` returns what the results will lack if nothing
    changes; it is shown as an obstacle as long as that lasts. ``notices`` returns which notices were sent.
    """

    last: Progress | None
    left_out: str
    shortage: Callable[[], str]
    notices: Callable[[], NoticesStatus | None] = lambda: None


class Rate:
    """Fits per second over the last ``window`` seconds; the caller passes the time."""

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        self._marks: deque[tuple[float, int]] = deque()

    def update(self, now: float, done: int) -> float:
        """Record the number of fits done at ``now`` (s); return the rate (fits per second)."""
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[0][0] < now - self._window:
            self._marks.popleft()
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / (end - start) if end > start else 0.0


def _next(began: float, interval: float) -> float:
    """Return when to do again what has just ended: after the interval, and for at most 5 % of the time."""
    return began + max(interval, 20 * (time.monotonic() - began))


class ProgressReporter:
    """Publishes progress snapshots and writes the partial result while the saver collects pixels."""

    def __init__(
        self,
        producer: Producer,
        plan: Plan,
        collected: BestFitReader,
        statements: Statements,
        folder: Path,
        attempts: SaveAttempts,
        outlook: Outlook,
    ) -> None:
        self._producer = producer
        self._plan = plan
        self._scan = collected.scan
        self._best_fits = collected.best_fits
        self._read_statement = statements
        self._folder = folder
        self._attempts = attempts
        self._last = outlook.last
        self._outlook = outlook
        self._phase = ProgressPhase.SCANNING
        self._began = time.monotonic()
        self._rate = Rate()
        self._next_progress = 0.0
        self._next_partial = self._began + PARTIAL_INTERVAL
        self._partial_rounds = 0
        self._previewed = 0

    def caught_up(self) -> None:
        """Note that all fits that were stored have been read: if an earlier saver had more, they are lost."""
        self._last = None

    @property
    def _behind(self) -> bool:
        """Whether fits that an earlier saver has counted are still to be read."""
        return self._last is not None and self._best_fits.fits < self._last.fits.done

    def report(self) -> None:
        """Publish a snapshot and write the partial result if they are due.

        Report nothing until this attempt has more rounds than the failed one, and as many fits as an earlier saver.
        """
        rounds = self._best_fits.rounds
        if self._behind or self._attempts.blocked(rounds):
            return
        if (began := time.monotonic()) >= self._next_progress:
            self.publish(ProgressPhase.SCANNING)
            self._next_progress = _next(began, PROGRESS_INTERVAL)
        if (began := time.monotonic()) >= self._next_partial and rounds > self._partial_rounds:
            self._partial_rounds = rounds
            write_atomically(
                self._folder / PARTIAL, result_to_json(scan_result(self._plan, self._best_fits, self._statement))
            )
            self._next_partial = _next(began, PARTIAL_INTERVAL)

    def _statement(self, pixel: Pixel) -> FitStatement:
        """Return what a fit states; nothing where a full disk has lost it, since progress is reported even then."""
        try:
            return self._read_statement(pixel)
        except InputError:
            return FitStatement()

    def fail(self, reason: str) -> None:
        """Publish why this attempt failed."""
        reason = printable_line(reason)  # it may name a path that is not text
        self._attempts.obstacle, self._attempts.rounds = reason, self._best_fits.rounds
        self.publish(self._phase)

    def publish(self, phase: ProgressPhase, outputs: Sequence[Path] = ()) -> None:
        """Publish a snapshot now."""
        self._phase = phase
        if phase is ProgressPhase.DONE or not self._attempts.blocked(self._best_fits.rounds):
            self._attempts.obstacle = ""
        lacking = "" if phase is ProgressPhase.DONE else self._outlook.shortage()
        obstacle = (self._attempts.obstacle or lacking)[:MAX_OBSTACLE] or None
        if self._last is not None and self._behind:
            changed = {"phase": phase, "obstacle": obstacle, "outputs": (), "notices": self._outlook.notices()}
            repeated = self._last.model_copy(update=changed)
            self._producer.send(Outgoing(encode_progress(repeated)))
            return
        elapsed = time.monotonic() - self._began
        levels = level_progress(self._plan, self._best_fits)
        fits = fit_counts(self._plan, self._best_fits, levels)
        rate = self._rate.update(elapsed, fits.done)
        left = fits.planned - fits.done
        best = best_fit(self._plan, self._best_fits, self._statement)
        self._log_previews(levels, best)
        snapshot = Progress(
            name=self._scan.name,
            phase=phase,
            levels=tuple(levels),
            fits=fits,
            calibration=calibration_progress(self._plan, self._best_fits),
            rate=rate,
            eta=left / rate if rate > 0 and left / rate <= INT32 else None,
            elapsed=elapsed,
            best=best,
            outputs=tuple(path.name for path in outputs),
            obstacle=obstacle,
            left_out=self._outlook.left_out[:MAX_OBSTACLE] or None,
            notices=self._outlook.notices(),
        )
        self._producer.send(Outgoing(encode_progress(snapshot)))

    def _log_previews(self, levels: Sequence[LevelStatus], best: BestFitStatus | None) -> None:
        """Log the best fit and its region once for each level whose pixels all have a fit."""
        fitted = [level.nside for level in levels if level.decided and level.done == level.planned]
        if best is not None and fitted and fitted[-1] > self._previewed:
            self._previewed = fitted[-1]
            area = "" if best.area_90 is None else f", 90 % region {best.area_90:.3g} deg²"
            log.info("preview at nside %d: RA %.2f, Dec %+.2f deg%s", self._previewed, best.ra, best.dec, area)
