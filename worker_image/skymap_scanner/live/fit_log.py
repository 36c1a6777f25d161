"""What a page draws of a scan, in the order in which it became known: pixels that are planned, and their fits.

The log only grows. Each reader remembers its own place, so that a slow reader costs no memory and one that reconnects
continues where it was.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from skymap_scanner.healpix import ring_to_nested
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.scan.pixels import Pixel, is_resimulation

#: Most entries of the log: rounds of pixels that are planned, and their fits. A page of more would need too much of a
#: browser's memory.
MAX_ENTRIES = 200_000
#: Most entries that one event of the stream holds: about 100 kB.
BATCH = 2000

#: nside and RING index, -ln L (None: failed), energy and energy in the detector (TeV), vertex (m) and time (ns).
FitRow = tuple[
    int, int, float | None, float | None, float | None, float | None, float | None, float | None, float | None
]


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive entries of one kind, ``pixels`` or ``fits``, as the page reads them, and the place after them."""

    kind: str
    data: dict[str, Any]
    end: int


class FitLog:
    """The log of one scan. One thread adds to it, and any may read it."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._entries: list[Pixel | FitRow] = []
        self._most = most
        #: Tells this log from others of the same scan.
        self.id = secrets.token_hex(8)
        #: Whether entries were left out, because the scan has too many.
        self.full = False

    def __len__(self) -> int:
        return len(self._entries)

    def add_pixels(self, pixels: Iterable[Pixel]) -> None:
        """Add planned pixels; re-simulations are left out."""
        self._add([pixel for pixel in pixels if not is_resimulation(pixel)])

    def add_fit(self, fit: PixelFit) -> None:
        """Add the best fit of a pixel so far."""
        if not is_resimulation(fit.pixel):
            self._add([fit_row(fit)])

    def _add(self, entries: Sequence[Pixel | FitRow]) -> None:
        self.full = self.full or len(self._entries) + len(entries) > self._most
        if not self.full:
            self._entries += entries

    def since(self, place: int, most: int = BATCH) -> list[Batch]:
        """Return up to ``most`` entries that follow a place, in batches; none at the end of the log."""
        batches, end = [], place
        for is_fit, group in groupby(self._entries[place : place + most], lambda one: isinstance(one, tuple)):
            entries: list[Any] = list(group)
            end += len(entries)
            batches.append(Batch("fits", {"fits": entries}, end) if is_fit else _pixels(entries, end))
        return batches


def _pixels(pixels: Sequence[Pixel], end: int) -> Batch:
    """Return pixels by their nside, with their numbers in both orderings of HEALPix."""
    levels = []
    for nside in sorted({pixel.nside for pixel in pixels}):
        index = [pixel.index for pixel in pixels if pixel.nside == nside]
        levels.append({"nside": nside, "index": index, "nested": ring_to_nested(nside, np.array(index)).tolist()})
    return Batch("pixels", {"levels": levels}, end)


def fit_row(fit: PixelFit) -> FitRow:
    """Return a fit as the page reads it: JSON has no NaN, and rounded numbers are shorter."""
    x, y, z = fit.position
    return (
        fit.pixel.nside,
        fit.pixel.index,
        _number(fit.llh, 3),
        _number(fit.energy_total / 1000, 3),
        _number(fit.energy_in / 1000, 3),
        _number(x, 0),
        _number(y, 0),
        _number(z, 0),
        _number(fit.time, 0),
    )


def _number(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
