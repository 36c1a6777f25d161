"""From photoelectrons to pulses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.i3 import OMKey
from skymap_scanner.simulation.readout import (
    CHARGE_THRESHOLD,
    COINCIDENCE,
    MERGED,
    TRIGGER_DOMS,
    TRIGGER_WINDOW,
    Hits,
    draw_charges,
    draw_noise,
    find_trigger,
    in_coincidence,
    merge,
    pulse_map,
)

from .conftest import random


def index(string: int, om: int) -> int:
    return (string - 1) * 60 + om - 1


def hits(*triples: tuple[int, float]) -> Hits:
    doms, times = zip(*triples, strict=True) if triples else ((), ())
    return Hits(np.array(doms, np.intp), np.array(times, float), np.ones(len(doms)))


def test_dark_noise_has_the_rate_of_each_dom() -> None:
    geometry = ic86()
    dom, time = draw_noise(random(1), geometry, -1e6, 9e6)  # 10 ms
    rates = np.where(geometry.dead, 0, geometry.noise)
    expected = rates.sum() * 0.01
    assert abs(len(dom) - expected) < 4 * math.sqrt(expected)
    counts = np.bincount(dom, minlength=len(rates))
    assert counts[geometry.dead].sum() == 0
    live = ~geometry.dead
    chi2 = ((counts[live] - rates[live] * 0.01) ** 2 / (rates[live] * 0.01)).sum()
    assert abs(chi2 - live.sum()) < 5 * math.sqrt(2 * live.sum())
    assert time.min() >= -1e6
    assert time.max() <= 9e6


def test_mean_photoelectron_charge_is_one() -> None:
    charge = draw_charges(random(2), 200_000)
    assert charge.min() >= CHARGE_THRESHOLD
    # a Gaussian of width 0.3 cut 2.5 sigma below its mean: 1 + 0.3 phi(-2.5) / (1 - Phi(-2.5))
    assert charge.mean() == pytest.approx(1.0053, abs=4 * 0.3 / math.sqrt(200_000))
    assert charge.std() == pytest.approx(0.296, abs=0.003)


def test_merged_pulse_stands_at_its_mean_charge() -> None:
    photoelectrons = hits((7, 101.0), (3, 12.5), (7, 100.0), (7, 105.1), (3, 500.0), (7, 103.0))
    charges = np.array([2.0, 1, 1, 1, 1, 3])
    pulses, first = merge(Hits(photoelectrons.dom, photoelectrons.time, charges))
    assert pulses.dom.tolist() == [3, 3, 7, 7]
    assert pulses.time.tolist() == pytest.approx([12.5, 500.0, 100 + (2 * 1 + 3 * 3) / 6, 105.1])
    assert pulses.charge.tolist() == [1, 1, 6, 1]
    assert first.tolist() == [12.5, 500.0, 100.0, 105.1]
    assert len(merge(hits())[0].dom) == 0


@given(
    arrays.arrays(np.intp, st.shared(st.integers(0, 40), key="n"), elements=st.integers(0, 5)),
    arrays.arrays(float, st.shared(st.integers(0, 40), key="n"), elements=st.floats(-50, 50)),
    arrays.arrays(float, st.shared(st.integers(0, 40), key="n"), elements=st.floats(0.25, 4)),
)
def test_merging_conserves_charge_and_its_mean_time(dom: Any, time: Any, charge: Any) -> None:
    pulses, first = merge(Hits(dom, time, charge))
    sums = [np.bincount(one.dom, one.charge, minlength=6) for one in (pulses, Hits(dom, time, charge))]
    assert sums[0] == pytest.approx(sums[1])
    moments = [
        np.bincount(d, q * t, minlength=6)
        for d, q, t in ((pulses.dom, pulses.charge, pulses.time), (dom, charge, time))
    ]
    assert moments[0] == pytest.approx(moments[1], abs=1e-9)
    assert (first <= pulses.time + 1e-9).all()
    assert (pulses.time < first + MERGED).all()
    apart = np.diff(first)[np.diff(pulses.dom) == 0]
    assert (apart >= MERGED - 1e-9).all()


def test_merging_moves_no_light_in_time() -> None:
    """Photoelectrons at 1 per ns: the time of the first of each pulse would be 1.6 ns or more early."""
    time = np.cumsum(random(6).exponential(1.0, 20_000))
    pulses, first = merge(Hits(np.zeros(len(time), np.intp), time, np.ones(len(time))))
    written = pulse_map(pulses, np.ones(len(pulses.time), bool), ic86()).value[OMKey(1, 1)]
    assert np.average(written["time"] - written["time"][0], weights=pulses.charge) == pytest.approx(
        time.mean() - written["time"][0], abs=0.05
    )
    assert time.mean() - np.average(first, weights=pulses.charge) > 1.6


@pytest.mark.parametrize(
    ("other", "delay", "together"),
    [
        ((10, 31), 999.0, True),
        ((10, 32), -999.0, True),
        ((10, 32), 1001.0, False),
        ((10, 33), 0.0, False),
        ((11, 30), 0.0, False),
        ((10, 30), 100.0, False),
    ],
)
def test_coincident_neighbours_set_the_lc_flag(other: tuple[int, int], delay: float, together: bool) -> None:
    pulses, _ = merge(hits((index(10, 30), 5000.0), (index(*other), 5000.0 + delay)))
    assert in_coincidence(pulses, ic86()).tolist() == [together, together]


def test_coincidence_is_limited_to_one_string() -> None:
    pulses, _ = merge(hits((index(10, 60), 0.0), (index(11, 1), 0.0)))
    assert not in_coincidence(pulses, ic86()).any()


def test_coincidence_agrees_with_a_direct_search() -> None:
    geometry, generator = ic86(), random(5)
    dom = generator.integers(0, 180, 300)
    pulses, _ = merge(Hits(dom, generator.uniform(0, 2e4, 300), np.ones(300)))
    expected = [
        any(
            geometry.string[a] == geometry.string[b]
            and 1 <= abs(int(geometry.om[a]) - int(geometry.om[b])) <= 2
            and abs(t - u) <= COINCIDENCE
            for b, u in zip(pulses.dom, pulses.time, strict=True)
        )
        for a, t in zip(pulses.dom, pulses.time, strict=True)
    ]
    assert in_coincidence(pulses, geometry).tolist() == expected


def test_trigger_needs_eight_doms_within_its_window() -> None:
    eight = [(dom, 100.0 + dom * TRIGGER_WINDOW / (TRIGGER_DOMS - 1)) for dom in range(TRIGGER_DOMS)]
    all_of_them = np.ones(TRIGGER_DOMS, bool)
    assert find_trigger(hits(*eight), all_of_them) == (100.0, 100.0 + TRIGGER_WINDOW)
    assert find_trigger(hits(*eight), np.arange(TRIGGER_DOMS) > 0) == TRIGGER_DOMS - 1
    apart = [(dom, time * 1.001) for dom, time in eight]
    assert find_trigger(hits(*apart), all_of_them) == TRIGGER_DOMS - 1
    again = [(dom % 7, time) for dom, time in eight]  # seven DOMs, one of them twice
    assert find_trigger(hits(*again), all_of_them) == TRIGGER_DOMS - 1
    assert find_trigger(hits(), np.zeros(0, bool)) == 0


def test_trigger_extends_and_later_triggers_are_ignored() -> None:
    first = [(dom, dom * 700.0) for dom in range(20)]
    later = [(100 + dom, 60_000.0 + dom) for dom in range(20)]
    early = [(200, -40_000.0)]
    every = hits(*early, *first, *later)
    assert find_trigger(every, np.ones(41, bool)) == (0.0, 19 * 700.0)


def test_pulses_are_written_in_steps_of_i3superdst() -> None:
    pulses = Hits(np.array([index(2, 5), index(2, 5)]), np.array([100.3, 200.8]), np.array([1.013, 0.004]))
    written = pulse_map(pulses, np.array([True, False]), ic86()).value
    assert list(written) == [OMKey(2, 5)]
    assert written[OMKey(2, 5)]["time"].tolist() == [100.0, 201.0]
    assert written[OMKey(2, 5)]["charge"].tolist() == pytest.approx([1.025, 0.025])
    assert written[OMKey(2, 5)]["width"].tolist() == [1.0, 8.0]
    assert written[OMKey(2, 5)]["flags"].tolist() == [7, 4]


@given(st.integers(-400, 1_000_000), st.integers(0, 20_000))
def test_pulses_that_i3superdst_holds_are_written_unchanged(ticks: int, code: int) -> None:
    time, charge = ticks * 1.0, np.float32(code * 0.05 + 0.025)  # i3-format, section 5
    written = pulse_map(
        Hits(np.array([0]), np.array([time]), np.array([float(charge)])), np.ones(1, bool), ic86()
    ).value
    (series,) = written.values()
    assert (series["time"][0], series["charge"][0]) == (time, charge)
