"""The scan as a worker sees it: the tasks that belong to it, and the reconstruction that fits them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from skymap_scanner.broker.protocol import Broker, Message
from skymap_scanner.errors import BrokerError, ReconstructionError, SoftwareMismatchError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.prepared_frames import prepared_from_frames
from skymap_scanner.i3 import FitStatus, Frame
from skymap_scanner.reconstruction import load, software_of
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Reconstruction, Start, failed_fit
from skymap_scanner.roles.task_frames import Task, decode_task
from skymap_scanner.roles.tasks import task_properties
from skymap_scanner.roles.topics import read_metadata
from skymap_scanner.roles.worker.crash_reports import task_identity
from skymap_scanner.scan.pixels import is_resimulation
from skymap_scanner.scan.plan_entries import ScanEntry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReceivedTask:
    """A task, its frame, and its identity; see `crash_reports.task_identity`."""

    task: Task
    frame: Frame
    identity: str


def decode_task_message(message: Message, properties: Mapping[str, str]) -> ReceivedTask:
    """Decode the message of a task of the scan whose tasks have these properties.

    Raises BrokerError if it is not one.
    """
    task, frame = decode_task(message.payload)
    for name, value in properties.items():
        found = message.properties.get(name)
        if found != value:
            raise BrokerError(
                f"the task {message.key} has the {name} {(found or '')[:200]!r}, the scan has {value!r}: was it sent "
                "by another program?"
            )
    return ReceivedTask(task, frame, task_identity(message.payload, message.properties))


class Fitters:
    """The reconstruction of one scan, set up for its event.

    Made before the worker takes its first task: what cannot fit this scan on this machine must take none, because each
    delivery counts towards giving the task up. ``own``: name of a reconstruction that replaces the scan's; then only
    the version of the scanner must be that of the scan. ``name``: that of the reconstruction; ``properties``: those of
    the scan's tasks, see `tasks.task_properties`.

    Raises SoftwareMismatchError if this worker is not the software of the scan; ReconstructionError if the
    reconstruction does not exist here, or cannot be set up; BrokerError if the event's frames cannot be read.
    """

    def __init__(self, broker: Broker, scan: ScanEntry, own: str | None = None) -> None:
        began = time.monotonic()
        self.properties = task_properties(scan)
        self.name = own or scan.reconstruction
        self._own = own is not None
        self._reconstruction = load(self.name, {} if self._own else dict(scan.parameters))
        _check_software(scan.software, software_of(self._reconstruction), own_reconstruction=self._own)
        self._event = prepared_from_frames([read_metadata(broker, topic) for topic in scan.event.metadata_topics])
        try:
            self._fitter = self._reconstruction.set_up(self._event)
        except ReconstructionError as error:
            raise ReconstructionError(f"event {self._event.name}: {error}") from error
        log.info("%s is set up for event %s in %.2f s", self.name, self._event.name, time.monotonic() - began)

    def of(self, task: Task) -> EventFitter:
        """Return what fits this task.

        Raises ReconstructionError if it is a re-simulation and the scan's reconstruction cannot make any.
        """
        return self._resimulations if is_resimulation(task.pixel) else self._fitter

    @cached_property
    def _resimulations(self) -> EventFitter:
        try:
            return _resimulations(self._reconstruction, self.name, self._event)
        except ReconstructionError as error:
            if self._own:  # the scan's own can; without these fits it would never end
                return _NoResimulations(str(error))
            raise ReconstructionError(f"event {self._event.name}: {error}") from error


def _check_software(wanted: str, there: str, *, own_reconstruction: bool) -> None:
    compared = [one.partition(",")[0] if own_reconstruction else one for one in (wanted, there)]
    if compared[0] != compared[1]:
        raise SoftwareMismatchError(
            f"the scan is fitted by '{wanted}', this worker is '{there}', and one map must not be made by both: "
            "start workers of the version that began the scan. On processors of different kinds, set "
            "NUMBA_CPU_NAME and NUMBA_CPU_FEATURES alike for all parts of a scan"
        )


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
