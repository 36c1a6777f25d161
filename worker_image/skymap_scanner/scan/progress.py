"""The progress of a scan: the expected number of pixels, and the rate at which they are done."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping

from skymap_scanner.healpix import pixel_count
from skymap_scanner.scan.levels import Level
from skymap_scanner.scan.pixels import Pixel


def expected_pixels(levels: tuple[Level, ...], decided: Mapping[int, list[Pixel]]) -> dict[int, int]:
    """Return the number of pixels of every level: exact if decided, otherwise parents x children."""
    counts = {levels[0].nside: len(decided.get(levels[0].nside, ())) or pixel_count(levels[0].nside)}
    for before, level in itertools.pairwise(levels):
        parents = min(level.parents, counts[before.nside])
        counts[level.nside] = parents * pixel_count(level.nside) // pixel_count(before.nside)
    return counts | {nside: len(pixels) for nside, pixels in decided.items()}


class Rate:
    """Pixels per second over the last ``window`` seconds; the caller passes the time."""

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        self._marks: deque[tuple[float, int]] = deque()

    def update(self, now: float, done: int) -> float:
        """Record the number of pixels done at ``now`` (s); return the rate (pixels per second)."""
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[0][0] < now - self._window:
            self._marks.popleft()
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / (end - start) if end > start else 0.0
