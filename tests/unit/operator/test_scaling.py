from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skymap_operator.decide.scaling import Cause, Demand, Direction, Scale, learned_seconds, scale, shares

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
    target=1125.0,  # 900 s of it are planned with
)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, Scale(0, Cause.IDLE, "nothing waits yet")),
        ({"current": 5}, Scale(3, Cause.STEP, "nothing waits yet; no fewer than half at once")),
        ({"current": 1}, Scale(1, Cause.IDLE, "nothing waits yet")),
        ({"minimum": 2}, Scale(2, Cause.MINIMUM, "nothing waits yet; at least 2")),
        ({"current": 5, "producer_done": True}, Scale(0, Cause.DONE, "nothing waits")),
        ({"current": 5, "producer_done": True, "minimum": 2}, Scale(2, Cause.MINIMUM, "nothing waits; at least 2")),
        ({"waiting": 1}, Scale(1, Cause.WORK, "1 fits wait, 0 in hand, 1 s each: 1 for 780 s")),
        ({"waiting": 3900}, Scale(5, Cause.WORK, "3900 fits wait, 0 in hand, 1 s each: 5 for 780 s")),
        # In hand counts half.
        (
            {"waiting": 3900, "in_flight": 4, "busy": 4, "current": 4},
            Scale(6, Cause.WORK, "3900 fits wait, 4 in hand, 1 s each: 6 for 780 s"),
        ),
        # A third fewer would do: not worth a change.
        (
            {"waiting": 3900, "current": 7},
            Scale(7, Cause.ENOUGH, "3900 fits wait, 0 in hand, 1 s each: 5 for 780 s; 7 are there"),
        ),
        ({"waiting": 3900, "current": 8}, Scale(5, Cause.WORK, "3900 fits wait, 0 in hand, 1 s each: 5 for 780 s")),
        (
            {"waiting": 39000, "current": 10},
            Scale(20, Cause.STEP, "39000 fits wait, 0 in hand, 1 s each: 50 for 780 s; no more than 20 at once"),
        ),
        # From none: a few to start with.
        (
            {"waiting": 39000},
            Scale(8, Cause.STEP, "39000 fits wait, 0 in hand, 1 s each: 50 for 780 s; no more than 8 at once"),
        ),
        # Those that find no place are no ground for more.
        (
            {"waiting": 39000, "current": 20, "pending": 15},
            Scale(20, Cause.PENDING, "39000 fits wait, 0 in hand, 1 s each: 50 for 780 s; 15 do not run yet"),
        ),
        (
            {"waiting": 390000, "current": 90},
            Scale(
                100,
                Cause.MAXIMUM,
                "390000 fits wait, 0 in hand, 1 s each: 500 for 780 s; no more than 180 at once; at most 100",
            ),
        ),
        (
            {"waiting": 390000, "current": 90, "share": 30},
            Scale(
                30,
                Cause.SHARE,
                "390000 fits wait, 0 in hand, 1 s each: 500 for 780 s; no more than 180 at once; at most 30, "
                "the rest is for other scans",
            ),
        ),
        # Late: everything that helps, but not more than there are tasks.
        (
            {"waiting": 7, "elapsed": 2000.0},
            Scale(7, Cause.WORK, "7 fits wait, 0 in hand, 1 s each: 7 for a late scan"),
        ),
        # The last fits: idle ones go, busy ones stay.
        (
            {"in_flight": 7, "busy": 7, "current": 10, "producer_done": True},
            Scale(7, Cause.BUSY, "0 fits wait, 7 in hand, 1 s each: 1 for 780 s; all 7 busy workers stay"),
        ),
        # Later levels count, so that the first one leaves them time ...
        (
            {"waiting": 3900, "coming": 7800},
            Scale(
                8, Cause.STEP, "3900 fits wait, 0 in hand, 7800 to come, 1 s each: 15 for 780 s; no more than 8 at once"
            ),
        ),
        # ... but nobody is started for them before they are in the queue,
        (
            {"waiting": 3, "coming": 7800},
            Scale(3, Cause.WORK, "3 fits wait, 0 in hand, 7800 to come, 1 s each: 3 for 780 s"),
        ),
        ({"coming": 7800}, Scale(0, Cause.IDLE, "nothing waits yet")),
        # and those that are there wait for them, as far as the work needs them.
        (
            {"in_flight": 1, "busy": 1, "current": 10, "coming": 7800},
            Scale(10, Cause.WORK, "0 fits wait, 1 in hand, 7800 to come, 1 s each: 10 for 780 s"),
        ),
        (
            {"current": 10, "coming": 7800},
            Scale(10, Cause.WORK, "0 fits wait, 0 in hand, 7800 to come, 1 s each: 10 for 780 s"),
        ),
        (
            {"current": 10, "coming": 780},
            Scale(
                5, Cause.STEP, "0 fits wait, 0 in hand, 780 to come, 1 s each: 1 for 780 s; no fewer than half at once"
            ),
        ),
        # Limits that people set take busy workers too, at once: each finishes its fit.
        (
            {"waiting": 39000, "in_flight": 30, "busy": 30, "current": 30, "maximum": 10},
            Scale(10, Cause.MAXIMUM, "39000 fits wait, 30 in hand, 1 s each: 51 for 780 s; at most 10"),
        ),
        (
            {"waiting": 3900, "in_flight": 5, "busy": 5, "current": 5, "share": 0},
            Scale(
                0,
                Cause.SHARE,
                "3900 fits wait, 5 in hand, 1 s each: 6 for 780 s; at most 0, the rest is for other scans",
            ),
        ),
        # Limits that are no tighter than workers.max say nothing of other scans.
        (
            {"waiting": 390000, "current": 90, "share": 100},
            Scale(
                100,
                Cause.MAXIMUM,
                "390000 fits wait, 0 in hand, 1 s each: 500 for 780 s; no more than 180 at once; at most 100",
            ),
        ),
        ({"waiting": None, "current": 17}, Scale(17, Cause.UNREADABLE, "the queue cannot be read: their number stays")),
        (
            {"in_flight": None, "current": 17},
            Scale(17, Cause.UNREADABLE, "the queue cannot be read: their number stays"),
        ),
        (
            {"waiting": None, "current": 17, "maximum": 5},
            Scale(17, Cause.UNREADABLE, "the queue cannot be read: their number stays"),
        ),
    ],
)
def test_decisions(changes: dict[str, Any], wanted: Scale) -> None:
    assert scale(replace(USUAL, **changes)) == wanted


