"""Finds which of many directions lie in a credible region, from its lines.

A direction is inside if it is on the same side as the north pole and an even number of lines lie between both, along
the meridian, or on the other side and an odd number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.healpix import Floats
from skymap_scanner.results.contours import Contour
from skymap_scanner.results.directions import radec_to_vector, vector_to_radec
from skymap_scanner.results.skymap import ramp

#: Crossings of meridians that are processed together: some 30 MB.
BLOCK = 2**18


def is_inside(region: Contour, vectors: Floats) -> NDArray[np.bool_]:
    """Return whether each of the unit vectors (n, 3) lies in the region (n,)."""
    begins = np.concatenate([np.empty((0, 2)), *(line[:-1] for line in region.lines)])
    ends = np.concatenate([np.empty((0, 2)), *(line[1:] for line in region.lines)])
    eastward = ((ends[:, 0] - begins[:, 0] + 180.0) % 360.0 - 180.0 > 0)[:, None]
    west, east = np.where(eastward, begins, ends), np.where(eastward, ends, begins)
    start = radec_to_vector(west[:, 0], west[:, 1])
    # The difference keeps all digits of short pieces.
    north = np.cross(start, radec_to_vector(east[:, 0], east[:, 1]) - start)

    ra, _ = vector_to_radec(vectors)
    by_ra = np.argsort(ra)
    # A piece holds the meridian at its western end and not that at its eastern one, so that no end counts twice.
    first, last = np.searchsorted(ra[by_ra], west[:, 0]), np.searchsorted(ra[by_ra], east[:, 0])
    over_zero = np.flatnonzero(east[:, 0] < west[:, 0])
    piece = np.append(np.arange(len(first)), over_zero)
    first, last = np.append(first, np.zeros_like(over_zero)), np.append(last, last[over_zero])
    last[over_zero] = len(ra)

    crossed = np.zeros(len(vectors), dtype=np.int64)
    total = np.cumsum(last - first)
    blocks = np.searchsorted(total, np.arange(BLOCK, total.max(initial=0), BLOCK))
    for rows in np.split(np.arange(len(piece)), blocks):
        count = last[rows] - first[rows]
        meets = by_ra[np.repeat(first[rows], count) + ramp(count)]
        below = np.einsum("kx,kx->k", vectors[meets], north[np.repeat(piece[rows], count)]) < 0
        crossed += np.bincount(meets[below], minlength=len(vectors))
    return np.asarray((crossed % 2 == 1) ^ region.contains(0.0, 90.0))
