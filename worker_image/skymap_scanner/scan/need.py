"""Chooses the pixels that need more seeds than the first ones, from the fits of a whole level.

On the first level every fit starts far from its minimum and may end in another one. The pixels that compete for the
minimum get all seeds: those that may reach it anywhere in their area, as in `refinement`. On finer levels fits start
from a solved parent. There the pixels of the 90 % region and around it compete while they are few: one start ends up to
a tenth too high, which would make a small region smaller by several per cent. In a region of many pixels only the best
few compete.

The best pixels get theirs after the others: one of these seeds is the best neighbour's fit, and the better that is, the
better the start. All contours are measured from the best pixel.

On all levels a pixel gets more seeds if its fit failed, or disagrees with its neighbours: along some axis through it,
it lies above the mean of the two neighbours by more than noise and by more than a share of its height above the best
pixel. A fit that ended in a wrong minimum is always too high. One that is wrong by less than that share does not come
near the contours however well it is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from skymap_scanner import healpix
from skymap_scanner.healpix import Floats, Integers
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.refinement import lowest_in_pixel
from skymap_scanner.scan.region import EDGE, ENOUGH

#: A pixel of the first level competes if it may come within this -ln L of the best fit.
COMPETING = 10.0

#: Pixels around the 90 % region compete up to this -ln L beyond its edge: calibrated regions of tracks end there.
AROUND = 2.0

#: A pixel of a finer level competes if it is within this -ln L of the best pixel, where the region has many pixels.
COMPETING_WARM = 0.1

#: On finer levels pixels within this -ln L of the best one wait for the others.
WAITING = 0.5

#: A pixel disagrees with its neighbours by more than this -ln L, and more than this share of its height above the best.
NOISE, SHARE = 0.25, 0.25


def pixels_in_need(llh: Mapping[Pixel, float], *, first_level: bool) -> list[Pixel]:
    """Return the pixels that need more seeds, sorted, from -ln L (NaN: failed) of all pixels of one level."""
    failed = [pixel for pixel, value in llh.items() if math.isnan(value)]
    fitted = sorted((pixel.index, value) for pixel, value in llh.items() if not math.isnan(value))
    if not fitted:
        return sorted(failed)
    nside = next(iter(llh)).nside
    index = np.array([index for index, _ in fitted], np.int64)
    value = np.array([value for _, value in fitted], np.float64)
    height = value - value.min()
    if first_level:
        competes = lowest_in_pixel(nside, index, value) <= value.min() + COMPETING
    else:
        few = np.count_nonzero(height <= EDGE) < ENOUGH
        competes = height <= (EDGE + AROUND if few else COMPETING_WARM)
    disagrees = disagreement(nside, index, value) > np.maximum(NOISE, SHARE * height)
    return sorted([*failed, *(Pixel(nside, int(one)) for one in index[competes | disagrees])])


def before_the_best(needy: Sequence[Pixel], llh: Mapping[Pixel, float]) -> list[Pixel]:
    """Return the pixels of a finer level that get more seeds next: those that do not wait, or else all."""
    limit = min((value for value in llh.values() if not math.isnan(value)), default=math.nan) + WAITING
    others = [pixel for pixel in needy if not llh[pixel] <= limit]
    return others or list(needy)


def disagreement(nside: int, index: Integers, value: Floats) -> Floats:
    """Return how far -ln L of each pixel lies above the mean of two opposite neighbours, the most of its four axes.

    ``index`` (n,), ascending, ``value`` (n,). An axis counts if both of its neighbours are among the pixels; without
    one the answer is -inf.
    """
    beside = healpix.neighbours(nside, index)
    place = np.minimum(np.searchsorted(index, beside), len(index) - 1)
    around = np.where(index[place] == beside, value[place], np.nan)
    above = value[:, None] - (around[:, :4] + around[:, 4:]) / 2
    return np.asarray(np.where(np.isnan(above), -np.inf, above).max(axis=1), dtype=np.float64)
