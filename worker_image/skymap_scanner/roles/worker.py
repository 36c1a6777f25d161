"""The worker: takes one task at a time, fits it, stores the fit, and only then acknowledges the task.

to_be_scanned ─▶ fit ─▶ scanned
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from skymap_scanner.broker.protocol import Broker, Message, Outgoing, SubscriptionType
from skymap_scanner.errors import BrokerError, ReconstructionError
from skymap_scanner.event.frames import prepared_from_frames
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.protocol import EventFitter, failed_fit
from skymap_scanner.roles.frames import fit_frame, read_task
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import (
    METADATA_PROPERTY,
    PARAMETERS_PROPERTY,
    RECONSTRUCTION_PROPERTY,
    WORKERS,
    ScanTopics,
    read_metadata,
)

log = logging.getLogger(__name__)

#: Events kept ready to fit: a worker serves one scan at a time, two while one ends and the next begins.
CACHED_EVENTS = 2


def work(
    broker: Broker,
    topics: ScanTopics,
    stop: Stop,
    *,
    reconstruction: str | None = None,
    max_attempts: int = 10,
    max_task_seconds: float = 600.0,
) -> None:
    """Fit tasks until asked to stop.

    ``reconstruction`` replaces the one that the scan asks for. A task whose worker does not answer within
    ``max_task_seconds`` goes to another worker; a task that was delivered more than ``max_attempts`` times has killed
    or hung that many workers, and becomes a failed fit that says so.

    Raises
    ------
    ReconstructionError
        If the reconstruction cannot run here at all.
    BrokerError
        If the broker refuses, or a task cannot be read.
    """
    fitters = Fitters(broker, reconstruction)
    fitted, busy, began = 0, 0.0, time.monotonic()
    with (
        broker.consumer(topics.to_be_scanned, WORKERS, SubscriptionType.SHARED, ack_timeout=max_task_seconds) as tasks,
        broker.producer(topics.scanned, f"worker-{uuid.uuid4()}") as scanned,
    ):
        while not stop.requested:
            message = tasks.receive(timeout=0.5)
            if message is None:
                continue
            task, frame = read_task(message.payload)
            started = time.monotonic()
            if message.attempts > max_attempts:
                fit = failed_fit(
                    task.start,
                    FitStatus.GeneralFailure,
                    f"given up after {message.attempts - 1} attempts that ended or hung their workers",
                )
            else:
                fit = fitters.of(message).fit(task.start)
            busy += time.monotonic() - started
            payload = fit_frame(frame, fit, fitters.name(message))
            scanned.send(Outgoing(payload, key=message.key, properties=message.properties))
            tasks.ack(message)
            fitted += 1
    log.info("%d fits in %.1f s, of which %.1f s fitting", fitted, time.monotonic() - began, busy)


class Fitters:
    """Reconstructions set up for the events that tasks belong to; made at an event's first task, then kept."""

    def __init__(self, broker: Broker, reconstruction: str | None) -> None:
        self._broker = broker
        self._reconstruction = reconstruction
        self._ready: OrderedDict[tuple[str, str, str], EventFitter] = OrderedDict()

    def name(self, message: Message) -> str:
        """Return the reconstruction that fits this task."""
        return self._reconstruction or _property(message, RECONSTRUCTION_PROPERTY)

    def of(self, message: Message) -> EventFitter:
        """Return the fitter for this task's event."""
        metadata = _property(message, METADATA_PROPERTY)
        name = self.name(message)
        parameters = "{}" if self._reconstruction else message.properties.get(PARAMETERS_PROPERTY, "{}")
        key = (metadata, name, parameters)
        if key not in self._ready:
            self._ready[key] = self._set_up(metadata, name, json.loads(parameters))
            while len(self._ready) > CACHED_EVENTS:
                self._ready.popitem(last=False)
        self._ready.move_to_end(key)
        return self._ready[key]

    def _set_up(self, metadata: str, name: str, parameters: Mapping[str, Any]) -> EventFitter:
        began = time.monotonic()
        event = prepared_from_frames([read_metadata(self._broker, topic) for topic in metadata.split(";")])
        reconstruction = load(name, parameters)
        try:
            fitter = reconstruction.set_up(event)
        except ReconstructionError as error:
            raise ReconstructionError(f"event {event.name}: {error}") from error
        log.info("%s is set up for event %s in %.2f s", name, event.name, time.monotonic() - began)
        return fitter


def _property(message: Message, name: str) -> str:
    try:
        return message.properties[name]
    except KeyError:
        raise BrokerError(f"the task {message.key} has no property {name!r}: was it sent by another program?") from None
