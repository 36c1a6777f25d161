"""Statuses that another version of the operator has written, for example before a rollback."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operator.decisions import URL, check_succeeded, reconcile, scan_of, settle
from tests.unit.operator.world import SETTINGS, World, resource, wire

from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.actions import SetStatus
from skymap_operator.decide.plan import decide
from skymap_operator.observe.status import read_status

TIME = "2026-01-01T00:00:00Z"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def succeeded(**fields: Any) -> dict[str, Any]:
    return {"type": "Succeeded", "status": "True", "reason": "Completed", "lastTransitionTime": TIME, **fields}


FULL: dict[str, Any] = {
    "phase": "Succeeded",
    "conditions": [succeeded(), succeeded(type="Degraded", status="False", reason="AsExpected")],
    "completionTime": TIME,
    "outputs": {"claim": "alert-results", "path": "alert", "files": ["a.json"]},
    "runsWith": {
        "image": "a:1",
        "operator": "0.1.0",
        "serviceUrl": "pulsar://a",
        "adminUrl": "http://a",
        "tenant": "b",
    },
}


def finished(*, bad_event: bool = False) -> World:
    """A scan that ended with a reason, a phase and a condition that this version does not know."""
    world = World(resource(URL), bad_event=bad_event)
    settle(world)
    status = world.scan["status"]
    for condition in status["conditions"]:
        condition["reason"] = f"New{condition['reason']}"
    status["phase"] = "Archived"
    status["conditions"].append(succeeded(type="Archived", status="Unknown"))
    return world


def test_scan_that_a_later_version_finished_does_not_run_again() -> None:
    world = finished()
    before = scan_of(world).status
    sent, objects = world.work.sent, set(world.objects)
    assert not [one for one in decide(world.observe(), SETTINGS).actions if not isinstance(one, SetStatus)]
    settle(world)
    check_succeeded(world)
    after = scan_of(world).status
    assert (after.outputs, after.completion_time, after.runs_with) == (
        before.outputs, before.completion_time, before.runs_with,
    )  # fmt: skip
    assert (world.work.sent, set(world.objects)) == (sent, objects)


def test_failure_of_a_later_version_stays_with_its_words() -> None:
    world = finished(bad_event=True)
    for _ in range(3):
        reconcile(world)
        world.step()
    scan = scan_of(world)
    found = scan.status.condition(ConditionType.SUCCEEDED)
    assert scan.status.phase is Phase.FAILED
    assert found is not None
    assert (found.status, found.reason) == ("False", Reason.ROLE_FAILED)
    assert found.message.startswith("NewEventUnusable: producer failed: Error: event.json: holds no physics")


@pytest.mark.parametrize(
    "condition",
    [
        succeeded(status="Unknown", reason="Other"),
        succeeded(reason="Other", lastTransitionTime="soon"),
        succeeded(type="Degraded", reason="Other"),
        succeeded(status=["True"]),
        {},
        "Succeeded",
        None,
    ],
)
def test_condition_that_says_no_outcome_is_left_out(condition: Any) -> None:
    assert read_status({"conditions": [condition], "phase": "Failed"}).conditions == ()


@pytest.mark.parametrize("found", [None, {}, [], "Succeeded", {"conditions": "none"}, {"conditions": None}])
def test_status_without_anything_to_read_is_empty(found: Any) -> None:
    assert read_status(found) == SkymapScanStatus()


@given(st.sampled_from([*FULL, "workers", "level"]), JSON)
def test_one_unreadable_field_changes_no_other(name: str, value: Any) -> None:
    whole, found = read_status(FULL), wire(read_status(FULL | {name: value}))
    assert {key: one for key, one in found.items() if key != name} == {
        key: one for key, one in wire(whole).items() if key != name
    }
    if name != "conditions":
        condition = read_status(found).condition(ConditionType.SUCCEEDED)
        assert condition is not None
        assert condition.status == "True"
