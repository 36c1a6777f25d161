from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.errors import InputError
from skymap_scanner.results.calibration import shipped_calibrations
from skymap_scanner.scan.levels import (
    DEFAULT_LEVELS,
    PROBABILITIES,
    Area,
    Level,
    first_pixels,
    parse_area,
    parse_levels,
)
from skymap_scanner.scan.pixels import Pixel, whole_sky
from skymap_scanner.scan.region import ENOUGH
from skymap_scanner.scan.seeds import check_seeds, seed_positions


def test_levels_may_be_separated_by_blanks_or_commas() -> None:
    wanted = (Level(8, 0), Level(64, 12), Level(512, 24))
    assert parse_levels("8:0 64:12 512:24") == wanted
    assert parse_levels("8:0,64:12, 512:24") == wanted


def test_default_levels_can_refine_a_whole_region_that_is_not_known() -> None:
    first, *finer = parse_levels(DEFAULT_LEVELS)
    assert first == Level(4, 0)
    assert min(level.parents for level in finer) > 2 * ENOUGH


def test_default_levels_refine_the_calibrated_region_of_tracks() -> None:
    ranges = [one for file in shipped_calibrations() for one in file.content.ranges]
    widest = max(one.ninety.value for one in ranges if one.topology == "track") / 2
    for level in parse_levels(DEFAULT_LEVELS)[1:]:
        assert -math.log1p(-(level.probability or 0)) > widest


@given(st.floats(*PROBABILITIES), st.integers(1, 1000))
def test_level_with_a_probability_round_trips(probability: float, parents: int) -> None:
    levels = (Level(8, 0), Level(64, parents, probability))
    assert parse_levels(" ".join(map(str, levels))) == levels


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is neither NSIDE:PARENTS"),
        ("8", "is neither NSIDE:PARENTS"),
        ("8:x", "is neither NSIDE:PARENTS"),
        ("8:3", "write 8:0"),
        ("9:0", "not a power of two"),
        ("8:0 8:3", "must be finer"),
        ("8:0 4:3", "must be finer"),
        ("8:0 64:0", "at least 1"),
        ("16384:0", "not a power of two from 1 to 8192"),
        ("8:0 64:0.4:9", "probability must be from 0.5 to 0.999999"),
        ("8:0 64:1.0:9", "probability must be from 0.5 to 0.999999"),
        ("8:0 64:0.9", "nor NSIDE:PROBABILITY:PARENTS"),
        ("8:0 64:0.9:0", "at least 1"),
        ("8:0.9:0 64:9", "write 8:0"),
    ],
)
def test_invalid_levels_are_rejected(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_levels(text)


def test_area_and_list_choose_the_first_pixels() -> None:
    area = parse_area("1,6,4")
    assert area == Area(Pixel(1, 6), 4)
    assert len(first_pixels(Level(8, 0), area, None)) == 4
    assert first_pixels(Level(1, 0), None, [5, 3]) == [Pixel(1, 3), Pixel(1, 5)]
    assert first_pixels(Level(1, 0), None, None) == whole_sky(1)
    assert first_pixels(Level(1, 0), Area(Pixel(1, 6), 1), [6, 7]) == [Pixel(1, 6)]


@pytest.mark.parametrize("text", ["8,1", "8,768,1", "7,1,1", "8,1,0", "a,b,c"])
def test_invalid_areas_are_rejected(text: str) -> None:
    with pytest.raises(InputError):
        parse_area(text)


def test_first_level_needs_at_least_one_pixel() -> None:
    with pytest.raises(InputError, match="no pixel of the list is in the area"):
        first_pixels(Level(1, 0), Area(Pixel(1, 6), 1), [0])
    with pytest.raises(InputError, match="more pixels than the 12"):
        first_pixels(Level(1, 0), Area(Pixel(1, 6), 13), None)


def test_seeds_are_the_vertex_and_20_m_along_each_axis() -> None:
    positions = seed_positions([1.0, 2.0, 3.0], 7)
    assert positions[0] == (1.0, 2.0, 3.0)
    assert sorted(math.dist(position, (1, 2, 3)) for position in positions) == [0] + [20] * 6
    assert len(set(positions)) == 7
    assert seed_positions([1.0, 2.0, 3.0], 3) == positions[:3]
    with pytest.raises(InputError, match="choose 1 to 7"):
        check_seeds(8)
