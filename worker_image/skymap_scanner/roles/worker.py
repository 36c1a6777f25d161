"""The worker: takes one task at a time, fits it, stores the fit, and only then acknowledges the task.

    to_be_scanned ─▶ fit ─▶ scanned

While a fit is on its way to the broker the next task is fitted. Crash reports say which tasks have
ended their workers; after too many attempts a task becomes a failed fit.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skymap_api.names import WORKERS_SUBSCRIPTION, ScanTopics
from skymap_scanner.broker.protocol import Broker, Message, Outgoing, SubscriptionType
from skymap_scanner.errors import BrokerError, ReconstructionError, SkymapError
from skymap_scanner.event.prepared_frames import prepared_from_frames
from skymap_scanner.i3 import FitStatus, Frame
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, failed_fit
from skymap_scanner.roles.crash_reports import (
    CrashReport,
    CrashWatch,
    attempt_number,
    reason_to_give_up,
    task_identity,
)
from skymap_scanner.roles.in_flight import InFlightFile
from skymap_scanner.roles.pending_publishes import PendingPublishes
from skymap_scanner.roles.rejected_messages import RejectedMessages
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import Task, checked_fit, fit_frame, read_task
from skymap_scanner.roles.topics import METADATA_PROPERTY, PARAMETERS_PROPERTY, RECONSTRUCTION_PROPERTY, read_metadata

log = logging.getLogger(__name__)

#: Events kept ready to fit: a worker serves one scan at a time, two while one ends and the next begins.
CACHED_EVENTS = 2

#: After a fit that took longer (s) the worker waits until it is stored: that costs next to nothing, and leaves nothing
#: to repeat should the next fit end the worker.
WORTH_WAITING = 0.05

#: A worker fits nothing further while so many fits are on their way: they are what its death makes others repeat.
MAX_PENDING = 8

#: Seconds to wait for a task: while fits are on their way, and else.
SHORT_WAIT, LONG_WAIT = 0.005, 0.5


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How tasks are fitted.

    ``reconstruction`` replaces the one that the scan asks for. A task that has ended or hung ``max_attempts`` workers
    becomes a failed fit that says so; a worker hangs when it takes longer than ``max_task_seconds``. ``prefetch``: how
    many tasks may be sent ahead; none is right for fits that take longer than the way to the broker.
    """

    reconstruction: str | None = None
    max_attempts: int = 10
    max_task_seconds: float = 600.0
    prefetch: int = 0


def work(
    broker: Broker, topics: ScanTopics, stop: Stop, in_flight: InFlightFile, settings: WorkerSettings | None = None
) -> None:
    """Fit tasks until asked to stop; ``in_flight`` records the one that is being fitted.

    Raises
    ------
    ReconstructionError
        If the reconstruction cannot run here at all.
    BrokerError
        If the broker refuses; BrokerUnavailable if it cannot be reached.
    """
    settings = settings or WorkerSettings()
    fitters = Fitters(broker)
    rejected = RejectedMessages(topics.to_be_scanned)
    fitted, busy, began = 0, 0.0, time.monotonic()
    timeout, prefetch, shared = settings.max_task_seconds, settings.prefetch, SubscriptionType.SHARED
    with (
        broker.consumer(
            topics.to_be_scanned, WORKERS_SUBSCRIPTION, shared, ack_timeout=timeout, prefetch=prefetch
        ) as tasks,
        broker.producer(topics.scanned, f"worker-{uuid.uuid4()}") as scanned,
        CrashWatch(broker, topics.crash_reports, in_flight.report_crashes) as crashes,
    ):
        pending = PendingPublishes(tasks, scanned, MAX_PENDING + prefetch)
        while not stop.requested:
            message = tasks.receive(SHORT_WAIT if pending else LONG_WAIT)
            crashes.poll()
            if message is None:
                pending.flush()
                continue
            try:
                job = read_job(message, settings.reconstruction)
            except BrokerError as error:
                rejected.add(message, error)
                tasks.ack(message)
                continue
            started = time.monotonic()
            fit = _fit_or_give_up(job, message.attempts, crashes.of(job.identity), fitters, in_flight, settings)
            seconds = time.monotonic() - started
            payload = fit_frame(job.frame, fit, job.reconstruction)
            pending.publish(message, Outgoing(payload, key=message.key, properties=message.properties))
            if seconds >= WORTH_WAITING:
                pending.flush()
            busy += seconds
            fitted += 1
        pending.flush()
    log.info(
        "%d fits in %.1f s, of which %.1f s fitting; %d messages were no tasks",
        fitted,
        time.monotonic() - began,
        busy,
        rejected.count,
    )


