"""Tasks as a worker receives them, and the reconstructions that fit them."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from functools import lru_cache

from skymap_scanner.broker.protocol import Broker, Message
from skymap_scanner.errors import BrokerError, ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.prepared_frames import prepared_from_frames
from skymap_scanner.i3 import FitStatus, Frame
from skymap_scanner.reconstruction import load, software_of
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Reconstruction, Start, failed_fit
from skymap_scanner.roles.task_frames import Task, decode_task
from skymap_scanner.roles.topics import (
    METADATA_PROPERTY,
    PARAMETERS_PROPERTY,
    RECONSTRUCTION_PROPERTY,
    SOFTWARE_PROPERTY,
    read_metadata,
)
from skymap_scanner.roles.worker.crash_reports import task_identity
from skymap_scanner.scan.pixels import is_resimulation

log = logging.getLogger(__name__)

#: Events kept set up: a worker serves one scan at a time, and two while one ends and the next begins.
CACHED_EVENTS = 2


@dataclass(frozen=True, slots=True)
class ReceivedTask:
    """A task with everything its message states.

    ``identity``: see `crash_reports.task_identity`; ``metadata``: the topics of the event's frames; ``parameters``:
    JSON, passed to the reconstruction; ``software``: what must make the fit; ``own_reconstruction``: the worker fits
    with a reconstruction of its own, so that only the version of the scanner must be that of the scan.
    """

    task: Task
    frame: Frame
    identity: str
    metadata: tuple[str, ...]
    reconstruction: str
    parameters: str
    software: str
    own_reconstruction: bool


def decode_task_message(message: Message, reconstruction: str | None = None) -> ReceivedTask:
    """Decode the message of a task; ``reconstruction`` replaces the one that the task asks for.

    Raises BrokerError if the message is not a task.
    """
    task, frame = decode_task(message.payload)
    properties = message.properties
    missing = [
        name for name in (METADATA_PROPERTY, RECONSTRUCTION_PROPERTY, SOFTWARE_PROPERTY) if not properties.get(name)
    ]
    if missing:
        raise BrokerError(f"the task {message.key} has no property {missing[0]!r}: was it sent by another program?")
    return ReceivedTask(
        task=task,
        frame=frame,
        identity=task_identity(message.payload, properties),
        metadata=tuple(properties[METADATA_PROPERTY].split(";")),
        reconstruction=reconstruction or properties[RECONSTRUCTION_PROPERTY],
        parameters="{}" if reconstruction else properties.get(PARAMETERS_PROPERTY, "{}"),
        software=properties[SOFTWARE_PROPERTY],
        own_reconstruction=reconstruction is not None,
    )


class Fitters:
    """Reconstructions set up for an event: made for the first task of the event, then cached."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ready = lru_cache(CACHED_EVENTS)(self._set_up)

    def of(self, task: ReceivedTask) -> EventFitter:
        """Return the fitter for the event of this task.

        Raises ReconstructionError if the reconstruction cannot be set up, or is not that of the scan; BrokerError if
        the event's frames cannot be read.
        """
        resimulated = is_resimulation(task.task.pixel)
        asked = task.reconstruction, task.parameters, task.software, task.own_reconstruction
        return self._ready(task.metadata, *asked, resimulated)

    def _set_up(
        self,
        metadata: tuple[str, ...],
        name: str,
        parameters: str,
        software: str,
        own_reconstruction: bool,
        resimulated: bool,
    ) -> EventFitter:
        began = time.monotonic()
        reconstruction = load(name, json.loads(parameters))
        own = software_of(reconstruction)
        wanted, there = (one.partition(",")[0] if own_reconstruction else one for one in (software, own))
        if wanted != there:
            raise ReconstructionError(
                f"the scan is fitted by '{software}', this worker is '{own}', and one map must not be made by both: "
                "start workers of the version that began the scan. On processors of different kinds, set "
                "NUMBA_CPU_NAME and NUMBA_CPU_FEATURES alike for all parts of a scan"
            )
        event = prepared_from_frames([read_metadata(self._broker, topic) for topic in metadata])
        try:
            fitter = _resimulations(reconstruction, name, event) if resimulated else reconstruction.set_up(event)
        except ReconstructionError as error:
            if own_reconstruction and resimulated:  # the scan's own can; without these fits it would never end
                return _NoResimulations(str(error))
            raise ReconstructionError(f"event {event.name}: {error}") from error
        log.info("%s is set up for event %s in %.2f s", name, event.name, time.monotonic() - began)
        return fitter


class _NoResimulations:
    """Fails all re-simulations, for ``reason``."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def fit(self, start: Start) -> Fit:
        """Return a failed fit."""
        return failed_fit(start, FitStatus.GeneralFailure, self._reason)


def _resimulations(reconstruction: Reconstruction, name: str, event: PreparedEvent) -> EventFitter:
    from skymap_scanner.simulation.resimulation import Resimulations  # noqa: PLC0415 - few workers simulate

    return Resimulations(reconstruction, name, event)
