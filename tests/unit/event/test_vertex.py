from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from skymap_scanner.event.vertex import CHARGES, DOMINANT, WINDOW, find_vertex

POSITION = np.array([[0.0, 0, 0], [100, 0, 0], [0, 200, 0], [0, 0, -300]])


def vertex(*pulses: tuple[float, float, int]) -> tuple[list[float], float]:
    time, charge, dom = (np.array(column) for column in zip(*pulses, strict=True))
    position, at = find_vertex(time.astype(float), charge.astype(float), dom, POSITION)
    return position.tolist(), at


def walked(
    time: NDArray[np.float64], charge: NDArray[np.float64], dom: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float] | None:
    """Return the vertex by its definition, pulse by pulse; None below the lowest charge."""
    total = charge.sum()
    heavy = {index for index in set(dom.tolist()) if charge[dom == index].sum() > DOMINANT * total}
    pulses = sorted(zip(time, charge, dom, strict=True), key=lambda pulse: (pulse[0], pulse[1], pulse[2]))
    if heavy and len(set(dom.tolist())) > 1 and any(pulse[1] > 0 and pulse[2] not in heavy for pulse in pulses):
        pulses = [(t, 0.0 if index in heavy else q, index) for t, q, index in pulses]
    for threshold in CHARGES:
        for last, (now, _, _) in enumerate(pulses):
            inside = [pulse for pulse in pulses[: last + 1] if now - pulse[0] <= WINDOW]
            weight = sum(pulse[1] for pulse in inside)
            if weight > threshold + 1e-9:
                return sum(pulse[1] * POSITION[pulse[2]] for pulse in inside) / weight, now
    return None


def test_vertex_is_the_centre_of_the_first_250_pe() -> None:
    assert vertex((0, 100, 0), (10, 100, 1), (20, 60, 2), (30, 500, 3)) == (
        pytest.approx([100 * 100 / 260, 200 * 60 / 260, 0]),
        20,
    )


def test_charge_before_the_window_is_ignored() -> None:
    assert vertex((0, 200, 0), (3001, 200, 1), (3002, 60, 1)) == (pytest.approx([100, 0, 0]), 3002)


def test_charge_at_the_edge_of_the_window_counts() -> None:
    assert vertex((0, 200, 0), (3000, 200, 1)) == (pytest.approx([50, 0, 0]), 3000)


def test_vertex_of_a_faint_event_uses_the_first_5_pe() -> None:
    assert vertex((0, 3, 0), (10, 3, 1), (20, 100, 2)) == (pytest.approx([50, 0, 0]), 10)


def test_vertex_of_a_very_faint_event_is_the_charge_centre() -> None:
    assert vertex((50, 1, 1), (10, 2, 0)) == (pytest.approx([100 / 3, 0, 0]), 10)


def test_dominant_dom_is_excluded_from_the_vertex() -> None:
    assert vertex((0, 5000, 3), (10, 200, 1), (20, 100, 2)) == (
        pytest.approx([100 * 200 / 300, 200 * 100 / 300, 0]),
        20,
    )


def test_single_dom_is_the_vertex() -> None:
    assert vertex((0, 100, 3), (10, 200, 3)) == ([0, 0, -300], 10)
    assert vertex((7, 0.5, 3)) == ([0, 0, -300], 7)


def test_dominant_dom_counts_if_others_have_no_charge() -> None:
    assert vertex((0, 0, 1), (5, 100, 3)) == ([0, 0, -300], 5)


@given(
    st.lists(
        st.tuples(st.integers(0, 20_000).map(float), st.integers(0, 2000).map(lambda n: n * 0.05), st.integers(0, 3)),
        min_size=1,
        max_size=60,
    ).filter(lambda pulses: any(charge for _, charge, _ in pulses))
)
def test_vertex_agrees_with_a_direct_implementation(pulses: list[tuple[float, float, int]]) -> None:
    time, charge, dom = (np.array(column) for column in zip(*pulses, strict=True))
    expected = walked(time, charge, dom)
    position, at = find_vertex(time, charge, dom, POSITION)
    assert np.isfinite(position).all()
    if expected is not None:
        assert position == pytest.approx(expected[0], abs=1e-6)
        assert at == expected[1]


@given(st.permutations(range(6)))
def test_vertex_does_not_depend_on_the_order_of_pulses(order: list[int]) -> None:
    pulses = [(0.0, 100.0, 0), (0.0, 100.0, 1), (5.0, 60.0, 2), (5.0, 60.0, 1), (9.0, 1.0, 3), (9.0, 2.0, 3)]
    assert vertex(*(pulses[index] for index in order)) == vertex(*pulses)


def test_vertex_is_bitwise_the_same_on_every_processor() -> None:
    random = np.random.default_rng(4)
    time, charge, dom = np.arange(2000.0), random.gamma(1, size=2000), random.integers(0, 50, 2000)
    place = random.normal(0, 300, (50, 3))
    weighted = [0.0, 0.0, 0.0]
    for pulse in range(first_beyond(charge, CHARGES[0]) + 1):
        weighted = [total + charge[pulse] * x for total, x in zip(weighted, place[dom[pulse]], strict=True)]
    position, _ = find_vertex(time, charge, dom, place)
    total_charge = charge[: first_beyond(charge, CHARGES[0]) + 1].sum()
    assert position.tolist() == [one / total_charge for one in weighted]


def first_beyond(charge: NDArray[np.float64], threshold: float) -> int:
    """Return the index of the pulse at which the charge exceeds a threshold."""
    return int(np.argmax(np.cumsum(charge) > threshold))
