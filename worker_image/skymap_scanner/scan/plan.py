"""The plan: what the producer has decided, as messages on ``<scan>-plan``. From it all know what is complete.

The first entry is the scan itself, then come the levels, at last the end. An ``ahead`` entry tells of pixels that were
started early on a guess. The tasks of all entries are numbered in the order of the plan: that number is the task's
sequence id, so that a producer that starts again sends nothing twice.

An entry that comes twice, or from a second producer that was behind, changes nothing: of the scan, and of each level,
the first entry counts; a pixel is started once; after the end nothing counts.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from skymap_api.resource.base import describe_errors
from skymap_scanner.errors import BrokerError, InputError
from skymap_scanner.scan.levels import Area, Level, check_levels, parse_area, parse_levels
from skymap_scanner.scan.pixels import Pixel, read_ranges, write_ranges


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def encode(self) -> bytes:
        """Return the entry as JSON."""
        return self.model_dump_json().encode()


class EventFacts(_Entry):
    """What the results say of the event."""

    name: str
    run: int
    event: int
    mjd: float
    kind: str
    real: bool
    metadata_topics: tuple[str, ...]


class ScanEntry(_Entry):
    """The scan: everything that decides its map."""

    kind: Literal["scan"] = "scan"
    version: Literal[1] = 1
    name: str
    event: EventFacts
    levels: str
    seeds: int
    area: str | None = None
    pixels: str | None = None
    reconstruction: str
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    keep_all_seeds: bool = False

    def parsed_levels(self) -> tuple[Level, ...]:
        """Return the levels, checked."""
        return check_levels(parse_levels(self.levels))

    def parsed_area(self) -> Area | None:
        """Return the area of the first level."""
        return None if self.area is None else parse_area(self.area)


class LevelEntry(_Entry):
    """A level is decided: all its ``pixels`` (ranges), of which an ahead entry has not yet started ``tasks``."""

    kind: Literal["level"] = "level"
    nside: int
    pixels: str
    tasks: str


class AheadEntry(_Entry):
    """Pixels of the next level, started on a guess."""

    kind: Literal["ahead"] = "ahead"
    nside: int
    tasks: str


class EndEntry(_Entry):
    """Nothing more will be planned."""

    kind: Literal["end"] = "end"


PlanEntry = Annotated[ScanEntry | LevelEntry | AheadEntry | EndEntry, Field(discriminator="kind")]
_ENTRY: TypeAdapter[PlanEntry] = TypeAdapter(PlanEntry)


def decode_entry(payload: bytes) -> PlanEntry:
    """Read one message of the plan.

    Raises
    ------
    BrokerError
        If it is not one: another version, or another program, has written to this topic.
    """
    try:
        return _ENTRY.validate_json(payload)
    except ValidationError as error:
        raise BrokerError(
            f"the plan topic holds a message that this version does not understand ({describe_errors(error, most=1)})"
        ) from error


class Plan:
    """The plan as far as it has been read; ``add`` is the only thing that changes it."""

    def __init__(self) -> None:
        self.scan: ScanEntry | None = None
        self.levels: dict[int, list[Pixel]] = {}
        self.ended = False
        self.started: list[Pixel] = []  # in the order of their tasks' numbers
        self._started: set[Pixel] = set()

    def add(self, entry: PlanEntry) -> None:
        """Take the next entry.

        Raises
        ------
        BrokerError
            If the plan does not begin with its scan.
        """
        if isinstance(entry, ScanEntry):
            self.scan = self.scan or entry
            return
        if self.scan is None:
            raise BrokerError("the plan does not begin with its scan: was the topic cut?")
        if isinstance(entry, EndEntry):
            self.ended = True
        elif not self.ended and entry.nside not in self.levels:
            if isinstance(entry, LevelEntry):
                self.levels[entry.nside] = _pixels(entry.nside, entry.pixels)
            fresh = [pixel for pixel in _pixels(entry.nside, entry.tasks) if pixel not in self._started]
            self.started += fresh
            self._started.update(fresh)

    def has_started(self, pixel: Pixel) -> bool:
        """Tell whether there are tasks of this pixel."""
        return pixel in self._started

    def planned(self) -> Iterable[Pixel]:
        """Every pixel of the map, by level and index."""
        return (pixel for nside in sorted(self.levels) for pixel in self.levels[nside])

    def complete(self, done: Container[Pixel]) -> bool:
        """Tell whether the plan has ended and every planned pixel is in ``done``."""
        return self.ended and all(pixel in done for pixel in self.planned())


def level_entry(nside: int, pixels: Sequence[Pixel], started: Iterable[Pixel]) -> LevelEntry:
    """Announce a level of which some pixels may be ``started`` already."""
    before = set(started)
    return LevelEntry(
        nside=nside,
        pixels=write_ranges(pixel.index for pixel in pixels),
        tasks=write_ranges(pixel.index for pixel in pixels if pixel not in before),
    )


def ahead_entry(nside: int, pixels: Sequence[Pixel]) -> AheadEntry:
    """Announce pixels that start on a guess."""
    return AheadEntry(nside=nside, tasks=write_ranges(pixel.index for pixel in pixels))


def _pixels(nside: int, ranges: str) -> list[Pixel]:
    return [Pixel(nside, index) for index in read_ranges(ranges)]


def check_same_scan(found: ScanEntry, wanted: ScanEntry) -> None:
    """Check that a scan that is there already is the one that is wanted.

    Raises
    ------
    InputError
        If it differs, naming the first field that does.
    """
    for field in ScanEntry.model_fields:
        if getattr(found, field) != getattr(wanted, field):
            raise InputError(
                f"a scan named {wanted.name!r} is there already, with another {field}: "
                f"{getattr(found, field)} instead of {getattr(wanted, field)}. "
                f"Choose another name, or the same {field} to resume it"
            )
