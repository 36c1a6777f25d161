from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import OMKey, Pulses
from skymap_scanner.reconstruction.millipede.afterpulses import AFTER_SHARE, expected_afterpulses
from skymap_scanner.reconstruction.millipede.bins import (
    CURRENT_TIME,
    EARLY,
    LATE,
    DomBins,
    bin_edges,
    bin_event,
    join_empty_bins,
    largest_current,
)
from skymap_scanner.reconstruction.millipede.build_arrays import STRONG, trust_in
from skymap_scanner.reconstruction.millipede.constants import C_ICE
from skymap_scanner.simulation.pmt import draw_afterpulses


def test_direct_light_is_mid_bin_and_later_bins_widen() -> None:
    assert bin_edges(0.0, 1500.0, 205.0, 50.0).tolist() == [0, 30, 80, 130, 180, 230, 330, 530, 930, 1500]


@given(st.floats(-1e4, 1e4), st.floats(1.0, 2e4), st.floats(-3e4, 3e4), st.floats(5.0, 500.0))
def test_edges_rise_and_fill_the_window(start: float, length: float, direct: float, width: float) -> None:
    edges = bin_edges(start, start + length, direct, width)
    assert edges[0] == start
    assert edges[-1] == start + length
    assert (np.diff(edges) > 0).all()
    early = np.diff(edges[(edges >= direct - EARLY) & (edges <= direct + width / 2)])
    assert (early <= width * (1 + 1e-9)).all()
    assert len(edges) < 4 + length / width + 20


def test_readouts_of_a_second_have_few_bins() -> None:
    edges = bin_edges(-1e9, 1e4, 9000.0, 5.0)
    assert len(edges) < 2 * EARLY / 5.0
    assert edges[:2].tolist() == [-1e9, 9000.0 - 2.5 - EARLY]


def bins_of(charges: list[float], dom: int = 5, current: float = 0.0) -> DomBins:
    """Return bins of 1 ns with these charges, in each of which 0.1 PE of afterpulses are expected."""
    return DomBins(dom, np.arange(len(charges) + 1.0), np.array(charges), np.full(len(charges), 0.1), current)


def test_neighbouring_bins_without_charge_are_joined() -> None:
    joined = join_empty_bins(bins_of([0.0, 0.0, 2.0, 0.0, 0.0, 1.0, 3.0]))
    assert joined.dom == 5
    assert joined.after.tolist() == pytest.approx([0.2, 0.1, 0.2, 0.1, 0.1])
    assert joined.edges.tolist() == [0, 2, 3, 5, 6, 7]
    assert joined.charges.tolist() == [0, 2, 0, 1, 3]


@given(st.lists(st.just(0.0) | st.floats(0.1, 9.0), min_size=1, max_size=20))
def test_joining_keeps_every_bin_with_charge(charges: list[float]) -> None:
    joined = join_empty_bins(bins_of(charges))
    assert [q for q in joined.charges if q > 0] == [q for q in charges if q > 0]
    assert not ((joined.charges[1:] == 0) & (joined.charges[:-1] == 0)).any()
    for q, begin, end in zip(joined.charges, joined.edges[:-1], joined.edges[1:], strict=True):
        assert q == 0 or (end - begin == 1 and charges[int(begin)] == q)


def test_expected_afterpulses_are_those_that_the_simulation_draws() -> None:
    delay, charge = draw_afterpulses(np.random.default_rng(1), 1_000_000)
    edges = np.array([-500.0, 0.0, 450.0, 600.0, 800.0, 1500.0, 3000.0, 9000.0])
    drawn = np.histogram(delay, edges, weights=charge)[0] / len(delay) * AFTER_SHARE
    assert expected_afterpulses(np.zeros(1), np.ones(1), edges) == pytest.approx(drawn, rel=0.05)
    both = expected_afterpulses(np.array([40.0, 900.0]), np.array([3.0, 2.0]), edges)
    one, other = (expected_afterpulses(np.zeros(1), np.ones(1), edges - time) for time in (40.0, 900.0))
    assert both == pytest.approx(3 * one + 2 * other)


