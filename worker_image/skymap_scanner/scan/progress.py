"""The progress of a scan: one small JSON snapshot, shown by the command line, the operator and the dashboard alike."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from skymap_scanner.scan.levels import Level
from skymap_scanner.scan.pixels import Pixel, pixel_count


class Phase(StrEnum):
    """What the scan is doing."""

    SCANNING = "scanning"
    WRITING = "writing"
    DONE = "done"


class LevelProgress(BaseModel):
    """Pixels of one level. ``planned`` is an estimate until the level is ``decided``."""

    model_config = ConfigDict(frozen=True)

    nside: int
    done: int
    planned: int
    decided: bool
    failed: int


class BestFit(BaseModel):
    """The best pixel so far: centre (degrees, J2000), -ln L, and the area of the 90 % contour (deg²), where known."""

    model_config = ConfigDict(frozen=True)

    nside: int
    pixel: int
    ra: float
    dec: float
    llh: float
    area_90: float | None = None


class Progress(BaseModel):
    """A snapshot; ``rate`` in pixels per second, ``eta`` and ``elapsed`` in seconds.

    ``obstacle``: what the saver cannot get past by itself, and tries again: a full disk.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    phase: Phase
    levels: tuple[LevelProgress, ...]
    rate: float
    eta: float | None
    elapsed: float
    best: BestFit | None
    outputs: tuple[str, ...] = ()
    obstacle: str | None = None

    @property
    def done(self) -> int:
        """Pixels done in all levels."""
        return sum(level.done for level in self.levels)

    @property
    def planned(self) -> int:
        """Pixels of all levels, those not yet decided included."""
        return sum(level.planned for level in self.levels)


def expected_pixels(levels: tuple[Level, ...], decided: Mapping[int, list[Pixel]]) -> dict[int, int]:
    """Count the pixels of every level: exactly where decided, else as parents x children."""
    counts = {levels[0].nside: len(decided.get(levels[0].nside, ())) or pixel_count(levels[0].nside)}
    for before, level in itertools.pairwise(levels):
        parents = min(level.parents, counts[before.nside])
        counts[level.nside] = parents * pixel_count(level.nside) // pixel_count(before.nside)
    return counts | {nside: len(pixels) for nside, pixels in decided.items()}


class Rate:
    """Pixels per second over the last ``window`` seconds; the clock is the caller's."""

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        self._marks: deque[tuple[float, int]] = deque()

    def update(self, now: float, done: int) -> float:
        """Take the count of pixels done at ``now`` (s) and return the rate."""
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[0][0] < now - self._window:
            self._marks.popleft()
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / (end - start) if end > start else 0.0
