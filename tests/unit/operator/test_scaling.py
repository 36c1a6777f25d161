from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_operator.scaling import Demand, Scale, learned_seconds, scale, shares

USUAL = Demand(
    waiting=0,
    in_flight=0,
    busy=0,
    current=0,
    pending=0,
    producer_done=False,
    minimum=0,
    maximum=100,
    seconds_per_task=1.0,
    startup=20.0,
    elapsed=100.0,
    target=900.0,
)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, Scale(0, "nothing waits yet")),
        ({"current": 5}, Scale(3, "nothing waits yet; no fewer than half at once")),
        ({"current": 1}, Scale(1, "nothing waits yet")),
        ({"current": 5, "producer_done": True}, Scale(0, "nothing waits")),
        ({"current": 5, "producer_done": True, "minimum": 2}, Scale(2, "nothing waits; at least 2")),
        ({"waiting": 1}, Scale(1, "1 fits wait, 0 in hand, 1 s each: 1 for 780 s")),
        ({"waiting": 3900}, Scale(5, "3900 fits wait, 0 in hand, 1 s each: 5 for 780 s")),
        # In hand counts half.
        (
            {"waiting": 3900, "in_flight": 4, "busy": 4, "current": 4},
            Scale(6, "3900 fits wait, 4 in hand, 1 s each: 6 for 780 s"),
        ),
        # A third fewer would do: not worth a change.
        (
            {"waiting": 3900, "current": 7},
            Scale(7, "3900 fits wait, 0 in hand, 1 s each: 5 for 780 s; 7 are there"),
        ),
        ({"waiting": 3900, "current": 8}, Scale(5, "3900 fits wait, 0 in hand, 1 s each: 5 for 780 s")),
        ({"waiting": 3900, "slots": 4, "current": 1}, Scale(2, "3900 fits wait, 0 in hand, 1 s each: 2 for 780 s")),
        (
            {"waiting": 39000, "current": 10},
            Scale(20, "39000 fits wait, 0 in hand, 1 s each: 50 for 780 s; no more than 20 at once"),
        ),
        # From none: a few to start with.
        ({"waiting": 39000}, Scale(8, "39000 fits wait, 0 in hand, 1 s each: 50 for 780 s; no more than 8 at once")),
        # Those that find no place are no ground for more.
        (
            {"waiting": 39000, "current": 20, "pending": 15},
            Scale(20, "39000 fits wait, 0 in hand, 1 s each: 50 for 780 s; no more than 20 at once"),
        ),
        (
            {"waiting": 390000, "current": 90},
            Scale(100, "390000 fits wait, 0 in hand, 1 s each: 500 for 780 s; at most 100"),
        ),
        (
            {"waiting": 390000, "current": 90, "share": 30},
            Scale(30, "390000 fits wait, 0 in hand, 1 s each: 500 for 780 s; at most 30, the rest is for other scans"),
        ),
        # Late: everything that helps, but not more than there are tasks.
        ({"waiting": 7, "elapsed": 2000.0}, Scale(7, "7 fits wait, 0 in hand, 1 s each: 7 for a late scan")),
        # The last fits: idle ones go, busy ones stay.
        (
            {"in_flight": 7, "busy": 7, "current": 10, "producer_done": True},
            Scale(7, "0 fits wait, 7 in hand, 1 s each: 1 for 780 s; all 7 busy workers stay"),
        ),
        (
            {"waiting": 100, "in_flight": 30, "busy": 30, "current": 30, "maximum": 10},
            Scale(30, "100 fits wait, 30 in hand, 1 s each: 1 for 780 s; all 30 busy workers stay"),
        ),
        ({"waiting": None, "current": 17}, Scale(17, "the queue cannot be read: their number stays")),
        ({"in_flight": None, "current": 17}, Scale(17, "the queue cannot be read: their number stays")),
    ],
)
def test_decisions(changes: dict[str, Any], wanted: Scale) -> None:
    assert scale(replace(USUAL, **changes)) == wanted


COUNT = st.integers(0, 5000)
DEMANDS = st.builds(
    Demand,
    waiting=COUNT,
    in_flight=COUNT,
    busy=st.integers(0, 200),
    current=st.integers(0, 300),
    pending=st.integers(0, 300),
    producer_done=st.booleans(),
    minimum=st.integers(0, 50),
    maximum=st.integers(50, 300),
    seconds_per_task=st.floats(0.001, 1000),
    startup=st.floats(0, 100),
    elapsed=st.floats(0, 10000),
    target=st.floats(1, 10000),
    slots=st.integers(1, 8),
    share=st.none() | st.integers(0, 300),
    first=st.integers(1, 20),
).filter(lambda demand: demand.busy <= demand.current and demand.pending <= demand.current - demand.busy)