COUNT = st.integers(0, 20) | st.integers(0, 5000)
DEMANDS = (
    st.builds(
        Demand,
        waiting=COUNT,
        in_flight=COUNT,
        coming=st.just(0) | COUNT,
        busy=st.integers(0, 200),
        current=st.integers(0, 10) | st.integers(0, 300),
        pending=st.integers(0, 300),
        producer_done=st.booleans(),
        minimum=st.integers(0, 50),
        maximum=st.integers(50, 300),
        seconds_per_task=st.just(1.0) | st.floats(0.001, 1000),
        startup=st.floats(0, 100),
        elapsed=st.floats(0, 10000),
        target=st.just(1.0) | st.floats(1, 10000),
        share=st.none() | st.integers(0, 300),
        first=st.integers(1, 20),
    )
    .map(lambda demand: replace(demand, busy=min(demand.busy, demand.current)))
    .map(lambda demand: replace(demand, pending=min(demand.pending, demand.current - demand.busy)))
)

#: Other programs may have the processors.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ceiling(demand: Demand) -> int:
    return demand.maximum if demand.share is None else min(demand.maximum, demand.share)


@UNTIMED
@given(DEMANDS)
def test_limits_hold_whatever_is_waiting_or_busy(demand: Demand) -> None:
    decided = scale(demand)
    assert 0 <= decided.replicas <= ceiling(demand)
    assert decided.replicas >= min(demand.minimum, ceiling(demand))
    assert decided.reason


@UNTIMED
@given(DEMANDS)
def test_need_alone_takes_no_busy_worker(demand: Demand) -> None:
    assert scale(demand).replicas >= min(demand.busy, ceiling(demand))


@UNTIMED
@given(DEMANDS)
def test_at_most_twice_and_not_less_than_half_at_a_time(demand: Demand) -> None:
    decided, running = scale(demand).replicas, demand.current - demand.pending
    assert decided <= max(2 * running, demand.current, demand.minimum, 1 if demand.current else demand.first)
    if not demand.over:
        assert decided >= min(math.ceil(demand.current / 2), ceiling(demand))


@UNTIMED
@given(DEMANDS)
def test_there_are_none_only_when_nothing_is_left(demand: Demand) -> None:
    decided, tasks = scale(demand).replicas, (demand.waiting or 0) + (demand.in_flight or 0)
    if demand.over:
        assert decided == min(max(demand.minimum, demand.busy), ceiling(demand))
    elif ceiling(demand) and (demand.current or tasks):
        assert decided >= 1


@UNTIMED
@given(DEMANDS)
def test_no_worker_is_started_for_whom_there_is_no_task(demand: Demand) -> None:
    decided, tasks = scale(demand).replicas, (demand.waiting or 0) + (demand.in_flight or 0)
    if decided > demand.current:
        assert decided <= max(tasks, demand.minimum)


