from __future__ import annotations

from math import degrees, pi, radians

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, spherical_to_cartesian
from astropy.coordinates import angular_separation as astropy_separation
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.detector.coordinates import (
    LATITUDE,
    LONGITUDE,
    angular_separation,
    detector_to_equatorial,
    equatorial_to_detector,
    travel_direction,
)
from skymap_scanner.errors import InputError

angles = st.floats(0, 2 * pi, exclude_max=True)
latitudes = st.floats(-pi / 2, pi / 2)
times = st.floats(55000, 65000)


@given(angles, latitudes, times)
def test_sky_to_detector_and_back_round_trips(ra: float, dec: float, mjd: float) -> None:
    back = detector_to_equatorial(*equatorial_to_detector(ra, dec, mjd), mjd)
    assert angular_separation(ra, dec, *back) < 1e-10
    assert 0 <= back[0] < 2 * pi


@given(st.floats(0, pi), angles, times)
def test_detector_to_sky_and_back_round_trips(zenith: float, azimuth: float, mjd: float) -> None:
    back_zenith, back_azimuth = equatorial_to_detector(*detector_to_equatorial(zenith, azimuth, mjd), mjd)
    assert angular_separation(azimuth, pi / 2 - zenith, back_azimuth, pi / 2 - back_zenith) < 1e-10
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
    difference = angular_separation(pi / 2 - azimuth - LONGITUDE, pi / 2 - zenith, there.az.rad, there.alt.rad)
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
    origin = [float(x) for x in spherical_to_cartesian(1.0, pi / 2 - zenith, azimuth)]
    assert -travel_direction(zenith, azimuth) == pytest.approx(origin, abs=1e-15)


def test_particle_from_above_travels_down() -> None:
    assert travel_direction(0.0, 0.0) == pytest.approx([0, 0, -1])


@given(angles, latitudes, angles, latitudes)
def test_angular_separation_agrees_with_astropy(lon_1: float, lat_1: float, lon_2: float, lat_2: float) -> None:
    expected = float(astropy_separation(lon_1, lat_1, lon_2, lat_2))
    assert angular_separation(lon_1, lat_1, lon_2, lat_2) == pytest.approx(expected, abs=1e-15)
    assert angular_separation(lon_2, lat_2, lon_1, lat_1) == pytest.approx(expected, abs=1e-15)


def test_angular_separation_is_exact_where_the_cosine_is_not() -> None:
    tiny = 1e-9
    assert angular_separation(1.0, 0.3, 1.0, 0.3 + tiny) == pytest.approx(tiny, rel=1e-6)
    assert angular_separation(0.0, 0.0, pi - tiny, 0.0) == pytest.approx(pi - tiny, abs=1e-15)
    assert degrees(angular_separation(radians(359.5), 0, radians(0.5), 0)) == pytest.approx(1.0)
