"""The plan of a scan: the decisions of the producer, as messages on ``<scan>-plan``, which all roles read.

The first entry is the scan itself, followed by its levels and the end. A ``seeds`` entry lists pixels of the newest
level that are fitted from more seeds, an ``ahead`` entry pixels that are started early, on a guess. A ``calibration``
entry comes between the last level and the end of a scan that calibrates its contours. The tasks of all entries are
numbered in the order of the plan. The number is the sequence id of the task, so that a producer that restarts sends
nothing twice. The pixels of the first level are spread over the sky, for an early preview, those of other entries are
in the order of their indices.

A further entry of the newest level, with more pixels, widens it. Apart from that, a duplicate entry, or one of a second
producer that is behind, changes nothing: the first entry of the scan, of each level and of the calibration counts, a
round of a pixel is started once, seeds are added to the newest level only, an end counts only for the levels that its
producer knew, and entries after the end are ignored.
"""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from skymap_scanner.errors import BrokerError
from skymap_scanner.scan.pixels import MAX_PIXELS, Pixel, is_resimulation, resimulation, spread_over_sky
from skymap_scanner.scan.plan_entries import (
    AheadEntry,
    CalibrationEntry,
    EndEntry,
    LevelEntry,
    PlanEntry,
    ScanEntry,
    SeedsEntry,
    pixels_of,
)
from skymap_scanner.scan.seeds import Round, Seeding


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
        """Add the next entry; raises BrokerError if no producer of this scan writes it, and changes nothing then."""
        if isinstance(entry, ScanEntry):
            self.scan = self.scan or entry
            return
        if self.scan is None:
            raise BrokerError("the plan does not begin with the scan: was the topic truncated?")
        if isinstance(entry, EndEntry):
            self.ended = self.ended or entry.levels == len(self.levels)
        elif isinstance(entry, CalibrationEntry):
            if not self.ended and self.resimulated is None and self.in_level(Pixel(entry.nside, entry.pixel)):
                self.resimulated = Pixel(entry.nside, entry.pixel)
                self._start(self.scan.seeding, self.resimulations, 0)
        elif entry.nside not in (nsides := [level.nside for level in self.scan.parsed_levels()]):
            raise BrokerError(f"the plan has pixels of nside {entry.nside}, and the scan has {self.scan.levels}")
        elif isinstance(entry, SeedsEntry):
            if not self.ended and entry.nside == self.newest:
                self._add_seeds(self.scan.seeding, entry)
        elif not self.ended and entry.nside not in self.levels:
            if entry.nside != nsides[len(self.levels)]:
                raise BrokerError(f"the plan goes on with nside {entry.nside}, not with {nsides[len(self.levels)]}")
            self._add_pixels(self.scan.seeding, entry)
        elif self._may_widen(entry):
            self._add_pixels(self.scan.seeding, entry)

    def _add_pixels(self, seeding: Seeding, entry: LevelEntry | AheadEntry) -> None:
        fresh = [pixel for pixel in pixels_of(entry.nside, entry.tasks) if pixel not in self._started]
        if self.guessed + len(fresh) > MAX_PIXELS:
            raise BrokerError(f"the plan starts more than the {MAX_PIXELS} pixels that a level may have")
        if isinstance(entry, LevelEntry):
            pixels = pixels_of(entry.nside, entry.pixels)
            missing = set(pixels).difference(self._started, fresh)
            if missing or not pixels:
                raise BrokerError(
                    f"the plan never starts {len(missing)} of {len(pixels)} pixels of nside {entry.nside}"
                )
            if not set(self.levels.get(entry.nside, ())) < set(pixels):
                return
            fresh = fresh if self.levels else spread_over_sky(fresh)
            self.levels[entry.nside] = pixels
        self._start(seeding, fresh, 0)
        self._started.update(fresh)

    def _may_widen(self, entry: LevelEntry | AheadEntry) -> bool:
        """Return whether the entry may widen its level: the newest one, with a probability, before the end."""
        if self.scan is None or self.ended or self.resimulated is not None or entry.nside != self.newest:
            return False
        newest = self.scan.parsed_levels()[len(self.levels) - 1]
        return isinstance(entry, LevelEntry) and newest.probability is not None

    def _add_seeds(self, seeding: Seeding, entry: SeedsEntry) -> None:
        if seeding.rounds == 1:
            raise BrokerError("the plan has a second round of pixels, and the scan has one round")
        pixels = pixels_of(entry.nside, entry.tasks)
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
