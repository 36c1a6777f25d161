"""Parts of the sky, against mocpy and the formulas of circles."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from mocpy import MOC

from skymap_scanner.errors import InputError
from skymap_scanner.results.region import MIN_RADIUS, SKY, circle, region_of_cells, region_of_intervals

SKY_DEG2 = 4 * np.pi * (180 / np.pi) ** 2


@pytest.mark.parametrize("radius", [2e-3, 0.3, 1.75, 20.0, 90.0, 140.0, 180.0])
@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (138.65, 0.15), (359.999, -41.8), (77.0, 90.0), (-400.0, -89.9)])
def test_circle_has_its_area(ra, dec, radius):
    region = circle(ra, dec, radius)
    assert region.area == pytest.approx(SKY_DEG2 * np.sin(np.radians(radius) / 2) ** 2, rel=2e-4)
    assert len(region.start) < 100_000


@pytest.mark.parametrize("dec", [-90.0, 0.1, 60.0])
def test_smallest_circle_has_about_its_area(dec):
    assert circle(10.0, dec, MIN_RADIUS).area == pytest.approx(np.pi * MIN_RADIUS**2, rel=0.1)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (45.0, 41.8), (200.0, 89.5)])
def test_circle_is_that_of_mocpy(ra, dec):
    ours = MOC.from_depth29_ranges(29, depth29_ranges(circle(ra, dec, 3.0)))
    theirs = MOC.from_cone(ra * u.deg, dec * u.deg, radius=3 * u.deg, max_depth=16)
    difference = ours.symmetric_difference(theirs).sky_fraction
    assert difference < 0.001 * theirs.sky_fraction


def depth29_ranges(region):
    return np.stack([region.start, region.stop], axis=1).astype(np.uint64)


@pytest.mark.parametrize(
    "given",
    [
        (0, 91, 1),
        (0, 0, 0),
        (0, 0, -1),
        (0, 0, 181),
        (np.nan, 0, 1),
        (0, np.nan, 1),
        (0, 0, np.nan),
        (0, 0, 1e-322),
        (0, 0, 1e-310),
        (0, 0, 9.9e-7),
    ],
)
def test_impossible_circle_is_rejected(given):
    with pytest.raises(InputError, match="expected RA, DEC from -90 to 90 and RADIUS"):
        circle(*given)


def test_overlapping_intervals_are_joined():
    start, stop = np.array([50, 10, 12, 20, 90]), np.array([60, 20, 14, 30, 91])
    region = region_of_intervals(start, stop)
    assert (region.start.tolist(), region.stop.tolist()) == ([10, 50, 90], [30, 60, 91])
    empty = region_of_intervals(start[:0], stop[:0])
    assert (len(empty.start), empty.area) == (0, 0.0)


def test_base_pixels_are_the_whole_sky():
    region = region_of_cells([(np.zeros(12, dtype=np.int64), np.arange(12))])
    assert (region.start.tolist(), region.stop.tolist()) == ([0], [SKY])
    assert region.area == pytest.approx(SKY_DEG2)
