"""Chooses the pixels of the next level: the children of the best pixels of this one.

A level either refines a fixed number of pixels, or all that may hold a stated share p of the probability
exp(-delta), where delta is -ln L above the best pixel. For a Gaussian posterior in two dimensions these are the pixels
with delta <= -ln(1 - p).

A pixel's fit is that of its centre, and a coarse pixel may be far wider than the peak. So each pixel counts with the
lowest -ln L that it may reach anywhere: if -ln L is linear in the pixel, it falls from the centre to a corner by half
the difference to one neighbour plus half the difference to another, across two adjacent edges. The larger difference
along each of the two axes is taken, upwards or downwards. That bounds a convex surface too, and keeps a pixel that lies
far below all its neighbours, which may hold a second minimum.

Around the best pixel that bound is far too low for a sharp peak. There a parabola through the pixel and its neighbours
says on which sides the minimum lies. Where it errs, the best pixel of the next level lies at its edge, and the level
gets the pixels beyond.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skymap_scanner import healpix
from skymap_scanner.healpix import Floats, Integers
from skymap_scanner.scan.levels import Level
from skymap_scanner.scan.pixels import Pixel, children, neighbours, parent

#: Places, in the order of `healpix.neighbours`, of the neighbours across the edges: two on each of two axes.
_AXES = ((0, 4), (2, 6))

#: Steps to the eight neighbours, in their order, on the axes towards the north-east and towards the north-west.
_STEPS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))

#: So near to the minimum all is refined, in pixels: the children around the best one, and what a parabola may err.
_NEAR = 0.6

#: The contour around that minimum counts as so many times as wide, since pixels do not lie on a regular grid.
_WIDER = 1.5


def choose_parents(llh: Mapping[Pixel, float], level: Level) -> list[Pixel]:
    """Return the pixels that ``level`` refines, from -ln L of the pixels of the level before.

    The best pixel comes first, then its neighbours, then the others: by -ln L, or for a level with a probability by the
    lowest -ln L that they may reach. The neighbours are needed because the true minimum may lie beyond the pixel's
    edge, and the best fit must not lie at the edge of the fine map. With a probability these are the neighbours that
    `sides_of_minimum` names; others count with the value at their centre. A failed pixel (NaN) is never chosen. Ties go
    to the lower index. There are at most ``level.parents`` pixels.
    """
    fitted = sorted((pixel.index, value) for pixel, value in llh.items() if not math.isnan(value))
    if not fitted:
        return []
    nside = next(iter(llh)).nside
    index = np.array([index for index, _ in fitted], np.int64)
    value = np.array([value for _, value in fitted], np.float64)
    best = int(np.argmin(value))
    beside = healpix.neighbours(nside, index[best])
    sides = np.ones(8, np.bool_)
    if level.probability is not None:
        height = np.array([llh.get(Pixel(nside, one), math.nan) for one in beside.tolist()]) - value[best]
        sides = sides_of_minimum(height, -math.log1p(-level.probability))
    group = np.where(np.isin(index, beside[sides]), 1, 2)
    group[best] = 0
    if level.probability is None:
        chosen = np.lexsort((index, value, group))
    else:
        apart = (group == 2) & ~np.isin(index, beside)
        reach = np.where(apart, lowest_in_pixel(nside, index, value), value)
        order = np.lexsort((index, reach, group))
        chosen = order[_may_hold(level.probability, value[order], reach[order], group[order])]
    return [Pixel(nside, int(index[place])) for place in chosen[: level.parents]]


def lowest_in_pixel(nside: int, index: Integers, value: Floats) -> Floats:
    """Return the lowest -ln L that each pixel may reach: ``index`` (n,), ascending, ``value`` (n,) at the centres.

    See the module's docstring. A neighbour that is not among the pixels is ignored.
    """
    beside = healpix.neighbours(nside, index)
    place = np.minimum(np.searchsorted(index, beside), len(index) - 1)
    rise = np.where(index[place] == beside, np.abs(value[place] - value[:, None]), 0.0)
    return np.asarray(value - sum(rise[:, axis].max(axis=1) for axis in _AXES) / 2, dtype=np.float64)


def sides_of_minimum(height: Floats, delta: float) -> NDArray[np.bool_]:
    """Return which of the best pixel's eight neighbours (8,) to refine, from their ``height`` (8,) in -ln L above it.

    They are those that hold a part of the sky within `_NEAR` of the minimum of the parabola through the nine centres,
    or, with some room, within ``delta`` in -ln L of it. All, where a height is not known (NaN), there is no such
    minimum, or it lies in a valley oblique to the axes, along which so few centres say little.
    """
    sw, w, nw, n, ne, e, se, s = height.tolist()
    slope_a, slope_b = (ne - sw) / 2, (nw - se) / 2
    bend_a, bend_b, twist = sw + ne, nw + se, (n + s - w - e) / 4
    determinant = bend_a * bend_b - twist * twist
    if not determinant > 0.5 * bend_a * bend_b > 0:
        return np.ones(8, np.bool_)
    a = (twist * slope_b - bend_b * slope_a) / determinant
    b = (twist * slope_a - bend_a * slope_b) / determinant
    if max(abs(a), abs(b)) > 1:
        return np.ones(8, np.bool_)
    reach_a = max(_NEAR, _WIDER * math.sqrt(2 * delta * bend_b / determinant))
    reach_b = max(_NEAR, _WIDER * math.sqrt(2 * delta * bend_a / determinant))
    of_a = {-1: a - reach_a < -0.5, 0: True, 1: a + reach_a > 0.5}
    of_b = {-1: b - reach_b < -0.5, 0: True, 1: b + reach_b > 0.5}
    return np.array([of_a[step_a] and of_b[step_b] for step_a, step_b in _STEPS])


def refine(llh: Mapping[Pixel, float], level: Level) -> list[Pixel]:
    """Return the pixels of ``level``, sorted, from -ln L of every pixel of the level before."""
    return sorted(child for parent in choose_parents(llh, level) for child in children(parent, level.nside))


def beyond_the_edge(llh: Mapping[Pixel, float], coarser: Collection[Pixel]) -> list[Pixel]:
    """Return the pixels that a level lacks around its best one, and their siblings, sorted, from -ln L of its pixels.

    ``coarser``: the pixels of the level before. What lies outside of it cannot be refined.
    """
    best = min(
        (pixel for pixel in llh if not math.isnan(llh[pixel])), key=lambda pixel: (llh[pixel], pixel), default=None
    )
    if best is None or not coarser:
        return []
    nside = next(iter(coarser)).nside
    parents = {parent(one, nside) for one in neighbours(best) if one not in llh}
    beyond = {child for one in parents.intersection(coarser) for child in children(one, best.nside)}
    return sorted(beyond.difference(llh))


def best_pixel(nsides: Sequence[int], llh: Mapping[Pixel, float]) -> Pixel | None:
    """Return the best pixel of the map, given the levels and -ln L (NaN: failed) of their pixels; None if all failed.

    A pixel does not count where fitted pixels of finer levels cover it. Ties go to the coarser level, then to the lower
    index.
    """
    finer = dict(pairwise(sorted(nsides)))

    def covered(pixel: Pixel) -> bool:
        return pixel.nside in finer and all(
            not math.isnan(llh.get(child, math.nan)) or covered(child) for child in children(pixel, finer[pixel.nside])
        )

    fitted = sorted((value, pixel) for pixel, value in llh.items() if not math.isnan(value))
    return next((pixel for _, pixel in fitted if not covered(pixel)), None)


def _may_hold(probability: float, value: Floats, reach: Floats, group: Integers) -> Integers:
    """Return the places of the pixels to refine, given all of them in order.

    They are the best pixel, its neighbours on the sides of the minimum, those that may reach the level's delta, and as
    many more in order as it takes to hold the share by the values at the centres, which counts where the posterior has
    longer tails than a Gaussian.
    """
    lowest = float(value.min())
    weight = np.array([math.exp(lowest - one) for one in value.tolist()])  # numpy's exp depends on the processor
    held = np.cumsum(weight) / weight.sum()
    before = np.concatenate([[0.0], held[:-1]])
    limit = value.min() - math.log1p(-probability)
    return np.flatnonzero((group < 2) | (reach <= limit) | (before < probability))
