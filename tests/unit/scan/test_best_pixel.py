"""The best pixel of a map of several levels, as the results find it."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.results import PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.scan.pixels import Pixel, children, whole_sky
from skymap_scanner.scan.refinement import best_pixel


@st.composite
def maps(draw: st.DrawFn) -> dict[int, dict[Pixel, float]]:
    """Three levels, of which the finer two refine some pixels; some fits fail, and many values are equal."""
    value = st.sampled_from([math.nan, 1.0, 2.0, 3.0, 4.0])
    levels = {1: whole_sky(1)}
    for nside, finer in ((1, 2), (2, 8)):
        parents = draw(st.sets(st.sampled_from(levels[nside]), min_size=1, max_size=3))
        levels[finer] = sorted(child for parent in parents for child in children(parent, finer))
    return {nside: {pixel: draw(value) for pixel in pixels} for nside, pixels in levels.items()}


@given(maps())
def test_best_pixel_is_that_of_the_results(levels: dict[int, dict[Pixel, float]]) -> None:
    llh = {pixel: value for values in levels.values() for pixel, value in values.items()}
    found = best_pixel(list(levels), llh)
    if all(map(math.isnan, llh.values())):
        assert found is None
        return
    rows = {
        nside: np.array([(pixel.index, value, *[0.0] * 6) for pixel, value in values.items()], PIXEL)
        for nside, values in levels.items()
    }
    best = multi_order_map(ScanResult(rows, ScanMetadata(1, 2, "test", 60000.0, False))).best
    assert found == Pixel(best.nside, best.index)
