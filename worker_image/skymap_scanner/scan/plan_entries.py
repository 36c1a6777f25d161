"""The entries of a plan: what each holds, how it is written, and what makes it invalid whatever the plan holds so far.

`plan` puts them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from skymap_api.validation_errors import describe_errors
from skymap_scanner.errors import BrokerError, InputError, SoftwareMismatchError
from skymap_scanner.scan.levels import Area, Level, parse_area, parse_levels
from skymap_scanner.scan.pixels import Pixel, check_nside, check_pixels, read_ranges, write_ranges
from skymap_scanner.scan.seeds import Seeding


class _Entry(BaseModel):
    # Infinity stays a number, as in the properties of the tasks: the roles must read the same parameters.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="constants")

    def encode(self) -> bytes:
        """Return the entry as JSON."""
        return self.model_dump_json().encode()


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters or line ends in a text")
    return text


#: Text that is written into results, logs and status: one line that a terminal can show.
_Line = Annotated[str, AfterValidator(_printable)]
#: A number of a run, an event or a sub-event.
_Number = Annotated[int, Field(ge=0, lt=2**63)]
#: Most metadata topics of an event: it has five frames.
_MAX_TOPICS = 16

#: Fewest and most re-simulations that calibrate the contours of one event: fewer tell nothing about its 90 % region.
MIN_RESIMULATIONS, MAX_RESIMULATIONS = 60, 1000


def check_calibrate(count: int) -> int:
    """Return ``count`` if it is a valid number of re-simulations; raises InputError if it is not."""
    if count and not MIN_RESIMULATIONS <= count <= MAX_RESIMULATIONS:
        raise InputError(f"calibrate {count}: choose {MIN_RESIMULATIONS} to {MAX_RESIMULATIONS} re-simulations, or 0")
    return count


class OnlineEntry(_Entry):
    """The direction of the online reconstruction."""

    name: _Line
    """Its key in the event's frames."""
    ra: Annotated[float, Field(ge=0, le=360)]
    """Right ascension (deg, ICRS)."""
    dec: Annotated[float, Field(ge=-90, le=90)]
    """Declination (deg, ICRS)."""
    error: Annotated[float, Field(gt=0, le=180)] | None = None
    """Standard deviation along one axis of the sky (deg), if the event states it."""


class EventFacts(_Entry):
    """Facts about the event that the results contain."""

    name: _Line
    """Name of the event."""
    run: _Number
    """Run number."""
    event: _Number
    """Event number."""
    sub_event: _Number = 0
    """Number of the sub-event in its stream."""
    sub_event_stream: _Line = ""
    """Stream of the sub-event; other characters than A-Za-z0-9._+- as -."""
    choice: _Line = ""
    """Which other events of its file could have been meant."""
    caution: _Line = ""
    """What the preparation of the event had to do without."""
    online: OnlineEntry | None = None
    """Direction of the online reconstruction, if the event has one."""
    mjd: Annotated[float, Field(allow_inf_nan=False)]
    """Time of the event (UTC, days)."""
    kind: _Line
    """Type of the alert, the third part of the name."""
    real: bool
    """False for a simulated event."""
    metadata_topics: Annotated[tuple[_Line, ...], Field(max_length=_MAX_TOPICS)]
    """Topics of the event's frames."""


class ScanEntry(_Entry):
    """The scan: everything that determines its map."""

    kind: Literal["scan"] = "scan"
    """Form of the entry."""
    version: Literal[1] = 1
    """Version of the plan."""
    name: _Line
    """Name of the scan."""
    event: EventFacts
    """The event."""
    levels: _Line
    """NSIDE:PARENTS or NSIDE:PROBABILITY:PARENTS of each level."""
    seeds: int
    """Seeds of each pixel around a vertex."""
    first_seeds: int | None = None
    """How many of them every pixel is fitted from; the others only where needed. None: all."""
    area: _Line | None = None
    """NSIDE,PIXEL,COUNT: only these pixels of the first level."""
    pixels: str | None = None
    """Ranges of pixels of the first level; only these."""
    reconstruction: _Line
    """Name of the reconstruction."""
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    """Its parameters."""
    software: _Line = ""
    """What makes the fits: the version of the scanner, and the identity of the reconstruction."""
    keep_all_seeds: bool = False
    """Whether the fits of all seeds are kept."""
    calibrate: Annotated[int, Field(ge=0, le=MAX_RESIMULATIONS)] = 0
    """Number of re-simulations of the event that calibrate its contours."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            _ = self.seeding, self.parsed_area()
            check_pixels(self.parsed_levels()[0].nside, read_ranges(self.pixels or ""))
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    def parsed_levels(self) -> tuple[Level, ...]:
        """Return the validated levels."""
        return parse_levels(self.levels)

    @property
    def seeding(self) -> Seeding:
        """The validated seeds."""
        first = self.seeds if self.first_seeds is None else self.first_seeds
        return Seeding(self.seeds, first, self.parsed_levels()[0].nside)

    def parsed_area(self) -> Area | None:
        """Return the area of the first level, or None for the whole sky."""
        return None if self.area is None else parse_area(self.area)


class LevelEntry(_Entry):
    """A level and its pixels. A further entry of the newest level, with more pixels, widens it."""

    kind: Literal["level"] = "level"
    """Form of the entry."""
    nside: int
    """The level's nside."""
    pixels: str
    """Ranges of all its pixels."""
    tasks: str
    """Ranges of those pixels that no earlier entry has started."""


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
    levels: Annotated[int, Field(ge=1)]
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


def pixels_of(nside: int, ranges: str) -> list[Pixel]:
    """Return the pixels in an entry of the plan.

    Raises BrokerError if they are invalid, do not exist at this nside, or are not ascending.
    """
    try:
        indices = read_ranges(ranges)
        pixels = check_pixels(check_nside(nside), indices)
    except InputError as error:
        raise BrokerError(f"the plan has an invalid entry of nside {nside}: {error}") from error
    if len(pixels) != len(indices) or any(index != pixel.index for index, pixel in zip(indices, pixels, strict=True)):
        raise BrokerError(f"the plan has an entry of nside {nside} whose pixels are not ascending")
    return pixels


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
