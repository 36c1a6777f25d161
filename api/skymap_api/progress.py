"""The progress snapshot of a scan: small JSON messages on ``<scan>-progress``, the last of which counts.

The saver writes it; the command line, the operator and the dashboard read it. Its topic belongs to a tenant, so a
reader must expect any bytes: everything that validates is finite, bounded and safe to compute with.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from skymap_api.names import MAX_SCAN_NAME
from skymap_api.resource.base import INT32, Count, Number
from skymap_api.resource.status import BestFitStatus, CalibrationStatus, FileName, LevelStatus, NoticesStatus, Status
from skymap_api.validation_errors import describe_errors

#: Longest text of an obstacle (characters) and most files that a snapshot names.
MAX_OBSTACLE, MAX_OUTPUTS = 4096, 64

#: Longest message (bytes): all texts at their longest, each character escaped, are shorter.
MAX_MESSAGE = 1 << 18

Seconds = Annotated[Number, Field(ge=0, le=INT32)]


class ProgressPhase(StrEnum):
    """What the saver is waiting for or doing."""

    SCANNING = "scanning"
    WRITING = "writing"
    DONE = "done"


class FitCounts(Status):
    """Numbers of fits: one for each pixel and seed."""

    done: Count
    """Fits that are done."""
    started: Count
    """Fits that the plan has started: they are done, or in the queue, or will be at once."""
    planned: Count
    """Fits of the whole scan, estimated until everything is decided."""


class Progress(Status):
    """A snapshot."""

    name: Annotated[str, Field(max_length=MAX_SCAN_NAME)]
    """Name of the scan in Pulsar."""
    phase: ProgressPhase
    """What the saver is waiting for or doing."""
    levels: Annotated[tuple[LevelStatus, ...], Field(max_length=14)]
    """Pixels of each level, the coarsest first."""
    fits: FitCounts
    """Fits of all levels."""
    rate: Annotated[Number, Field(ge=0)]
    """Recent rate (fits per second)."""
    eta: Seconds | None
    """Time left at this rate (s); None where it is unknown."""
    elapsed: Seconds
    """Time since the saver started (s)."""
    best: BestFitStatus | None
    """The best fit so far."""
    calibration: CalibrationStatus | None = None
    """Re-simulations of the event that calibrate its contours; None if the scan has none."""
    outputs: Annotated[tuple[FileName, ...], Field(max_length=MAX_OUTPUTS)] = ()
    """Names of the files that are written; until the saver is done, more follow."""
    obstacle: Annotated[str, Field(max_length=MAX_OBSTACLE)] | None = None
    """What keeps the saver from writing, such as a full disk; it retries."""

    left_out: Annotated[str, Field(max_length=MAX_OBSTACLE)] | None = None
    """Formats that are not written for lack of memory, and why."""
    notices: NoticesStatus | None = None
    """Notices that the saver sends; None if it sends none."""

    @model_validator(mode="after")
    def _totals_are_bounded(self) -> Self:
        for count in ("done", "planned", "failed"):
            if sum(getattr(level, count) for level in self.levels) > INT32:
                raise ValueError(f"levels: more than {INT32} pixels {count}")
        return self

    @property
    def done(self) -> int:
        """Pixels done in all levels."""
        return sum(level.done for level in self.levels)

    @property
    def planned(self) -> int:
        """Pixels of all levels, estimated where a level is not decided yet."""
        return sum(level.planned for level in self.levels)

    @property
    def failed(self) -> int:
        """Pixels of all levels without any successful fit."""
        return sum(level.failed for level in self.levels)


def encode_progress(progress: Progress) -> bytes:
    """Return the message of a snapshot."""
    return progress.model_dump_json().encode()


def decode_progress(payload: bytes) -> Progress:
    """Read a message of the progress topic.

    Raises ValueError if it is not a snapshot, or one of another version; the message names the field.
    """
    if len(payload) > MAX_MESSAGE:
        raise ValueError(f"not a progress snapshot of this version: {len(payload)} bytes, more than {MAX_MESSAGE}")
    try:
        return Progress.model_validate_json(payload)
    except ValidationError as error:
        raise ValueError(f"not a progress snapshot of this version: {describe_errors(error, most=1)}") from error
