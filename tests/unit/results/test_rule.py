"""Contour rules, and how a result's metadata stores them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.errors import InputError
from skymap_scanner.results.rule import (
    IC160427A,
    MAX_TEXT,
    WILKS,
    calibrated_rule,
    rule_from_entry,
    rule_to_entry,
    uncalibrated,
)

texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=MAX_TEXT)


@given(half=st.floats(0.01, 10), rise=st.floats(0.01, 1e5), statement=texts, source=texts)
def test_rules_round_trip(half, rise, statement, source):
    rule = calibrated_rule(half, half + rise, statement, source)
    assert rule_from_entry(rule_to_entry(rule)) == rule


def test_wilks_round_trips_with_its_reason():
    rule = uncalibrated("there is no table")
    assert rule.statement == f"{WILKS.statement} Not calibrated: there is no table."
    assert rule_from_entry(rule_to_entry(rule)) == rule
    assert rule.levels == WILKS.levels


def test_result_without_a_rule_states_none():
    assert rule_from_entry({"nside": 8}) is None


def test_map_of_a_calibrated_rule_has_its_ninety_percent_region():
    assert IC160427A.scale == pytest.approx(64.2 / 4.61)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contours": "magic"}, "contours 'magic': expected"),
        ({"contours": 3}, "contours 3: expected"),
        ({"two_delta_llh_50": 9.0}, "must rise from 0"),
        ({"two_delta_llh_50": 0.0}, "must rise from 0"),
        ({"two_delta_llh_50": math.nan}, "must rise from 0"),
        ({"two_delta_llh_90": math.inf}, "must rise from 0"),
        ({"two_delta_llh_90": "8"}, "must rise from 0"),
        ({"contours_statement": ""}, "contours_statement '': expected up to 500 printable"),
        ({"contours_source": "two\nlines"}, "contours_source"),
        ({"contours_source": "x" * 501}, "contours_source"),
        ({"contours_source": "Wilks’ theorem"}, "contours_source"),
        ({"contours_source": None}, "contours_source"),
    ],
)
def test_unreadable_rules_are_rejected_with_the_field(changes, message):
    entry = rule_to_entry(calibrated_rule(2.2, 8.0, "calibrated", "a file")) | changes
    with pytest.raises(InputError, match=message):
        rule_from_entry(entry)
