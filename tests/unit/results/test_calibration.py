"""Which calibration applies to a fit, what its file may hold, and thresholds from re-simulated events."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.errors import InputError
from skymap_scanner.reconstruction.millipede.millipede import VERSION
from skymap_scanner.reconstruction.millipede.table import load
from skymap_scanner.results.calibration import (
    CASCADE_REACH,
    MIN_EVENTS,
    choose_rule,
    read_calibration,
    rule_of_event,
    shipped_calibrations,
    threshold,
    topology_of_losses,
)
from skymap_scanner.results.rule import MAX_TEXT, WILKS, checked_text, rule_from_entry, rule_to_entry


def energy_range(topology: str, low: float, high: float, events: int = 150, half: float = 2.0, ninety: float = 7.0):
    return {
        "topology": topology,
        "energy": [low, high],
        "events": events,
        "half": {"value": half, "low": half - 0.3, "high": half + 0.3},
        "ninety": {"value": ninety, "low": ninety - 1, "high": ninety + 1},
    }


def content(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "version": "1",
        "likelihood": "millipede 7",
        "command": "python -m benchmarks.coverage.calibrate",
        "scanner_version": "0.1.0",
        "simulation": "varied ice",
        "simulated": 500,
        "failed": 2,
        "ranges": [
            energy_range("track", 3e4, 1e5),
            energy_range("track", 1e5, 1e6, half=3.0, ninety=9.0),
            energy_range("cascade", 3e4, 1e6, events=MIN_EVENTS - 1),
        ],
    } | changes


def files(**changes: Any):
    return [read_calibration("test.json", json.dumps(content(**changes)).encode())]


def test_thresholds_are_those_of_topology_and_energy():
    for energy, levels in ((3e4, {0.5: 2.0, 0.9: 7.0}), (9.9e4, {0.5: 2.0, 0.9: 7.0}), (1e5, {0.5: 3.0, 0.9: 9.0})):
        rule = choose_rule(files(), "millipede 7", "track", energy)
        assert (rule.name, rule.levels) == ("calibrated", levels)
    assert rule.statement == (
        "Contours calibrated with 150 re-simulated tracks of 100 to 1000 TeV (varied ice): statistical, and systematic "
        "as far as varied."
    )
    assert rule.source.startswith("test.json, version 1, sha256 ")
    assert rule.source.endswith(": python -m benchmarks.coverage.calibrate")


@pytest.mark.parametrize(
    ("likelihood", "topology", "energy", "reason"),
    [
        ("", "track", 5e4, "the reconstruction names no likelihood"),
        ("millipede 8", "track", 5e4, "there is no calibration of the likelihood 'millipede 8'"),
        ("millipede 7", None, 5e4, "the best fit has no energy losses"),
        ("millipede 7", "track", 1e6, "test.json has no tracks of 1000 TeV"),
        ("millipede 7", "track", 2.9e4, "test.json has no tracks of 29 TeV"),
        ("millipede 7", "track", float("nan"), "test.json has no tracks of nan TeV"),
        ("millipede 7", "cascade", 5e4, "test.json has only 49 cascades of 30 to 1000 TeV, fewer than 50"),
    ],
)
def test_wilks_is_used_with_the_reason_where_no_calibration_applies(likelihood, topology, energy, reason):
    rule = choose_rule(files(), likelihood, topology, energy)
    assert (rule.name, rule.levels) == (WILKS.name, WILKS.levels)
    assert rule.statement == f"{WILKS.statement} Not calibrated: {reason}."


def test_longest_texts_fit_into_every_header():
    longest = files(likelihood="l" * 200, command="c" * 300, simulation="s" * 200)
    rule = choose_rule(longest, "l" * 200, "track", 5e4)
    for text in (rule.statement, rule.source, choose_rule(longest, "x" * 200, "track", 5e4).statement):
        assert len(checked_text("text", text)) <= MAX_TEXT


def test_calibration_round_trips():
    (file,) = files()
    assert read_calibration("test.json", file.content.to_json()).content == file.content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format"),
        ({"likelihood": ""}, "likelihood"),
        ({"command": "two\nlines"}, "command"),
        ({"colour": "red"}, "colour"),
        ({"ranges": []}, "ranges"),
        ({"ranges": [energy_range("muon", 1, 2)]}, r"ranges\[0\].topology"),
        ({"ranges": [energy_range("track", 2, 1)]}, r"ranges\[0\].*energy: the second number must be greater"),
        ({"ranges": [energy_range("track", 1, 2, half=7.0)]}, r"ranges\[0\].*ninety: must be greater than half"),
        ({"ranges": [energy_range("track", 1, 2, half=-1.0)]}, r"ranges\[0\].half.value"),
        ({"ranges": [energy_range("track", 1, 3), energy_range("track", 2, 4)]}, "overlap"),
    ],
)
def test_invalid_calibrations_are_rejected_with_the_field(changes, message):
    with pytest.raises(InputError, match=f"test.json: not a calibration .*{message}"):
        files(**changes)


def test_damaged_file_is_rejected():
    with pytest.raises(InputError, match=r"test\.json: not a calibration"):
        read_calibration("test.json", b"{")


def test_shipped_calibrations_are_readable_and_of_different_likelihoods():
    likelihoods = [file.content.likelihood for file in shipped_calibrations()]
    assert len(likelihoods) == len(set(likelihoods))


@pytest.mark.parametrize("topology", ["track", "cascade"])
def test_shipped_calibration_covers_the_default_likelihood(topology):
    file = next(file for file in shipped_calibrations() if file.name == "millipede-8.json")
    assert file.content.likelihood.startswith(f"millipede {VERSION}, table {load(None).digest}, ice spice_mie,")
    for energy in (3e4, 1e5, 3e5, 1e6):
        rule = choose_rule(shipped_calibrations(), file.content.likelihood, topology, energy)
        assert (rule.name, rule.source.partition(",")[0]) == ("calibrated", "millipede-8.json")


def losses(*places_and_energies: tuple[float, float]):
    places, energies = (np.array(column, dtype=np.float64) for column in zip(*places_and_energies, strict=True))
    direction = np.array([0.6, 0.0, 0.8])
    return np.array([10.0, -20.0, 30.0]) + places[:, None] * direction, energies


@pytest.mark.parametrize(
    ("given", "topology"),
    [
        (losses((0, 1e5)), "cascade"),
        (losses((-15, 2e4), (0, 6e4), (15, 2e4)), "cascade"),
        (losses((-300, 9e3), (0, 91e3)), "cascade"),
        (losses((-300, 11e3), (0, 89e3)), "track"),
        (losses(*((15.0 * n, 1e3) for n in range(60))), "track"),
        (losses((0, 5e4), (31, 5e4)), "track"),
        (losses((0, 0.0)), None),
        ((np.empty((0, 3)), np.empty(0)), None),
    ],
)
def test_topology_follows_from_the_losses(given, topology):
    assert topology_of_losses(*given) == topology


@given(st.lists(st.tuples(st.floats(-600, 600), st.floats(1.0, 1e6)), min_size=1, max_size=30))
def test_losses_within_reach_are_a_cascade_in_any_order(pairs):
    position, energy = losses(*pairs)
    assert topology_of_losses(position, energy) == topology_of_losses(position[::-1], energy[::-1]) or (
        np.count_nonzero(energy == energy.max()) > 1  # equally great losses: the first one counts
    )
    near = losses(*((place / 600 * CASCADE_REACH / 2, amount) for place, amount in pairs))
    assert topology_of_losses(*near) == "cascade"


def test_threshold_is_the_order_statistic_that_covers_a_further_event():
    deltas = np.arange(1.0, 100.0)  # 99 events: a further one is as likely in each of the 100 gaps
    assert threshold(deltas, 0.5).value == 50
    assert threshold(deltas, 0.9).value == 90
    assert (threshold(deltas, 0.9).low, threshold(deltas, 0.9).high) == (87, 93)


def test_fewest_events_hold_what_the_docs_state():
    """The probability below the order statistic of rank k of n is Beta(k, n + 1 - k)."""
    random = np.random.default_rng(4)
    for level, low, high in ((0.5, 0.44, 0.58), (0.9, 0.86, 0.94)):
        held = np.array([threshold(random.random(MIN_EVENTS), level).value for _ in range(4000)])
        assert np.quantile(held, [0.1587, 0.8413]) == pytest.approx([low, high], abs=0.01)


def test_thresholds_of_chi_squared_events_are_those_of_wilks():
    deltas = np.random.default_rng(3).chisquare(2, 20_000)
    for level in (0.5, 0.9):
        found = threshold(deltas, level)
        assert found.low < WILKS.levels[level] < found.high
        assert found.value == pytest.approx(WILKS.levels[level], rel=0.03)


@given(st.lists(st.floats(0, 1e4), min_size=9, max_size=60), st.sampled_from([0.5, 0.9]))
def test_at_least_the_level_lies_below_its_threshold(deltas: list[float], level: float):
    values = np.array(deltas)
    limit = np.sort(values)[math.ceil((len(values) + 1) * level - 1e-9) - 1]
    if limit > 0:
        found = threshold(values, level)
        assert found.value == limit
        assert np.mean(values <= found.value) >= level
        assert found.low <= found.value <= found.high


def test_too_few_events_have_no_threshold():
    with pytest.raises(ValueError, match="8 events are too few for a threshold of 90%"):
        threshold(np.arange(8.0), 0.9)


OTHERWISE = choose_rule(files(), "millipede 7", "track", 5e4)


@given(st.permutations(range(100)))
def test_rule_of_an_event_has_its_thresholds_in_any_order(order: list[int]):
    rule = rule_of_event([1.0 + number for number in order], "millipede 7", OTHERWISE)
    assert (rule.name, rule.levels) == ("calibrated", {0.5: 2 * 51.0, 0.9: 2 * 91.0})
    assert rule == rule_of_event([1.0 + number for number in range(100)], "millipede 7", OTHERWISE)
    assert "100 re-simulations of this event" in rule.statement


def test_rule_of_an_event_counts_what_failed():
    rule = rule_of_event([*np.arange(1.0, 61.0), math.nan], "", OTHERWISE)
    assert rule.statement.startswith("Contours calibrated with 60 re-simulations of this event (ice model, ")
    assert rule.source == (
        "this scan, 61 re-simulations of its best fit, 1 without a fit; 68% intervals 54 to 70 (50%), 106 to 114 (90%)"
    )


@pytest.mark.parametrize(
    ("deltas", "reason"),
    [
        ([*[1.0] * (MIN_EVENTS - 1), math.nan], "49 of 50 re-simulations have a fit"),
        ([0.0] * 60, "2 delta ln L of its re-simulations is 0, or without bound"),
        ([1e9] * 60, "2 delta ln L of its re-simulations is 0, or without bound"),
        ([1.5] * 60, "2 delta ln L of its re-simulations is always the same"),
    ],
)
def test_event_without_thresholds_keeps_the_other_rule_with_the_reason(deltas: list[float], reason: str):
    rule = rule_of_event(deltas, "millipede 7", OTHERWISE)
    assert rule.levels == OTHERWISE.levels
    assert rule.statement == f"{OTHERWISE.statement} Not calibrated for this event: {reason}."


def test_texts_of_the_rule_of_an_event_fit_into_headers():
    longest = choose_rule(files(simulation="x" * 200), "millipede 7", "track", 5e4)
    for deltas in ([1234.5678 + number for number in range(1000)], [1.5] * 999):
        rule = rule_of_event(deltas, "y" * 200, longest)
        assert checked_text("statement", rule.statement)
        assert checked_text("source", rule.source)
        assert rule_from_entry(rule_to_entry(rule)) == replace(rule, name="calibrated")
