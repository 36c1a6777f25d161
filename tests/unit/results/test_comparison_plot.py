"""The picture of a comparison: what it shows, and that its colours cover the areas of the regions."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest

from skymap_scanner.results.comparison import compare
from skymap_scanner.results.comparison_plot import COLOURS, FILL, choose_view, comparison_png
from skymap_scanner.results.probability_map import map_of_scan

PLAN = ((8, 0), (64, 40), (256, 1000))


@pytest.fixture(scope="module")
def comparison(scan, bowl):
    """Compare two Gaussians, each given by direction and width, deg."""
    return lambda *maps: compare(*(map_of_scan(scan(bowl(*one), PLAN)) for one in maps))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((359.5, 10.0, 1.0), (0.8, 11.0, 1.5)),
        ((10.0, 89.5, 1.2), (190.0, 89.0, 1.0)),
        ((10.0, -90.0, 1.2), (70.0, -85.0, 1.0)),
        ((120.0, 0.0, 1.0), (150.0, 0.0, 1.0)),
    ],
)
def test_zoom_holds_the_regions_of_both_maps(comparison, separation, first, second):
    view = choose_view(comparison(first, second))
    for ra, dec, sigma in (first, second):
        reach = separation(ra, dec, view.ra, view.dec) + 2.146 * sigma
        assert np.degrees(np.tan(np.radians(reach))) < view.half
    assert view.half < 1.6 * (separation(*first[:2], *second[:2]) / 2 + 2.146 * max(first[2], second[2]))


def test_maps_far_apart_are_shown_on_the_whole_sky(comparison):
    for second in ((100.0, 10.0, 1.0), (190.0, -10.0, 1.0)):
        found = comparison((10.0, 10.0, 1.0), second)
        assert choose_view(found) is None
        assert comparison_png(found).startswith(b"\x89PNG")


def test_equal_comparisons_are_equal_pictures(comparison, tmp_path, monkeypatch):
    found = comparison((359.5, 10.0, 1.0), (0.8, 11.0, 1.5))
    expected = comparison_png(found)
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 30\n")
    monkeypatch.chdir(tmp_path)
    assert comparison_png(found) == expected


def test_colours_cover_the_areas_of_the_regions(comparison):
    found = comparison((357.0, 0.0, 1.0), (4.0, 0.0, 1.5))
    image = matplotlib.image.imread(io.BytesIO(comparison_png(found)))[..., :3]
    scale = (2 * choose_view(found).half / (0.82 * image.shape[1])) ** 2  # square degrees of a point
    for colour, area in zip(COLOURS, (found.overlaps[0].area_a, found.overlaps[0].area_b), strict=True):
        rgb = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        shade = np.ones(3)
        for opacity in (FILL[0.9], FILL[0.5]):  # one over the other, on white
            shade = shade * (1 - opacity) + rgb * opacity
        covered = (np.abs(image - shade) < 0.012).all(axis=2).sum() * scale
        assert covered == pytest.approx(area, rel=0.15)  # but for star, grid and lines
