"""From the pixels of all levels to one map of the whole sky, in which every scanned pixel keeps its own area.

Where pixels of several levels cover a place, the finest fitted one counts, even if a coarser one has a lower -ln L; the
lowest of those is kept as ``replaced``. A pixel that is refined only in part keeps
the rest of its area, as cells of finer orders. A failed pixel covers nothing: the coarser pixel below it, if there is
one, still counts there. Sky that no fitted pixel covers has probability density 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymap_scanner import healpix
from skymap_scanner.errors import InputError
from skymap_scanner.healpix import Floats, Integers, nested_to_uniq, pixel_area, pixel_count, ring_to_nested
from skymap_scanner.results.projection import equatorial_to_galactic
from skymap_scanner.results.result import PIXEL, ScanResult
from skymap_scanner.results.rule import WILKS, ContourRule

#: Pixels of a flat map that are held at a time: a few MB.
BLOCK = 2**18


@dataclass(frozen=True)
class BestFit:
    """The fitted pixel with the lowest -ln L: its centre (deg, J2000) and the fit there (PIXEL)."""

    nside: int
    index: int
    ra: float
    dec: float
    llh: float
    energy_in: float
    energy_total: float

    @property
    def galactic(self) -> tuple[float, float]:
        """Galactic longitude and latitude of the centre (deg)."""
        longitude, latitude = equatorial_to_galactic(np.array(self.ra), np.array(self.dec))
        return float(longitude), float(latitude)


@dataclass(frozen=True)
class MultiOrderMap:
    """Disjoint cells that tile the sky, ascending in NUNIQ, and the pixel that each of them shows.

    ``order``, ``ipix`` (NESTED), ``owner``: int64 (n,); owner is a row of ``pixels``, or -1 where nothing was fitted.
    ``density``: float64 (n,), sr^-1, without NaN; its integral is 1. ``pixels``: the rows (PIXEL) of all fitted pixels
    that own a cell; ``nside``: int64, theirs; ``ra``, ``dec``: deg, their centres. ``best`` is the lowest of them.
    ``replaced``: the lowest fitted pixel of all, if finer ones replace it and its -ln L is below that of ``best``.
    """

    order: Integers
    ipix: Integers
    owner: Integers
    density: Floats
    pixels: NDArray[Any]
    nside: Integers
    ra: Floats
    dec: Floats
    best: BestFit
    rule: ContourRule
    replaced: BestFit | None = None

    @property
    def uniq(self) -> Integers:
        """NUNIQ number of every cell."""
        return nested_to_uniq(self.order, self.ipix)

    @property
    def area(self) -> Floats:
        """Solid angle of every cell, sr."""
        return pixel_area(2.0**self.order)

    @property
    def max_order(self) -> int:
        """Order of the finest cell that shows a pixel."""
        return int(self.order[self.owner >= 0].max())

    @property
    def delta(self) -> Floats:
        """2 delta ln L of every row of ``pixels`` above the best fit."""
        return np.asarray(2 * (self.pixels["llh"] - self.best.llh), dtype=np.float64)

    @property
    def covered(self) -> float:
        """Share of the sky that fitted pixels cover."""
        return float(self.area[self.owner >= 0].sum() / (4 * np.pi))

    @cached_property
    def beside_no_fit(self) -> NDArray[np.bool_]:
        """Whether a row of ``pixels`` has a neighbour of its size at whose centre there is no fit."""
        beside = np.zeros(len(self.pixels), dtype=bool)
        for nside in np.unique(self.nside) if self.covered < 1 - 1e-12 else ():
            rows = np.flatnonzero(self.nside == nside)
            around = healpix.neighbours(int(nside), self.pixels["index"][rows])
            ra, dec = np.degrees(healpix.pixel_to_radec(int(nside), np.maximum(around, 0)))
            beside[rows] = ((around >= 0) & (self.owner[self.cells_at(ra, dec)] < 0)).any(axis=1)
        return beside

    @property
    def best_at_edge(self) -> bool:
        """Whether the best fit lies beside sky without a fit, where the minimum may go on."""
        return bool(self.beside_no_fit[np.argmin(self.pixels["llh"])])

    def cells_at(self, ra: Floats, dec: Floats) -> Integers:
        """Return the row of the cell that holds each direction (deg)."""
        order = int(self.order.max())
        ipix = ring_to_nested(2**order, healpix.radec_to_pixel(2**order, np.radians(ra), np.radians(dec)))
        starts = self.ipix << (2 * (order - self.order))
        by_start = np.argsort(starts)
        return np.asarray(by_start[np.searchsorted(starts[by_start], ipix, side="right") - 1], dtype=np.int64)


def multi_order_map(result: ScanResult, rule: ContourRule = WILKS) -> MultiOrderMap:
    """Lay the levels over each other; the density is exp(-delta ln L / rule.scale), normalized over the sky.

    Raises InputError when no pixel was fitted.
    """
    pixels, nside = _fitted_pixels(result)
    if not len(pixels):
        raise InputError(
            f"{result.stem}: none of the {result.scanned} scanned pixels has a fit, so that there is no map to make"
        )
    lowest = _best_fit(pixels, nside)
    order, ipix, owner = _lay_over(pixels, nside)
    shown = np.unique(owner[owner >= 0])
    owner = np.where(owner >= 0, np.searchsorted(shown, owner), -1)
    pixels, nside = pixels[shown], nside[shown]
    ra, dec = np.degrees(healpix.pixel_to_radec(nside, pixels["index"]))
    best = _best_fit(pixels, nside)

    weight = np.append(_exp(-(pixels["llh"] - best.llh) / rule.scale), 0.0)[owner]
    density = weight / np.sum(weight * pixel_area(2.0**order))
    by_uniq = np.argsort(nested_to_uniq(order, ipix))
    return MultiOrderMap(
        order=order[by_uniq],
        ipix=ipix[by_uniq],
        owner=owner[by_uniq],
        density=density[by_uniq],
        pixels=pixels,
        nside=nside,
        ra=ra,
        dec=dec,
        best=best,
        rule=rule,
        replaced=lowest if lowest.llh < best.llh else None,
    )


def _exp(exponent: Floats) -> Floats:
    """Return e to the power of each; not by numpy, whose exp depends on the processor in the last bit."""
    return np.array([math.exp(one) for one in exponent.tolist()])


def _best_fit(pixels: NDArray[Any], nside: Integers) -> BestFit:
    """Return the pixel with the lowest -ln L, the first of several."""
    best = int(np.argmin(pixels["llh"]))
    row = pixels[best]
    ra, dec = np.degrees(healpix.pixel_to_radec(nside[best], row["index"]))
    return BestFit(
        nside=int(nside[best]),
        index=int(row["index"]),
        ra=float(ra),
        dec=float(dec),
        llh=float(row["llh"]),
        energy_in=float(row["E_in"]),
        energy_total=float(row["E_tot"]),
    )


def flat_blocks(skymap: MultiOrderMap, block: int = BLOCK) -> Iterator[Floats]:
    """Yield the probability per pixel, NESTED, at the nside of the finest pixel; the sum of all is 1.

    Each array has ``block`` pixels, the last one the rest: the whole map may not fit into the memory.
    """
    order = skymap.max_order
    nside = 2**order
    starts = skymap.ipix << (2 * (order - skymap.order))
    by_start = np.argsort(starts)
    starts, probability = starts[by_start], skymap.density[by_start] * pixel_area(nside)
    for first in range(0, pixel_count(nside), block):
        nested = np.arange(first, min(first + block, pixel_count(nside)))
        yield np.asarray(probability[np.searchsorted(starts, nested, side="right") - 1])


def _fitted_pixels(result: ScanResult) -> tuple[NDArray[Any], Integers]:
    """Return the rows of all fitted pixels, coarse levels first, and their nside."""
    levels = {nside: level[np.isfinite(level["llh"])] for nside, level in result.levels.items()}
    rows = np.concatenate([np.empty(0, dtype=PIXEL), *levels.values()])
    nside = np.repeat(np.array([*levels], dtype=np.int64), [len(level) for level in levels.values()])
    return rows, nside


def _lay_over(pixels: NDArray[Any], nside: Integers) -> tuple[Integers, Integers, Integers]:
    """Tile the sky: return order, ipix (NESTED) and owner (row of ``pixels``, -1 for none) of every cell.

    Every pixel is an interval of NESTED indices at the finest order, and nested pixels are nested intervals: between
    two neighbouring ends the owner is one and the same.
    """
    top = int(nside.max()).bit_length() - 1
    size = np.array([4 ** (top + 1 - int(n).bit_length()) for n in nside], dtype=np.int64)
    nested = ring_to_nested(nside, pixels["index"])
    start, stop = nested * size, (nested + 1) * size
    ends = np.unique(np.concatenate([[0, pixel_count(2**top)], start, stop]))
    owner = np.full(len(ends) - 1, -1, dtype=np.int64)
    first, last = np.searchsorted(ends, start), np.searchsorted(ends, stop)
    for level in np.unique(nside):  # finer levels come later and paint over
        rows = np.flatnonzero(nside == level)
        count = last[rows] - first[rows]
        owner[np.repeat(first[rows], count) + ramp(count)] = np.repeat(rows, count)
    return intervals_to_cells(ends[:-1], ends[1:], owner, top)


def intervals_to_cells(
    start: Integers, stop: Integers, owner: Integers, top: int
) -> tuple[Integers, Integers, Integers]:
    """Cut intervals of NESTED indices at order ``top`` into the largest cells that fit; inputs (n,)."""
    cells = []
    for order in range(top + 1):
        size = 4 ** (top - order)
        first, last = -(-start // size), stop // size
        whole = first < last
        count = (last - first)[whole]
        ipix = np.repeat(first[whole], count) + ramp(count)
        cells.append((np.full(len(ipix), order), ipix, np.repeat(owner[whole], count)))
        left, right = np.where(whole, first * size, stop), np.where(whole, last * size, stop)
        start, stop, owner = np.append(start, right), np.append(left, stop), np.append(owner, owner)
        rest = start < stop
        start, stop, owner = start[rest], stop[rest], owner[rest]
    orders, ipix, owner = (np.concatenate(column) for column in zip(*cells, strict=True))
    return orders, ipix, owner


def ramp(count: Integers) -> Integers:
    """Return 0, 1, ..., count[0]-1, 0, 1, ..., count[1]-1, ..."""
    total = int(count.sum())
    return np.arange(total) - np.repeat(np.cumsum(count) - count, count)
