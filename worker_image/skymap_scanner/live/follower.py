"""Follows one scan: reads its topics in a thread, and keeps what pages show of it.

It reads with readers of its own and creates no topic, so the scan does not notice it. It limits its processor time,
since it may run beside the workers.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skymap_api.names import ScanTopics
from skymap_api.progress import Progress, ProgressPhase
from skymap_api.text import bounded_line
from skymap_scanner.broker import Broker, Reader
from skymap_scanner.errors import BrokerUnavailable, SkymapError
from skymap_scanner.live.fit_log import FitLog
from skymap_scanner.live.status import Workers, counts, direction_status, event_status, progress_status, saver_status
from skymap_scanner.report import ScanReport
from skymap_scanner.report.page import report_html
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.readers import BestFitReader, PlanReader
from skymap_scanner.roles.saver.scan_state import Statements, scan_result
from skymap_scanner.roles.saver.spool import Spool, fit_history, statement_of, with_event
from skymap_scanner.roles.scans import latest_progress
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.work import decode_round
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan_entries import ScanEntry

log = logging.getLogger(__name__)

#: Time between two checks whether a scan has begun, and before the next attempt to reach a broker (s).
POLL_INTERVAL, RETRY_INTERVAL = 0.5, 5.0
#: Shortest time between two updates of the progress, and of the direction (s); most best fits that are read in between.
PROGRESS_INTERVAL, DIRECTION_INTERVAL, MOST_FITS = 1.0, 2.0, 500
#: Longest pause between two of them for the sake of the workers (s).
LONGEST_PAUSE = 10.0
#: Size of the fits in the temporary directory, often memory, beyond which a page shows the progress alone (bytes):
#: about 90,000 fits.
MAX_SPOOL = 512 * 2**20
#: Longest text of an error on a page (characters).
MAX_ERROR = 500


class Pace:
    """Decides when repeated work is due; the caller passes the time.

    It may take a fortieth of a core, and more only where the pauses would become longer than `LONGEST_PAUSE`: a third
    at most, since what a page shows must not be minutes old.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0

    def due(self, now: float) -> bool:
        """Return whether it is time for the work."""
        return now >= self._next

    def done(self, began: float, cost: float) -> None:
        """Note when the work began (s), and the processor time that it took (s)."""
        self._next = began + max(self._interval, min(40 * cost, LONGEST_PAUSE), 3 * cost)


@dataclass(frozen=True)
class Topics:
    """The opened topics of a scan that has begun."""

    plan: PlanReader
    collected: BestFitReader
    progress: Reader
    spool: Spool

    @property
    def statements(self) -> Statements:
        """What the best fit of a pixel states."""
        return partial(statement_of, self.spool, self.collected.best_fits)

    @property
    def complete(self) -> bool:
        """Whether all fits of the scan have been read."""
        return self.plan.plan.complete(self.collected.best_fits.has)


