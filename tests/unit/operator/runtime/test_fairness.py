"""Who is reconciled next: whatever scans with a Pulsar of their own do, the others keep their places."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from skymap_operator.runtime.fairness import (
    LONGEST,
    LONGEST_NAMED,
    NAMED_PER_SECOND,
    REQUEUES_PER_SECOND,
    RESERVED_PER_SECOND,
    Lane,
    Places,
    longest_reconcile,
    next_lane,
    requeues_per_second,
)

PLACES = Places()
LANES = st.builds(Lane, st.sampled_from("abcdefgh"), st.one_of(st.none(), st.sampled_from(["x:1", "y:1", "z:1"])))
WAITING = st.dictionaries(LANES, st.floats(-100, 100), max_size=12)


def count(running: Counter[Lane], **wanted: object) -> int:
    return sum(
        number for lane, number in running.items() if all(getattr(lane, name) == one for name, one in wanted.items())
    )


def fill(waiting: dict[Lane, float], running: Counter[Lane], places: Places = PLACES) -> list[Lane]:
    """Start reconciles of lanes in which scans wait without end, until none may start."""
    started = []
    while (lane := next_lane(waiting, running, places)) is not None:
        running[lane] += 1
        started.append(lane)
    return started


@given(WAITING, st.integers(1, 20), st.integers(0, 20), st.integers(1, 20))
def test_places_are_never_exceeded_and_never_left_empty(
    waiting: dict[Lane, float], total: int, named: int, same: int
) -> None:
    places = Places(total, named, same)
    running = Counter[Lane]()
    fill(waiting, running, places)
    assert running.total() <= total
    assert count(running, named=True) <= named
    assert all(count(running, endpoint=one) <= same for one in ("x:1", "y:1", "z:1"))
    if any(not lane.named for lane in waiting):
        assert running.total() == total, "a scan of the operator's Pulsar may take every place"


@given(WAITING, st.lists(LANES, max_size=30))
def test_scans_of_the_operators_pulsar_keep_their_places(waiting: dict[Lane, float], before: list[Lane]) -> None:
    running = Counter[Lane]()
    for lane in before:  # any history of starts
        if (started := next_lane({lane: 0.0}, running, PLACES)) is not None:
            running[started] += 1
    if count(running, endpoint=None) < PLACES.total - PLACES.named and any(not lane.named for lane in waiting):
        assert next_lane(waiting, running, PLACES) is not None


@given(WAITING, st.lists(st.integers(0, 11), max_size=200))
def test_namespaces_take_turns_and_none_starves(waiting: dict[Lane, float], ends: list[int]) -> None:
    """Scans wait in every lane without end, and reconciles end in any order."""
    own = {lane: time for lane, time in waiting.items() if not lane.named}
    running = Counter[Lane]()
    fill(own, running)
    for end in ends:
        lanes = sorted(running.elements(), key=lambda lane: lane.namespace)
        if lanes:
            running -= Counter([lanes[end % len(lanes)]])
        fill(own, running)
        shares = [running[lane] for lane in own]
        # One that ended last may have left its namespace one place behind, and no more.
        assert not shares or max(shares) - min(shares) <= 1 + max(shares) // max(len(shares), 1)


@given(st.dictionaries(st.sampled_from("abc"), st.floats(-100, 100), min_size=1))
def test_earliest_scan_of_equal_namespaces_goes_first(times: dict[str, float]) -> None:
    waiting = {Lane(name): time for name, time in times.items()}
    found = next_lane(waiting, Counter(), PLACES)
    assert found is not None
    assert waiting[found] == min(times.values())


def test_slow_pulsar_leaves_places_to_others() -> None:
    running = Counter({Lane("a", "slow:1"): 1, Lane("b", "slow:1"): 1})
    waiting = {Lane("a", "slow:1"): 0.0, Lane("a", "fine:1"): 1.0}
    assert next_lane(waiting, running, PLACES) == Lane("a", "fine:1")


def test_own_and_named_pulsars_of_a_namespace_take_separate_turns() -> None:
    running = Counter({Lane("a", "x:1"): 2, Lane("a", "y:1"): 2, Lane("b"): 1})
    assert next_lane({Lane("a"): 5.0, Lane("b"): 0.0}, running, PLACES) == Lane("a")


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000)))
def test_requeues_of_a_small_namespace_find_room(booked: dict[str, int]) -> None:
    assert requeues_per_second(Lane("a", "x:1"), booked) == NAMED_PER_SECOND
    for name in "abcd":
        found = requeues_per_second(Lane(name), booked)
        reserved = len(booked) > 1 and booked.get(name, 0) <= sum(booked.values()) / len(booked)
        assert found == REQUEUES_PER_SECOND + (RESERVED_PER_SECOND if reserved else 0)
    assert requeues_per_second(Lane("new"), {"large": 1000, "new": 0}) > requeues_per_second(
        Lane("large"), {"large": 1000, "new": 0}
    )


def test_reconcile_with_a_named_pulsar_ends_early() -> None:
    assert (longest_reconcile(Lane("a")), longest_reconcile(Lane("a", "x:1"))) == (LONGEST, LONGEST_NAMED)
