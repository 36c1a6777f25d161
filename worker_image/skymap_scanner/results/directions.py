"""Directions on the sky as right ascension and declination, and as unit vectors."""

from __future__ import annotations

import numpy as np

from skymap_scanner.detector.coordinates import angular_separation
from skymap_scanner.healpix import Floats


def radec_to_vector(ra: Floats, dec: Floats) -> Floats:
    """Return the unit vectors (..., 3) of directions (deg)."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def local_frame(ra: float, dec: float) -> tuple[Floats, Floats, Floats]:
    """Return the unit vectors (3,) to the east and to the north of a direction (deg), and of the direction itself."""
    lon, lat = np.radians(ra), np.radians(dec)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    return east, north, radec_to_vector(np.array(ra), np.array(dec))


def separation(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the angle between two directions (ra, dec); all in deg."""
    return float(np.degrees(angular_separation(*np.radians([*a, *b]))))


def rounded_longitude(longitude: float, decimals: int) -> float:
    """Return a right ascension or galactic longitude (deg) with so many decimals, still in [0, 360)."""
    return round(longitude, decimals) % 360.0


def vector_to_radec(vectors: Floats) -> tuple[Floats, Floats]:
    """Return right ascension in [0, 360) and declination (deg) of vectors (..., 3) of any length."""
    ra = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
    dec = np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
    return np.where(ra == 360.0, 0.0, ra), dec
