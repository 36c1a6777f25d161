"""The photomultiplier: jitter, late pulses, afterpulses and saturation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from skymap_scanner.simulation.pmt import (
    AFTER,
    AFTER_SHARE,
    ANODE_TIME,
    EARLY_RANGE,
    JITTER,
    LATE_SHARE,
    amplify,
    anode_current,
    draw_afterpulses,
    saturate,
    saturated_share,
)
from skymap_scanner.simulation.readout import Hits

from .conftest import random

COUNT = 200_000


def test_saturation_curve_is_linear_then_bends_and_rises() -> None:
    """Linear below 10 pe/ns, a tenth less at 31 pe/ns, and more current for more light."""
    assert saturated_share(np.array([0.0, 1.0, 10.0])) == pytest.approx(1, abs=0.002)
    assert saturated_share(np.array([31.0]))[0] == pytest.approx(0.9, abs=0.02)
    current = np.geomspace(0.01, 1e5, 400)
    seen = current * saturated_share(current)
    assert (np.diff(seen) > 0).all()
    assert 50 < seen[-1] < 150


def test_late_pulses_and_jitter_have_their_shares_and_widths() -> None:
    hits = amplify(random(1), np.arange(COUNT), np.zeros(COUNT))
    prompt = np.abs(hits.time) < 8
    assert hits.time[prompt].std() == pytest.approx(JITTER, rel=0.02)
    late = (hits.time > 8) & (hits.time < 200)
    # some of the late ones come within 8 ns; afterpulses before 200 ns are few
    assert late.sum() / COUNT == pytest.approx(LATE_SHARE, rel=0.05)
    assert np.median(hits.time[late]) == pytest.approx(59, abs=3)


def test_afterpulses_have_their_share_and_times() -> None:
    hits = amplify(random(2), np.arange(COUNT), np.zeros(COUNT))
    after = hits.time > 200
    # an afterpulse may be followed by another
    assert after.sum() / COUNT == pytest.approx(AFTER_SHARE / (1 - AFTER_SHARE), rel=0.05)
    assert 0.5 * after.sum() < (hits.time[after] > 3000).sum() < 0.8 * after.sum()
    delay, charge = draw_afterpulses(random(3), 100_000)
    assert delay.min() > 0
    table = np.array(AFTER)
    weight = table[:, 0] * table[:, 1]
    assert delay.mean() == pytest.approx((weight * table[:, 2]).sum() / weight.sum(), rel=0.01)
    several = charge > 3
    assert several.mean() == pytest.approx(weight[[1, 2]].sum() / weight.sum(), rel=0.15)
    assert charge[several].min() >= EARLY_RANGE[0]
    assert charge.max() <= EARLY_RANGE[1]
    assert np.abs(delay[several] - 600).max() < 200


@given(
    arrays.arrays(np.intp, st.shared(st.integers(0, 30), key="n"), elements=st.integers(0, 3)),
    arrays.arrays(float, st.shared(st.integers(0, 30), key="n"), elements=st.floats(-60, 60)),
    arrays.arrays(float, st.shared(st.integers(0, 30), key="n"), elements=st.floats(0.25, 30)),
)
def test_anode_current_is_the_sum_over_the_hits_of_the_dom(dom: Any, time: Any, charge: Any) -> None:
    order = np.lexsort((time, dom))
    dom, time, charge = dom[order], time[order], charge[order]
    expected = [
        sum(
            q * math.exp(-abs(time[i] - t) / ANODE_TIME) / (2 * ANODE_TIME)
            for d, t, q in zip(dom, time, charge, strict=True)
            if d == dom[i]
        )
        for i in range(len(dom))
    ]
    assert anode_current(dom, time, charge) == pytest.approx(expected)


def test_saturation_leaves_faint_light_and_dims_bright_light() -> None:
    flash = random(4).normal(0, 5, 3000)
    dom = np.concatenate([np.zeros(3000, np.intp), [1]])
    seen = saturate(Hits(dom, np.append(flash, 0.0), np.ones(3001)))
    assert seen.dom.tolist() == dom.tolist()
    assert seen.charge[-1] == pytest.approx(1, abs=0.001)
    assert seen.charge[:-1].sum() < 0.45 * 3000  # 200 pe/ns at the top
    assert (np.diff(seen.time[:-1]) >= 0).all()
    assert len(amplify(random(1), np.zeros(0, np.intp), np.zeros(0)).dom) == 0
