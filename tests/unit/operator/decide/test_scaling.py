from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skymap_operator.decide.scaling import Cause, Demand, Direction, Scale, learned_seconds, scale

SCALING = Path(__file__).parents[4] / "docs/explanation/scaling.md"

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
    target=1125.0,  # the work is planned for 900 s of it
)

UNREADABLE = Scale(17, Cause.UNREADABLE, "the queue cannot be read, so the number stays")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, Scale(0, Cause.IDLE, "no tasks yet")),
        ({"current": 5}, Scale(3, Cause.STEP, "no tasks yet; at least 3 in one step")),
        ({"current": 1}, Scale(1, Cause.IDLE, "no tasks yet")),
        ({"minimum": 2}, Scale(2, Cause.MINIMUM, "no tasks yet; at least 2")),
        ({"current": 5, "producer_done": True}, Scale(0, Cause.DONE, "no tasks left")),
        ({"current": 5, "producer_done": True, "minimum": 2}, Scale(2, Cause.MINIMUM, "no tasks left; at least 2")),
        ({"waiting": 1}, Scale(1, Cause.WORK, "1 tasks waiting, 0 in flight, 1 s each: 1 workers for 780 s")),
        ({"waiting": 3900}, Scale(5, Cause.WORK, "3900 tasks waiting, 0 in flight, 1 s each: 5 workers for 780 s")),
        # A task in flight counts half.
        (
            {"waiting": 3900, "in_flight": 4, "busy": 4, "current": 4},
            Scale(6, Cause.WORK, "3900 tasks waiting, 4 in flight, 1 s each: 6 workers for 780 s"),
        ),
        # A third fewer would be enough, which is not worth a change.
        (
            {"waiting": 3900, "current": 7},
            Scale(
                7,
                Cause.ENOUGH,
                "3900 tasks waiting, 0 in flight, 1 s each: 5 workers for 780 s; 7 exist, which is close enough",
            ),
        ),
        (
            {"waiting": 3900, "current": 8},
            Scale(5, Cause.WORK, "3900 tasks waiting, 0 in flight, 1 s each: 5 workers for 780 s"),
        ),
        (
            {"waiting": 39000, "current": 10},
            Scale(
                20,
                Cause.STEP,
                "39000 tasks waiting, 0 in flight, 1 s each: 50 workers for 780 s; at most 20 in one step",
            ),
        ),
        # The first step is limited.
        (
            {"waiting": 39000},
            Scale(
                8, Cause.STEP, "39000 tasks waiting, 0 in flight, 1 s each: 50 workers for 780 s; at most 8 in one step"
            ),
        ),
        # Pending workers are no reason to add more.
        (
            {"waiting": 39000, "current": 20, "pending": 15},
            Scale(
                20, Cause.PENDING, "39000 tasks waiting, 0 in flight, 1 s each: 50 workers for 780 s; 15 do not run yet"
            ),
        ),
        (
            {"waiting": 390000, "current": 90},
            Scale(
                100,
                Cause.MAXIMUM,
                "390000 tasks waiting, 0 in flight, 1 s each: "
                "500 workers for 780 s; at most 180 in one step; at most 100",
            ),
        ),
        (
            {"waiting": 390000, "current": 90, "allocation": 30},
            Scale(
                30,
                Cause.ALLOCATION,
                "390000 tasks waiting, 0 in flight, 1 s each: "
                "500 workers for 780 s; at most 180 in one step; at most 30 "
                "beside other scans",
            ),
        ),
        # A late scan gets a worker for each task.
        (
            {"waiting": 7, "elapsed": 2000.0},
            Scale(7, Cause.WORK, "7 tasks waiting, 0 in flight, 1 s each: 7 workers since the scan is late"),
        ),
        # At the last fits idle workers end and busy ones stay.
        (
            {"in_flight": 7, "busy": 7, "current": 10, "producer_done": True},
            Scale(
                7, Cause.BUSY, "0 tasks waiting, 7 in flight, 1 s each: 1 workers for 780 s; all 7 busy workers stay"
            ),
        ),
        # Planned tasks count, so that the first level leaves time for later ones,
        (
            {"waiting": 3900, "planned": 7800},
            Scale(
                8,
                Cause.STEP,
                "3900 tasks waiting, 0 in flight, 7800 planned, 1 s each: 15 workers for 780 s; at most 8 in one step",
            ),
        ),
        # but no worker is added for them before they are in the queue,
        (
            {"waiting": 3, "planned": 7800},
            Scale(3, Cause.WORK, "3 tasks waiting, 0 in flight, 7800 planned, 1 s each: 3 workers for 780 s"),
        ),
        ({"planned": 7800}, Scale(0, Cause.IDLE, "no tasks yet")),
        # and existing workers wait for them, as far as the work needs them.
        (
            {"in_flight": 1, "busy": 1, "current": 10, "planned": 7800},
            Scale(10, Cause.WORK, "0 tasks waiting, 1 in flight, 7800 planned, 1 s each: 10 workers for 780 s"),
        ),
        (
            {"current": 10, "planned": 7800},
            Scale(10, Cause.WORK, "0 tasks waiting, 0 in flight, 7800 planned, 1 s each: 10 workers for 780 s"),
        ),
        (
            {"current": 10, "planned": 780},
            Scale(
                5,
                Cause.STEP,
                "0 tasks waiting, 0 in flight, 780 planned, 1 s each: 1 workers for 780 s; at least 5 in one step",
            ),
        ),
        # Limits that people set hold for busy workers too, in one step.
        (
            {"waiting": 39000, "in_flight": 30, "busy": 30, "current": 30, "maximum": 10},
            Scale(10, Cause.MAXIMUM, "39000 tasks waiting, 30 in flight, 1 s each: 51 workers for 780 s; at most 10"),
        ),
        (
            {"waiting": 3900, "in_flight": 5, "busy": 5, "current": 5, "allocation": 0},
            Scale(
                0,
                Cause.ALLOCATION,
                "3900 tasks waiting, 5 in flight, 1 s each: 6 workers for 780 s; at most 0 beside other scans",
            ),
        ),
        # An allocation that is not below workers.max is not the cause.
        (
            {"waiting": 390000, "current": 90, "allocation": 100},
            Scale(
                100,
                Cause.MAXIMUM,
                "390000 tasks waiting, 0 in flight, 1 s each: "
                "500 workers for 780 s; at most 180 in one step; at most 100",
            ),
        ),
        (
            {"waiting": None, "current": 17},
            UNREADABLE,
        ),
        (
            {"in_flight": None, "current": 17},
            UNREADABLE,
        ),
        (
            {"waiting": None, "current": 17, "maximum": 5},
            UNREADABLE,
        ),
    ],
)
def test_demand_gives_a_worker_count_with_a_reason(changes: dict[str, Any], wanted: Scale) -> None:
    assert scale(replace(USUAL, **changes)) == wanted