def _fit_or_give_up(
    job: Job,
    delivered: int,
    reports: Sequence[CrashReport],
    fitters: Fitters,
    in_flight: InFlightFile,
    settings: WorkerSettings,
) -> Fit:
    """Fit a task, unless it has been tried too often."""
    attempt = attempt_number(delivered, reports)
    if attempt > settings.max_attempts:
        return failed_fit(job.task.start, FitStatus.GeneralFailure, reason_to_give_up(attempt - 1, reports))
    with in_flight.task(job.identity, job.task.name, settings.max_task_seconds):
        return _fit(fitters.of(job), job.task)


def _fit(fitter: EventFitter, task: Task) -> Fit:
    """Fit; an error that the reconstruction did not foresee is a failed fit: it would come again with every attempt."""
    try:
        return checked_fit(fitter.fit(task.start), task.start)
    except (SkymapError, MemoryError, OSError):  # of this machine, perhaps: another worker may fare better
        raise
    except Exception as error:
        log.exception("the reconstruction has a fault: it failed over %s", task.name)
        reason = f"the reconstruction raised {type(error).__name__}: {error}"
        return failed_fit(task.start, FitStatus.GeneralFailure, reason)


@dataclass(frozen=True, slots=True)
class Job:
    """A task with all that its message says: how to fit it, and which event (names of metadata topics)."""

    task: Task
    frame: Frame
    identity: str
    metadata: tuple[str, ...]
    reconstruction: str
    parameters: str


def read_job(message: Message, reconstruction: str | None = None) -> Job:
    """Read a task's message; ``reconstruction`` replaces the one that it asks for.

    Raises
    ------
    BrokerError
        If it is no task.
    """
    task, frame = read_task(message.payload)
    properties = message.properties
    missing = [name for name in (METADATA_PROPERTY, RECONSTRUCTION_PROPERTY) if not properties.get(name)]
    if missing:
        raise BrokerError(f"the task {message.key} has no property {missing[0]!r}: was it sent by another program?")
    return Job(
        task=task,
        frame=frame,
        identity=task_identity(message.payload, properties),
        metadata=tuple(properties[METADATA_PROPERTY].split(";")),
        reconstruction=reconstruction or properties[RECONSTRUCTION_PROPERTY],
        parameters="{}" if reconstruction else properties.get(PARAMETERS_PROPERTY, "{}"),
    )


class Fitters:
    """Reconstructions set up for the events that tasks belong to; made at an event's first task, then kept."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ready: OrderedDict[tuple[tuple[str, ...], str, str], EventFitter] = OrderedDict()

    def of(self, job: Job) -> EventFitter:
        """Return the fitter for this task's event."""
        key = (job.metadata, job.reconstruction, job.parameters)
        if key not in self._ready:
            self._ready[key] = self._set_up(job)
            while len(self._ready) > CACHED_EVENTS:
                self._ready.popitem(last=False)
        self._ready.move_to_end(key)
        return self._ready[key]

    def _set_up(self, job: Job) -> EventFitter:
        began = time.monotonic()
        parameters: dict[str, Any] = json.loads(job.parameters)
        event = prepared_from_frames([read_metadata(self._broker, topic) for topic in job.metadata])
        reconstruction = load(job.reconstruction, parameters)
        try:
            fitter = reconstruction.set_up(event)
        except ReconstructionError as error:
            raise ReconstructionError(f"event {event.name}: {error}") from error
        log.info("%s is set up for event %s in %.2f s", job.reconstruction, event.name, time.monotonic() - began)
        return fitter
