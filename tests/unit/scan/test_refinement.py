"""Which pixels a level refines."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skymap_scanner.healpix import pixel_to_vector, pixel_width, radec_to_pixel
from skymap_scanner.scan.levels import DEFAULT_LEVELS, Level, parse_levels
from skymap_scanner.scan.pixels import Pixel, children, neighbours, parent, whole_sky
from skymap_scanner.scan.refinement import beyond_the_edge, choose_parents, refine, sides_of_minimum
from skymap_scanner.scan.region import area_is_known

VALUES = st.lists(st.one_of(st.floats(0, 1e4), st.just(math.nan)), min_size=48, max_size=48)
LEVELS = st.builds(Level, st.just(4), st.integers(1, 48), st.none() | st.floats(0.5, 0.999999))


@settings(deadline=None)  # the first call imports healpy
@given(VALUES, LEVELS)
def test_parents_begin_with_the_best_fit_and_its_neighbours(values: list[float], level: Level) -> None:
    llh = dict(zip(whole_sky(2), values, strict=True))
    chosen = choose_parents(llh, level)
    good = {pixel: value for pixel, value in llh.items() if not math.isnan(value)}
    assert len(chosen) == len(set(chosen)) <= min(level.parents, len(good))
    assert set(chosen) <= set(good)
    if good:
        best = min(good, key=lambda pixel: (good[pixel], pixel))
        around = [pixel for pixel in neighbours(best) if pixel in good]
        assert chosen[0] == best
    if level.probability is None and good:
        assert set(chosen[1 : 1 + len(around)]) <= set(around)
        others = [good[pixel] for pixel in chosen[1 + len(around) :]]
        assert len(chosen) == min(level.parents, len(good))
        assert others == sorted(others)


@settings(deadline=None)
@given(VALUES, LEVELS, st.randoms())
def test_parents_do_not_depend_on_the_order_of_arrival(values: list[float], level: Level, random: object) -> None:
    llh = list(zip(whole_sky(2), values, strict=True))
    shuffled = [*llh]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert refine(dict(shuffled), level) == refine(dict(llh), level)


def test_nothing_is_refined_if_every_fit_failed() -> None:
    for level in (Level(8, 3), Level(8, 3, 0.9)):
        assert refine(dict.fromkeys(whole_sky(1), math.nan), level) == []


def at_distance(ra: float, dec: float, distance: float, bearing: float) -> tuple[float, float]:
    """Return the direction at an angular distance and a bearing, east of north; all in rad."""
    there = math.asin(math.sin(dec) * math.cos(distance) + math.cos(dec) * math.sin(distance) * math.cos(bearing))
    east = math.sin(bearing) * math.sin(distance) * math.cos(dec)
    return ra + math.atan2(east, math.cos(distance) - math.sin(dec) * math.sin(there)), there


def peak(ra: float, dec: float, sigma: float) -> Callable[[Pixel], float]:
    """Return -ln L of a Gaussian posterior at a direction (deg), of width ``sigma`` (deg)."""
    ra, dec = math.radians(ra), math.radians(dec)
    centre = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])

    def llh(pixel: Pixel) -> float:
        vector = pixel_to_vector(pixel.nside, pixel.index)
        angle = math.atan2(float(np.linalg.norm(np.cross(vector, centre))), float(vector @ centre))
        return (math.degrees(angle) / sigma) ** 2 / 2

    return llh


SKY = whole_sky(8)


@settings(deadline=None, max_examples=50)
@example(0.0, 63.0, 1.0, 0.999)  # where the grid is not regular
@given(st.floats(0, 360), st.floats(-85, 85), st.sampled_from([0.1, 1.0, 5.0]), st.sampled_from([0.5, 0.9, 0.999]))
def test_refined_pixels_hold_the_share_of_a_gaussian(ra: float, dec: float, sigma: float, share: float) -> None:
    """The pixel of 7 degrees is far wider than the narrowest peak, and narrower than the widest region."""
    llh = peak(ra, dec, sigma)
    chosen = set(choose_parents({pixel: llh(pixel) for pixel in SKY}, Level(64, 768, share)))
    radius = math.radians(sigma) * math.sqrt(-2 * math.log1p(-share))
    for bearing in np.linspace(0, 2 * math.pi, 24, endpoint=False):
        at_ra, at_dec = at_distance(math.radians(ra), math.radians(dec), radius, bearing)
        if abs(at_dec) < math.radians(89):
            assert Pixel(8, int(radec_to_pixel(8, at_ra, at_dec))) in chosen
    widths = radius / float(pixel_width(8))
    assert len(chosen) <= math.pi * (widths + 2.5) ** 2


def test_sharp_peak_refines_few_pixels_on_the_sides_of_the_minimum() -> None:
    llh = peak(77.0, 6.0, 0.2)
    chosen = choose_parents({pixel: llh(pixel) for pixel in SKY}, Level(64, 768, 0.999))
    assert 4 <= len(chosen) <= 9
    fine = {child: llh(child) for parent in chosen for child in children(parent, 16)}
    best = min(fine, key=fine.__getitem__)
    assert set(neighbours(best)) <= set(fine)


SIDES = st.floats(-0.49, 0.49)


@given(SIDES, SIDES, st.floats(0.01, 1e4), st.floats(0.01, 1e4), st.floats(-0.6, 0.6), st.floats(0.1, 10))
def test_sides_of_a_parabola_hold_its_minimum_and_region(
    a: float, b: float, bend_a: float, bend_b: float, tilt: float, delta: float
) -> None:
    """Along each axis, the region is as wide as an ellipse's bounding box."""
    twist = tilt * math.sqrt(bend_a * bend_b) * min(bend_a / bend_b, bend_b / bend_a)

    def height(x: float, y: float) -> float:
        return bend_a * (x - a) ** 2 / 2 + bend_b * (y - b) ** 2 / 2 + twist * (x - a) * (y - b)

    steps = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]  # from the south-west clockwise
    found = sides_of_minimum(np.array([height(*step) - height(0, 0) for step in steps]), delta)
    scale = 2 * delta / (bend_a * bend_b - twist**2)
    half = max(0.6, 1.5 * math.sqrt(scale * bend_b)), max(0.6, 1.5 * math.sqrt(scale * bend_a))
    for (x, y), side in zip(steps, found, strict=True):
        gap = min(reach - max(abs(step - at) - 0.5, 0.0) for step, at, reach in ((x, a, half[0]), (y, b, half[1])))
        assert bool(side) == (gap > 0) or abs(gap) < 1e-6


