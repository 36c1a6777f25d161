"""Which warnings of a namespace explain why a scan does not proceed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.operator.fakes import pod
from tests.unit.operator.world import START

from skymap_api.names import PRODUCER, WORKER
from skymap_operator.observe.children import Children, Claim, ConfigMap, Deployment, Job
from skymap_operator.observe.events import MAX_WARNINGS, current_warnings
from skymap_operator.observe.state import LONGEST_MESSAGE, LONGEST_REASON, ObservedWarning, Pod

QUOTA = 'pods "x" is forbidden: exceeded quota: small'


def event(kind: str, name: str, message: str = QUOTA, **more: Any) -> dict[str, Any]:
    about = {"kind": kind, "name": name, "uid": f"uid-{name}"}
    return {"involvedObject": about, "reason": "FailedCreate", "message": message} | more


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def job(spec: dict[str, Any] | None = None, **status: Any) -> Children:
    found = {"metadata": {"name": "j", "uid": "uid-j"}, "spec": spec or {}, "status": status}
    return Children(jobs={PRODUCER: Job(found)})


def claim(phase: str) -> Children:
    return Children(claim=Claim({"metadata": {"name": "c", "uid": "uid-c"}, "status": {"phase": phase}}))


@pytest.mark.parametrize(
    ("children", "counts"),
    [
        (job(), True),
        (job(active=1), False),
        (job(terminating=1), False),
        (job({"suspend": True}), False),
        (job(conditions=[{"type": "Complete", "status": "True"}]), False),
        (job(conditions=[{"type": "Failed", "status": "True"}]), False),
        (job(conditions=[{"type": "Suspended", "status": "False"}]), True),
    ],
)
def test_job_warning_counts_while_the_job_lacks_pods(children: Children, *, counts: bool) -> None:
    found = current_warnings([event("Job", "j")], children, [])
    assert found == ((ObservedWarning("Job j", "FailedCreate", QUOTA),) if counts else ())


def test_job_warning_is_over_when_the_job_has_got_a_pod() -> None:
    events = [event("Job", "j", lastTimestamp=at(60))]
    for made, status, counts in (
        (70, {"phase": "Failed"}, False),
        (60, {"phase": "Failed"}, False),
        (50, {"phase": "Failed"}, True),
        (50, {"phase": "Running"}, False),
    ):
        one = pod("p", **status)
        one["metadata"] |= {"labels": {"app.kubernetes.io/component": PRODUCER}, "creationTimestamp": at(made)}
        assert bool(current_warnings(events, job(), [Pod.of(one)])) is counts, (made, status)


def test_warning_about_another_object_does_not_count() -> None:
    other = event("Job", "j") | {"involvedObject": {"kind": "Job", "name": "j", "uid": "earlier"}}
    assert current_warnings([other, event("Job", "k"), event("Pod", "j")], job(), []) == ()


def test_pod_warning_counts_until_the_pod_starts() -> None:
    pods = [Pod.of(pod("p")), Pod.of(pod("q", phase="Running"))]
    found = current_warnings([event("Pod", "p", "no Secret"), event("Pod", "q", "no Secret")], Children(), pods)
    assert found == (ObservedWarning("Pod p", "FailedCreate", "no Secret"),)


#: Events of a pod in their order.
SCHEDULING, MOUNT, SANDBOX, PULL, CONTAINER, OTHER = (
    ("FailedScheduling", "0/3 nodes are available"),
    ("FailedMount", "MountVolume.SetUp failed"),
    ("FailedCreatePodSandBox", "Failed to create pod sandbox"),
    ("Failed", 'Failed to pull image "x": not found'),
    ("Failed", "Error: container has runAsNonRoot and image will run as root"),
    ("SomethingNew", "what nobody knows"),
)
PLACED = {"type": "PodScheduled", "status": "True"}
CONNECTED = {"type": "PodReadyToStartContainers", "status": "True"}


def state(reason: str, *conditions: dict[str, str], started: float | None = None) -> dict[str, Any]:
    last = {} if started is None else {"lastState": {"terminated": {"exitCode": 1, "startedAt": at(started)}}}
    containers = [{"state": {"waiting": {"reason": reason}}} | last] if reason else []
    return {"conditions": [PLACED, *conditions], "containerStatuses": containers}


@pytest.mark.parametrize(
    ("status", "events", "current"),
    [
        ({}, [SCHEDULING], [SCHEDULING]),
        ({"conditions": [PLACED]}, [SCHEDULING], []),
        (state("ContainerCreating"), [SCHEDULING, MOUNT], [MOUNT]),
        (state("ContainerCreating"), [MOUNT, SANDBOX], [SANDBOX]),
        (state("ContainerCreating"), [SANDBOX, MOUNT], [MOUNT, SANDBOX]),
        (state("ContainerCreating"), [MOUNT, OTHER], [OTHER, MOUNT]),
        (state("ContainerCreating"), [MOUNT, PULL, OTHER], [OTHER, PULL]),
        (state("ContainerCreating", CONNECTED), [MOUNT, SANDBOX], []),
        (state("ContainerCreating", CONNECTED), [MOUNT, PULL], [PULL]),
        (state("ImagePullBackOff"), [MOUNT, SANDBOX, PULL], [PULL]),
        (state("ImagePullBackOff"), [MOUNT, SANDBOX], []),
        (state("CreateContainerConfigError"), [PULL, CONTAINER], [CONTAINER]),
        (state("CreateContainerConfigError"), [PULL], []),
        (state("PodInitializing", started=25), [MOUNT, SANDBOX, PULL], [PULL]),
        (state("PodInitializing", started=20), [MOUNT, SANDBOX], []),
        (state("CrashLoopBackOff", started=40), [MOUNT, SANDBOX, OTHER], []),
        ({"phase": "Running"} | state("ContainerCreating", started=15), [MOUNT, SANDBOX], [SANDBOX]),
        ({"phase": "Running"} | state("", CONNECTED), [MOUNT, OTHER], []),
        ({"phase": "Failed"}, [MOUNT, OTHER], []),
    ],
)
def test_pod_warning_is_over_when_the_pod_is_past_what_it_says(
    status: dict[str, Any], events: list[tuple[str, str]], current: list[tuple[str, str]]
) -> None:
    """The events are ten seconds apart, the first at 10 s."""
    found = [
        event("Pod", "p", message, reason=reason, lastTimestamp=at(10 * number))
        for number, (reason, message) in enumerate(events, 1)
    ]
    warnings = current_warnings(found, Children(), [Pod.of(pod("p", **status))])
    assert [(one.reason, one.message) for one in warnings] == current


def test_warning_of_an_impossible_time_counts() -> None:
    """Whoever may create Events may write any; none must end the reconciliation of a scan."""
    one = pod("p", phase="Failed")
    one["metadata"] |= {"labels": {"app.kubernetes.io/component": PRODUCER}, "creationTimestamp": at(60)}
    assert current_warnings([event("Job", "j", lastTimestamp="0000-12-31T10:00:00Z")], job(), [Pod.of(one)])


@pytest.mark.parametrize("reason", ["Unhealthy", "BackOff", "PolicyViolation", "DNSConfigForming"])
def test_warning_that_holds_nothing_up_does_not_count(reason: str) -> None:
    assert current_warnings([event("Job", "j", reason=reason)], job(), []) == ()
    assert current_warnings([event("Pod", "p", reason=reason)], Children(), [Pod.of(pod("p"))]) == ()


@pytest.mark.parametrize(("name", "counts"), [("alert-scan", False), ("event", True)])
def test_warning_about_a_missing_object_is_over_when_it_exists(name: str, *, counts: bool) -> None:
    children = Children(config_map=ConfigMap({"metadata": {"name": "alert-scan", "uid": "uid-c"}}))
    missing = event("Pod", "p", f'MountVolume.SetUp failed for volume "x" : configmap "{name}" not found')
    assert bool(current_warnings([missing], children, [Pod.of(pod("p"))])) is counts


def test_claim_warning_counts_while_the_claim_has_no_volume() -> None:
    events = [event("PersistentVolumeClaim", "c", "no class")]
    for phase in ("Pending", "Lost"):
        assert current_warnings(events, claim(phase), []) == (
            ObservedWarning("PersistentVolumeClaim c", "FailedCreate", "no class"),
        )
    assert current_warnings(events, claim("Bound"), []) == ()


def test_deployment_warning_counts_while_workers_are_missing() -> None:
    found = Deployment({"metadata": {"name": "w", "uid": "uid-w"}, "spec": {"replicas": 1}})
    events = [event("Deployment", "w", "no ReplicaSet")]
    worker = Pod("x", WORKER, "Running")
    assert len(current_warnings(events, Children(deployment=found), [])) == 1
    assert current_warnings(events, Children(deployment=found), [worker]) == ()


def test_replica_failure_of_the_deployment_counts() -> None:
    failing = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA}
    fine = {"type": "Available", "status": "True"}
    found = {"metadata": {"name": "w", "uid": "uid-w"}, "status": {"conditions": [fine, failing]}}
    assert current_warnings([], Children(deployment=Deployment(found)), []) == (
        ObservedWarning("Deployment w", "FailedCreate", QUOTA),
    )


def test_warnings_are_latest_first_unique_and_bounded() -> None:
    events = [
        event("Job", "j", f"{number % 50}", lastTimestamp=f"2026-01-01T00:{number:02}:00Z") for number in range(60)
    ]
    events.append(event("Job", "j", "series", series={"lastObservedTime": "2026-01-01T02:00:00Z"}))
    events.append(event("Job", "j", "", lastTimestamp="2027-01-01T00:00:00Z"))
    found = [one.message for one in current_warnings(events, job(), [])]
    assert found[:4] == ["", "series", "9", "8"]
    assert len(found) == len(set(found)) == MAX_WARNINGS


def test_warnings_from_outside_are_bounded_and_printable() -> None:
    hostile = event("Job", "j", "no\x1b[2J\n\troom" + "x" * 100_000, reason="R\x07" * 500)
    (found,) = current_warnings([hostile], job(), [])
    assert found.message.startswith(r"no\x1b[2J roomxxx")
    assert found.reason.startswith(r"R\x07R")
    assert (len(found.message), len(found.reason)) == (LONGEST_MESSAGE, LONGEST_REASON)