COUNT = st.integers(0, 20) | st.integers(0, 5000)
DEMANDS = (
    st.builds(
        Demand,
        waiting=COUNT,
        in_flight=COUNT,
        planned=st.just(0) | COUNT,
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
        allocation=st.none() | st.integers(0, 300),
        first=st.integers(1, 20),
    )
    .map(lambda demand: replace(demand, busy=min(demand.busy, demand.current)))
    .map(lambda demand: replace(demand, pending=min(demand.pending, demand.current - demand.busy)))
)

#: A busy machine must not fail a test by its time.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ceiling(demand: Demand) -> int:
    return demand.maximum if demand.allocation is None else min(demand.maximum, demand.allocation)


@UNTIMED
@given(DEMANDS)
def test_limits_hold_for_any_demand(demand: Demand) -> None:
    decided = scale(demand)
    assert 0 <= decided.replicas <= ceiling(demand)
    assert decided.replicas >= min(demand.minimum, ceiling(demand))
    assert decided.reason


@UNTIMED
@given(DEMANDS)
def test_less_work_ends_no_busy_worker(demand: Demand) -> None:
    assert scale(demand).replicas >= min(demand.busy, ceiling(demand))


@UNTIMED
@given(DEMANDS)
def test_one_step_at_most_doubles_or_halves(demand: Demand) -> None:
    decided, running = scale(demand).replicas, demand.current - demand.pending
    assert decided <= max(2 * running, demand.current, demand.minimum, 1 if demand.current else demand.first)
    if not demand.done:
        assert decided >= min(math.ceil(demand.current / 2), ceiling(demand))