@pytest.mark.parametrize(
    "height",
    [
        [0.0] * 8,
        [1.0] * 7 + [math.nan],
        [1.0, 9.0] * 4,
        [4.0, 9.0, 4.0, 1.0] * 2,
        [1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 9.0],
    ],
)
def test_all_sides_are_refined_without_a_clear_minimum(height: list[float]) -> None:
    assert sides_of_minimum(np.array(height), 2.3).all()


def tilted(at: float, bend: float, twist: float) -> np.ndarray:
    """Return the heights of the neighbours in a bowl around (at, at)."""
    steps = np.array([(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (0, 0)])
    x, y = steps.T - at
    value = bend * (x**2 + y**2) / 2 + twist * x * y
    return value[:8] - value[8]


def test_all_sides_are_refined_in_an_oblique_valley_or_beside_a_far_minimum() -> None:
    assert sides_of_minimum(tilted(0.4, 1000.0, 600.0), 0.1).sum() == 3
    assert sides_of_minimum(tilted(0.4, 1000.0, 800.0), 0.1).all()
    assert sides_of_minimum(tilted(1.2, 1000.0, 600.0), 0.1).all()


def test_level_lacks_the_children_beyond_its_edge() -> None:
    parents = [Pixel(8, 343), *neighbours(Pixel(8, 343))]
    fine = children(Pixel(8, 343), 16)
    llh = {pixel: float(place) for place, pixel in enumerate(fine)}
    more = beyond_the_edge(llh, parents)
    lacking = {pixel for pixel in neighbours(fine[0]) if pixel not in llh}
    assert lacking < set(more)
    assert len(more) % 4 == 0
    assert {parent(pixel, 8) for pixel in more} == {parent(pixel, 8) for pixel in lacking}
    assert beyond_the_edge(llh | dict.fromkeys(more, 9.0), parents) == []
    assert beyond_the_edge(llh, parents[:1]) == []  # what was never scanned cannot be refined
    assert beyond_the_edge(dict.fromkeys(fine, math.nan), parents) == []


def test_isolated_low_pixel_is_refined_as_a_second_minimum() -> None:
    llh = dict.fromkeys(SKY, 1000.0)
    llh[Pixel(8, 400)], llh[Pixel(8, 100)] = 0.0, 300.0
    chosen = choose_parents(llh, Level(64, 768, 0.999))
    assert set(chosen) == {Pixel(8, 400), Pixel(8, 100), *neighbours(Pixel(8, 400))}  # the minimum is in the middle
    assert len(choose_parents(llh, Level(64, 4, 0.999))) == 4


def test_values_hold_their_share_of_a_long_tailed_posterior() -> None:
    """Beside a pixel with a tenth of the probability, all others are equal: nearly all of them are needed."""
    llh = {pixel: 0.0 if pixel.index == 400 else math.log(767 / 9) for pixel in SKY}
    chosen = choose_parents(llh, Level(64, 768, 0.9))
    assert len(chosen) == pytest.approx(1 + 767 * 0.8 / 0.9, abs=1)


def test_pixels_are_all_children_of_the_parents() -> None:
    llh = {pixel: float(pixel.index * 37 % 12) for pixel in whole_sky(1)}
    level = Level(4, 5)
    assert refine(llh, level) == sorted(child for parent in choose_parents(llh, level) for child in children(parent, 4))


def test_sharp_peak_takes_at_most_600_pixels_by_default() -> None:
    llh = peak(77.0, 6.0, 0.2)
    first, *finer = parse_levels(DEFAULT_LEVELS)
    pixels = whole_sky(first.nside)
    counts = [len(pixels)]
    for level in finer:
        pixels = refine({pixel: llh(pixel) for pixel in pixels}, level)
        counts.append(len(pixels))
    assert counts[0] == 192
    assert max(counts[1:5]) <= 9 * 4
    assert sum(counts) <= 600


def valley(random: Random) -> tuple[Callable[[Pixel], float], np.ndarray]:
    """Return -ln L of a bowl that flattens outwards, anywhere, up to 4 times as long as wide, and its lowest place."""
    at = np.array([random.gauss(0, 1) for _ in range(3)])
    at /= np.linalg.norm(at)
    along = np.cross(at, [random.gauss(0, 1) for _ in range(3)])
    along /= np.linalg.norm(along)
    wide, long = math.radians(random.choice([0.1, 0.3, 1.0])), random.choice([1, 2, 4])

    def llh(pixel: Pixel) -> float:
        there = pixel_to_vector(pixel.nside, pixel.index)
        a, b = float(there @ along), float(there @ np.cross(at, along))
        angle = math.atan2(math.hypot(a, b), float(there @ at)) / max(math.hypot(a, b), 1e-12)
        return 1000 + 50 * math.log1p(((a * angle / wide / long) ** 2 + (b * angle / wide) ** 2) / 100)

    return llh, at


@pytest.mark.parametrize("seed", [*range(11), 101])  # 101 misses the minimum if no level is widened
def test_levels_end_around_the_minimum(seed: int) -> None:
    llh, at = valley(Random(seed))
    first, *finer = parse_levels(DEFAULT_LEVELS)
    found = {pixel: llh(pixel) for pixel in whole_sky(first.nside)}
    for level in finer:
        if area_is_known(found):
            break
        before = set(found)
        found = {pixel: llh(pixel) for pixel in refine(found, level)}
        while more := beyond_the_edge(found, before):
            found |= {pixel: llh(pixel) for pixel in more}
    best = min(found, key=found.__getitem__)
    assert set(neighbours(best)) <= set(found)
    ra, dec = math.atan2(at[1], at[0]), math.asin(at[2])
    assert found[best] <= llh(Pixel(best.nside, int(radec_to_pixel(best.nside, ra, dec))))
