"""Chooses the pixels of the next level: the children of the best pixels of this one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from skymap_scanner.scan.levels import Level
from skymap_scanner.scan.pixels import Pixel, children, neighbours


def choose_parents(llh: Mapping[Pixel, float], count: int) -> list[Pixel]:
    """Return ``count`` pixels to refine (fewer if fewer fits succeeded), from -ln L of the pixels of one level.

    The best pixel comes first, then its neighbours, then the best of the others. The neighbours are needed because the
    true minimum may lie beyond the pixel's edge, and the best fit must not lie at the edge of the fine map. A failed
    pixel (NaN) is never chosen. Ties go to the lower index.
    """
    ranked = sorted((value, pixel) for pixel, value in llh.items() if not math.isnan(value))
    if not ranked:
        return []
    best = ranked[0][1]
    around = set(neighbours(best))
    first = [pixel for _, pixel in ranked if pixel == best or pixel in around]
    rest = [pixel for _, pixel in ranked if pixel != best and pixel not in around]
    return (first + rest)[:count]


def refine(llh: Mapping[Pixel, float], level: Level) -> list[Pixel]:
    """Return the pixels of ``level``, sorted, from -ln L of every pixel of the level before."""
    return sorted(child for parent in choose_parents(llh, level.parents) for child in children(parent, level.nside))
