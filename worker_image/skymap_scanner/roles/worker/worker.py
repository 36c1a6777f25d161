"""The worker: fits one task at a time, stores the fit, and acknowledges the task after that.

    plan ─▶ set-up;  to_be_scanned ─▶ fit ─▶ scanned

A worker reads the plan and sets the reconstruction up before it takes a task. One that cannot fit this scan, such as
one of another version, ends without having taken any, however often it is started.

While a fit is being published the next task is fitted. Crash reports state which tasks have crashed their workers;
after too many attempts a failed fit is published for a task.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from skymap_api.names import WORKERS_SUBSCRIPTION, ScanTopics
from skymap_scanner.broker.protocol import Broker, Consumer, Message, Outgoing, Producer, SubscriptionType
from skymap_scanner.errors import BrokerError, SkymapError
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, failed_fit
from skymap_scanner.roles.readers import PlanReader, RejectedMessages
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import Task, checked_fit, fit_frame
from skymap_scanner.roles.work import WORK_PROPERTY, Work, encode_work, worker_name
from skymap_scanner.roles.worker.crash_reports import CrashWatch, reason_to_give_up
from skymap_scanner.roles.worker.fitters import Fitters, ReceivedTask, decode_task_message
from skymap_scanner.roles.worker.in_flight import InFlightFile

log = logging.getLogger(__name__)

#: After a slow fit, one that took longer (s), the worker waits until it is stored: the wait is short by comparison, and
#: a later crash then cannot lose the fit.
FLUSH_AFTER = 0.05

#: Publish window: a worker starts no further fit while so many are pending, since its crash would repeat them all.
MAX_PENDING = 8

#: A worker whose first messages are all rejected ends after so many: the topic holds the tasks of something else.
MAX_REJECTED = 10

#: Time to wait for a task (s): while fits are pending, and otherwise. The latter also delays the end of an idle worker.
SHORT_WAIT, LONG_WAIT = 0.005, 0.1


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How tasks are fitted.

    ``reconstruction`` replaces the one that the scan asks for. A failed fit is published for a task that has crashed or
    hung ``max_attempts`` workers; a worker hangs if a fit takes longer than ``max_task_seconds``. ``prefetch``: number
    of tasks sent ahead to this worker; 0 is right for fits that take longer than a round trip to the broker.
    ``expected``: reconstruction to load before the scan has begun.
    """

    reconstruction: str | None = None
    expected: str | None = None
    max_attempts: int = 10
    max_task_seconds: float = 600.0
    prefetch: int = 0


def work(
    broker: Broker, topics: ScanTopics, stop: Stop, in_flight: InFlightFile, settings: WorkerSettings | None = None
) -> None:
    """Fit tasks until a stop is requested; ``in_flight`` records the task that is being fitted.

    Raises SoftwareMismatchError if another software has begun the scan; ReconstructionError if the reconstruction
    cannot run on this machine; BrokerError if the broker rejects a request, or has tasks of another scan instead of
    this one's; BrokerUnavailable if it cannot be reached.
    """
    settings = settings or WorkerSettings()
    with PlanReader(broker, topics.plan) as plan:
        if settings.expected is not None and plan.begun_scan() is None:
            with in_flight.limit(settings.max_task_seconds):
                _load_ahead(settings.expected)
        scan = plan.wait_for_scan(stop)
    if scan is None:
        return
    # The last line in the log of a worker whose set-up takes longer: nothing else says why it ended.
    log.info("setting up the event; this may take %g s (--max-task-seconds)", settings.max_task_seconds)
    with in_flight.limit(settings.max_task_seconds):
        fitters = Fitters(broker, scan, settings.reconstruction)
    _fit_tasks(broker, topics, stop, in_flight, settings, fitters)


def _load_ahead(name: str) -> None:
    """Load what all fits of a reconstruction need, so that the first fit is as fast as the others."""
    try:
        load(name).compile()
    except Exception as error:  # noqa: BLE001 - it may be another package's; the set-up reports what matters
        log.info("%s is not loaded ahead: %s", name, error)


