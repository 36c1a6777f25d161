"""State shared by reconciles: allocations, plans of ending scans, refused actions."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator.world import NAMESPACE, SETTINGS, resource

from skymap_api.names import Names, NamespacedName
from skymap_operator.observe.state import ObservedScan, ObservedWarning
from skymap_operator.runtime.shared_state import Allocations, EndingPlans, RefusedActions, ending_plan

FIRST, SECOND = NamespacedName(NAMESPACE, "first"), NamespacedName(NAMESPACE, "second")
DELETED = {"deletionTimestamp": "2026-01-02T00:00:00Z"}


def scan(name: str, spec: dict[str, Any] | None = None, **metadata: Any) -> ObservedScan:
    return ObservedScan.of(resource({"event": {"simulate": {}}} | (spec or {}), name=name, uid=name, **metadata))


def plan_topic(name: str) -> str:
    return Names.of(NAMESPACE, name).topics("icecube").plan


def test_requests_within_the_limit_are_granted() -> None:
    allocations = Allocations(10)
    allocations.request(scan("first"), 4)
    allocations.request(scan("second"), 6)
    assert (allocations.of(FIRST), allocations.of(SECOND)) == (4, 6)


def test_requests_beyond_the_limit_are_divided_evenly() -> None:
    allocations = Allocations(8)
    allocations.request(scan("first"), 6)
    allocations.request(scan("second"), 6)
    assert (allocations.of(FIRST), allocations.of(SECOND)) == (4, 4)
    allocations.request(scan("second"), 2)
    assert (allocations.of(FIRST), allocations.of(SECOND)) == (6, 2)


def test_realtime_scan_is_served_before_an_older_one() -> None:
    allocations = Allocations(8)
    allocations.request(scan("first", creationTimestamp="2026-01-01T00:00:00Z"), 6)
    urgent = scan("second", {"priority": "Realtime"}, creationTimestamp="2026-01-02T00:00:00Z")
    allocations.request(urgent, 6)
    assert (allocations.of(FIRST), allocations.of(SECOND)) == (2, 6)


def test_oldest_scan_gets_the_odd_worker() -> None:
    allocations = Allocations(7)
    allocations.request(scan("first", creationTimestamp="2026-01-02T00:00:00Z"), 6)
    allocations.request(scan("second", creationTimestamp="2026-01-01T00:00:00Z"), 6)
    assert (allocations.of(FIRST), allocations.of(SECOND)) == (3, 4)


def test_forgotten_scan_frees_its_workers() -> None:
    allocations = Allocations(8)
    allocations.request(scan("first"), 6)
    allocations.request(scan("second"), 6)
    allocations.forget(FIRST)
    allocations.forget(FIRST)
    assert allocations.of(SECOND) == 6


@pytest.mark.parametrize(
    ("spec", "metadata", "ends"),
    [
        ({}, {}, False),
        ({}, DELETED, True),
        ({"cleanupPolicy": {"topics": "Never"}}, DELETED, False),
    ],
)
def test_ending_plan_depends_on_the_cleanup_policy(spec: Any, metadata: Any, ends: bool) -> None:
    assert ending_plan(scan("first", spec, **metadata), SETTINGS) == (plan_topic("first") if ends else None)


def test_plan_counts_as_ending_until_its_scan_is_forgotten() -> None:
    plans = EndingPlans(SETTINGS)
    plans.update(scan("first", **DELETED))
    plans.update(scan("second", **DELETED))
    assert set(plans.topics) == {plan_topic("first"), plan_topic("second")}
    plans.update(scan("second"))
    assert set(plans.topics) == {plan_topic("first")}
    plans.forget(FIRST)
    assert set(plans.topics) == set()


def test_refused_action_is_kept_until_it_succeeds() -> None:
    refused, warning = RefusedActions(), ObservedWarning("Job alert-saver", "Refused", "exceeded quota")
    assert refused.of(FIRST) == ()
    refused.set(FIRST, warning)
    assert (refused.of(FIRST), refused.of(SECOND)) == ((warning,), ())
    refused.forget(FIRST)
    assert refused.of(FIRST) == ()
