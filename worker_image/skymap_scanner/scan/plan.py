"""The plan of a scan: the decisions of the producer, as messages on ``<scan>-plan``, which all roles read.

The first entry is the scan itself, followed by its levels and the end. A ``seeds`` entry lists pixels of the newest
level that are fitted from more seeds, an ``ahead`` entry pixels that are started early, on a guess. A ``calibration``
entry comes between the last level and the end of a scan that calibrates its contours. The tasks of all entries are
numbered in the order of the plan. The number is the sequence id of the task, so that a producer that restarts sends
nothing twice. The pixels of the first level are spread over the sky, for an early preview, those of other entries are
in the order of their indices.

A duplicate entry, or one of a second producer that is behind, changes nothing: the first entry of the scan, of each
level and of the calibration counts, a round of a pixel is started once, seeds are added to the newest level only, an
end counts only for the levels that its producer knew, and entries after the end are ignored.
"""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from skymap_api.validation_errors import describe_errors
from skymap_scanner.errors import BrokerError, InputError, SoftwareMismatchError
from skymap_scanner.scan.levels import Area, Level, parse_area, parse_levels
from skymap_scanner.scan.pixels import (
    Pixel,
    is_resimulation,
    read_ranges,
    resimulation,
    spread_over_sky,
    write_ranges,
)
from skymap_scanner.scan.seeds import Round, Seeding


class _Entry(BaseModel):
    # Infinity stays a number, as in the properties of the tasks: the roles must read the same parameters.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="constants")

    def encode(self) -> bytes:
        """Return the entry as JSON."""
        return self.model_dump_json().encode()


#: Fewest and most re-simulations that calibrate the contours of one event: fewer tell nothing about its 90 % region.
MIN_RESIMULATIONS, MAX_RESIMULATIONS = 60, 1000


def check_calibrate(count: int) -> int:
    """Return ``count`` if it is a valid number of re-simulations; raises InputError if it is not."""
    if count and not MIN_RESIMULATIONS <= count <= MAX_RESIMULATIONS:
        raise InputError(f"calibrate {count}: choose {MIN_RESIMULATIONS} to {MAX_RESIMULATIONS} re-simulations, or 0")
    return count


class EventFacts(_Entry):
    """Facts about the event that the results contain."""

    name: str
    """Name of the event."""
    run: int
    """Run number."""
    event: int
    """Event number."""
    sub_event: int = 0
    """Number of the sub-event in its stream."""
    sub_event_stream: str = ""
    """Stream of the sub-event; other characters than A-Za-z0-9._+- as -."""
    choice: str = ""
    """Which other events of its file could have been meant."""
    caution: str = ""
    """What the preparation of the event had to do without."""
    mjd: float
    """Time of the event (UTC, days)."""
    kind: str
    """Type of the alert, the third part of the name."""
    real: bool
    """False for a simulated event."""
    metadata_topics: tuple[str, ...]
    """Topics of the event's frames."""


class ScanEntry(_Entry):
    """The scan: everything that determines its map."""

    kind: Literal["scan"] = "scan"
    """Form of the entry."""
    version: Literal[1] = 1
    """Version of the plan."""
    name: str
    """Name of the scan."""
    event: EventFacts
    """The event."""
    levels: str
    """NSIDE:PARENTS or NSIDE:PROBABILITY:PARENTS of each level."""
    seeds: int
    """Seeds of each pixel around a vertex."""
    first_seeds: int | None = None
    """How many of them every pixel is fitted from; the others only where needed. None: all."""
    area: str | None = None
    """NSIDE,PIXEL,COUNT: only these pixels of the first level."""
    pixels: str | None = None
    """Ranges of pixels of the first level; only these."""
    reconstruction: str
    """Name of the reconstruction."""
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    """Its parameters."""
    software: str = ""
    """What makes the fits: the version of the scanner, and the identity of the reconstruction."""
    keep_all_seeds: bool = False
    """Whether the fits of all seeds are kept."""
    calibrate: Annotated[int, Field(ge=0, le=MAX_RESIMULATIONS)] = 0
    """Number of re-simulations of the event that calibrate its contours."""

    def parsed_levels(self) -> tuple[Level, ...]:
        """Return the validated levels."""
        return parse_levels(self.levels)

    @cached_property
    def seeding(self) -> Seeding:
        """The validated seeds."""
        first = self.seeds if self.first_seeds is None else self.first_seeds
        return Seeding(self.seeds, first, self.parsed_levels()[0].nside)

    def parsed_area(self) -> Area | None:
        """Return the area of the first level, or None for the whole sky."""
        return None if self.area is None else parse_area(self.area)


