"""Which of several warnings is shown, when one is over, and what is only a shortage of workers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operator.api_objects import NAMES, Resource, event, find, pod, running, stamp, unplaced, waiting
from tests.unit.operator.world import NAME

from skymap_api.resource.status import Reason
from skymap_operator.observe.state import LONGEST_MESSAGE

NODES = "0/3 nodes are available: "
MOUNT = 'MountVolume.SetUp failed for volume "pv1" : mount failed: exit status 32 mount.nfs: Connection timed out'


def test_late_mount_failure_is_shown_instead_of_the_early_unbound_claim() -> None:
    """A scan whose NFS server is away: the claim was unbound for a second, and the mount fails ever since."""
    saver = f"{NAME}-saver-x"
    events = (
        event("Pod", saver, "FailedScheduling", NODES + "pod has unbound immediate PersistentVolumeClaims.", at=0),
        event("PersistentVolumeClaim", NAMES.claim, "FailedBinding", "no volume yet", at=0),
        event("Pod", saver, "FailedMount", MOUNT, at=125),
    )
    found, _ = find(*events, pods=(pod("saver", **waiting("ContainerCreating")),))
    assert found is not None
    assert found.reason is Reason.VOLUME_NOT_MOUNTED
    assert "FailedMount: MountVolume.SetUp failed" in found.message


def test_generic_time_out_does_not_hide_the_cause() -> None:
    saver = f"{NAME}-saver-x"
    events = (
        event("Pod", saver, "FailedMount", 'MountVolume.SetUp failed for volume "x" : secret "live" not found', at=50),
        event(
            "Pod", saver, "FailedMount", "Unable to attach or mount volumes: unmounted volumes=[x]: timed out", at=90
        ),
    )
    found, _ = find(*events, pods=(pod("saver", **waiting("ContainerCreating")),))
    assert found is not None
    assert found.reason is Reason.SECRET_NOT_FOUND


def test_unbound_claim_is_over_for_the_scheduler_when_the_claim_is_bound() -> None:
    saver = pod("saver", **unplaced(NODES + "pod has unbound immediate PersistentVolumeClaims."))
    assert find(pods=(saver,), claim="Bound")[0] is None
    found, _ = find(pods=(saver,), claim="Pending")
    assert found is not None
    assert found.reason is Reason.CLAIM_UNBOUND


def test_young_pod_is_no_obstacle_yet() -> None:
    warning = event("Pod", f"{NAME}-saver-x", "FailedMount", "failed to sync configmap cache: timed out", at=295)
    for created, reported in ((295, False), (290, True)):
        found, _ = find(warning, pods=(pod("saver", created, **waiting("ContainerCreating")),))
        assert (found is not None) is reported


def terminating(role: str, ends: float, **status: Any) -> Resource:
    found = pod(role, **running() | status)
    found["metadata"]["deletionTimestamp"] = stamp(ends)
    return found


@pytest.mark.parametrize(
    ("pods", "reported"),
    [
        ((terminating("saver", ends=240),), True),
        ((terminating("saver", ends=241),), False),
        ((terminating("saver", ends=100, phase="Failed"),), False),
        ((terminating("saver", ends=100), pod("saver", created=200, name="next", **running(210))), False),
        ((terminating("worker", ends=100),), False),
    ],
)
def test_job_pod_that_never_ends_is_an_obstacle(pods: tuple[Resource, ...], *, reported: bool) -> None:
    """Now is 300 s. A Job whose pod is on a lost node makes no other one."""
    found, _ = find(pods=pods)
    assert (found is not None) is reported
    if found is not None:
        assert found.reason is Reason.NODE_NOT_READY
        assert f"{NAME}-saver-x should have ended at 00:04:00 UTC" in found.message
        assert "restore the node, or delete it" in found.message


NO_ROOM = NODES + "3 Insufficient cpu."


def test_missing_worker_is_no_obstacle_while_others_work() -> None:
    others = (pod("worker", name="w-1", **running()), pod("worker", name="w-2", **unplaced(NO_ROOM)))
    obstacle, shortage = find(pods=others, replicas=2)
    assert obstacle is None
    assert shortage is not None
    assert (shortage.reason, shortage.message.partition(" - ")[0]) == (Reason.UNSCHEDULABLE, f"w-2: {NO_ROOM}")
    obstacle, shortage = find(pods=others[1:], replicas=2)
    assert obstacle is not None
    assert (obstacle.reason, shortage) == (Reason.UNSCHEDULABLE, None)


def test_quota_that_admits_some_workers_is_no_obstacle() -> None:
    message = 'pods "w" is forbidden: exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5'
    failing = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    obstacle, shortage = find(pods=(pod("worker", **running()),), conditions=(failing,), replicas=2)
    assert obstacle is None
    assert shortage is not None
    assert shortage.reason is Reason.QUOTA_EXCEEDED


def test_evicted_worker_is_told_while_one_is_missing() -> None:
    evicted = pod("worker", created=60, name="w-2", phase="Failed", reason="Evicted", message="DiskPressure")
    works = pod("worker", name="w-1", **running())
    assert find(pods=(works, evicted), replicas=1) == (None, None)
    obstacle, shortage = find(pods=(works, evicted), replicas=2)
    assert obstacle is None
    assert shortage is not None
    assert shortage.reason is Reason.POD_EVICTED


def test_crashing_worker_stays_an_obstacle_while_others_work() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": stamp(20)}}
    crashing = waiting("CrashLoopBackOff", "back-off 20s", lastState=ended) | {"phase": "Running"}
    pods = (pod("worker", name="w-1", **running()), pod("worker", name="w-2", **crashing))
    warning = event("Pod", "w-2", "BackOff", "Back-off restarting failed container worker in pod w-2", at=60)
    obstacle, shortage = find(warning, pods=pods, replicas=2)
    assert obstacle is not None
    assert (obstacle.reason, shortage) == (Reason.WORKERS_CRASHING, None)


@given(st.text(max_size=200), st.text(max_size=5000))
def test_any_warning_about_a_missing_pod_is_a_bounded_printable_obstacle(reason: str, message: str) -> None:
    if reason in {"Unhealthy", "BackOff", "PolicyViolation", "DNSConfigForming"}:
        return
    found, _ = find(event("Job", NAMES.job("saver"), reason, message))
    assert found is not None
    assert found.message.isprintable()
    assert len(found.message) < LONGEST_MESSAGE + 600


WARNINGS = st.lists(
    st.tuples(
        st.sampled_from(["FailedScheduling", "FailedMount", "FailedCreatePodSandBox", "Failed", "SomethingElse"]),
        st.integers(11, 250),
    ),
    max_size=8,
)


@given(WARNINGS, st.integers(0, 250))
def test_obstacle_of_a_pod_is_never_one_that_is_over(warnings: list[tuple[str, int]], init_started: int) -> None:
    """A container has started once, and the pod has a node: only later warnings count, and none of the scheduler."""
    state = waiting("PodInitializing")
    ended = {"terminated": {"exitCode": 0, "startedAt": stamp(init_started)}}
    pods = (pod("producer", **state | {"initContainerStatuses": [{"state": ended, "restartCount": 0}]}),)
    events = [event("Pod", f"{NAME}-producer-x", reason, f"at {at}", at) for reason, at in warnings]
    true = [at for reason, at in warnings if reason != "FailedScheduling" and at > init_started]
    found, _ = find(*events, pods=pods)
    assert (found is not None) == bool(true)
    if found is not None:
        assert f": at {max(true)}" in found.message
