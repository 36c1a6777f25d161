"""HEALPix pixels (RING order, equatorial): centres, children, neighbours, and the pixels nearest to one.

HEALPix is Gorski et al., ApJ 622 (2005) 759; astropy-healpix does the arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from astropy_healpix import healpy as hp
from astropy_healpix import neighbours as healpix_neighbours
from numpy.typing import NDArray

from skymap_scanner.errors import InputError

#: Pixels of 13 arc seconds: far below any resolution here, and every index still fits an int32 of the frames.
MAX_NSIDE = 8192

#: Most pixels of one level, the whole sky at nside 512: what the roles hold in their memory of 2 GiB.
MAX_PIXELS = 12 * 512 * 512


@dataclass(frozen=True, slots=True, order=True)
class Pixel:
    """One HEALPix pixel: ``nside`` and RING ``index``."""

    nside: int
    index: int

    @property
    def key(self) -> str:
        """The pixel as a message key, ``nside/index``."""
        return f"{self.nside}/{self.index}"


def pixel_count(nside: int) -> int:
    """Count the pixels of the whole sky."""
    return 12 * nside * nside


def check_nside(nside: int) -> int:
    """Return ``nside`` if it is a power of two from 1 to MAX_NSIDE.

    Raises
    ------
    InputError
        If it is not.
    """
    if nside < 1 or nside > MAX_NSIDE or nside & (nside - 1):
        raise InputError(f"nside {nside} is not a power of two from 1 to {MAX_NSIDE}")
    return nside


def check_pixels(nside: int, indices: Iterable[int]) -> list[Pixel]:
    """Make pixels of ``indices``, sorted, each once.

    Raises
    ------
    InputError
        If an index lies outside the grid.
    """
    unique = sorted(set(indices))
    outside = [index for index in unique if not 0 <= index < pixel_count(nside)]
    if outside:
        raise InputError(
            f"pixel {outside[0]} does not exist at nside {nside}: indices run from 0 to {pixel_count(nside) - 1}"
        )
    return [Pixel(nside, index) for index in unique]


def write_ranges(indices: Iterable[int]) -> str:
    """Write sorted indices as ``0-767,801``: the whole sky stays short at any nside."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_ranges(text: str) -> list[int]:
    """Read ``0-767,801``: single indices and ranges, commas or blanks between.

    Raises
    ------
    InputError
        If a part is neither, or there are more than MAX_PIXELS.
    """
    indices: list[int] = []
    for part in re.split(r"[\s,]+", text.strip()) if text.strip() else []:
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
        if match is None:
            raise InputError(f"pixel list: {part!r} is neither a pixel nor a range such as 0-767")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= pixel_count(MAX_NSIDE):
            raise InputError(f"pixel list: {part!r} is not a range of pixels")
        if len(indices) + last - first + 1 > MAX_PIXELS:
            raise InputError(f"pixel list: more than the {MAX_PIXELS} pixels that a level may have")
        indices.extend(range(first, last + 1))
    return indices


def whole_sky(nside: int) -> list[Pixel]:
    """Every pixel of one nside."""
    return [Pixel(nside, index) for index in range(pixel_count(nside))]


def centres(pixels: Sequence[Pixel]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination (rad) of the centres; the pixels share one nside."""
    if not pixels:
        return np.zeros(0), np.zeros(0)
    theta, phi = hp.pix2ang(pixels[0].nside, np.array([pixel.index for pixel in pixels]))
    return np.asarray(phi, dtype=np.float64), np.pi / 2 - np.asarray(theta, dtype=np.float64)


def children(pixel: Pixel, nside: int) -> list[Pixel]:
    """Every pixel of ``nside`` inside ``pixel``, sorted."""
    ratio = (nside // pixel.nside) ** 2
    nested = _nested(pixel) * ratio
    rings = np.atleast_1d(hp.nest2ring(nside, np.arange(nested, nested + ratio)))
    return [Pixel(nside, int(index)) for index in np.sort(rings)]


def parent(pixel: Pixel, nside: int) -> Pixel:
    """Return the pixel of the coarser ``nside`` that holds ``pixel``."""
    nested = _nested(pixel) // (pixel.nside // nside) ** 2
    return Pixel(nside, int(np.ravel(hp.nest2ring(nside, nested))[0]))


def _nested(pixel: Pixel) -> int:
    return int(np.ravel(hp.ring2nest(pixel.nside, pixel.index))[0])


def neighbours(pixel: Pixel) -> list[Pixel]:
    """Return the 8 (in places 6 or 7) pixels that touch ``pixel``, sorted."""
    with np.errstate(invalid="ignore"):  # a missing neighbour (-1) passes through a NaN inside astropy-healpix
        found = {int(index) for index in np.ravel(healpix_neighbours(pixel.index, pixel.nside, order="ring"))}
    return [Pixel(pixel.nside, index) for index in sorted(found - {-1, pixel.index})]


def nearest(centre: Pixel, nside: int, count: int) -> list[Pixel]:
    """Return the ``count`` pixels of ``nside`` whose centres are nearest to that of ``centre``, sorted by index.

    Ties go to the lower index, so that the answer is the same everywhere.
    """
    every = np.arange(pixel_count(nside))
    vectors = np.stack(hp.pix2vec(nside, every), axis=-1)
    cosine = vectors @ np.stack(hp.pix2vec(centre.nside, centre.index), axis=-1)
    # Rounded, so that centres at equal distance compare equal whatever the last bit of the product.
    order = np.lexsort((every, -np.round(cosine, 12)))
    return [Pixel(nside, int(index)) for index in np.sort(order[:count])]