@UNTIMED
@given(DEMANDS)
def test_last_worker_stays_until_the_work_is_done(demand: Demand) -> None:
    decided, tasks = scale(demand).replicas, (demand.waiting or 0) + (demand.in_flight or 0)
    if demand.done:
        assert decided == min(max(demand.minimum, demand.busy), ceiling(demand))
    elif ceiling(demand) and (demand.current or tasks):
        assert decided >= 1


@UNTIMED
@given(DEMANDS)
def test_no_worker_is_added_without_a_task(demand: Demand) -> None:
    decided, tasks = scale(demand).replicas, (demand.waiting or 0) + (demand.in_flight or 0)
    if decided > demand.current:
        assert decided <= max(tasks, demand.minimum)


@UNTIMED
@given(DEMANDS)
def test_unreadable_queue_holds_the_worker_count(demand: Demand) -> None:
    for unknown in (replace(demand, waiting=None), replace(demand, in_flight=None)):
        assert scale(unknown) == Scale(
            demand.current, Cause.UNREADABLE, "the queue cannot be read, so the number stays"
        )


@UNTIMED
@given(DEMANDS)
def test_cause_matches_the_worker_count(demand: Demand) -> None:
    decided = scale(demand)
    exact = {Cause.MINIMUM: demand.minimum, Cause.MAXIMUM: demand.maximum, Cause.ALLOCATION: demand.allocation}
    exact |= {Cause.BUSY: demand.busy, Cause.PENDING: demand.current}
    if decided.cause in exact:
        assert decided.replicas == exact[decided.cause]
    assert (decided.cause is Cause.PENDING) <= (demand.pending > 0)


def test_direction_matches_the_change() -> None:
    decided = Scale(3, Cause.WORK, "")
    assert [decided.direction(current) for current in (2, 3, 4)] == [Direction.UP, Direction.HOLD, Direction.DOWN]


@UNTIMED
@given(DEMANDS)
def test_worker_count_settles_while_the_queue_stays(demand: Demand) -> None:
    """While the queue stays the same, so does the number of workers after a few steps."""
    demand = replace(demand, pending=0)
    for _ in range(12):
        demand = replace(demand, current=scale(demand).replicas)
    assert scale(demand).replicas == demand.current


@UNTIMED
@given(DEMANDS, st.integers(1, 1000))
def test_more_tasks_never_mean_fewer_workers(demand: Demand, more: int) -> None:
    assert demand.waiting is not None
    assert scale(replace(demand, waiting=demand.waiting + more)).replicas >= scale(demand).replicas
    assert scale(replace(demand, planned=demand.planned + more)).replicas >= scale(demand).replicas


def test_mean_fit_time_is_learned_from_enough_fits() -> None:
    assert learned_seconds(100, 250.0) == 2.5
    assert learned_seconds(10, 0.0123456) == 0.0012
    assert learned_seconds(9, 9000.0) is None, "nine fits are too few"
    assert learned_seconds(100, 0.0) is None


def test_scaling_page_explains_every_cause() -> None:
    assert {cause for cause in Cause if f"`{cause.value}`" not in SCALING.read_text()} == set()