class LevelEntry(_Entry):
    """A level and its pixels."""

    kind: Literal["level"] = "level"
    """Form of the entry."""
    nside: int
    """The level's nside."""
    pixels: str
    """Ranges of all its pixels."""
    tasks: str
    """Ranges of those pixels that no ahead entry has started."""


class SeedsEntry(_Entry):
    """Pixels of the newest level that are fitted from the other seeds too."""

    kind: Literal["seeds"] = "seeds"
    """Form of the entry."""
    nside: int
    """The level's nside."""
    tasks: str
    """Ranges of the pixels."""


class AheadEntry(_Entry):
    """Pixels of the next level, started early on a guess."""

    kind: Literal["ahead"] = "ahead"
    """Form of the entry."""
    nside: int
    """The next level's nside."""
    tasks: str
    """Ranges of the pixels that are started."""


class CalibrationEntry(_Entry):
    """Re-simulations of the event, as many as the scan entry says, from the fit of its best pixel."""

    kind: Literal["calibration"] = "calibration"
    """Form of the entry."""
    nside: int
    """The pixel's nside."""
    pixel: int
    """Its index."""


class EndEntry(_Entry):
    """The end of the plan."""

    kind: Literal["end"] = "end"
    """Form of the entry."""
    levels: int
    """Number of levels of the plan."""


PlanEntry = Annotated[
    ScanEntry | LevelEntry | SeedsEntry | AheadEntry | CalibrationEntry | EndEntry, Field(discriminator="kind")
]
_ENTRY: TypeAdapter[PlanEntry] = TypeAdapter(PlanEntry)


def software_in(payload: bytes) -> str | None:
    """Return the software that the first entry of a plan names, even if this version cannot read the rest of it.

    None if the payload is no such entry.
    """
    try:
        found = _FirstEntry.model_validate_json(payload)
    except ValidationError:
        return None
    return found.software


