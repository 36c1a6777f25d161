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
from skymap_scanner.reconstruction.millipede.bins import LATE, bin_edges, bin_event, join_empty_bins
from skymap_scanner.reconstruction.millipede.constants import C_ICE


def test_direct_light_is_mid_bin_and_later_bins_widen() -> None:
    assert bin_edges(0.0, 1500.0, 205.0, 50.0).tolist() == [0, 30, 80, 130, 180, 230, 330, 530, 930, 1500]


@given(st.floats(-1e4, 1e4), st.floats(1.0, 2e4), st.floats(-3e4, 3e4), st.floats(5.0, 500.0))
def test_edges_rise_and_fill_the_window(start: float, length: float, direct: float, width: float) -> None:
    edges = bin_edges(start, start + length, direct, width)
    assert edges[0] == start
    assert edges[-1] == start + length
    assert (np.diff(edges) > 0).all()
    early = np.diff(edges[edges <= direct + width / 2])
    assert (early <= width * (1 + 1e-9)).all()
    assert len(edges) < 4 + length / width + 20


def test_neighbouring_bins_without_charge_are_joined() -> None:
    edges, charges = np.arange(8.0), np.array([0.0, 0.0, 2.0, 0.0, 0.0, 1.0, 3.0])
    joined = join_empty_bins(5, edges, charges)
    assert joined.dom == 5
    assert joined.edges.tolist() == [0, 2, 3, 5, 6, 7]
    assert joined.charges.tolist() == [0, 2, 0, 1, 3]


@given(st.lists(st.just(0.0) | st.floats(0.1, 9.0), min_size=1, max_size=20))
def test_joining_keeps_every_bin_with_charge(charges: list[float]) -> None:
    joined = join_empty_bins(0, np.arange(len(charges) + 1.0), np.array(charges))
    assert [q for q in joined.charges if q > 0] == [q for q in charges if q > 0]
    assert not ((joined.charges[1:] == 0) & (joined.charges[:-1] == 0)).any()
    for q, begin, end in zip(joined.charges, joined.edges[:-1], joined.edges[1:], strict=True):
        assert q == 0 or (end - begin == 1 and charges[int(begin)] == q)


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
