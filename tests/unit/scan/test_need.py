"""Which pixels need more seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.scan.test_refinement import SKY, VALUES, peak

from skymap_scanner.scan.need import (
    AROUND,
    COMPETING,
    COMPETING_WARM,
    WAITING,
    before_the_best,
    disagreement,
    pixels_in_need,
)
from skymap_scanner.scan.pixels import Pixel, children, neighbours, whole_sky
from skymap_scanner.scan.region import EDGE, ENOUGH


@settings(deadline=None)
@given(VALUES, st.booleans(), st.randoms())
def test_need_does_not_depend_on_the_order_of_arrival(values: list[float], first: bool, random: object) -> None:
    llh = list(zip(whole_sky(2), values, strict=True))
    shuffled = [*llh]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    needy = pixels_in_need(dict(llh), first_level=first)
    assert needy == pixels_in_need(dict(shuffled), first_level=first)
    assert needy == sorted(set(needy))
    failed = {pixel for pixel, value in llh if math.isnan(value)}
    good = [(value, pixel) for pixel, value in llh if not math.isnan(value)]
    assert failed <= set(needy) <= set(whole_sky(2))
    assert not good or min(good)[1] in needy


@pytest.mark.parametrize(("sigma", "most"), [(0.2, 24), (1.0, 24), (5.0, 80)])
def test_on_the_first_level_pixels_around_a_smooth_minimum_compete(sigma: float, most: int) -> None:
    llh = {pixel: peak(77.0, 6.0, sigma)(pixel) for pixel in SKY}
    needy = pixels_in_need(llh, first_level=True)
    best = min(llh, key=lambda pixel: llh[pixel])
    assert {best, *neighbours(best)} <= set(needy)
    assert {pixel for pixel in SKY if llh[pixel] <= llh[best] + COMPETING} <= set(needy)
    assert len(needy) <= most


def patch(sigma: float) -> dict[Pixel, float]:
    """A finer level around the minimum."""
    llh = peak(77.0, 6.0, sigma)
    coarse = min(SKY, key=llh)
    return {pixel: llh(pixel) for parent in (coarse, *neighbours(coarse)) for pixel in children(parent, 64)}


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
def test_on_a_finer_level_a_small_region_or_its_best_pixels_compete(sigma: float) -> None:
    llh = patch(sigma)
    lowest = min(llh.values())
    inside, around, best = (
        sorted(pixel for pixel, value in llh.items() if value <= lowest + height)
        for height in (EDGE, EDGE + AROUND, COMPETING_WARM)
    )
    assert (len(inside) < ENOUGH) == (sigma < 2)
    assert pixels_in_need(llh, first_level=False) == (around if len(inside) < ENOUGH else best)


@pytest.mark.parametrize("height", [1.0, 30.0])
def test_pixel_above_its_neighbours_disagrees_near_the_minimum(height: float) -> None:
    llh = patch(2.0)
    best = min(llh, key=lambda pixel: llh[pixel])
    stuck = neighbours(neighbours(best)[0])[0]
    agreeing = pixels_in_need(llh, first_level=False)
    llh[stuck] += height
    assert set(pixels_in_need(llh, first_level=False)) - {stuck} <= {*agreeing, best, *neighbours(best)}
    assert stuck in pixels_in_need(llh, first_level=False)


def test_disagreement_far_above_the_minimum_does_not_matter() -> None:
    llh = {pixel: peak(77.0, 6.0, 1.0)(pixel) for pixel in SKY}
    far = max(llh, key=lambda pixel: llh[pixel])
    llh[far] *= 1.05
    assert far not in pixels_in_need(llh, first_level=True)


def test_disagreement_is_the_height_above_opposite_neighbours() -> None:
    index = np.arange(768)
    value = np.zeros(768)
    value[400] = 3.0
    found = disagreement(8, index, value)
    assert found[400] == 3.0
    beside = [pixel.index for pixel in neighbours(Pixel(8, 400))]
    assert (found[beside] == 0).all()
    alone = disagreement(8, np.array([5, 400]), np.array([1.0, 2.0]))
    assert (alone == -math.inf).all()


def test_nothing_but_failed_pixels_needs_all_of_them() -> None:
    llh = dict.fromkeys(whole_sky(1), math.nan)
    assert pixels_in_need(llh, first_level=True) == whole_sky(1)


def test_best_pixels_wait_for_the_others() -> None:
    llh = patch(0.3)
    needy = pixels_in_need(llh, first_level=False)
    limit = min(llh.values()) + WAITING
    waiting = [pixel for pixel in needy if llh[pixel] <= limit]
    others = before_the_best(needy, llh)
    assert 0 < len(waiting) < len(needy)
    assert others == [pixel for pixel in needy if pixel not in waiting]
    assert before_the_best(waiting, llh) == waiting


def test_failed_pixels_wait_for_none() -> None:
    llh = patch(0.3) | {Pixel(64, 0): math.nan}
    assert Pixel(64, 0) in before_the_best(pixels_in_need(llh, first_level=False), llh)
    failed = dict.fromkeys(whole_sky(1), math.nan)
    assert before_the_best(whole_sky(1), failed) == whole_sky(1)
