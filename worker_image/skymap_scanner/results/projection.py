"""Map projections of the plots; right ascension increases to the left. Angles in deg, planes in the units named."""

from __future__ import annotations

import numpy as np

from skymap_scanner.healpix import Floats
from skymap_scanner.results.directions import local_frame, radec_to_vector, vector_to_radec

#: Right ascension in the middle of the all-sky plot: 360 deg at the left edge, 0 at the right one.
MIDDLE = 180.0
#: From equatorial (ICRS) to galactic unit vectors (The Hipparcos and Tycho Catalogues, volume 1, equation 1.5.11).
TO_GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)


def mollweide(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Project the sky into the ellipse |x| <= 2, |y| <= 1."""
    latitude = np.radians(dec)
    theta = np.array(latitude, dtype=np.float64)
    for _ in range(50):  # Newton's method; it slows down towards the poles, where the function is flat
        slope = np.maximum(4 * np.cos(theta) ** 2, 1e-12)
        step = (2 * theta + np.sin(2 * theta) - np.pi * np.sin(latitude)) / slope
        theta = np.clip(theta - step, -np.pi / 2, np.pi / 2)
    longitude = MIDDLE - ra
    # Both edges are the meridian 0 = 360: exactly there, the sign distinguishes them.
    longitude = np.where(np.abs(longitude) > 180, (longitude + 180) % 360 - 180, longitude)
    return longitude / 90 * np.cos(theta), np.sin(theta)


def mollweide_inverse(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return right ascension and declination; NaN outside the ellipse."""
    theta = np.arcsin(np.clip(y, -1, 1))
    inside = x**2 / 4 + y**2 <= 1
    sine = np.clip((2 * theta + np.sin(2 * theta)) / np.pi, -1, 1)
    longitude = np.divide(90 * x, np.cos(theta), out=np.zeros_like(x), where=inside & (np.abs(y) < 1))
    return (
        np.where(inside, (MIDDLE - longitude) % 360.0, np.nan),
        np.where(inside, np.degrees(np.arcsin(sine)), np.nan),
    )


def gnomonic(ra: Floats, dec: Floats, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Project onto the plane that touches the sphere at (ra0, dec0); x and y in deg, NaN on the far hemisphere."""
    east, north, center = local_frame(ra0, dec0)
    vectors = radec_to_vector(ra, dec)
    depth = vectors @ center
    scale = np.divide(180 / np.pi, depth, out=np.full_like(depth, np.nan), where=depth > 1e-6)
    return -(vectors @ east) * scale, (vectors @ north) * scale


def gnomonic_inverse(x: Floats, y: Floats, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Return right ascension and declination of points of the plane."""
    east, north, center = local_frame(ra0, dec0)
    return vector_to_radec(center - np.radians(x)[..., None] * east + np.radians(y)[..., None] * north)


def break_jumps(x: Floats, y: Floats, limit: float) -> tuple[Floats, Floats]:
    """Insert NaN into a line (k,) where it jumps further than ``limit``: over the edge of the sky."""
    with np.errstate(invalid="ignore"):
        jumps = np.flatnonzero(np.hypot(np.diff(x), np.diff(y)) > limit) + 1
    return np.insert(x, jumps, np.nan), np.insert(y, jumps, np.nan)


def equatorial_to_galactic(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Return galactic longitude in [0, 360) and latitude of equatorial directions."""
    return vector_to_radec(radec_to_vector(ra, dec) @ TO_GALACTIC.T)


def galactic_to_equatorial(longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
    """Return right ascension and declination of galactic directions."""
    return vector_to_radec(radec_to_vector(longitude, latitude) @ TO_GALACTIC)
