"""Parts of the sky as intervals of pixels: a circle, a MOC, a region of a map.

Every HEALPix pixel of order k is an interval of 4^(29 - k) NESTED indices at order 29, the finest one, so that pixels
of all sizes are cut, joined and counted exactly, without a common grid (IVOA MOC 2.0, section 2.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skymap_scanner.errors import InputError
from skymap_scanner.healpix import Floats, Integers, nested_to_ring, pixel_count, pixel_reach, pixel_to_vector
from skymap_scanner.results.directions import radec_to_vector

#: The finest order of HEALPix in integers of 64 bits, and the number of its pixels.
TOP_ORDER = 29
SKY = pixel_count(2**TOP_ORDER)
#: Square degrees and steradians of one of its pixels.
CELL_SQUARE_DEGREES = 4 * np.pi * (180 / np.pi) ** 2 / SKY
CELL_STERADIANS = 4 * np.pi / SKY
#: A circle's edge is followed by pixels of at most this share of its radius: its area is right to 2e-4 even around a
#: pole, where all pixels of a ring are in or out together, and they are finer than those of any usual map.
EDGE = 1 / 4096
#: The smallest radius of a circle (deg): nine sides of the finest pixels, so that its area is right to a tenth.
MIN_RADIUS = 1e-6


@dataclass(frozen=True)
class Region:
    """A part of the sky: disjoint intervals from ``start`` (k,) up to ``stop`` (k,), ascending."""

    start: Integers
    stop: Integers

    @property
    def area(self) -> float:
        """Its area, square degrees."""
        return float((self.stop - self.start).sum() * CELL_SQUARE_DEGREES)


def region_of_intervals(start: Integers, stop: Integers) -> Region:
    """Join intervals that may overlap and come in any order."""
    by_start = np.argsort(start, kind="stable")
    start, reached = start[by_start], np.maximum.accumulate(stop[by_start])
    begins = np.flatnonzero(np.append(True, start[1:] > reached[:-1])[: len(start)])
    ends = np.append(begins[1:], len(start))[: len(begins)] - 1
    return Region(start[begins], reached[ends])


def cells_to_intervals(order: Integers, ipix: Integers) -> tuple[Integers, Integers]:
    """Return start and stop of NESTED pixels of any order."""
    size = np.int64(1) << (2 * (TOP_ORDER - np.asarray(order, dtype=np.int64)))
    return ipix * size, (ipix + 1) * size


def circle(ra: float, dec: float, radius: float) -> Region:
    """Return the pixels of a circle (deg); those at its edge belong to it if their centres do.

    Raises InputError for an impossible direction or radius.
    """
    if not (np.isfinite(ra) and -90 <= dec <= 90 and MIN_RADIUS <= radius <= 180):
        raise InputError(
            f"circle {ra:g},{dec:g},{radius:g}: "
            f"expected RA, DEC from -90 to 90 and RADIUS from {MIN_RADIUS:g} to 180, deg"
        )
    center, limit = radec_to_vector(np.array(ra), np.array(dec)), math.radians(radius)
    finest = min(TOP_ORDER, max(0, math.ceil(math.log2(math.sqrt(math.pi / 3) / (limit * EDGE)))))
    cells: list[tuple[Integers, Integers]] = []
    ipix = np.arange(12)
    for order in range(finest + 1):
        vectors = pixel_to_vector(2**order, nested_to_ring(2**order, ipix))
        distance = _distance(vectors, center)
        reach = 0.0 if order == finest else pixel_reach(2**order)
        inside = distance + reach <= limit
        cells.append((np.full(np.count_nonzero(inside), order), ipix[inside]))
        cut = ipix[~inside & (distance - reach <= limit)]
        ipix = (cut[:, None] * 4 + np.arange(4)).ravel()
    return region_of_cells(cells)


def region_of_cells(cells: Sequence[tuple[Integers, Integers]]) -> Region:
    """Return the region of pixels, given as pairs of orders and NESTED indices."""
    order, ipix = (np.concatenate([np.empty(0, dtype=np.int64), *column]) for column in zip(*cells, strict=True))
    return region_of_intervals(*cells_to_intervals(order, ipix))


def _distance(vectors: Floats, center: Floats) -> Floats:
    """Return the angles (rad) of unit vectors (n, 3) from another; the chord has all digits of small ones."""
    return np.asarray(2 * np.arcsin(np.minimum(np.linalg.norm(vectors - center, axis=1) / 2, 1.0)))