@given(DEMANDS)
def test_what_always_holds(demand: Demand) -> None:
    decided = scale(demand)
    assert decided.reason
    assert decided.replicas >= demand.busy
    ceiling = demand.maximum if demand.share is None else min(demand.maximum, demand.share)
    assert decided.replicas <= max(demand.maximum, demand.busy)
    grown = max(2 * demand.current, demand.minimum, demand.first if not demand.current else 0)
    assert decided.replicas <= max(grown, demand.busy)
    if decided.replicas > demand.current:
        assert decided.replicas <= max(ceiling, demand.busy)
    left = (demand.waiting or 0) + (demand.in_flight or 0)
    if decided.replicas == 0 and demand.current and ceiling:
        assert (left, demand.producer_done) == (0, True)
    if left == 0 and demand.producer_done:
        assert decided.replicas == max(min(demand.minimum, ceiling), demand.busy)
    if left and ceiling:
        assert decided.replicas >= 1


@given(DEMANDS)
def test_it_comes_to_rest(demand: Demand) -> None:
    """While the queue stays as it is, so does the number of workers after a few looks."""
    demand = replace(demand, pending=0)
    for _ in range(12):
        demand = replace(demand, current=scale(demand).replicas)
    assert scale(demand).replicas == demand.current


@given(DEMANDS, st.integers(1, 1000))
def test_more_that_waits_never_means_fewer_workers(demand: Demand, more: int) -> None:
    assert demand.waiting is not None
    assert scale(replace(demand, waiting=demand.waiting + more)).replicas >= scale(demand).replicas


def test_the_time_of_a_fit_is_learned() -> None:
    assert learned_seconds(3.0, 10, 2.0, 7) == 2.5  # a fifth of the way from 3 s to 0.71 s
    assert learned_seconds(3.0, 10, 0.0, 7) == 3.0
    assert learned_seconds(3.0, 0, 2.0, 7) == 3.0


def test_a_noisy_look_does_not_change_how_many_there_are() -> None:
    # As seen on a small cluster: one or two of two workers are busy at the moment of a look.
    seconds, current, changes = 0.2, 2, 0
    for busy in [2, 1, 2, 2, 1, 1, 2, 1, 2, 2]:
        seconds = learned_seconds(seconds, busy, 1.0, 7)
        demand = replace(USUAL, waiting=4000, in_flight=busy, busy=busy, current=current, seconds_per_task=seconds)
        changes += scale(demand).replicas != current
        current = scale(demand).replicas
    assert changes == 0


@pytest.mark.parametrize(
    ("wanted", "ceiling", "urgent", "given_out"),
    [
        ({}, 10, "", {}),
        ({"a": 3, "b": 4}, 10, "", {"a": 3, "b": 4}),
        ({"a": 30, "b": 2, "c": 30}, 12, "", {"a": 5, "b": 2, "c": 5}),
        ({"a": 30, "b": 30}, 11, "", {"a": 5, "b": 6}),
        ({"a": 30, "b": 30}, 11, "b", {"a": 0, "b": 11}),
        ({"a": 30, "b": 8}, 11, "b", {"a": 3, "b": 8}),
    ],
)
def test_shares(wanted: dict[str, int], ceiling: int, urgent: str, given_out: dict[str, int]) -> None:
    assert shares(wanted, ceiling, frozenset(urgent)) == given_out


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 100)),
    st.integers(0, 200),
    st.frozensets(st.sampled_from("abcdefgh")),
)
def test_shares_use_what_there_is_and_no_more(wanted: dict[str, int], ceiling: int, urgent: frozenset[str]) -> None:
    out = shares(wanted, ceiling, urgent)
    assert sum(out.values()) == min(ceiling, sum(wanted.values()))
    assert all(0 <= out[scan] <= wanted[scan] for scan in wanted)
    for one, wish in wanted.items():  # nobody short has less than another of the same rank, but for a division's rest
        for other in wanted:
            if (one in urgent) == (other in urgent) and out[one] < wish:
                assert out[other] <= out[one] + 1
