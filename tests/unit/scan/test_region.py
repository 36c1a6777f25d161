"""When the area of the 90 % region is known, against the area of the interpolated contour."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.healpix import pixel_to_vector
from skymap_scanner.results.contours import contours
from skymap_scanner.results.result import PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.scan.levels import Level
from skymap_scanner.scan.pixels import Pixel, whole_sky
from skymap_scanner.scan.refinement import refine
from skymap_scanner.scan.region import EDGE, ENOUGH, area_is_known

Surface = Callable[[Pixel], float]


def ellipse(ra: float, dec: float, long: float, short: float) -> Surface:
    """Return -ln L of a Gaussian posterior at a direction (deg), with these widths along both axes (deg)."""
    ra, dec = math.radians(ra), math.radians(dec)
    centre = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    east = np.array([-math.sin(ra), math.cos(ra), 0.0])
    axes = np.stack([east + np.cross(centre, east), np.cross(centre, east) - east]) / math.sqrt(2)

    def llh(pixel: Pixel) -> float:
        vector = pixel_to_vector(pixel.nside, pixel.index)
        along, across = axes @ vector
        angle = math.degrees(math.atan2(math.hypot(along, across), float(centre @ vector)))
        scale = angle / max(math.hypot(along, across), 1e-12)
        return ((along * scale / long) ** 2 + (across * scale / short) ** 2) / 2

    return llh


def levels_of(llh: Surface, nsides: list[int]) -> dict[int, list[Pixel]]:
    found = {8: whole_sky(8)}
    for nside in nsides:
        found[nside] = refine({pixel: llh(pixel) for pixel in found[max(found)]}, Level(nside, 200, 0.999))
    return found


def area_90(levels: dict[int, list[Pixel]], llh: Surface) -> float:
    """Return the area of the 90 % contour (deg2)."""
    rows = {}
    for nside, pixels in levels.items():
        rows[nside] = np.zeros(len(pixels), PIXEL)
        rows[nside]["index"] = [pixel.index for pixel in pixels]
        rows[nside]["llh"] = [llh(pixel) for pixel in pixels]
    result = ScanResult(rows, ScanMetadata(1, 2, "test", 60000.0, False))
    return contours(multi_order_map(result, replace(WILKS, levels={0.9: WILKS.levels[0.9]})))[0].area


@pytest.mark.parametrize("axis_ratio", [1.0, 1.5, 3.0])
@pytest.mark.parametrize(("ra", "dec"), [(77.0, 6.0), (200.3, -41.0)])
def test_known_area_is_right_to_2_percent(ra: float, dec: float, axis_ratio: float) -> None:
    """The ellipse holds just enough pixels of nside 32, which are 1.83 degrees wide."""
    area = 1.05 * ENOUGH * 3.357
    short = math.sqrt(area / (2 * math.pi * EDGE * axis_ratio))
    llh = ellipse(ra, dec, short * axis_ratio, short)
    levels = levels_of(llh, [32])
    assert not area_is_known({pixel: llh(pixel) for pixel in levels[8]})
    assert area_is_known({pixel: llh(pixel) for pixel in levels[32]})
    assert area_90(levels, llh) == pytest.approx(area_90(levels_of(llh, [32, 128]), llh), rel=0.02)


@given(st.integers(0, 2 * ENOUGH), st.integers(0, 40), st.randoms())
def test_known_area_needs_enough_pixels_inside(inside: int, outside: int, random: object) -> None:
    values = [10.0 + EDGE * number / max(inside, 1) for number in range(inside)]
    values += [10.0 + EDGE + 0.1 + number for number in range(outside)] if inside else []
    values += [math.nan] * 3
    random.shuffle(values)  # type: ignore[attr-defined]
    llh = {Pixel(64, number): value for number, value in enumerate(values)}
    assert area_is_known(llh) == (inside >= ENOUGH)
