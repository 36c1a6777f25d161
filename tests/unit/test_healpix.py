"""HEALPix by healpy against astropy-healpix, an implementation of its own."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from astropy_healpix import core as oracle
from astropy_healpix import nside_to_pixel_area
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skymap_scanner import healpix

ORDERS = st.integers(0, 13)
untimed = settings(deadline=None)  # the first call imports healpy


@st.composite
def pixels(draw: st.DrawFn) -> tuple[int, NDArray[np.int64]]:
    nside = 2 ** draw(ORDERS)
    index = st.integers(0, healpix.pixel_count(nside) - 1)
    return nside, np.array(draw(st.lists(index, min_size=1, max_size=20)), np.int64)


def whole_sky(nside: int) -> NDArray[np.int64]:
    return np.arange(healpix.pixel_count(nside))


@untimed
@given(pixels())
def test_centres_agree_with_astropy_healpix(given: tuple[int, NDArray[np.int64]]) -> None:
    nside, index = given
    lon, lat = oracle.healpix_to_lonlat(index, nside, order="ring")
    ra, dec = healpix.pixel_to_radec(nside, index)
    np.testing.assert_allclose(ra, lon.rad % (2 * math.pi), rtol=0, atol=4e-15)
    np.testing.assert_allclose(dec, lat.rad, rtol=0, atol=2e-15)
    assert ((ra >= 0) & (ra < 2 * math.pi)).all()
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    np.testing.assert_allclose(healpix.pixel_to_vector(nside, index), vectors, rtol=0, atol=4e-15)


@untimed
@given(pixels())
def test_centres_lie_in_their_pixels(given: tuple[int, NDArray[np.int64]]) -> None:
    nside, index = given
    np.testing.assert_array_equal(healpix.radec_to_pixel(nside, *healpix.pixel_to_radec(nside, index)), index)


@untimed
@given(ORDERS, st.floats(0, 2 * math.pi), st.floats(-math.pi / 2, math.pi / 2))
def test_directions_lie_in_the_pixel_astropy_healpix_finds(order: int, ra: float, dec: float) -> None:
    found = int(healpix.radec_to_pixel(2**order, ra, dec))
    around = [
        (ra + east, max(min(dec + north, math.pi / 2), -math.pi / 2))
        for east in (-1e-14, 0, 1e-14)
        for north in (-1e-14, 0, 1e-14)
    ]
    expected = {
        int(oracle.lonlat_to_healpix(lon * oracle.u.rad, lat * oracle.u.rad, 2**order, order="ring"))
        for lon, lat in around
    }
    assert found in expected  # more than one on an edge


@pytest.mark.parametrize("dec", [1.6, -1.6])
def test_declination_beyond_a_pole_is_rejected(dec: float) -> None:
    with pytest.raises(ValueError, match="THETA is out of range"):
        healpix.radec_to_pixel(8, 0.0, dec)


@pytest.mark.parametrize("nside", [1, 2, 4, 8, 64])
def test_neighbours_agree_with_astropy_healpix(nside: int) -> None:
    with np.errstate(invalid="ignore"):
        expected = oracle.neighbours(whole_sky(nside), nside, order="ring").T
    np.testing.assert_array_equal(healpix.neighbours(nside, whole_sky(nside)), expected)


@untimed
@given(pixels())
def test_nested_order_agrees_with_astropy_healpix_and_round_trips(given: tuple[int, NDArray[np.int64]]) -> None:
    nside, index = given
    nested = healpix.ring_to_nested(nside, index)
    np.testing.assert_array_equal(nested, oracle.ring_to_nested(index, nside))
    np.testing.assert_array_equal(healpix.nested_to_ring(nside, nested), index)


@untimed
@given(st.integers(0, 29), st.data())
def test_uniq_agrees_with_astropy_healpix(order: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, 12 * 4**order - 1))
    uniq = healpix.nested_to_uniq(order, index)
    assert uniq == oracle.level_ipix_to_uniq(order, index)


@untimed
@given(ORDERS)
def test_areas_agree_with_astropy_healpix_and_fill_the_sphere(order: int) -> None:
    area = float(healpix.pixel_area(2**order))
    assert area == pytest.approx(nside_to_pixel_area(2**order).to_value("sr"), rel=1e-14)
    assert area * healpix.pixel_count(2**order) == pytest.approx(4 * math.pi, rel=1e-14)
    assert float(healpix.pixel_width(2**order)) ** 2 == pytest.approx(area, rel=1e-14)


def test_scalars_give_scalars() -> None:
    assert healpix.pixel_to_vector(8, 5).shape == (3,)
    assert healpix.neighbours(8, 5).shape == (8,)
    assert healpix.pixel_to_radec(8, 5)[0].shape == healpix.ring_to_nested(8, 5).shape == ()


def test_healpy_is_imported_by_the_first_call_alone() -> None:
    code = (
        "import sys; import skymap_scanner.cli.worker, skymap_scanner.roles.worker.worker;"
        "print('healpy' in sys.modules);"
        "from skymap_scanner.scan.pixels import Pixel, centres; centres([Pixel(1, 0)]); print('healpy' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["False", "True"]
