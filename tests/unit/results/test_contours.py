"""Contours against surfaces whose regions are known, at the places where others go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy_healpix.core import healpix_to_lonlat, lonlat_to_healpix
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.results import IC160427A, ScanResult
from skymap_scanner.results.contours import contours, of_rule
from skymap_scanner.results.directions import radec_to_vector
from skymap_scanner.results.rule import THREE_SIGMA, WILKS
from skymap_scanner.results.skymap import MultiOrderMap, multi_order_map
from skymap_scanner.results.surface import surface

SQUARE_DEGREES = (180 / np.pi) ** 2
SKY = 4 * np.pi * SQUARE_DEGREES


def cap(radius: float) -> float:
    """Area (deg2) of a spherical cap."""
    return 2 * np.pi * (1 - np.cos(np.radians(min(radius, 180.0)))) * SQUARE_DEGREES


def radius_of(skymap: MultiOrderMap, sigma: float, threshold: float) -> float:
    """Radius (deg) at which a bowl passes the threshold, which counts from the lowest pixel."""
    return float(sigma * np.sqrt(threshold + 2 * (skymap.best.llh - 1000.0)))


def area_of_lines(lines) -> float:
    """Area (deg2) to the left of lines that hold no pole: the integral of -sin(dec) over right ascension."""
    total = 0.0
    for line in lines:
        step = (np.diff(line[:, 0]) + 180) % 360 - 180
        total -= np.sum(np.radians(step) * np.sin(np.radians((line[1:, 1] + line[:-1, 1]) / 2)))
    return total * SQUARE_DEGREES


# direction, sigma (deg), tolerance of the area: where a contour runs along the seam of two levels, 2 %
PLACES = [
    pytest.param(138.65, 0.15, 0.3, 0.002, id="track"),
    pytest.param(0.01, 10.0, 0.3, 0.002, id="just after RA 0"),
    pytest.param(359.99, -45.0, 0.3, 0.002, id="just before RA 360"),
    pytest.param(45.0, 89.9, 0.3, 0.002, id="over the north pole"),
    pytest.param(200.0, -89.99, 0.5, 0.002, id="over the south pole"),
    pytest.param(266.4, -29.0, 0.02, 0.01, id="within one pixel"),
    pytest.param(266.4, -29.0, 0.006, 0.03, id="deep within one pixel"),
    pytest.param(121.83203125, 0.0, 0.0203, 0.002, id="at a corner of one pixel that is inside"),
    pytest.param(45.0, 41.8, 0.3, 0.002, id="where base pixels meet"),
    pytest.param(266.4, -29.0, 3.0, 0.02, id="wider than the finest level"),
    pytest.param(83.6, 22.0, 20.0, 0.02, id="cascade"),
    pytest.param(83.6, 22.0, 80.0, 0.002, id="most of the sky"),
]


@pytest.mark.parametrize(("ra", "dec", "sigma", "tolerance"), PLACES)
def test_areas_of_bowls_are_those_of_caps(scan, bowl, ra, dec, sigma, tolerance):
    skymap = multi_order_map(scan(bowl(ra, dec, sigma)))
    regions = contours(skymap)
    assert [region.credible_level for region in regions] == [0.5, 0.9, THREE_SIGMA]
    for region in regions:
        radius = radius_of(skymap, sigma, region.threshold)
        assert region.area == pytest.approx(cap(radius), rel=tolerance)
        assert len(region.lines) == (1 if radius < 180 else 0)
        assert not region.open
        assert region.contains(skymap.best.ra, skymap.best.dec)


@pytest.mark.parametrize(("ra", "dec", "sigma"), [(138.65, 0.15, 0.3), (45.0, 89.9, 0.3), (83.6, 22.0, 20.0)])
def test_region_contains_pixel_centres_below_its_threshold(scan, bowl, ra, dec, sigma):
    skymap = multi_order_map(scan(bowl(ra, dec, sigma)))
    for region in contours(skymap)[:2]:
        inside = np.flatnonzero(skymap.delta < region.threshold)[::4]
        assert all(region.contains(skymap.ra[pixel], skymap.dec[pixel]) for pixel in inside)


@given(
    ra=st.floats(0, 360, exclude_max=True),
    sine=st.floats(-1, 1),
    logarithm=st.floats(-1.7, 1.5),
)
@settings(max_examples=12, deadline=None)
def test_region_of_a_bowl_has_the_area_of_its_cap(scan, bowl, ra, sine, logarithm):
    sigma = 10**logarithm
    skymap = multi_order_map(scan(bowl(ra, np.degrees(np.arcsin(sine)), sigma)))
    for region in contours(skymap):
        assert region.area == pytest.approx(cap(radius_of(skymap, sigma, region.threshold)), rel=0.03)


@pytest.mark.parametrize(("ra", "dec"), [(138.65, 0.15), (0.1, 50.0), (359.95, -70.0), (200.0, 80.0)])
def test_lines_enclose_the_area_and_follow_the_threshold(scan, bowl, separation, ra, dec):
    skymap = multi_order_map(scan(bowl(ra, dec, 0.4)))
    for region in contours(skymap):
        (line,) = region.lines
        np.testing.assert_array_equal(line[0], line[-1])
        assert (line[:, 0] >= 0).all()
        assert (line[:, 0] < 360).all()
        assert area_of_lines(region.lines) == pytest.approx(region.area, rel=1e-3)
        distance = separation(line[:, 0], line[:, 1], ra, dec)
        np.testing.assert_allclose(distance, radius_of(skymap, 0.4, region.threshold), rtol=0.02)


@pytest.mark.parametrize(("ra", "dec"), [(138.65, 0.15), (0.1, 50.0), (359.95, -50.0)])
def test_bounding_box_is_that_of_the_cap_across_ra_0(scan, bowl, ra, dec):
    skymap = multi_order_map(scan(bowl(ra, dec, 0.4)))
    region = contours(skymap)[1]
    radius = radius_of(skymap, 0.4, region.threshold)
    reach = np.degrees(np.arcsin(np.sin(np.radians(radius)) / np.cos(np.radians(dec))))
    off_ra, off_dec = (skymap.best.ra - ra + 180) % 360 - 180, skymap.best.dec - dec
    box = region.box
    expected = (reach - off_ra, reach + off_ra, radius - off_dec, radius + off_dec)
    assert (box.ra_plus, box.ra_minus, box.dec_plus, box.dec_minus) == pytest.approx(expected, abs=0.01)


def test_plus_and_minus_are_not_swapped(scan):
    # Four times as wide to the north as to the south, twice as wide to the west (smaller RA) as to the east.
    def lopsided(ra, dec):
        x, y = (ra - 100.0 + 180) % 360 - 180, dec - 10.0
        return (x / np.where(x > 0, 0.2, 0.4)) ** 2 + (y / np.where(y > 0, 0.8, 0.2)) ** 2

    box = contours(multi_order_map(scan(lopsided)))[1].box
    width = np.sqrt(4.61)
    assert (box.ra_plus, box.ra_minus) == pytest.approx((0.2 * width, 0.4 * width), abs=0.1)
    assert (box.dec_plus, box.dec_minus) == pytest.approx((0.8 * width, 0.2 * width), abs=0.1)


@pytest.mark.parametrize("side", [1, -1])
def test_region_over_a_pole_covers_every_right_ascension(scan, bowl, side):
    skymap = multi_order_map(scan(bowl(40.0, side * 89.5, 0.5)))
    region = contours(skymap)[1]
    assert region.contains(220.0, side * 90.0)
    assert (region.box.ra_plus, region.box.ra_minus) == (180.0, 180.0)
    outward, inward = (region.box.dec_plus, region.box.dec_minus)[::side]
    assert outward == pytest.approx(90 - abs(skymap.best.dec))
    assert inward == pytest.approx(radius_of(skymap, 0.5, 4.61) - 89.5 + abs(skymap.best.dec), abs=0.01)


def test_whole_sky_region_has_no_contour_lines(scan, bowl):
    region = contours(multi_order_map(scan(bowl(10.0, 20.0, 1000.0), plan=[(8, 0)])))[0]
    assert region.area == pytest.approx(SKY)
    assert list(region.lines) == []
    assert region.box.ra_plus == region.box.ra_minus == 180
    assert region.box.dec_plus + region.box.dec_minus == pytest.approx(180)


def test_every_island_is_kept(scan, bowl):
    one, other = bowl(266.0, -29.0, 6.0), bowl(60.0, 40.0, 4.0)
    skymap = multi_order_map(scan(lambda ra, dec: np.minimum(one(ra, dec), other(ra, dec) + 1), plan=[(32, 0)]))
    region = contours(skymap)[1]
    lowest = 2 * (skymap.best.llh - 1000.0)
    assert len(region.lines) == 2
    expected = cap(6.0 * np.sqrt(4.61 + lowest)) + cap(4.0 * np.sqrt(3.61 + lowest))
    assert region.area == pytest.approx(expected, rel=0.005)
    assert region.contains(266.0, -29.0)
    assert region.contains(60.0, 40.0)
    assert not region.contains(160.0, 0.0)
    assert region.box.dec_plus == pytest.approx(40 + 4 * np.sqrt(3.61) - skymap.best.dec, abs=0.5)


def test_contains_agrees_with_the_area(scan, bowl):
    region = contours(multi_order_map(scan(bowl(83.6, 22.0, 30.0), plan=[(8, 0)])))[1]
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 300), np.degrees(np.arcsin(rng.uniform(-1, 1, 300)))
    share = np.mean([region.contains(*direction) for direction in zip(ra, dec, strict=True)])
    assert share == pytest.approx(region.area / SKY, abs=4 * np.sqrt(0.25 / 300))


def test_rough_surfaces_make_no_island_without_a_pixel(scan):
    # As real scans at nside 8 are: neighbours differ by hundreds, and only one pixel is good.
    rng = np.random.default_rng(8)
    values = rng.uniform(50, 3000, 768)
    values[345] = 0.0
    skymap = multi_order_map(
        scan(lambda ra, dec: values[lonlat_to_healpix(ra * u.deg, dec * u.deg, 8, order="ring")], plan=[(8, 0)])
    )
    pixel = SKY / 768
    for region in contours(skymap):
        assert region.pixels == 1
        assert len(region.lines) == 1
        assert 0 < region.area < pixel / 2


def test_reference_scan_has_one_region_around_its_best_pixel(shared):
    folder = shared / "data" / "reference"
    result = ScanResult.read(folder / "millipede_original_run00138632.evt000031747601_1.json")
    for region in contours(multi_order_map(result)):
        assert len(region.lines) == 1
        assert region.contains(180.0, 0.0)
        assert region.area < SKY / 12


def test_thresholds_are_those_of_the_rule(track):
    for rule in (WILKS, IC160427A):
        regions = of_rule(contours(multi_order_map(track, rule)), rule)
        assert {region.credible_level: region.threshold for region in regions} == dict(rule.levels)
    assert WILKS.levels[0.9] == 4.61
    assert IC160427A.levels == {0.5: 22.2, 0.9: 64.2}


def test_calibrated_maps_have_statistical_regions_too(track):
    statistical = contours(multi_order_map(track))
    both = contours(multi_order_map(track, IC160427A))
    assert [region.rule for region in both] == ["ic160427a"] * 2 + ["wilks"] * 3
    assert [region.area for region in of_rule(both, WILKS)] == [region.area for region in statistical]
    assert [region.rule for region in statistical] == ["wilks"] * 3


def test_region_of_one_scanned_pixel_has_its_area(level, bowl, metadata):
    for nside, index in ((8, 0), (8, 400), (512, 3145727)):
        rows = level(nside, [index], bowl(0.0, 0.0, 1.0))
        for region in contours(multi_order_map(ScanResult({nside: rows}, metadata({nside: rows})))):
            assert region.open
            assert region.area == pytest.approx(SKY / 12 / nside**2, rel=0.1)


def test_region_bounded_by_unscanned_sky_is_open(level, bowl, metadata, separation):
    surface = bowl(181.5, 0.0, 1.6)
    lon, lat = healpix_to_lonlat(np.arange(12 * 128**2), 128, order="ring")
    disc = np.flatnonzero(separation(lon.deg, lat.deg, 180.0, 0.0) < 4.0)
    skymap = multi_order_map(ScanResult({128: level(128, disc, surface)}, metadata({})))
    small, large = contours(skymap)[:2]
    radius = radius_of(skymap, 1.6, 4.61)  # 3.4 deg: beyond the edge of the disc on its near side alone
    assert not small.open
    assert small.area == pytest.approx(cap(radius_of(skymap, 1.6, 1.39)), rel=0.02)
    assert large.open
    assert 0.7 * cap(radius) < large.area < 0.95 * cap(radius)
    line, border = np.concatenate(large.lines), np.concatenate(large.borders)
    assert 0.1 < border.mean() < 0.7
    np.testing.assert_allclose(
        separation(*line[~border].T, 181.5, 0.0), radius, rtol=0.08
    )  # near the edge: no parabola
    np.testing.assert_allclose(separation(*line[border].T, 180.0, 0.0), 4.0, atol=0.8)


def test_hole_of_failed_pixels_opens_the_region(level, bowl, metadata):
    rows = level(16, range(3072), bowl(180.0, 0.0, 10.0))
    whole = contours(multi_order_map(ScanResult({16: rows}, metadata({}))))[1]
    ra, dec = (angle.deg for angle in healpix_to_lonlat(rows["index"], 16, order="ring"))
    rows["llh"][np.argmin((ra - 187) ** 2 + (dec - 3) ** 2)] = np.nan
    holed = contours(multi_order_map(ScanResult({16: rows}, metadata({}))))[1]
    assert not whole.open
    assert holed.open
    assert len(holed.lines) == 2
    assert whole.area - holed.area == pytest.approx(SKY / 3072, rel=0.1)


def test_surface_passes_through_every_pixel(track, partial):
    for result in (track, partial):
        skymap = multi_order_map(result)
        values = surface(skymap)
        count = len(skymap.pixels)
        corners = np.stack([np.arange(count)] * 3, axis=1)
        weights = np.tile([1.0, 0.0, 0.0], (count, 1))
        vectors, value = values.evaluate(corners, weights)
        np.testing.assert_allclose(value, skymap.delta, atol=1e-6)
        np.testing.assert_allclose(vectors, radec_to_vector(skymap.ra, skymap.dec), atol=1e-12)


def test_triangles_tile_the_sphere(track):
    values = surface(multi_order_map(track))
    a, b, c = np.moveaxis(values.points[values.triangles], 1, 0)
    volume = np.einsum("kx,kx->k", a, np.cross(b, c))
    assert (volume > 0).all()
    angles = 2 * np.arctan2(volume, 1 + (a * b).sum(1) + (b * c).sum(1) + (c * a).sum(1))
    assert angles.sum() == pytest.approx(4 * np.pi, rel=1e-9)
