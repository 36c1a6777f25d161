"""Between directions in the detector and on the sky (ICRS).

Zenith and azimuth (radians) say where a particle comes *from*: zenith from straight up, azimuth counter-clockwise
from the detector's x axis, seen from above; y points to the prime meridian (grid north). The transformation is ERFA's
full one (precession, nutation, aberration), at sea level, without refraction or polar motion and with UT1 = UTC: at
most 0.9 s, or 0.004 deg, from the true rotation of the Earth, and in need of no tables from the network. IceTray's
``astro`` makes the same choices.
"""

from __future__ import annotations

import math
from math import pi, radians
from typing import Any

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from skymap_scanner.errors import InputError

#: Where the detector is, as IceTray's ``astro`` has it.
LATITUDE = radians(-89.9944)
LONGITUDE = radians(-62.6081)

_MJD_ZERO = 2400000.5  # Julian date of MJD 0


def equatorial_to_detector(
    ra: ArrayLike, dec: ArrayLike, mjd: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (zenith, azimuth) of a direction on the sky (ICRS), at a time (UTC, days); radians, any shape.

    Raises InputError when ``mjd`` is not finite, or so far away that ERFA has no calendar for it.
    """
    astrometry = _astrometry(mjd)
    ra_cirs, dec_cirs = erfa.atciqz(ra, dec, astrometry)
    north_to_east, zenith, *_ = erfa.atioq(ra_cirs, dec_cirs, astrometry)
    return zenith, _one_turn(pi / 2 - north_to_east - LONGITUDE)


def detector_to_equatorial(
    zenith: ArrayLike, azimuth: ArrayLike, mjd: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (ra, dec) (ICRS) of a direction in the detector, at a time (UTC, days); radians, any shape.

    Raises InputError as ``equatorial_to_detector``.
    """
    astrometry = _astrometry(mjd)
    north_to_east = pi / 2 - np.asarray(azimuth, float) - LONGITUDE
    ra_cirs, dec_cirs = erfa.atoiq("A", north_to_east, zenith, astrometry)
    ra, dec = erfa.aticq(ra_cirs, dec_cirs, astrometry)
    return _one_turn(ra), dec


def travel_direction(zenith: float, azimuth: float) -> NDArray[np.float64]:
    """Return the unit vector (3,) along which a particle travels that comes from (zenith, azimuth), in radians.

    By the C library: numpy's sine may differ in the last bit from host to host.
    """
    sine = math.sin(zenith)
    return -np.array([sine * math.cos(azimuth), sine * math.sin(azimuth), math.cos(zenith)])


def angular_separation(
    longitude_1: ArrayLike, latitude_1: ArrayLike, longitude_2: ArrayLike, latitude_2: ArrayLike
) -> NDArray[np.float64]:
    """Return the angle (radians) between points on a sphere, such as (ra, dec) or (azimuth, pi/2 - zenith).

    Vincenty's formula for a sphere: exact for small and for opposite directions alike.
    """
    difference = np.subtract(longitude_2, longitude_1)
    sine_1, cosine_1 = np.sin(latitude_1), np.cos(latitude_1)
    sine_2, cosine_2 = np.sin(latitude_2), np.cos(latitude_2)
    across = np.hypot(cosine_2 * np.sin(difference), cosine_1 * sine_2 - sine_1 * cosine_2 * np.cos(difference))
    along = sine_1 * sine_2 + cosine_1 * cosine_2 * np.cos(difference)
    return np.asarray(np.arctan2(across, along))


def _one_turn(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring an angle into [0, 2 pi); the remainder alone rounds -1e-17 up to 2 pi."""
    turned = angle % (2 * pi)
    return np.where(turned < 2 * pi, turned, 0.0)[()]


def _astrometry(mjd: float) -> Any:
    """Return ERFA's star-independent parameters for the detector at that time."""
    if not np.isfinite(mjd):
        raise InputError(f"the time of the event, MJD {mjd}, is not a number")
    # The plain ufunc gives its status instead of a warning for dates past ERFA's table of leap seconds.
    parameters, _, status = erfa.ufunc.apco13(
        _MJD_ZERO, mjd, 0.0, LONGITUDE, LATITUDE, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5
    )
    if status < 0:
        raise InputError(f"the time of the event, MJD {mjd}, is outside of the calendar")
    return parameters
