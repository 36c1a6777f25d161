"""Directions and unit vectors, against astropy."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import spherical_to_cartesian
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.results.directions import radec_to_vector, rounded_longitude, vector_to_radec


@given(st.floats(0, 360, exclude_max=True), st.floats(-89.999, 89.999), st.floats(1e-3, 1e3))
def test_directions_round_trip_through_vectors_of_any_length(ra: float, dec: float, length: float) -> None:
    found_ra, found_dec = vector_to_radec(length * radec_to_vector(np.array([ra]), np.array([dec])))
    assert found_dec[0] == pytest.approx(dec, abs=1e-9)
    assert 0 <= found_ra[0] < 360
    assert abs((found_ra[0] - ra + 180) % 360 - 180) < 1e-9


@given(st.floats(-720, 720), st.floats(-90, 90))
def test_vectors_agree_with_astropy(ra: float, dec: float) -> None:
    expected = [float(x) for x in spherical_to_cartesian(1.0, np.radians(dec), np.radians(ra))]
    assert radec_to_vector(np.array(ra), np.array(dec)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("longitude", "decimals", "expected"), [(359.99996, 4, 0.0), (359.99994, 4, 359.9999)])
def test_rounded_longitude_stays_below_360(longitude, decimals, expected):
    assert rounded_longitude(longitude, decimals) == expected