@UNTIMED
@given(DEMANDS)
def test_what_cannot_be_read_changes_nothing(demand: Demand) -> None:
    for unknown in (replace(demand, waiting=None), replace(demand, in_flight=None)):
        assert scale(unknown) == Scale(demand.current, Cause.UNREADABLE, "the queue cannot be read: their number stays")


@UNTIMED
@given(DEMANDS)
def test_the_cause_is_that_of_the_number(demand: Demand) -> None:
    decided = scale(demand)
    exact = {Cause.MINIMUM: demand.minimum, Cause.MAXIMUM: demand.maximum, Cause.SHARE: demand.share}
    exact |= {Cause.BUSY: demand.busy, Cause.PENDING: demand.current}
    if decided.cause in exact:
        assert decided.replicas == exact[decided.cause]
    assert (decided.cause is Cause.PENDING) <= (demand.pending > 0)


def test_the_direction_is_that_of_the_change() -> None:
    decided = Scale(3, Cause.WORK, "")
    assert [decided.direction(current) for current in (2, 3, 4)] == [Direction.UP, Direction.HOLD, Direction.DOWN]


@UNTIMED
@given(DEMANDS)
def test_it_comes_to_rest(demand: Demand) -> None:
    """While the queue stays as it is, so does the number of workers after a few looks."""
    demand = replace(demand, pending=0)
    for _ in range(12):
        demand = replace(demand, current=scale(demand).replicas)
    assert scale(demand).replicas == demand.current


@UNTIMED
@given(DEMANDS, st.integers(1, 1000))
def test_more_that_waits_or_comes_never_means_fewer_workers(demand: Demand, more: int) -> None:
    assert demand.waiting is not None
    assert scale(replace(demand, waiting=demand.waiting + more)).replicas >= scale(demand).replicas
    assert scale(replace(demand, coming=demand.coming + more)).replicas >= scale(demand).replicas


def test_the_time_of_a_fit_is_learned() -> None:
    assert learned_seconds(100, 250.0) == 2.5
    assert learned_seconds(10, 0.0123456) == 0.0012
    assert learned_seconds(9, 9000.0) is None, "a few say little"
    assert learned_seconds(100, 0.0) is None


@pytest.mark.parametrize(
    ("wanted", "ceiling", "urgent", "given_out"),
    [
        ({}, 10, "", {}),
        ({"a": 3, "b": 4}, 10, "", {"a": 3, "b": 4}),
        ({"a": 30, "b": 2, "c": 30}, 12, "", {"a": 5, "b": 2, "c": 5}),
        # What is left over goes to the oldest.
        ({"b": 30, "a": 30}, 11, "", {"b": 6, "a": 5}),
        ({"c": 9, "a": 1, "b": 9}, 6, "", {"c": 3, "a": 1, "b": 2}),
        # More scans than workers: the oldest have one each.
        ({"c": 9, "a": 9, "b": 9}, 2, "", {"c": 1, "a": 1, "b": 0}),
        ({"c": 0, "a": 9, "b": 9}, 1, "", {"c": 0, "a": 1, "b": 0}),
        ({"a": 30, "b": 30}, 11, "b", {"a": 0, "b": 11}),
        ({"a": 30, "b": 8}, 11, "b", {"a": 3, "b": 8}),
    ],
)
def test_shares(wanted: dict[str, int], ceiling: int, urgent: str, given_out: dict[str, int]) -> None:
    assert shares(wanted, ceiling, frozenset(urgent)) == given_out


WISHES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 100))


@UNTIMED
@given(WISHES, st.integers(0, 200), st.frozensets(st.sampled_from("abcdefgh")))
def test_shares_use_what_there_is_and_no_more(wanted: dict[str, int], ceiling: int, urgent: frozenset[str]) -> None:
    out = shares(wanted, ceiling, urgent)
    assert sum(out.values()) == min(ceiling, sum(wanted.values()))
    assert all(0 <= out[scan] <= wanted[scan] for scan in wanted)
    short = [scan for scan in wanted if out[scan] < wanted[scan]]
    if any(scan in urgent for scan in short):
        assert not any(out[scan] for scan in wanted if scan not in urgent)
    for one in short:  # nobody has more than one more than another of the same rank who is short, and that by age
        for other in wanted:
            if (one in urgent) == (other in urgent):
                older = list(wanted).index(other) < list(wanted).index(one)
                assert out[other] <= out[one] + older


@UNTIMED
@given(WISHES, st.integers(0, 200))
def test_no_scan_starves_while_there_are_as_many_workers_as_scans(wanted: dict[str, int], ceiling: int) -> None:
    out, asking = shares(wanted, ceiling), [scan for scan, count in wanted.items() if count]
    assert [scan for scan in asking if out[scan]] == asking[:ceiling]
