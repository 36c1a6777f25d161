"""Which warnings of a namespace explain why a scan does not proceed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator.fakes import pod

from skymap_api.names import PRODUCER
from skymap_operator.observe.children import Children, Claim, Deployment, Job
from skymap_operator.observe.events import MAX_WARNINGS, current_warnings
from skymap_operator.observe.state import ObservedWarning

QUOTA = 'pods "x" is forbidden: exceeded quota: small'


def event(kind: str, name: str, message: str = QUOTA, **more: Any) -> dict[str, Any]:
    about = {"kind": kind, "name": name, "uid": f"uid-{name}"}
    return {"involvedObject": about, "reason": "FailedCreate", "message": message} | more


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


def test_warning_about_another_object_does_not_count() -> None:
    other = event("Job", "j") | {"involvedObject": {"kind": "Job", "name": "j", "uid": "earlier"}}
    assert current_warnings([other, event("Job", "k"), event("Pod", "j")], job(), []) == ()


def test_pod_warning_counts_until_the_pod_starts() -> None:
    pods = [pod("p"), pod("q", phase="Running")]
    found = current_warnings([event("Pod", "p", "no Secret"), event("Pod", "q", "no Secret")], Children(), pods)
    assert found == (ObservedWarning("Pod p", "FailedCreate", "no Secret"),)


def test_claim_warning_counts_while_the_claim_is_pending() -> None:
    events = [event("PersistentVolumeClaim", "c", "no class")]
    assert current_warnings(events, claim("Pending"), []) == (
        ObservedWarning("PersistentVolumeClaim c", "FailedCreate", "no class"),
    )
    assert current_warnings(events, claim("Bound"), []) == ()


def test_replica_failure_of_the_deployment_counts() -> None:
    failing = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA}
    fine = {"type": "Available", "status": "True"}
    found = {"metadata": {"name": "w"}, "status": {"conditions": [fine, failing]}}
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
    assert found[:3] == ["series", "9", "8"]
    assert len(found) == len(set(found)) == MAX_WARNINGS
