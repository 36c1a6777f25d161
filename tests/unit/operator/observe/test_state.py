"""What is read of SkymapScans and pods."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.unit.operator.world import resource

from skymap_operator.decide.diagnose import termination_message
from skymap_operator.observe.state import (
    LONGEST_MESSAGE,
    LONGEST_REASON,
    ObservedScan,
    Pod,
    Termination,
    topics_end,
)

URL = {"event": {"url": "https://example.org/event.json"}}


def test_restarted_pod_is_read_with_its_last_termination() -> None:
    pod = Pod.of(
        {
            "metadata": {
                "name": "alert-workers-1",
                "labels": {"app.kubernetes.io/component": "worker"},
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": "100"},
                "deletionTimestamp": "2026-01-01T00:10:00Z",
                "deletionGracePeriodSeconds": 630,
            },
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.7",
                "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
                "containerStatuses": [
                    {
                        "restartCount": 3,
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
                        "lastState": {
                            "terminated": {
                                "exitCode": 137,
                                "reason": "OOMKilled",
                                "startedAt": "2026-01-01T00:05:00Z",
                            }
                        },
                    }
                ],
            },
        }
    )
    assert pod == Pod(
        name="alert-workers-1",
        role="worker",
        phase="Running",
        placed=True,
        started=datetime(2026, 1, 1, 0, 5, tzinfo=UTC),
        last_started=datetime(2026, 1, 1, 0, 5, tzinfo=UTC),
        ip="10.0.0.7",
        waiting=("CrashLoopBackOff", "back-off 20s"),
        termination=Termination(137, "OOMKilled"),
        restarts=3,
        terminating=True,
        ends=datetime(2026, 1, 1, 0, 10, tzinfo=UTC),
        deletion_cost=100,
    )
    assert termination_message(pod) == "it exceeded its memory limit; raise the limit"


def test_unschedulable_pod_has_the_schedulers_message() -> None:
    why = "0/3 nodes are available: 3 Insufficient cpu."
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    pod = Pod.of({"metadata": {"name": "a"}, "status": {"phase": "Pending", "conditions": [unplaced]}})
    assert pod == Pod(name="a", role="", unschedulable=why)


def test_pod_ended_by_its_node_has_the_reason_and_message() -> None:
    status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on\nresource: memory. "}
    pod = Pod.of({"metadata": {"name": "a"}, "status": status})
    assert pod.failure == ("Evicted", "The node was low on resource: memory.")
    assert termination_message(pod) == "Evicted: The node was low on resource: memory."
    assert Pod.of({"metadata": {"name": "a"}, "status": {"phase": "Failed"}}).failure is None


@pytest.mark.parametrize("place", ["condition", "container", "pod"])
def test_messages_of_pods_are_bounded_and_printable(place: str) -> None:
    words = {"reason": "R" * 500, "message": "no\x1b[2J room\n" + "x" * 100_000}
    status: dict[str, object] = {"phase": "Failed"} | (words if place == "pod" else {})
    if place == "condition":
        status["conditions"] = [{"type": "PodScheduled", "status": "False"} | words]
    if place == "container":
        status["containerStatuses"] = [{"state": {"waiting": words}}]
    pod = Pod.of({"metadata": {"name": "a"}, "status": status})
    found = {"condition": ("", pod.unschedulable), "container": pod.waiting, "pod": pod.failure}[place]
    assert found is not None
    reason, message = found
    assert message is not None
    assert message.startswith(r"no\x1b[2J room xxx")
    assert (len(message), message[-1]) == (LONGEST_MESSAGE, "…")
    assert len(reason) <= LONGEST_REASON


def test_failed_init_container_is_the_termination() -> None:
    first = {"state": {"terminated": {"exitCode": 1, "message": "Error: no"}}}
    pod = Pod.of(
        {
            "metadata": {"name": "a"},
            "status": {
                "phase": "Failed",
                "initContainerStatuses": [first],
                "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}],
            },
        }
    )
    assert pod.termination == Termination(1, "", "Error: no")
    assert pod.finished


@pytest.mark.parametrize(("annotation", "cost"), [("100", 100), ("-5", -5), ("many", 0), ("1.5", 0), ("", 0)])
def test_invalid_deletion_cost_counts_as_zero(annotation: str, cost: int) -> None:
    annotations = {"controller.kubernetes.io/pod-deletion-cost": annotation}
    assert Pod.of({"metadata": {"name": "a", "annotations": annotations}}).deletion_cost == cost


def test_invalid_status_counts_as_empty() -> None:
    assert ObservedScan.of(resource(URL) | {"status": {"phase": "Elsewhere"}}).status.phase is None


def test_invalid_spec_is_kept_as_a_reason() -> None:
    scan = ObservedScan.of(resource({"event": {}}))
    assert scan.spec is None
    assert "give exactly one of url" in scan.spec_error


def test_other_plans_are_read_only_before_topics_are_deleted() -> None:
    assert not topics_end(ObservedScan.of(resource(URL)))
    assert topics_end(ObservedScan.of(resource(URL, deletionTimestamp="2026-01-01T00:00:00Z")))
    never = URL | {"cleanupPolicy": {"topics": "Never"}}
    assert not topics_end(ObservedScan.of(resource(never, deletionTimestamp="2026-01-01T00:00:00Z")))
