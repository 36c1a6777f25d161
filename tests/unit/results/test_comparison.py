"""Comparisons of Gaussians, whose integrals are known, and of maps that are equal or exclude each other."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from mocpy import MOC

from skymap_scanner.errors import InputError
from skymap_scanner.results.comparison import compare, comparison_json, comparison_text, product_fits
from skymap_scanner.results.map_files import read_map
from skymap_scanner.results.probability_map import Cells, map_of_cells, map_of_scan
from skymap_scanner.results.region import circle

#: A map in which 3 deg are 13 pixels.
PLAN = ((8, 0), (64, 40), (256, 1000))


@pytest.fixture(scope="module")
def gaussian(scan, bowl):
    """Map of a Gaussian around a direction, deg."""
    return lambda ra, dec, sigma, plan=PLAN: map_of_scan(scan(bowl(ra, dec, sigma), plan))


def lens(radius, distance):
    """Area that two circles of the same radius share."""
    half = distance / 2
    if half >= radius:
        return 0.0
    return 2 * (radius**2 * np.arccos(half / radius) - half * np.sqrt(radius**2 - half**2))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((138.65, 0.15, 1.5), (140.65, 0.15, 1.5)),
        ((359.2, -30.0, 1.5), (1.0, -31.0, 1.5)),
        ((20.0, 89.3, 1.5), (200.0, 89.0, 1.5)),
        ((45.0, 41.8, 1.2), (46.0, 43.0, 2.0)),
        ((10.0, -90.0, 2.0), (80.0, -90.0, 1.5)),
    ],
)
def test_gaussians_have_their_known_integral(gaussian, separation, first, second):
    found = compare(gaussian(*first), gaussian(*second))
    distance = separation(*first[:2], *second[:2])
    variance = first[2] ** 2 + second[2] ** 2
    expected = 2 / np.radians(variance**0.5) ** 2 * np.exp(-(distance**2) / (2 * variance))
    assert found.bayes_factor == pytest.approx(expected, rel=0.01)
    assert found.separation == pytest.approx(distance, abs=0.25)  # pixels are 0.23 deg wide
    shifted = separation(*first[:2], found.b.ra, found.b.dec)
    assert found.searched_b == pytest.approx(1 - np.exp(-((shifted / first[2]) ** 2) / 2), abs=0.03)


@pytest.mark.parametrize("distance", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_regions_of_gaussians_overlap_as_circles(gaussian, distance, level):
    sigma = 1.5
    radius = sigma * np.sqrt(-2 * np.log(1 - level))
    found = compare(gaussian(0.2, 10.0, sigma), gaussian(0.2, 10.0 + distance, sigma))
    overlap = next(one for one in found.overlaps if one.credible_level == level)
    area, both = np.pi * radius**2, lens(radius, distance)
    assert overlap.area_a == pytest.approx(area, rel=0.03)
    assert overlap.area_b == pytest.approx(area, rel=0.03)
    assert overlap.area_both == pytest.approx(both, abs=0.03 * area)
    assert overlap.share_a == pytest.approx(both / area, abs=0.03)
    assert overlap.jaccard == pytest.approx(both / (2 * area - both), abs=0.03)


def test_equal_maps_agree_entirely(gaussian):
    skymap = gaussian(0.0, 0.0, 1.0)
    found = compare(skymap, skymap)
    assert found.separation == 0
    assert [(one.share_a, one.share_b, one.jaccard) for one in found.overlaps] == [(1, 1, 1)] * 2
    assert found.searched_a == found.searched_b < 0.02  # the best pixel itself
    assert found.bayes_factor == pytest.approx(1 / np.radians(1.0) ** 2, rel=0.02)


def test_maps_may_be_swapped(gaussian):
    one, other = gaussian(10, 10, 1.0), gaussian(11, 11, 1.5)
    there, back = compare(one, other), compare(other, one)
    assert (there.searched_a, there.searched_b) == (back.searched_b, back.searched_a)
    assert there.bayes_factor == pytest.approx(back.bayes_factor, rel=1e-12)
    assert [one.share_a for one in there.overlaps] == [one.share_b for one in back.overlaps]


def test_the_whole_sky_says_nothing_about_a_map(gaussian):
    start = np.arange(12) * 4**29
    uniform = map_of_cells("all", Cells(start, start + 4**29, np.full(12, 1 / (4 * np.pi)), (45.0, 41.8)))
    found = compare(gaussian(33, 12, 1.0), uniform)
    assert found.bayes_factor == pytest.approx(1, rel=1e-9)
    assert found.searched_a == pytest.approx(1)
    assert [one.share_a for one in found.overlaps] == [1, 1]  # its pixels are equal: both regions are the sky


@pytest.fixture(scope="module")
def disjoint():
    """Two maps of one base pixel each."""
    return [
        map_of_cells(name, Cells(np.array([n * 4**29]), np.array([(n + 1) * 4**29]), np.array([3 / np.pi]), best))
        for name, n, best in (("first", 0, (45.0, 41.8)), ("second", 11, (315.0, -41.8)))
    ]


def test_maps_that_exclude_each_other_share_nothing(disjoint):
    found = compare(*disjoint)
    assert [(one.area_both, one.share_a, one.share_b, one.jaccard) for one in found.overlaps] == [(0, 0, 0, 0)] * 2
    assert (found.searched_a, found.searched_b, found.bayes_factor) == (1, 1, 0)
    assert "ones: 0\n" in comparison_text(found)
    assert json.loads(comparison_json(found))["bayes_factor"] == 0
    with pytest.raises(InputError, match="no place has probability in both maps"):
        product_fits(found)


def test_text_and_json_have_the_figures(gaussian):
    found = compare(gaussian(10, 10, 1.0), gaussian(11, 10, 1.0))
    text, content = comparison_text(found), json.loads(comparison_json(found))
    assert f"Separation of the best fits: {found.separation:.3g} deg" in text
    assert f"Searched probability of A's best fit in B: {found.searched_a:.3g}" in text
    assert f"90% regions: A {found.overlaps[1].area_a:.3g} deg2" in text
    assert content["regions"][1]["jaccard"] == found.overlaps[1].jaccard
    assert content["b"] | {"cautions": []} == {
        "name": found.b.name,
        "ra": found.b.ra,
        "dec": found.b.dec,
        "cautions": [],
    }


def test_cautions_of_a_map_are_in_text_and_json(partial, gaussian):
    found = compare(gaussian(10, 10, 1.0), map_of_scan(partial))
    assert "   CAUTION: the scan is not complete\n" in comparison_text(found)
    assert "the scan is not complete" in json.loads(comparison_json(found))["b"]["cautions"]


def test_product_of_gaussians_is_the_gaussian_between(gaussian, separation, tmp_path):
    path = tmp_path / "both.multiorder.fits"
    path.write_bytes(product_fits(compare(gaussian(0.0, 0.0, 2.0), gaussian(1.5, 2.0, 1.0))))
    both = read_map(path)
    assert separation(both.ra, both.dec, 1.2, 1.6) < 0.25  # at 4/5 of the way, by the inverse variances
    radius = np.sqrt(0.8) * np.sqrt(2 * np.log(2))
    assert both.region(0.5).area == pytest.approx(np.pi * radius**2, rel=0.05)
    assert both.probability_in(circle(1.2, 1.6, radius)) == pytest.approx(0.5, abs=0.01)


def test_product_is_readable_by_mocpy_and_astropy(gaussian, tmp_path):
    path = tmp_path / "both.multiorder.fits"
    found = compare(gaussian(10, 10, 1.0), gaussian(11, 10, 1.0))
    path.write_bytes(product_fits(found))
    assert MOC.from_string("0/0-11").probability_in_multiordermap(str(path)) == pytest.approx(1, abs=1e-9)
    region = MOC.from_multiordermap_fits_file(str(path), cumul_to=0.9, strict=False)
    assert region.sky_fraction * 4 * np.pi * (180 / np.pi) ** 2 == pytest.approx(
        read_map(path).region(0.9).area, rel=0.01
    )
    table = Table.read(path, format="fits")
    assert table.meta["BAYESFAC"] == pytest.approx(found.bayes_factor)
    assert (table.meta["MAP1"], table.meta["COORDSYS"]) == (found.a.name, "C")
    with fits.open(io.BytesIO(path.read_bytes()), checksum=True) as file:
        assert (np.diff(file[1].data["UNIQ"]) > 0).all()


def test_probability_inside_is_that_of_mocpy(gaussian, tmp_path):
    path = tmp_path / "map.multiorder.fits"
    skymap = gaussian(359.5, 60.0, 2.0)
    path.write_bytes(product_fits(compare(skymap, skymap)))
    both = read_map(path)
    for radius in (0.5, 1.0, 5.0, 180.0):
        region = circle(0.0, 60.5, radius)
        ends = np.stack([region.start, region.stop], axis=1).astype(np.uint64)
        moc = MOC.from_depth29_ranges(29, ends)
        assert both.probability_in(region) == pytest.approx(moc.probability_in_multiordermap(str(path)), rel=1e-9)


def test_circle_around_a_gaussian_holds_the_known_share(gaussian):
    for ra, dec in ((0.0, 0.0), (120.0, 90.0), (0.1, -89.5)):
        skymap = gaussian(ra, dec, 2.0)
        for radius in (1.0, 2.0, 4.0):
            inside = skymap.probability_in(circle(ra, dec, radius))
            assert inside == pytest.approx(1 - np.exp(-((radius / 2.0) ** 2) / 2), abs=0.004)


def test_pixels_that_overlap_are_rejected():
    start, stop = np.array([0, 4**28]), np.array([4**29, 2 * 4**28])
    with pytest.raises(InputError, match="1 pixels overlap"):
        map_of_cells("x", Cells(start, stop, np.ones(2), (0.0, 0.0)))