def _fit_tasks(
    broker: Broker,
    topics: ScanTopics,
    stop: Stop,
    in_flight: InFlightFile,
    settings: WorkerSettings,
    fitters: Fitters,
) -> None:
    rejected, name = RejectedMessages(topics.to_be_scanned), worker_name()
    fitted, busy, began = 0, 0.0, time.monotonic()
    timeout, prefetch, shared = settings.max_task_seconds, settings.prefetch, SubscriptionType.SHARED
    with (
        broker.consumer(
            topics.to_be_scanned, WORKERS_SUBSCRIPTION, shared, ack_timeout=timeout, prefetch=prefetch
        ) as tasks,
        broker.producer(topics.scanned, f"worker-{uuid.uuid4()}") as scanned,
        CrashWatch(broker, topics.crash_reports, in_flight.report_crashes, settings.max_attempts) as crashes,
    ):
        pending = PendingPublishes(tasks, scanned, MAX_PENDING + prefetch)
        while not stop.requested:
            message = tasks.receive(SHORT_WAIT if pending else LONG_WAIT)
            crashes.poll()
            if message is None:
                pending.flush()
                continue
            try:
                task = decode_task_message(message, fitters.properties)
            except BrokerError as error:
                rejected.add(message, error)
                tasks.ack(message)
                if not fitted:
                    _check_any_own(rejected, error)
                continue
            crashed = crashes.of(task.identity)
            started, clock = time.time(), time.monotonic()
            fit = _fit_or_give_up(task, crashed, fitters, in_flight, settings)
            seconds = time.monotonic() - clock
            payload = fit_frame(task.frame, fit, fitters.name)
            work = Work(worker=name, began=started, ended=started + seconds, attempt=1 + len(crashed))
            properties = {**message.properties, WORK_PROPERTY: encode_work(work)}
            pending.publish(message, Outgoing(payload, key=message.key, properties=properties))
            if seconds >= FLUSH_AFTER:
                pending.flush()
            busy += seconds
            fitted += 1
        pending.flush()
    log.info(
        "%d fits in %.1f s, of which %.1f s fitting; %d messages rejected",
        fitted,
        time.monotonic() - began,
        busy,
        rejected.count,
    )


def _check_any_own(rejected: RejectedMessages, last: BrokerError) -> None:
    """Raise BrokerError if so many messages were rejected that the topic cannot be this scan's alone."""
    if rejected.count >= MAX_REJECTED:
        raise BrokerError(
            f"none of the first {rejected.count} tasks is of this scan ({last}): its topics hold what another scan or "
            "program left; delete them (skymap-scanner topics delete, or run --restart) and scan again"
        ) from last


def _fit_or_give_up(
    received: ReceivedTask,
    crashes: Sequence[float | None],
    fitters: Fitters,
    in_flight: InFlightFile,
    settings: WorkerSettings,
) -> Fit:
    """Fit a task, or return a failed fit if it has crashed too many workers."""
    task = received.task
    if len(crashes) >= settings.max_attempts:
        return failed_fit(task.start, FitStatus.GeneralFailure, reason_to_give_up(crashes))
    with in_flight.task(received.identity, task.name, settings.max_task_seconds):
        return _fit(fitters.of(task), task)


def _fit(fitter: EventFitter, task: Task) -> Fit:
    """Fit; an unexpected error of the reconstruction becomes a failed fit, since it would recur at every attempt."""
    try:
        return checked_fit(fitter.fit(task.start), task.start)
    except (SkymapError, MemoryError, OSError):  # may be caused by this machine: another worker may succeed
        raise
    except Exception as error:
        log.exception("the reconstruction failed on %s with an unexpected error", task.name)
        reason = f"the reconstruction raised {type(error).__name__}: {error}"
        return failed_fit(task.start, FitStatus.GeneralFailure, reason)


class PendingPublishes:
    """Publishes fits and acknowledges their tasks, in order; at most ``limit`` fits are pending at a time."""

    def __init__(self, tasks: Consumer, fits: Producer, limit: int) -> None:
        self._limit = limit
        self._tasks = tasks
        self._fits = fits
        self._pairs: deque[tuple[Message, Future[None]]] = deque()

    def __len__(self) -> int:
        return len(self._pairs)

    def publish(self, task: Message, fit: Outgoing) -> None:
        """Start to publish a fit; raises BrokerError if an earlier one could not be stored."""
        self._pairs.append((task, self._fits.submit(fit)))
        self._acknowledge(wait_for=len(self._pairs) - self._limit)

    def flush(self) -> None:
        """Wait until all fits are stored and their tasks are acknowledged."""
        self._acknowledge(wait_for=len(self._pairs))

    def _acknowledge(self, wait_for: int) -> None:
        """Acknowledge the tasks whose fits are stored, and wait for the first ``wait_for`` fits."""
        stored: list[Message] = []
        try:
            while self._pairs and (len(stored) < wait_for or self._pairs[0][1].done()):
                task, future = self._pairs.popleft()
                future.result()
                stored.append(task)
        finally:
            if stored:
                self._tasks.ack(*stored)
