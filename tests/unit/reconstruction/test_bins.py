from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import OMKey, Pulses
from skymap_scanner.reconstruction.millipede.bins import bayesian_blocks, bin_event, pulse_bins


def test_pulses_and_gaps_become_bins() -> None:
    edges, charges = pulse_bins(
        np.array([100.0, 120.0, 130.0]), np.array([1.0, 2.0, 3.0]), np.array([5.0, 50.0, 8.0]), 0.0, 1000.0
    )
    assert edges.tolist() == [0, 100, 105, 120, 130, 138, 1000]
    assert charges.tolist() == [0, 1, 0, 2, 3, 0]


def test_pulses_are_clipped_to_the_window() -> None:
    edges, charges = pulse_bins(
        np.array([-5.0, 90.0, 100.0]), np.array([1.0, 2.0, 4.0]), np.array([8.0, 50.0, 8.0]), 0.0, 100.0
    )
    assert edges.tolist() == [0, 90, 100]
    assert charges.tolist() == [0, 2]


def test_simultaneous_pulses_are_merged() -> None:
    edges, charges = pulse_bins(np.array([10.0, 10.0]), np.array([1.0, 2.5]), np.array([0.0, 4.0]), 0.0, 50.0)
    assert edges.tolist() == [0, 10, 14, 50]
    assert charges.tolist() == [0, 3.5, 0]


def brute_force(edges: np.ndarray, charges: np.ndarray, sigma: float, min_width: float) -> float:
    """Return the best fitness of all partitions."""
    n, best = len(charges), -math.inf
    for cuts in itertools.product((False, True), repeat=n - 1):
        ends = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), n]
        best = max(
            best, fitness(edges[ends], [charges[a:b].sum() for a, b in itertools.pairwise(ends)], sigma, min_width)
        )
    return best


def fitness(edges: np.ndarray, charges: list[float], sigma: float, min_width: float) -> float:
    widths = np.diff(edges)
    if (widths < min_width).any():
        return -math.inf
    return sum((q * math.log(q / w) if q > 0 else 0.0) - sigma**2 / 2 for q, w in zip(charges, widths, strict=True))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 300), st.just(0.0) | st.floats(0.1, 20)), min_size=2, max_size=9),
    st.sampled_from([1.0, 3.0]),
)
def test_blocks_have_the_best_fitness_of_all_partitions(bins: list[tuple[float, float]], sigma: float) -> None:
    edges = np.concatenate([[0.0], np.cumsum([width for width, _ in bins])])
    charges = np.array([charge for _, charge in bins])
    block_edges, block_charges = bayesian_blocks(edges, charges, sigma, 8.0)
    assert block_charges.sum() == pytest.approx(charges.sum())
    assert block_edges[0] == edges[0]
    assert block_edges[-1] == edges[-1]
    if edges[-1] >= 8:
        found = fitness(block_edges, list(block_charges), sigma, 8.0)
        assert found == pytest.approx(brute_force(edges, charges, sigma, 8.0), abs=1e-6)


def test_late_light_and_excluded_doms_take_no_part(event: PreparedEvent) -> None:
    data = bin_event(event)
    total = sum(dom.charges.sum() for dom in data.binned)
    assert total == pytest.approx(event.pulses.charge.sum())
    first = data.binned[0]
    key = OMKey(int(event.geometry.string[first.dom]), int(event.geometry.om[first.dom]), 0)
    without = bin_event(replace(event, excluded=event.excluded | {key}))
    assert sum(dom.charges.sum() for dom in without.binned) == pytest.approx(total - first.charges.sum())
    assert first.dom not in without.unhit
    cut = bin_event(replace(event, late={key: 10_000.0}))
    assert cut.binned[0].edges[-1] == 10_000.0
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
