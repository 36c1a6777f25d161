"""A probability map of the whole sky, of a scan or of anybody, in one form that two of them can be compared in.

The density is constant between the ``edges`` of intervals of pixels (``region.py``): a map has as many of them as it
has pixels that differ, whatever its finest pixel, and two maps are laid over each other by merging their edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skymap_scanner.errors import InputError
from skymap_scanner.healpix import Floats, Integers, radec_to_nested
from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.region import (
    CELL_STERADIANS,
    SKY,
    TOP_ORDER,
    Region,
    cells_to_intervals,
    region_of_intervals,
)
from skymap_scanner.results.result import ScanResult
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.results.summary import event_name

#: Credible levels of the regions that are compared.
LEVELS = (0.5, 0.9)
#: A map whose integral is farther than this from 1 has other units than it states, or is not one of probability.
TOLERANCE = 0.01
#: Most pixels of a map that differ from their neighbours: two maps of as many are compared in some GB of memory.
MOST_CELLS = 2**24


@dataclass(frozen=True)
class ProbabilityMap:
    """Probability density of a direction.

    ``density``: float64 (n,), sr^-1, between ``edges``: int64 (n + 1,), NESTED at order 29, from 0 to the whole sky;
    its integral is 1. ``ra``, ``dec`` (deg, J2000): the best fit, the centre of the pixel of highest density.
    ``name`` describes the map in one line; ``notes`` are cautions about it.
    """

    name: str
    edges: Integers
    density: Floats
    ra: float
    dec: float
    notes: tuple[str, ...] = ()

    @cached_property
    def probability(self) -> Floats:
        """Probability in every interval (n,)."""
        return np.asarray(self.density * np.diff(self.edges) * CELL_STERADIANS)

    def density_from(self, start: Integers) -> Floats:
        """Return the density of the intervals that begin at NESTED pixels of order 29, or hold them."""
        return np.asarray(self.density[np.searchsorted(self.edges, start, side="right") - 1])

    def density_at(self, ra: Floats, dec: Floats) -> Floats:
        """Return the density in directions (deg)."""
        return self.density_from(radec_to_nested(TOP_ORDER, np.radians(ra), np.radians(dec)))

    def threshold(self, level: float) -> float:
        """Return the density down to which the smallest region extends that holds ``level`` of the probability.

        Pixels of equal density are in it together, so that it may hold more.
        """
        by_density = np.argsort(-self.density, kind="stable")
        held = np.cumsum(self.probability[by_density])
        last = min(int(np.searchsorted(held, level * (1 - 1e-12))), len(held) - 1)
        return float(self.density[by_density[last]])

    def region(self, level: float) -> Region:
        """Return that region."""
        rows = self.density >= self.threshold(level)
        return region_of_intervals(self.edges[:-1][rows], self.edges[1:][rows])

    def searched_probability(self, ra: float, dec: float) -> float:
        """Return the probability of the smallest region that reaches a direction (deg), with the pixel that holds it.

        Uniform from 0 to 1 if the direction is drawn from the map; 1 where the map excludes it.
        """
        reached = self.density >= self.density_at(np.array(ra), np.array(dec))
        return min(1.0, float(self.probability[reached].sum()))

    def probability_in(self, region: Region) -> float:
        """Return the probability inside a region."""
        return float((self._up_to(region.stop) - self._up_to(region.start)).sum())

    def _up_to(self, place: Integers) -> Floats:
        """Return the probability of all pixels before some of order 29."""
        row = np.minimum(np.searchsorted(self.edges, place, side="right"), len(self.density)) - 1
        before = np.append(0.0, np.cumsum(self.probability))[row]
        return np.asarray(before + self.density[row] * (place - self.edges[row]) * CELL_STERADIANS)


@dataclass(frozen=True)
class Cells:
    """Disjoint intervals of NESTED pixels of order 29 with a density (sr^-1), each (n,), in any order.

    ``best``: direction of the best fit (deg).
    """

    start: Integers
    stop: Integers
    density: Floats
    best: tuple[float, float]


def map_of_cells(name: str, cells: Cells, notes: tuple[str, ...] = ()) -> ProbabilityMap:
    """Make a map of cells; where there are none, its density is 0.

    Raises InputError if cells overlap or are more than `MOST_CELLS`, or the integral is not about 1. The map is then
    normalized.
    """
    if len(cells.start) > MOST_CELLS:
        raise InputError(f"{len(cells.start)} pixels, more than the {MOST_CELLS} allowed: give a map of coarser pixels")
    by_start = np.argsort(cells.start)
    overlaps = cells.start[by_start][1:] < cells.stop[by_start][:-1]
    if overlaps.any():
        raise InputError(f"{np.count_nonzero(overlaps)} pixels overlap others: each place must be in one pixel")
    edges = np.unique(np.concatenate([np.array([0, SKY]), cells.start, cells.stop]))
    density = np.zeros(len(edges) - 1)
    density[np.searchsorted(edges, cells.start)] = cells.density
    changes = np.append(True, density[1:] != density[:-1])
    edges, density = np.append(edges[:-1][changes], SKY), density[changes]
    total = float((density * np.diff(edges)).sum() * CELL_STERADIANS)
    if not abs(total - 1) <= TOLERANCE:
        raise InputError(f"the probabilities add up to {total:.4g}, not to 1: give a map of probability")
    return ProbabilityMap(name, edges, density / total, *cells.best, notes)


def map_of_scan(result: ScanResult) -> ProbabilityMap:
    """Make the map of a scan, with the density of its rule, as its multi-order FITS file has it.

    Raises InputError when no pixel was fitted.
    """
    rule = result.metadata.rule or WILKS
    skymap = multi_order_map(result, rule)
    notes = [] if result.complete else ["the scan is not complete"]
    intervals = cells_to_intervals(skymap.order, skymap.ipix)
    cells = Cells(*intervals, skymap.density, best=(skymap.best.ra, skymap.best.dec))
    facts = (event_name(result.metadata), result.metadata.reconstruction, rule.label)
    return map_of_cells(", ".join(filter(None, facts)), cells, (*notes, *cautions(skymap)))
