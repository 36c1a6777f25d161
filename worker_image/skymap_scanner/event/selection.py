"""Which physics event of a file is scanned: the one selected, else the first that has light, and of it the brightest.

A physics event is named by run, event and sub-event: a splitter turns one readout (a Q frame) into several P frames,
each with the pulses of one particle. A sub-event is a number in the stream of its splitter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event.lookup import find
from skymap_scanner.event.preparation import PULSE_SERIES, find_series, light_in_ice
from skymap_scanner.i3 import Frame, I3EventHeader

#: The stop under which a scan stores the event's P frame: its pixels' frames are P frames.
STORED_PHYSICS = "p"

#: Most P frames of one file whose light is compared, a splitter makes a handful of a readout; and most bytes that they
#: and their Q frames have, each P frame counted with its own: pulses of the Q frame are unpacked for every P frame.
MAX_COMPARED, MAX_COMPARED_BYTES = 1000, 1 << 27
#: Most events that a message lists.
_LISTED = 10

_NOT_IN_STREAM = re.compile(r"[^A-Za-z0-9._+-]")
_SELECTION = re.compile(r"([0-9]{1,10})/([0-9]{1,10})(?:/(?:([A-Za-z0-9._+-]{1,64})/)?([0-9]{1,10}))?")


def stream_name(header: I3EventHeader) -> str:
    """Return the stream of a sub-event as it is selected and written: 64 characters, others than A-Za-z0-9._+- as -."""
    return _NOT_IN_STREAM.sub("-", header.sub_event_stream[:64])


class SubEvent(NamedTuple):
    """What names a physics event."""

    run: int
    event: int
    stream: str
    sub_event: int

    @classmethod
    def of(cls, header: I3EventHeader) -> SubEvent:
        """Return the name in a header."""
        return cls(header.run_id, header.event_id, stream_name(header), header.sub_event_id)

    def __str__(self) -> str:
        return "/".join(str(part) for part in self if part != "")


@dataclass(frozen=True, slots=True)
class EventSelection:
    """A physics event that a user names; None stands for any."""

    run: int
    event: int
    stream: str | None = None
    sub_event: int | None = None

    @classmethod
    def parse(cls, text: str) -> EventSelection:
        """Read RUN/EVENT, RUN/EVENT/SUB or RUN/EVENT/STREAM/SUB; raises InputError if it is none of these."""
        match = _SELECTION.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text!r} is not RUN/EVENT, RUN/EVENT/SUB or RUN/EVENT/STREAM/SUB "
                "(such as 138632/31747601 or 138632/31747601/InIceSplit/0)"
            )
        run, event, stream, sub_event = match.groups()
        return cls(int(run), int(event), stream, None if sub_event is None else int(sub_event))

    def __str__(self) -> str:
        parts = (self.run, self.event, self.stream, self.sub_event)
        return "/".join(str(part) for part in parts if part is not None)

    def matches(self, found: SubEvent | None) -> bool:
        """Return whether this names an event; False for one without a header."""
        return (
            found is not None
            and (self.run, self.event) == (found.run, found.event)
            and self.stream in (None, found.stream)
            and self.sub_event in (None, found.sub_event)
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The frames of the event that is scanned, and what a user should know about the choice."""

    frames: Mapping[str, Frame]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A physics event, the key of its pulses and their charge in the ice (pe)."""

    number: SubEvent | None
    frames: Mapping[str, Frame]
    series: str | None
    light: float

    @property
    def rank(self) -> tuple[float, bool, bool]:
        """What makes a sub-event the one that is meant: its light; where that is equal, pulses of its own."""
        own = any(series in self.frames["P"] for series in PULSE_SERIES)
        return self.light, own, self.series is not None


class _Search:
    """The search through a file so far: the best candidate of the newest event, and what was passed over."""

    def __init__(self, select: EventSelection | None, pulse_series: str | None) -> None:
        self.select, self.pulse_series = select, pulse_series
        self.best: _Candidate | None = None
        self.dark: _Candidate | None = None  # the best of the events before, which have no light
        self.passed = 0  # number of these events
        self.lit: list[tuple[SubEvent | None, float]] = []  # sub-events of the newest event that have light
        self.compared = self.compared_bytes = 0
        self.known: dict[str, None] = {}
        self._event: tuple[int, int] | None = None

    @property
    def found(self) -> bool:
        """Whether the newest event has light."""
        return self.best is not None and self.best.light > 0

    @property
    def best_of_all(self) -> _Candidate | None:
        """The best candidate: of the newest event if it has light, else the first of all with the key, or the first."""
        candidates = [one for one in (self.dark, self.best) if one is not None]
        return max(candidates, key=attrgetter("rank"), default=None)

    def add(self, frames: Mapping[str, Frame]) -> bool:
        """Consider the next physics event; return False if the search ended with the event before it."""
        header = find(frames, "I3EventHeader", I3EventHeader)
        number = None if header is None else SubEvent.of(header)
        if (number and number[:2]) != self._event:
            if self.found:
                return False
            self._event = number and number[:2]
            if self.best is not None:
                self.passed += 1
                self.dark, self.best = self.best_of_all, None
        if number is not None and len(self.known) <= _LISTED:
            self.known.setdefault(str(number))
        if self.select is None or self.select.matches(number):
            self._compare(number, frames)
        return True

    def _compare(self, number: SubEvent | None, frames: Mapping[str, Frame]) -> None:
        series = find_series(frames, self.pulse_series)
        if series is not None:
            self.compared += 1
            self.compared_bytes += sum(_size(frame) for stop, frame in frames.items() if stop in "QP")
            most = f"{MAX_COMPARED} physics frames" if self.compared > MAX_COMPARED else ""
            if self.compared > 1 and self.compared_bytes > MAX_COMPARED_BYTES:
                most = f"{MAX_COMPARED_BYTES >> 20} MiB of frames"
            if most:
                raise InputError(
                    f"more than {most} with {series} would have to be compared: name one event with "
                    "--select RUN/EVENT/STREAM/SUB (event.select of a SkymapScan)"
                )
        light = 0.0 if series is None else light_in_ice(frames, series)
        candidate = _Candidate(number, frames, series, light)
        if light > 0:
            self.lit.append((number, light))
        if self.best is None or candidate.rank > self.best.rank:
            self.best = candidate


def _size(frame: Frame) -> int:
    return sum(len(frame.blob(key)) for key in frame)


def choose(
    events: Iterator[dict[str, Frame]], select: EventSelection | None = None, pulse_series: str | None = None
) -> Choice:
    """Return the physics event to scan, of those of a file.

    It belongs to the first (run, event) that has charge in the ice under its key: ``pulse_series``, or the first of
    ``PULSE_SERIES``. Of the sub-events of this event it is the one with the most charge. Only what ``select`` names is
    considered. Without light anywhere, it is the first with the key, or the first.

    Raises
    ------
    InputError
        When there is no such event, or more than ``MAX_COMPARED`` or ``MAX_COMPARED_BYTES`` to compare.
    I3Error
        When a frame or the pulses of a sub-event that may be meant are damaged. Damage behind an event with light is
        only noted.
    """
    search = _Search(select, pulse_series)
    follows, damage = False, None
    while True:
        try:
            frames = next(events, None)
        except I3Error as error:
            if not search.found:
                raise
            damage = error
            break
        if frames is None:
            break
        if not search.add(frames):
            follows = True
            break
        if frames["P"].stop == STORED_PHYSICS and search.best is not None:
            break  # the output of a scan: its pixels' frames follow
    best = search.best_of_all
    if best is None:
        raise InputError(_nothing_found(search))
    return Choice(best.frames, tuple(_notes(search, best, follows, damage)))


def _nothing_found(search: _Search) -> str:
    if search.select is None:
        return "holds no physics (P) frame, so there is no event to scan"
    known = [*search.known][:_LISTED]
    more = ", ..." if len(search.known) > _LISTED else ""
    return f"holds no event {search.select}; it holds {', '.join(known) + more if known else 'none with a header'}"


def _notes(search: _Search, best: _Candidate, follows: bool, damage: I3Error | None) -> Iterator[str]:
    """Yield what else could have been meant, and how to choose it."""
    if best.light <= 0:
        return
    how = "--select RUN/EVENT/STREAM/SUB (event.select of a SkymapScan) chooses another"
    if len(search.lit) > 1:
        lit = ", ".join(f"{number} ({light:.4g} pe)" for number, light in search.lit[:_LISTED])
        more = ", ..." if len(search.lit) > _LISTED else ""
        yield (
            f"{len(search.lit)} sub-events have light under {best.series}: {lit}{more}. "
            f"{best.number} is scanned, as the brightest; {how}"
        )
    if search.select is None and search.passed:
        yield f"{best.number} is the first event with light; events before it have none: {search.passed}"
    if search.select is None and follows:
        yield f"the file holds several events; {best.number}, the first with light, is scanned; {how}"
    if damage is not None:
        yield f"the file is damaged behind {best.number}, which is scanned; sub-events there are not seen ({damage})"
