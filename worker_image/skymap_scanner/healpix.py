"""HEALPix: where pixels lie, which ones touch or contain each other, and how they are numbered.

HEALPix is Gorski et al., ApJ 622 (2005) 759; healpy does the arithmetic, and only this module imports it. Pixels are
RING unless a name says NESTED; ``nside`` is a power of two; angles are right ascension and declination in radians.
Arrays may have any shape, and the result has the same one.

healpy is imported by the first call: it takes a second, and a worker, which gets its directions in the tasks, never
needs it.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skymap_scanner.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def pixel_count(nside: int) -> int:
    """Return the number of pixels of the whole sky."""
    return 12 * nside * nside


def pixel_area(nside: ArrayLike) -> Floats:
    """Return the solid angle of a pixel, sr."""
    return np.asarray(np.pi / 3 / np.square(np.asarray(nside, np.float64)))


def pixel_width(nside: ArrayLike) -> Floats:
    """Return the side of a square of a pixel's area, rad."""
    return np.asarray(np.sqrt(np.pi / 3) / np.asarray(nside, np.float64))


def pixel_reach(nside: int) -> float:
    """Return the greatest distance of a pixel's corner from its centre, rad."""
    return float(_healpy().max_pixrad(nside))


def pixel_to_radec(nside: ArrayLike, index: ArrayLike) -> tuple[Floats, Floats]:
    """Return right ascension in [0, 2 pi) and declination of the centres of pixels."""
    theta, phi = _healpy().pix2ang(nside, np.asarray(index, np.int64))
    return np.asarray(phi, np.float64), np.asarray(np.pi / 2 - theta, np.float64)


def pixel_to_vector(nside: int, index: ArrayLike) -> Floats:
    """Return the unit vectors to the centres of pixels, shape (..., 3)."""
    return np.stack(_healpy().pix2vec(nside, np.asarray(index, np.int64)), axis=-1)


def radec_to_pixel(nside: int, ra: ArrayLike, dec: ArrayLike) -> Integers:
    """Return the pixels that contain directions; right ascension may have any number of turns.

    Raises ValueError for a declination beyond a pole.
    """
    return _as_integers(_healpy().ang2pix(nside, np.pi / 2 - np.asarray(dec, np.float64), np.asarray(ra, np.float64)))


def ring_to_nested(nside: ArrayLike, index: ArrayLike) -> Integers:
    """Return the NESTED indices of pixels."""
    return _as_integers(_healpy().ring2nest(nside, np.asarray(index, np.int64)))


def nested_to_ring(nside: ArrayLike, index: ArrayLike) -> Integers:
    """Return the RING indices of pixels that are given in NESTED order."""
    return _as_integers(_healpy().nest2ring(nside, np.asarray(index, np.int64)))


def neighbours(nside: int, index: ArrayLike) -> Integers:
    """Return the eight pixels around each pixel, shape (..., 8), from the south-west clockwise.

    Where only seven pixels meet, one of them is -1; at nside 1 a pixel may be listed twice.
    """
    return np.moveaxis(_as_integers(_healpy().get_all_neighbours(nside, np.asarray(index, np.int64))), 0, -1)


def nested_to_uniq(order: ArrayLike, index: ArrayLike) -> Integers:
    """Return the UNIQ numbers 4^(order + 1) + index of NESTED pixels (IVOA MOC 2.0, section 4.3.1)."""
    return _as_integers((np.int64(4) << 2 * np.asarray(order, np.int64)) + np.asarray(index, np.int64))


def radec_to_nested(order: int, ra: ArrayLike, dec: ArrayLike) -> Integers:
    """Return the NESTED indices at nside 2^order of the pixels that contain directions; as `radec_to_pixel`."""
    return ring_to_nested(2**order, radec_to_pixel(2**order, ra, dec))


def _as_integers(value: ArrayLike) -> Integers:
    return np.asarray(value, np.int64)


def _healpy() -> ModuleType:
    """Import healpy; raises InputError where Python runs without docstrings."""
    if sys.flags.optimize > 1:
        raise InputError("healpy needs docstrings, which Python -OO leaves out: unset PYTHONOPTIMIZE, or set it to 1")
    import healpy  # noqa: PLC0415 - see the module's docstring

    module: ModuleType = healpy
    return module