class Follower:
    """Follows the scan with these ``topics`` once `start` is called, until it has ended or `stop` is called.

    ``status`` is replaced as a whole and counted by ``version``, so that any thread may read it. ``phase``: waiting,
    scanning, writing (the report is being made), done, or failed. ``report`` is the page of the finished scan.
    ``key``: what identifies the scan among those of a server, its name by default.
    """

    def __init__(
        self, open_broker: Callable[[], Broker | None], name: str, topics: ScanTopics, key: str | None = None
    ) -> None:
        self.name = name
        self.key = key or name
        self.log = FitLog()  # a new one if it has to begin again
        self.report: bytes | None = None
        self.version = 0
        self.status: dict[str, Any] = {"phase": "waiting", "scan": name}
        self._open_broker = open_broker
        self._topics = topics
        self._stop = Stop()
        self._thread = threading.Thread(target=self._run, name=f"follow {name}", daemon=True)
        self._progress: Progress | None = None
        self._workers = Workers()
        self._paces = (Pace(PROGRESS_INTERVAL), Pace(DIRECTION_INTERVAL))
        self._announced = 0
        self._unlogged: list[Pixel] = []

    def start(self) -> None:
        """Begin to follow the scan, in a thread."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop following the scan, and wait for the thread (s)."""
        self._stop.request()
        self._thread.join(timeout)

    @property
    def runs(self) -> bool:
        """Whether its thread runs, which is so for some time after `stop` was called."""
        return self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status["phase"] in {"done", "failed"}

    def _publish(self, **changes: Any) -> None:
        changed = self.status | changes
        if changed != self.status:
            self.status = changed
            self.version += 1

    def _run(self) -> None:
        while not (self._stop.requested or self.ended):
            try:
                with ExitStack() as stack:
                    broker = self._reach(stack)
                    if broker is not None:
                        self._follow(broker)
            except BrokerUnavailable as error:  # nothing was read yet, or `_retried` would have caught it
                self._publish(trouble=_text(error))
                self._stop.wait(RETRY_INTERVAL)
            except SkymapError as error:
                self._publish(phase="failed", trouble=_text(error))
            except Exception as error:
                log.exception("cannot follow scan %s", self.name)
                self._publish(phase="failed", trouble=_text(error))

    def _reach(self, stack: ExitStack) -> Broker | None:
        """Open the broker once the scan's plan is there; None if a stop was requested first."""
        broker = None
        while not self._stop.requested:
            if broker is None and (broker := self._open_broker()) is not None:
                stack.enter_context(broker)
            needed = (self._topics.plan, self._topics.collected, self._topics.progress)
            if broker is not None and all(topic in broker.topics(topic) for topic in needed):
                return broker
            self._stop.wait(POLL_INTERVAL)
        return None

    def _follow(self, broker: Broker) -> None:
        """Read the scan to its end."""
        self.log, self._workers, self._announced, self._unlogged = FitLog(), Workers(), 0, []
        with ExitStack() as stack:
            plan = stack.enter_context(PlanReader(broker, self._topics.plan, create=False))
            while (scan := self._retried(lambda: plan.begun_scan(timeout=POLL_INTERVAL))) is None:
                if self._stop.requested:
                    return
            topics = self._open(stack, broker, plan, scan)
            self._publish(phase="scanning", trouble=None, event=event_status(scan.event))
            while not (self._stop.requested or topics.complete):
                if self._retried(lambda: self._read(topics)) or topics.complete:
                    self._log(topics)
                if self.log.full or topics.spool.size >= MAX_SPOOL:
                    self._follow_progress(topics)
                    return
                self._state(topics)
            if not self._stop.requested:
                self._finish(broker, topics)

    def _open(self, stack: ExitStack, broker: Broker, plan: PlanReader, scan: ScanEntry) -> Topics:
        collected = BestFitReader(broker, self._topics.collected, FitValidator(scan), create=False)
        return Topics(
            plan,
            stack.enter_context(collected),
            stack.enter_context(broker.reader(self._topics.progress, create=False)),
            stack.enter_context(Spool(Path(tempfile.gettempdir()))),
        )

    def _retried(self, read: Callable[[], Any]) -> Any:
        """Return what ``read`` returns; None while the broker is unavailable, whose readers reconnect by themselves."""
        try:
            found = read()
        except BrokerUnavailable as error:
            self._publish(trouble=_text(error))
            self._stop.wait(RETRY_INTERVAL)
            return None
        if self.status.get("trouble"):
            self._publish(trouble=None)
        return found

    def _read(self, topics: Topics) -> bool:
        """Read what has arrived, the plan last, so that it has the pixels of all fits; returns True."""
        fits, wait = topics.collected.best_fits, 0.2
        while len(self._unlogged) < MOST_FITS and topics.spool.size < MAX_SPOOL:
            if (found := topics.collected.receive(wait)) is None:
                break
            topics.spool.write(fits.round_of(found.fit), found)
            self._workers.add(decode_round(found.work))
            self._unlogged.append(found.fit.pixel)
            wait = 0.0
        topics.plan.update()
        self._progress = latest_progress(topics.progress, 0) or self._progress
        return True

    def _log(self, topics: Topics) -> None:
        """Add what was read to the log, the pixels before their fits."""
        fresh = topics.plan.plan.started[self._announced :]
        self._announced += len(fresh)
        self.log.add_pixels(fresh)
        for pixel in dict.fromkeys(self._unlogged):
            self.log.add_fit(topics.collected.best_fits[pixel])
        self._unlogged = []

    def _state(self, topics: Topics) -> None:
        """Publish the progress and the direction when they are due."""
        plan, fits = topics.plan.plan, topics.collected.best_fits
        work: tuple[Callable[[], dict[str, Any]], ...] = (
            lambda: progress_status(plan, fits, self._progress, self._workers),
            lambda: direction_status(plan, fits, topics.statements),
        )
        for pace, state in zip(self._paces, work, strict=True):
            began, before = time.monotonic(), time.thread_time()
            if pace.due(began):
                self._publish(**state())
                pace.done(began, time.thread_time() - before)

    def _follow_progress(self, topics: Topics) -> None:
        """Follow a scan whose fits are too many for a page, by the snapshots of its saver alone."""
        topics.spool.close()
        self._publish(note="This scan is too large for a page: it shows the progress alone.")
        found = self._progress
        while not self._stop.requested:
            if found is not None:
                self._progress = found
                self._publish(**saver_status(found), **counts(found))
                if found.phase is ProgressPhase.DONE:
                    self._publish(phase="done", note="This scan has ended. It is too large for a page.")
                    return
            found = self._retried(lambda: latest_progress(topics.progress, POLL_INTERVAL))

    def _finish(self, broker: Broker, topics: Topics) -> None:
        """Make the report, the same as the saver's but for the links to its files."""
        plan, fits = topics.plan.plan, topics.collected.best_fits
        self._publish(phase="writing", trouble=None, **progress_status(plan, fits, self._progress, self._workers))
        self._publish(**direction_status(plan, fits, topics.statements))
        result = scan_result(plan, fits, topics.statements)
        report = ScanReport(result, history=list(fit_history(plan, fits, topics.spool)))
        self.report = report_html(with_event(report, broker, topics.collected, topics.spool))
        self._publish(phase="done")


def _text(error: Exception) -> str:
    return bounded_line(str(error) or type(error).__name__, MAX_ERROR)
