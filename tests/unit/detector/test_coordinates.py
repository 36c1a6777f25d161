from __future__ import annotations

from math import degrees, pi, radians

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.detector.coordinates import (
    LATITUDE,
    LONGITUDE,
    angular_distance,
    detector_to_equatorial,
    direction,
    equatorial_to_detector,
)
from skymap_scanner.errors import InputError

angles = st.floats(0, 2 * pi, exclude_max=True)
latitudes = st.floats(-pi / 2, pi / 2)
times = st.floats(55000, 65000)


@given(angles, latitudes, times)
def test_sky_to_detector_and_back_round_trips(ra: float, dec: float, mjd: float) -> None:
    back = detector_to_equatorial(*equatorial_to_detector(ra, dec, mjd), mjd)
    assert angular_distance(ra, dec, *back) < 1e-10
    assert 0 <= back[0] < 2 * pi


@given(st.floats(0, pi), angles, times)
def test_detector_to_sky_and_back_round_trips(zenith: float, azimuth: float, mjd: float) -> None:
    back_zenith, back_azimuth = equatorial_to_detector(*detector_to_equatorial(zenith, azimuth, mjd), mjd)
    assert angular_distance(azimuth, pi / 2 - zenith, back_azimuth, pi / 2 - back_zenith) < 1e-10
    assert 0 <= back_azimuth < 2 * pi


@pytest.mark.parametrize("mjd", [55500.25, 57992.5, 58085.9, 60280.71])
def test_directions_agree_with_astropy_within_ut1_uncertainty(mjd: float) -> None:
    """astropy's own frames use the measured UT1 - UTC (below 0.9 s, 0.0038 deg) and polar motion (below 0.0002 deg)."""
    random = np.random.default_rng(int(mjd))
    ra, dec = random.uniform(0, 2 * pi, 200), np.arcsin(random.uniform(-1, 1, 200))
    south_pole = EarthLocation.from_geodetic(degrees(LONGITUDE), degrees(LATITUDE), 0)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        there = SkyCoord(ra, dec, unit=units.rad).transform_to(
            AltAz(obstime=Time(mjd, format="mjd", scale="utc"), location=south_pole)
        )
    zenith, azimuth = equatorial_to_detector(ra, dec, mjd)
    difference = angular_distance(pi / 2 - azimuth - LONGITUDE, pi / 2 - zenith, there.az.rad, there.alt.rad)
    assert degrees(difference.max()) < 0.004
    at_the_south_pole = np.abs(zenith - (pi / 2 + dec)).max()
    assert degrees(at_the_south_pole) < 0.3  # precession since 2000 and aberration only


def test_array_of_directions_equals_single_directions() -> None:
    zenith, azimuth = np.linspace(0.1, 3, 12).reshape(3, 4), np.linspace(0, 6, 4)
    ra, dec = detector_to_equatorial(zenith, azimuth, 60000.0)
    assert ra.shape == dec.shape == (3, 4)
    assert (ra[2, 1], dec[2, 1]) == detector_to_equatorial(zenith[2, 1], azimuth[1], 60000.0)


def test_date_after_the_last_leap_second_is_accepted() -> None:
    zenith, _ = equatorial_to_detector(1.0, 0.5, 90000.0)
    assert zenith == pytest.approx(pi / 2 + 0.5, abs=0.01)


@pytest.mark.parametrize("mjd", [float("nan"), float("inf"), -1e9])
def test_invalid_date_is_rejected(mjd: float) -> None:
    with pytest.raises(InputError, match="time of the event, MJD"):
        detector_to_equatorial(1.0, 1.0, mjd)


@given(st.floats(0, pi), angles)
def test_particle_travels_opposite_to_its_origin(zenith: float, azimuth: float) -> None:
    travel = direction(zenith, azimuth)
    assert np.linalg.norm(travel) == pytest.approx(1)
    assert np.arccos(np.clip(-travel[2], -1, 1)) == pytest.approx(zenith, abs=1e-7)
    assert -travel[:2] == pytest.approx(np.sin(zenith) * np.array([np.cos(azimuth), np.sin(azimuth)]))


def test_directions_keep_their_array_shape() -> None:
    assert direction(np.zeros((2, 3)), 0.0).shape == (2, 3, 3)
    assert direction(0.0, 0.0) == pytest.approx([0, 0, -1])


def test_angular_distance_is_exact_where_the_cosine_is_not() -> None:
    tiny = 1e-9
    assert angular_distance(1.0, 0.3, 1.0, 0.3 + tiny) == pytest.approx(tiny, rel=1e-6)
    assert angular_distance(0.0, 0.0, pi - tiny, 0.0) == pytest.approx(pi - tiny, abs=1e-15)
    assert degrees(angular_distance(radians(359.5), 0, radians(0.5), 0)) == pytest.approx(1.0)
