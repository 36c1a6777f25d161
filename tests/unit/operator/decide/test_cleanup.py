"""Plans of scans whose topics are about to be deleted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator.world import NAMESPACE, SETTINGS, resource

from skymap_api.names import Names
from skymap_operator.decide.cleanup import ending_plan
from skymap_operator.observe.state import ObservedScan

DELETED = {"deletionTimestamp": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("spec", "metadata", "ends"),
    [
        ({}, {}, False),
        ({}, DELETED, True),
        ({"cleanupPolicy": {"topics": "Never"}}, DELETED, False),
    ],
)
def test_ending_plan_depends_on_the_cleanup_policy(spec: Any, metadata: Any, ends: bool) -> None:
    scan = ObservedScan.of(resource({"event": {"simulate": {}}} | spec, name="first", uid="first", **metadata))
    plan = Names.of(NAMESPACE, "first").topics("icecube").plan
    assert ending_plan(scan, SETTINGS) == (plan if ends else None)