class _FirstEntry(BaseModel):
    """What all versions of a scan's entry have in common."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["scan"]
    software: str = ""


def decode_entry(payload: bytes) -> PlanEntry:
    """Read one message of the plan.

    Raises BrokerError if it is invalid: another version or another program has written to this topic.
    """
    try:
        return _ENTRY.validate_json(payload)
    except ValidationError as error:
        raise BrokerError(
            f"the plan topic holds a message that this version cannot read ({describe_errors(error, most=1)})"
        ) from error


class Plan:
    """The plan read so far; only `add` changes it."""

    def __init__(self) -> None:
        self.scan: ScanEntry | None = None
        self.levels: dict[int, list[Pixel]] = {}
        self.ended = False
        self.started: list[Pixel] = []  # one for each round, in the order of the task numbers
        self.tasks = 0  # of all started rounds
        self.resimulated: Pixel | None = None  # whose fit is simulated again
        self._started: set[Pixel] = set()
        self._rounds: list[tuple[int, int]] = []  # where in ``started`` an entry begins, and the round that it starts
        self._sweeps: dict[Pixel, int] = {}  # number of the seeds entry that started the second round
        self._last_sweep: dict[int, int] = {}  # the last of these numbers, by nside

    def add(self, entry: PlanEntry) -> None:
        """Add the next entry; raises BrokerError if the plan does not begin with the scan."""
        if isinstance(entry, ScanEntry):
            self.scan = self.scan or entry
            return
        if self.scan is None:
            raise BrokerError("the plan does not begin with the scan: was the topic truncated?")
        if isinstance(entry, EndEntry):
            self.ended = self.ended or entry.levels == len(self.levels)
        elif isinstance(entry, SeedsEntry):
            if not self.ended and entry.nside == self.newest:
                self._add_seeds(self.scan.seeding, entry)
        elif isinstance(entry, CalibrationEntry):
            if not self.ended and self.resimulated is None and self.in_level(Pixel(entry.nside, entry.pixel)):
                self.resimulated = Pixel(entry.nside, entry.pixel)
                self._start(self.scan.seeding, self.resimulations, 0)
        elif not self.ended and entry.nside not in self.levels:
            fresh = [pixel for pixel in _pixels(entry.nside, entry.tasks) if pixel not in self._started]
            if isinstance(entry, LevelEntry):
                fresh = fresh if self.levels else spread_over_sky(fresh)
                self.levels[entry.nside] = _pixels(entry.nside, entry.pixels)
            self._start(self.scan.seeding, fresh, 0)
            self._started.update(fresh)

    def _add_seeds(self, seeding: Seeding, entry: SeedsEntry) -> None:
        pixels = _pixels(entry.nside, entry.tasks)
        fresh = [pixel for pixel in pixels if self.in_level(pixel) and pixel not in self._sweeps]
        if fresh:
            sweep = self.sweeps(entry.nside) + 1
            self._start(seeding, fresh, 1)
            self._sweeps |= dict.fromkeys(fresh, sweep)
            self._last_sweep[entry.nside] = sweep

    def _start(self, seeding: Seeding, pixels: Sequence[Pixel], number: int) -> None:
        if pixels:
            self._rounds.append((len(self.started), number))
            self.started += pixels
            self.tasks += len(pixels) * len(seeding.seeds_of(Round(pixels[0], number)))

    @property
    def newest(self) -> int | None:
        """The nside of the newest level; None before the first."""
        return max(self.levels, default=None)

    @property
    def guessed(self) -> int:
        """Number of started pixels that belong to no level yet."""
        return len(self._started) - sum(map(len, self.levels.values()))

    def in_level(self, pixel: Pixel) -> bool:
        """Return whether the pixel belongs to a level; one that was only guessed does not."""
        pixels = self.levels.get(pixel.nside, [])
        place = bisect_left(pixels, pixel)
        return place < len(pixels) and pixels[place] == pixel

    @property
    def resimulations(self) -> Sequence[Pixel]:
        """What stands for the re-simulations of the event; empty before they are started."""
        count = 0 if self.scan is None or self.resimulated is None else self.scan.calibrate
        return [resimulation(number) for number in range(count)]

    def has_started(self, pixel: Pixel, number: int = 0) -> bool:
        """Return whether the plan has tasks of this round of the pixel."""
        return number < self.rounds_of(pixel)

    def rounds_of(self, pixel: Pixel) -> int:
        """Return the number of rounds of this pixel that are started."""
        if is_resimulation(pixel):
            started = self.scan is not None and self.resimulated is not None and 0 <= pixel.index < self.scan.calibrate
            return int(started)
        return 0 if pixel not in self._started else 1 + (pixel in self._sweeps)

    def round_at(self, place: int) -> Round:
        """Return the round at a place of ``started``."""
        return Round(self.started[place], self._rounds[bisect(self._rounds, (place, 2)) - 1][1])

    def sweep_of(self, pixel: Pixel) -> int:
        """Return which seeds entry of its level started the second round of this pixel, counted from 1; 0: none."""
        return self._sweeps.get(pixel, 0)

    def sweeps(self, nside: int) -> int:
        """Return the number of seeds entries of a level."""
        return self._last_sweep.get(nside, 0)

    def planned(self) -> Iterable[Pixel]:
        """Return all pixels of the map, by level and index."""
        return (pixel for nside in sorted(self.levels) for pixel in self.levels[nside])

    def complete(self, done: Callable[[Round], bool]) -> bool:
        """Return whether the plan has ended and all rounds of every planned pixel, and re-simulation, are ``done``."""
        everything = chain(self.planned(), self.resimulations)
        return self.ended and all(
            done(Round(pixel, number)) for pixel in everything for number in range(self.rounds_of(pixel))
        )


def level_entry(nside: int, pixels: Sequence[Pixel], started: Iterable[Pixel]) -> LevelEntry:
    """Return the entry of a level; some of its pixels may be ``started`` already."""
    before = set(started)
    return LevelEntry(
        nside=nside,
        pixels=write_ranges(pixel.index for pixel in pixels),
        tasks=write_ranges(pixel.index for pixel in pixels if pixel not in before),
    )


def seeds_entry(nside: int, pixels: Sequence[Pixel]) -> SeedsEntry:
    """Return the entry of pixels that are fitted from more seeds."""
    return SeedsEntry(nside=nside, tasks=write_ranges(pixel.index for pixel in pixels))


def ahead_entry(nside: int, pixels: Sequence[Pixel]) -> AheadEntry:
    """Return the entry of pixels that are started on a guess."""
    return AheadEntry(nside=nside, tasks=write_ranges(pixel.index for pixel in pixels))


def _pixels(nside: int, ranges: str) -> list[Pixel]:
    return [Pixel(nside, index) for index in read_ranges(ranges)]


def check_same_scan(found: ScanEntry, wanted: ScanEntry) -> None:
    """Check that the existing scan is the wanted one.

    Raises InputError if it differs; the message names the first field that does. SoftwareMismatchError if all that
    comes before the software is the same.
    """
    for field in ScanEntry.model_fields:
        if getattr(found, field) != getattr(wanted, field):
            error = SoftwareMismatchError if field == "software" else InputError
            raise error(
                f"a scan named {wanted.name!r} exists already, with {field} "
                f"{getattr(found, field)}, not {getattr(wanted, field)}. "
                f"Choose another name, or the same {field} to resume it"
            )
