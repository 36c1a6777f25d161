"""The pixels of a scan (HEALPix, RING, equatorial): checks, lists, relatives, and the pixels nearest to one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymap_scanner import healpix
from skymap_scanner.errors import InputError
from skymap_scanner.healpix import pixel_count

#: Pixels of 13 arc seconds: far below any resolution here, and every index still fits an int32 of the frames.
MAX_NSIDE = 8192

#: Most pixels of one level, the whole sky at nside 512. The roles hold 2 kB for each; `results.requirements` refuses
#: what a saver has no memory for.
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


def resimulation(number: int) -> Pixel:
    """Return what stands for the pixel in a re-simulation of the event: an index of its own grid, that of nside 0."""
    return Pixel(0, number)


def is_resimulation(pixel: Pixel) -> bool:
    """Return whether this is not a pixel of the sky, but stands for a re-simulation of the event."""
    return pixel.nside == 0


def check_nside(nside: int) -> int:
    """Return ``nside`` if it is a power of two from 1 to MAX_NSIDE; raises InputError if it is not."""
    if nside < 1 or nside > MAX_NSIDE or nside & (nside - 1):
        raise InputError(f"nside {nside} is not a power of two from 1 to {MAX_NSIDE}")
    return nside


def check_pixels(nside: int, indices: Iterable[int]) -> list[Pixel]:
    """Make pixels of ``indices``, sorted, each once; raises InputError if an index lies outside the grid."""
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

    Raises InputError if a part is neither, or there are more than MAX_PIXELS.
    """
    indices: list[int] = []
    for part in re.split(r"[\s,]+", text.strip()) if text.strip() else []:
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
        if match is None:
            raise InputError(f"pixel list: {part!r} is neither a pixel nor a range such as 0-767")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= pixel_count(MAX_NSIDE):
            raise InputError(f"pixel list: {part!r} is not a range of pixels: write FIRST-LAST, such as 100-120")
        if len(indices) + last - first + 1 > MAX_PIXELS:
            raise InputError(f"pixel list: more than the {MAX_PIXELS} pixels that a level may have")
        indices.extend(range(first, last + 1))
    return indices


def whole_sky(nside: int) -> list[Pixel]:
    """Return every pixel of one nside."""
    return [Pixel(nside, index) for index in range(pixel_count(nside))]


def spread_over_sky(pixels: Sequence[Pixel]) -> list[Pixel]:
    """Return ``pixels`` of one nside in an order in which any first part of the sky's pixels covers it evenly.

    The first 12 lie one in each pixel of nside 1, the first 48 one in each of nside 2, and so on: their order is that
    of the reversed bits of the NESTED index in its base pixel.
    """
    if not pixels:
        return []
    nside = pixels[0].nside
    face, rest = np.divmod(healpix.ring_to_nested(nside, [pixel.index for pixel in pixels]), nside * nside)
    reversed_bits = np.zeros_like(rest)
    for _ in range(2 * (nside.bit_length() - 1)):
        reversed_bits, rest = 2 * reversed_bits + rest % 2, rest // 2
    return [pixels[place] for place in np.lexsort((face, reversed_bits))]


def centres(pixels: Sequence[Pixel]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return right ascension and declination (rad) of the centres; the pixels share one nside."""
    if not pixels:
        return np.zeros(0), np.zeros(0)
    return healpix.pixel_to_radec(pixels[0].nside, [pixel.index for pixel in pixels])


def children(pixel: Pixel, nside: int) -> list[Pixel]:
    """Return every pixel of the finer ``nside`` inside ``pixel``, sorted."""
    ratio = (nside // pixel.nside) ** 2
    first = int(healpix.ring_to_nested(pixel.nside, pixel.index)) * ratio
    return [Pixel(nside, int(index)) for index in np.sort(healpix.nested_to_ring(nside, first + np.arange(ratio)))]


def parent(pixel: Pixel, nside: int) -> Pixel:
    """Return the pixel of the coarser ``nside`` that holds ``pixel``."""
    nested = healpix.ring_to_nested(pixel.nside, pixel.index) // (pixel.nside // nside) ** 2
    return Pixel(nside, int(healpix.nested_to_ring(nside, nested)))


def neighbours(pixel: Pixel) -> list[Pixel]:
    """Return the 8 (in places 6 or 7) pixels that touch ``pixel``, sorted."""
    found = set(healpix.neighbours(pixel.nside, pixel.index).tolist())
    return [Pixel(pixel.nside, index) for index in sorted(found - {-1, pixel.index})]


def nearest(centre: Pixel, nside: int, count: int) -> list[Pixel]:
    """Return the ``count`` pixels of ``nside`` whose centres are nearest to that of ``centre``, sorted by index.

    Ties go to the lower index, so that the answer is the same everywhere.
    """
    every = np.arange(pixel_count(nside))
    cosine = healpix.pixel_to_vector(nside, every) @ healpix.pixel_to_vector(centre.nside, centre.index)
    # Rounded, so that centres at equal distance compare equal whatever the last bit of the product.
    order = np.lexsort((every, -np.round(cosine, 12)))
    return [Pixel(nside, int(index)) for index in np.sort(order[:count])]
