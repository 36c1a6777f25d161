"""Progress, as the saver computes it from the plan and the best fits."""

from __future__ import annotations

import pytest

from skymap_scanner.roles.saver.scan_state import TYPICAL_PARENTS, expected_pixels
from skymap_scanner.scan.levels import parse_levels
from skymap_scanner.scan.pixels import Pixel, whole_sky

SKY = {8: whole_sky(8)}
PEAK = {pixel: 1000.0 * (pixel.index != 400) for pixel in whole_sky(8)}
FLAT = {pixel: 1000.0 + pixel.index / 200 for pixel in whole_sky(8)}  # the region is known already


@pytest.mark.parametrize(
    ("levels", "decided", "llh", "expected"),
    [
        ("8:0 64:12 512:24", SKY, {}, [768, 12 * 64, 24 * 64]),
        ("8:0 64:0.9:96 512:0.9:9", {}, {}, [768, TYPICAL_PARENTS * 64, min(TYPICAL_PARENTS, 9) * 64]),
        ("8:0 64:0.9:96", SKY, {}, [768, TYPICAL_PARENTS * 64]),
        ("8:0 64:0.9:96", SKY, PEAK, [768, 9 * 64]),
        ("8:0 64:0.9:5", SKY, PEAK, [768, 5 * 64]),
        ("8:0 64:0.9:96 512:4", SKY, FLAT, [768, 0, 0]),
        ("8:0 64:0.9:96", SKY | {64: [Pixel(64, 3)]}, PEAK, [768, 1]),
    ],
)
def test_undecided_level_is_estimated_from_the_fits_so_far(
    levels: str, decided: dict[int, list[Pixel]], llh: dict[Pixel, float], expected: list[int]
) -> None:
    assert [*expected_pixels(parse_levels(levels), decided, llh).values()] == expected
