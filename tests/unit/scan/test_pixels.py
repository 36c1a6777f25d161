from __future__ import annotations

import numpy as np
import pytest
from astropy_healpix.core import healpix_to_lonlat
from astropy_healpix.core import neighbours as healpix_neighbours
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.errors import InputError
from skymap_scanner.healpix import pixel_count
from skymap_scanner.scan.pixels import (
    Pixel,
    centres,
    check_nside,
    check_pixels,
    children,
    nearest,
    neighbours,
    parent,
    read_ranges,
    spread_over_sky,
    whole_sky,
    write_ranges,
)

untimed = settings(deadline=None)  # the first call imports healpy
NSIDES = st.sampled_from([1, 2, 4, 8, 64, 512])


@st.composite
def pixels(draw: st.DrawFn) -> Pixel:
    nside = draw(NSIDES)
    return Pixel(nside, draw(st.integers(0, pixel_count(nside) - 1)))


@pytest.mark.parametrize("nside", [2, 8])
def test_first_part_of_a_spread_sky_covers_it_evenly(nside: int) -> None:
    spread = spread_over_sky(whole_sky(nside))
    assert sorted(spread) == whole_sky(nside)
    coarse = 1
    while coarse < nside:
        assert sorted(parent(pixel, coarse) for pixel in spread[: 12 * coarse**2]) == whole_sky(coarse)
        coarse *= 2
    some = [Pixel(nside, index) for index in range(5, 29)]
    assert spread_over_sky(some) == [pixel for pixel in spread if pixel in set(some)]
    assert spread_over_sky([]) == []


@untimed
@given(pixels())
def test_centres_agree_with_astropy_healpix(pixel: Pixel) -> None:
    ra, dec = centres([pixel])
    lon, lat = healpix_to_lonlat(pixel.index, pixel.nside, order="ring")
    assert ra[0] == pytest.approx(lon.rad, abs=1e-12)
    assert dec[0] == pytest.approx(lat.rad, abs=1e-12)


@untimed
@given(pixels(), st.sampled_from([2, 8]))
def test_children_cover_exactly_their_parent(pixel: Pixel, ratio: int) -> None:
    inside = children(pixel, pixel.nside * ratio)
    assert len(set(inside)) == ratio**2
    assert inside == sorted(inside)
    assert all(parent(child, pixel.nside) == pixel for child in inside)


def test_children_of_the_whole_sky_cover_the_whole_sky() -> None:
    assert sorted(child for pixel in whole_sky(2) for child in children(pixel, 8)) == whole_sky(8)


@untimed
@given(pixels())
def test_neighbours_agree_with_astropy_healpix(pixel: Pixel) -> None:
    with np.errstate(invalid="ignore"):
        beside = healpix_neighbours(np.array([pixel.index]), pixel.nside, order="ring")
    expected = set(beside.ravel().tolist()) - {-1, pixel.index}
    assert {one.index for one in neighbours(pixel)} == expected


def test_nearest_pixels_begin_with_the_pixel_itself() -> None:
    centre = Pixel(8, 417)
    assert nearest(centre, 8, 1) == [centre]
    assert set(nearest(centre, 8, 5)) <= {centre, *neighbours(centre)}
    twenty = nearest(centre, 16, 20)
    ra, dec = centres(twenty)
    ra0, dec0 = centres([centre])
    distance = np.degrees(np.arccos(np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0)))
    assert len(twenty) == 20
    assert distance.max() < 12


@given(st.sets(st.integers(0, 3000)))
def test_ranges_round_trip(indices: set[int]) -> None:
    assert read_ranges(write_ranges(sorted(indices))) == sorted(indices)


def test_whole_sky_is_written_as_one_range() -> None:
    assert write_ranges(range(768)) == "0-767"
    assert write_ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"


@pytest.mark.parametrize("text", ["a", "3-", "5-3", "-4", "99999999999", "0-9999999999"])
def test_invalid_ranges_are_rejected(text: str) -> None:
    with pytest.raises(InputError, match="pixel list"):
        read_ranges(text)


@pytest.mark.parametrize("nside", [0, 3, -8, 16384])
def test_invalid_nsides_are_rejected(nside: int) -> None:
    with pytest.raises(InputError, match=f"nside {nside} "):
        check_nside(nside)


def test_pixels_outside_the_grid_are_rejected() -> None:
    assert check_pixels(1, [3, 3, 1]) == [Pixel(1, 1), Pixel(1, 3)]
    with pytest.raises(InputError, match="pixel 12 does not exist at nside 1: indices run from 0 to 11"):
        check_pixels(1, [0, 12])
