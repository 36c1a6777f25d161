"""What is read of the API server's objects, and what is found wrong in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.operator.world import START, resource

from skymap_api.progress import Progress, ProgressPhase
from skymap_api.resource.status import BestFitStatus, Phase, Reason
from skymap_operator.decide.diagnose import Finding, degraded, failure, last_words
from skymap_operator.decide.drift import amount, differs, job_patch
from skymap_operator.decide.status import Verdict, next_status, rounded
from skymap_operator.observe.state import (
    ObservedScan,
    ObservedState,
    ObservedWarning,
    Pod,
    PulsarFault,
    PulsarState,
    Termination,
)

URL = {"event": {"url": "https://example.org/event.json"}}
OWNED = {"ownerReferences": [{"uid": "uid-1"}]}
STUCK = Progress(
    name="a",
    phase=ProgressPhase.WRITING,
    levels=(),
    rate=0.0,
    eta=None,
    elapsed=1.0,
    best=None,
    obstacle="x.i3: no\x1b room",
)


def observed(spec: dict[str, Any] | None = None, **changes: Any) -> ObservedState:
    return ObservedState(
        **{"now": START, "scan": ObservedScan.of(resource(spec or URL)), "pulsar": PulsarState()} | changes
    )


def test_a_pod_as_the_api_server_gives_it() -> None:
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
        started=datetime(2026, 1, 1, 0, 5, tzinfo=UTC),
        ip="10.0.0.7",
        waiting=("CrashLoopBackOff", "back-off 20s"),
        ended=Termination(137, "OOMKilled"),
        restarts=3,
        deleting=True,
        deletion_cost=100,
    )
    assert last_words(pod) == "was ended for its use of memory: raise its limit"


def test_a_pod_that_finds_no_node() -> None:
    why = "0/3 nodes are available: 3 Insufficient cpu."
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    pod = Pod.of({"metadata": {"name": "a"}, "status": {"phase": "Pending", "conditions": [unplaced]}})
    assert pod == Pod(name="a", role="", unschedulable=why)


def test_a_failed_first_container_counts() -> None:
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
    assert pod.ended == Termination(1, "", "Error: no")
    assert pod.over


def test_best_fit_is_rounded_for_the_status() -> None:
    best = BestFitStatus(nside=8, pixel=3, ra=1.50004, dec=-2.5, llh=10.00049, area_90=214.8591731740587)
    assert rounded(best) == BestFitStatus(nside=8, pixel=3, ra=1.5, dec=-2.5, llh=10.0, area_90=214.8592)
    edge = BestFitStatus(nside=8, pixel=3, ra=359.99999, dec=90.0, llh=1.0)
    assert rounded(edge) == BestFitStatus(nside=8, pixel=3, ra=0.0, dec=90.0, llh=1.0)


@pytest.mark.parametrize(
    ("eta", "published", "expected"),
    [
        (60.4, START, START + timedelta(seconds=60)),
        (None, START, None),
        (60.0, datetime.max.replace(tzinfo=UTC), None),
    ],
)
def test_eta_counts_from_the_publication(eta: float | None, published: datetime, expected: datetime | None) -> None:
    going = STUCK.model_copy(update={"eta": eta, "phase": ProgressPhase.SCANNING})
    seen = observed(pulsar=PulsarState({}, progress=going, progress_time=published))
    assert next_status(seen, Verdict(Phase.SCANNING)).eta == expected


def test_a_status_that_nobody_can_read_is_begun_anew() -> None:
    assert ObservedScan.of(resource(URL) | {"status": {"phase": "Elsewhere"}}).status.phase is None


def test_a_spec_that_an_older_definition_let_through() -> None:
    scan = ObservedScan.of(resource({"event": {}}))
    assert scan.spec is None
    found = failure(observed(scan=scan))
    assert found is not None
    assert found.reason is Reason.INVALID_SPEC
    assert "give exactly one of url" in found.message


def failed_job(reason: str = "PodFailurePolicy") -> dict[str, Any]:
    return {
        "metadata": {"name": "alert-producer", **OWNED},
        "status": {"conditions": [{"type": "Failed", "status": "True", "reason": reason, "message": "it failed"}]},
    }


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (1, "Error: https://example.org/event.json: 404 Not Found", Reason.EVENT_UNREACHABLE),
        (1, "Error: https://example.org/event.json: Connection refused (attempts: 5)", Reason.EVENT_UNREACHABLE),
        (1, "Error: https://example.org/event.json: not finished after 600 s", Reason.EVENT_UNREACHABLE),
        (1, "Error: https://example.org/event.json: holds no physics (P) frame", Reason.EVENT_UNUSABLE),
        (1, "Error: another scan has this name", Reason.ROLE_FAILED),
        (70, "Internal error, please report it: KeyError: 'x'", Reason.ROLE_FAILED),
    ],
)
def test_why_the_producer_failed(code: int, words: str, reason: Reason) -> None:
    pod = Pod("alert-producer-1", "producer", "Failed", ended=Termination(code, "Error", f"INFO reading\n{words}\n"))
    found = failure(observed(children={("Job", "alert-producer"): failed_job()}, pods=(pod,)))
    assert found == Finding(reason, f"producer failed: {words}")


def test_other_failures() -> None:
    children = {("Job", "alert-producer"): failed_job("DeadlineExceeded")}
    assert failure(observed(children=children)) == Finding(
        Reason.DEADLINE_EXCEEDED, "producer: not done within activeDeadlineSeconds"
    )
    # Its pod is gone, so its words are.
    children = {("Job", "alert-producer"): failed_job()}
    assert failure(observed(children=children)) == Finding(Reason.ROLE_FAILED, "producer failed: it failed")
    # A Job of an earlier scan of this name.
    children["Job", "alert-producer"]["metadata"]["ownerReferences"][0]["uid"] = "old"
    assert failure(observed(children=children)) is None


def crashing(number: int, code: int, restarts: int = 6) -> Pod:
    ended = Termination(code, "Error", "Error: no IceTray here")
    return Pod(f"w-{number}", "worker", "Running", restarts=restarts, ended=ended, waiting=("CrashLoopBackOff", ""))


def test_workers_that_all_explain_an_error_fail_the_scan() -> None:
    assert failure(observed(pods=(crashing(1, 1), crashing(2, 1)))) == Finding(
        Reason.ROLE_FAILED, "every worker failed: Error: no IceTray here"
    )
    assert failure(observed(pods=(crashing(1, 1), crashing(2, 70)))) is None
    assert failure(observed(pods=(crashing(1, 1), crashing(2, 1, restarts=5)))) is None
    assert failure(observed(pods=(crashing(1, 1), Pod("w-2", "worker", "Running", ready=True)))) is None
    assert degraded(observed(pods=(crashing(1, 70),))) == Finding(
        Reason.WORKERS_CRASHING, "w-1 ended 6 times: Error: no IceTray here"
    )


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({}, None, ""),
        ({"pulsar": PulsarFault(Reason.PULSAR_REFUSED, "401")}, Reason.PULSAR_REFUSED, "401"),
        ({"children": {("Job", "alert-saver"): {"metadata": {}}}}, Reason.NAME_TAKEN, "Job alert-saver"),
        ({"tls_keys": None}, Reason.SECRET_NOT_FOUND, "certificates"),
        ({"spec": URL | {"output": {"claim": {"name": "disk"}}}}, Reason.CLAIM_NOT_FOUND, "no claim disk"),
        (
            {"pods": (Pod("a", "saver", waiting=("ImagePullBackOff", "Back-off pulling image x")),)},
            Reason.IMAGE_UNAVAILABLE,
            "a: Back-off pulling image x - check the image's name",
        ),
        (
            {"pods": (Pod("a", "worker", unschedulable="0/3 nodes are available: 3 Insufficient cpu."),)},
            Reason.UNSCHEDULABLE,
            "add nodes",
        ),
        (
            {"pulsar": PulsarState({}, progress=STUCK)},
            Reason.CLAIM_FULL,
            r"saver: x.i3: no\x1b room - make room on the claim",
        ),
        (
            {"pods": (Pod("a", "saver", unschedulable="pod has unbound immediate PersistentVolumeClaims."),)},
            Reason.CLAIM_UNBOUND,
            "storage class",
        ),
        (
            {"pods": (Pod("a", "saver", unschedulable='persistentvolumeclaim "disk" not found'),)},
            Reason.CLAIM_NOT_FOUND,
            "disk",
        ),
        (
            {
                "warnings": (
                    ObservedWarning(
                        "Job a", "FailedCreate", 'pods "a-x" is forbidden: exceeded quota: q, requested: pods=1'
                    ),
                )
            },
            Reason.QUOTA_EXCEEDED,
            "Job a",
        ),
        (
            {
                "warnings": (
                    ObservedWarning(
                        "Pod a", "FailedMount", 'MountVolume.SetUp failed for volume "x" : secret "live" not found'
                    ),
                )
            },
            Reason.SECRET_NOT_FOUND,
            "live",
        ),
        (
            {
                "warnings": (
                    ObservedWarning("Pod a", "FailedMount", 'MountVolume failed: configmap "events" not found'),
                )
            },
            Reason.CONFIG_MAP_NOT_FOUND,
            "events",
        ),
        (
            {
                "warnings": (
                    ObservedWarning(
                        "Job a", "FailedCreate", 'pods "x" is forbidden: violates PodSecurity "restricted"'
                    ),
                )
            },
            Reason.PODS_REFUSED,
            "policies",
        ),
        (
            {"warnings": (ObservedWarning("Job a", "Refused", "namespace alerts because it is being terminated"),)},
            Reason.NAMESPACE_TERMINATING,
            "alerts",
        ),
        (
            {"warnings": (ObservedWarning("Job a", "Refused", "jobs is forbidden"),)},
            Reason.OBJECTS_REFUSED,
            "what the operator may",
        ),
        ({"warnings": (ObservedWarning("Pod a", "Unhealthy", "probe"),)}, None, ""),
    ],
)
def test_what_is_in_the_way(changes: dict[str, Any], reason: Reason | None, named: str) -> None:
    found = degraded(observed(**changes))
    if reason is None:
        assert found is None
    else:
        assert found is not None
        assert found.reason is reason
        assert named in found.message


def test_pods_that_leave_or_are_over_are_in_nobodys_way() -> None:
    waiting = ("ImagePullBackOff", "")
    pods = (Pod("a", "worker", deleting=True, waiting=waiting), Pod("b", "saver", "Failed", waiting=waiting))
    assert degraded(observed(pods=pods)) is None


def signed(spec: dict[str, Any], digest: str = "1") -> dict[str, Any]:
    return {"metadata": {"annotations": {"skymap.icecube.wisc.edu/content": digest}}, "spec": spec}


@pytest.mark.parametrize(
    ("live", "wanted", "differ"),
    [
        ({"a": 1}, {"a": 1}, False),
        ({"a": 1, "defaulted": True}, {"a": 1}, False),
        ({"a": 2}, {"a": 1}, True),
        ({}, {"a": 1}, True),
        ({"list": [{"a": 1, "b": 2}]}, {"list": [{"a": 1}]}, False),
        ({"list": [{"a": 1}, {"a": 2}]}, {"list": [{"a": 1}]}, True),
        ({}, {"list": []}, False),
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "1000m"}}}, False),
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "2"}}}, True),
        ({"value": "1000m"}, {"value": "1"}, True),
    ],
)
def test_drift(live: dict[str, Any], wanted: dict[str, Any], differ: bool) -> None:
    assert differs(signed(live), signed(wanted)) is differ
    assert differs(signed(live), signed(wanted, "2"))


def test_amounts() -> None:
    texts = ["500m", "0.5", "2Gi", "2048Mi", "1e3", "1k", "1.5G", "7"]
    assert [float(amount(text)) for text in texts] == [0.5, 0.5, 2**31, 2**31, 1000, 1000, 1.5e9, 7]
    with pytest.raises(ValueError, match="no quantity"):
        amount("much")


def test_of_a_job_only_some_fields_are_mended() -> None:
    live = {"spec": {"backoffLimit": 5, "suspend": True, "activeDeadlineSeconds": 60, "template": {"old": True}}}
    wanted = {"spec": {"backoffLimit": 7, "suspend": False, "template": {"new": True}}}
    assert job_patch(live, wanted) == {"suspend": False, "backoffLimit": 7, "activeDeadlineSeconds": None}
    assert job_patch(wanted, wanted) == {}


def test_times_are_read_with_their_zone() -> None:
    scan = ObservedScan.of(resource(URL, creationTimestamp="2026-01-01T00:00:00Z"))
    assert scan.created == START
    assert START - scan.created == timedelta(0)
