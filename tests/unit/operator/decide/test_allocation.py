"""How the workers of the cluster are divided among scans."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.decisions import URL
from tests.unit.operator.world import SETTINGS, START, resource

from skymap_operator.decide.allocation import Desired, allocate
from skymap_operator.observe.state import ObservedScan

UNTIMED = settings(deadline=None)
SCANS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 100))


def desired(workers: dict[str, int], realtime: Collection[str] = ()) -> dict[str, Desired]:
    """Scans with the workers that they desire, the oldest first."""
    return {
        scan: Desired(count, scan in realtime, START + timedelta(seconds=age))
        for age, (scan, count) in enumerate(workers.items())
    }


@pytest.mark.parametrize(
    ("workers", "limit", "realtime", "allocated"),
    [
        ({}, 10, "", {}),
        ({"a": 3, "b": 4}, 10, "", {"a": 3, "b": 4}),
        ({"a": 30, "b": 2, "c": 30}, 12, "", {"a": 5, "b": 2, "c": 5}),
        # The remainder goes to the oldest.
        ({"b": 30, "a": 30}, 11, "", {"b": 6, "a": 5}),
        ({"c": 9, "a": 1, "b": 9}, 6, "", {"c": 3, "a": 1, "b": 2}),
        # More scans than workers: the oldest have one each.
        ({"c": 9, "a": 9, "b": 9}, 2, "", {"c": 1, "a": 1, "b": 0}),
        ({"c": 0, "a": 9, "b": 9}, 1, "", {"c": 0, "a": 1, "b": 0}),
        ({"a": 30, "b": 30}, 11, "b", {"a": 0, "b": 11}),
        ({"a": 30, "b": 8}, 11, "b", {"a": 3, "b": 8}),
    ],
)
def test_workers_are_divided_evenly_after_realtime_scans(
    workers: dict[str, int], limit: int, realtime: str, allocated: dict[str, int]
) -> None:
    assert allocate(desired(workers, realtime), limit) == allocated


def test_scans_of_one_second_are_ordered_by_name() -> None:
    scans = {name: Desired(9, realtime=False, created=START) for name in "ba"}
    assert allocate(scans, 1) == {"a": 1, "b": 0}


@UNTIMED
@given(SCANS, st.integers(0, 200), st.frozensets(st.sampled_from("abcdefgh")))
def test_allocations_use_exactly_the_available_workers(
    workers: dict[str, int], limit: int, realtime: frozenset[str]
) -> None:
    out = allocate(desired(workers, realtime), limit)
    assert sum(out.values()) == min(limit, sum(workers.values()))
    assert all(0 <= out[scan] <= workers[scan] for scan in workers)
    short = [scan for scan in workers if out[scan] < workers[scan]]
    if any(scan in realtime for scan in short):
        assert not any(out[scan] for scan in workers if scan not in realtime)
    for one in short:  # an equal has at most as many, or one more if it is older
        for other in workers:
            if (one in realtime) == (other in realtime):
                older = list(workers).index(other) < list(workers).index(one)
                assert out[other] <= out[one] + older


@UNTIMED
@given(SCANS, st.integers(0, 200))
def test_oldest_scans_have_a_worker_each(workers: dict[str, int], limit: int) -> None:
    out, asking = allocate(desired(workers), limit), [scan for scan, count in workers.items() if count]
    assert [scan for scan in asking if out[scan]] == asking[:limit]


@pytest.mark.parametrize(("namespaces", "realtime"), [(("*",), True), (("prompt",), False)])
def test_scan_is_realtime_only_where_its_namespace_may(namespaces: tuple[str, ...], *, realtime: bool) -> None:
    """Otherwise a running scan would take workers by a priority that it may not have."""
    scan = ObservedScan.of(resource(URL | {"priority": "Realtime"}))
    given = SETTINGS.model_copy(update={"realtime_namespaces": namespaces})
    assert Desired.of(scan, 3, given).realtime is realtime
