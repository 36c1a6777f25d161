from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.event.cleaning import bright_doms, late_pulses


def test_dom_above_ten_times_the_mean_charge_is_bright() -> None:
    charge = np.concatenate([[1000.0], np.ones(99)])
    dom = np.arange(100) * 3  # the DOMs between were not hit and do not enter the mean, which is 10.99
    assert bright_doms(charge, dom, 10.0) == {0}
    assert bright_doms(charge, dom, 1000 / 10.98) == set()


def test_event_without_pulses_has_no_bright_doms() -> None:
    assert bright_doms(np.array([]), np.array([], int), 10.0) == set()


def test_few_doms_are_never_bright() -> None:
    assert bright_doms(np.array([1e6, 1.0]), np.array([0, 1]), 10.0) == set()


def late(*pulses: tuple[float, float], delay: float = 1500.0) -> dict[int, float]:
    time, charge = (np.array(column) for column in zip(*pulses, strict=True))
    return late_pulses(time, charge, np.full(len(time), 7), delay)


def test_pulses_long_after_the_charge_median_are_late() -> None:
    assert late((100, 1), (200, 5), (300, 1), (1699, 1), (1700, 1)) == {7: 1700.0}
    assert late((100, 1), (200, 5), (300, 1), (1699, 1)) == {}
    assert late((100, 1), (200, 5), (1700, 1), delay=3000) == {}


def test_median_is_weighted_by_charge() -> None:
    assert late((0, 1), (1, 1), (2, 1), (5000, 10)) == {}
    assert late((0, 1), (5000, 1)) == {7: 1500.0}


def test_single_pulse_is_never_late() -> None:
    assert late((1e6, 1)) == {}


def test_each_dom_has_its_own_median() -> None:
    time, charge, dom = np.array([0.0, 9000, 8000, 100]), np.ones(4), np.array([1, 1, 2, 2])
    assert late_pulses(time, charge, dom, 1500.0) == {1: 1500.0, 2: 1600.0}


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0.025, 1e3)), min_size=1, max_size=30),
    st.floats(1, 1e4),
)
def test_at_least_half_of_the_charge_is_never_late(pulses: list[tuple[float, float]], delay: float) -> None:
    start = late(*pulses, delay=delay).get(7, np.inf)
    kept = sum(charge for time, charge in pulses if time < start)
    assert kept >= 0.5 * sum(charge for _, charge in pulses) * (1 - 1e-9)
    assert start == np.inf or any(time >= start for time, _ in pulses)


def test_event_without_pulses_has_no_late_pulses() -> None:
    assert late_pulses(np.array([]), np.array([]), np.array([], int), 1500.0) == {}


def test_median_time_without_charge_is_the_first_time() -> None:
    assert late((10, 0), (20, 0), (2000, 0)) == {7: pytest.approx(1510.0)}