@given(
    st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0.1, 9.0)), min_size=1, max_size=600),
    st.lists(st.floats(-2e4, 2e4), min_size=2, max_size=30, unique=True).map(sorted),
)
def test_expected_afterpulses_add_up(pulses: list[tuple[float, float]], edges: list[float]) -> None:
    time, charge = np.array(pulses).T
    expected = expected_afterpulses(time, charge, np.array(edges))
    one_by_one = [expected_afterpulses(time[[n]], charge[[n]], np.array(edges)) for n in range(len(time))]
    assert expected == pytest.approx(np.sum(one_by_one, axis=0), rel=1e-9, abs=1e-9)
    assert (expected >= 0).all()


def test_strong_currents_are_trusted_less() -> None:
    time = np.array([0.0, 10.0, 24.0, 26.0, 400.0])
    assert largest_current(time, np.array([1.0, 2.0, 3.0, 9.0, 1.0])) == 9 / CURRENT_TIME
    weak, strong, certain = (
        trust_in([bins_of([1000.0], current=current)], error)[0]
        for current, error in ((0.0, 0.1), (2 * STRONG, 0.1), (2 * STRONG, 0.0))
    )
    assert weak == pytest.approx(1 / (1.09 + 0.01 * 1000))
    assert strong == pytest.approx(1 / (1.09 + 0.01 * (1 + 4) * 1000))
    assert certain == pytest.approx(1 / 1.09)


def test_edges_do_not_depend_on_the_pulses(event: PreparedEvent) -> None:
    """Every edge that separates charge is one of the geometry's: edges at pulses would bias the fit."""
    geometry = event.geometry
    for dom in bin_event(event).binned:
        direct = event.vertex_time + np.linalg.norm(geometry.position[dom.dom] - event.vertex) / C_ICE
        stop = dom.edges[-1]
        possible = bin_edges(event.window[0], stop, direct)
        assert all(np.abs(possible - edge).min() < 1e-6 for edge in dom.edges)


def test_late_light_and_excluded_doms_take_no_part(event: PreparedEvent) -> None:
    data = bin_event(event)
    total = sum(dom.charges.sum() for dom in data.binned)
    assert event.pulses.charge.sum() * 0.98 < total <= event.pulses.charge.sum()
    first = data.binned[0]
    key = OMKey(int(event.geometry.string[first.dom]), int(event.geometry.om[first.dom]), 0)
    without = bin_event(replace(event, excluded=event.excluded | {key}))
    assert sum(dom.charges.sum() for dom in without.binned) == pytest.approx(total - first.charges.sum())
    assert first.dom not in without.unhit
    cut = bin_event(replace(event, errata={key: 10_000.0}))
    assert cut.binned[0].edges[-1] == 10_000.0
    bright = bin_event(replace(event, bright=frozenset({key}), late={key: 10_000.0}))
    assert bright.binned[0].charges.sum() == first.charges.sum()
    direct = event.vertex_time + np.linalg.norm(event.geometry.position[first.dom] - event.vertex) / C_ICE
    assert first.edges[-1] == pytest.approx(direct + LATE)
    hit = {dom.dom for dom in data.binned}
    assert not hit & set(data.unhit.tolist())
    assert len(hit) + len(data.unhit) == int((event.geometry.string <= 78).sum() - event.geometry.dead[:4680].sum())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flags": 0}, "local coincidence"),
        ({"charge": 0}, "no charge of pulses is left to fit"),
        ({"time": 1e6}, "no charge of pulses is left to fit"),
    ],
)
def test_event_without_a_usable_start_is_rejected(
    prepare: Callable[..., PreparedEvent], pulses: Pulses, change: dict[str, float], words: str
) -> None:
    ((column, value),) = change.items()
    array = getattr(pulses, column)
    with pytest.raises(ReconstructionError, match=words):
        bin_event(prepare(replace(pulses, **{column: np.full_like(array, value)})))
