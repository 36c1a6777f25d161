"""What obstructs a scan, and what the last lines of a pod's log say."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator.decisions import URL, observed, snapshot
from tests.unit.operator.world import START, resource

from skymap_api.exit_codes import ExitCode
from skymap_api.progress import ProgressPhase
from skymap_api.resource.status import Reason
from skymap_operator.decide.diagnose import Finding, find_obstacle, termination_message
from skymap_operator.observe.children import Children, Claim, Job
from skymap_operator.observe.state import (
    ObservedScan,
    ObservedWarning,
    Pod,
    PulsarFault,
    PulsarState,
    RefusedEnlargement,
    Termination,
)

FOREIGN = Job({"metadata": {"name": "alert-saver"}}, owned=False)

NO_WEBHOOK = 'Internal error occurred: failed calling webhook "policy.example.org": connect: connection refused'


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({}, None, ""),
        ({"pulsar": PulsarFault(Reason.PULSAR_REFUSED, "401")}, Reason.PULSAR_REFUSED, "401"),
        (
            {"children": Children(jobs={"saver": Job({"metadata": {"name": "alert-saver"}}, owned=False)})},
            Reason.NAME_TAKEN,
            "Job alert-saver",
        ),
        ({"tls_keys": None}, Reason.SECRET_NOT_FOUND, "certificates"),
        ({"spec": URL | {"output": {"claim": {"name": "disk"}}}}, Reason.CLAIM_NOT_FOUND, "claim disk does not exist"),
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
            {"pulsar": PulsarState(progress=snapshot(ProgressPhase.WRITING, obstacle="x.i3: no\x1b room"))},
            Reason.CLAIM_FULL,
            r"saver: x.i3: no\x1b room - free space on the claim",
        ),
        (
            {
                "scan": ObservedScan.of(resource(URL | {"output": {"claim": {"size": "9Gi"}}})),
                "children": Children(claim=Claim({"metadata": {"name": "c"}, "spec": {}})),
                "pulsar": PulsarState(progress=snapshot(ProgressPhase.WRITING, obstacle="x.i3: no room")),
                "refused_enlargement": RefusedEnlargement.of("9Gi", "resize is off", None, START),
            },
            Reason.CLAIM_FULL,
            "saver: x.i3: no room; the claim cannot be enlarged to 9Gi: resize is off - free space on the claim",
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
            {"warnings": (ObservedWarning("Job a", "Refused", "namespace alerts because it is being terminated"),)},
            Reason.NAMESPACE_TERMINATING,
            "alerts",
        ),
        (
            {"warnings": (ObservedWarning("Job a", "Refused", "jobs is forbidden"),)},
            Reason.OBJECTS_REJECTED,
            "permissions",
        ),
        (
            {"warnings": (ObservedWarning("Deployment w", "Invalid", "tolerations[0].effect: secrets x not found"),)},
            Reason.OBJECTS_INVALID,
            "Deployment w: tolerations[0].effect: secrets x not found - correct the field",
        ),
        (
            {
                "warnings": (
                    ObservedWarning(
                        "Deployment alert-workers",
                        "Invalid",
                        'Deployment.apps "alert-workers" is invalid: spec.template.spec.tolerations[2].effect: Invalid '
                        "value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
                    ),
                ),
                "pods": (Pod("w", "worker", "Running", ready=True),),
            },
            Reason.OBJECTS_INVALID,
            "effect must be",
        ),
        (
            {
                "warnings": (
                    ObservedWarning(
                        "PersistentVolumeClaim alert-results",
                        "Invalid",
                        'PersistentVolumeClaim "alert-results" is invalid: spec.resources[storage]: Invalid value: '
                        '"0": must be greater than zero',
                    ),
                )
            },
            Reason.OBJECTS_INVALID,
            "must be greater than zero",
        ),
        (
            {
                "warnings": (
                    ObservedWarning("Job a", "Refused", 'admission webhook "x" denied the request: no label team'),
                )
            },
            Reason.OBJECTS_REJECTED,
            "satisfy the policy",
        ),
        (
            {"warnings": (ObservedWarning("Job a", "Refused", NO_WEBHOOK),)},
            Reason.WEBHOOK_UNAVAILABLE,
            f"Job a: {NO_WEBHOOK} - restore the service of this admission webhook, or exempt the namespace from it",
        ),
        ({"warnings": (ObservedWarning("Pulsar", "PulsarRefused", "403"),)}, Reason.PULSAR_REFUSED, "403"),
    ],
)
def test_obstacle_has_a_reason_and_advice(changes: dict[str, Any], reason: Reason | None, named: str) -> None:
    found = find_obstacle(observed(**changes))
    if reason is None:
        assert found is None
    else:
        assert found is not None
        assert found.reason is reason
        assert named in found.message


def test_terminating_and_finished_pods_are_no_obstacle() -> None:
    waiting = ("ImagePullBackOff", "")
    pods = (Pod("a", "worker", terminating=True, waiting=waiting), Pod("b", "saver", "Failed", waiting=waiting))
    assert find_obstacle(observed(pods=pods)) is None


def test_crashing_worker_is_reported_with_its_error() -> None:
    termination = Termination(70, "Error", "Error: no IceTray here")
    pod = Pod("w-1", "worker", restarts=6, termination=termination, waiting=("CrashLoopBackOff", ""))
    assert find_obstacle(observed(pods=(pod,))) == Finding(
        Reason.WORKERS_CRASHING, "w-1 has crashed 6 times: Error: no IceTray here"
    )


def test_worker_of_another_software_is_reported_with_its_own_reason() -> None:
    termination = Termination(ExitCode.OTHER_SOFTWARE, "Error", "INFO a\nError: the scan is fitted by another")
    pod = Pod("w-1", "worker", restarts=1, termination=termination, waiting=("CrashLoopBackOff", ""))
    assert find_obstacle(observed(pods=(pod,))) == Finding(
        Reason.SOFTWARE_MISMATCH, "w-1 fits nothing: Error: the scan is fitted by another"
    )


@pytest.mark.parametrize(
    ("termination", "words"),
    [
        (None, ""),
        (Termination(137, "OOMKilled"), "it exceeded its memory limit; raise the limit"),
        (Termination(3), "it ended with exit code 3"),
        (Termination(1, "Error", "INFO a\nError: b\n  c\n"), "Error: b\n  c"),
        (Termination(1, "Error", "Error: a\nINFO b\nInternal error, c"), "Internal error, c"),
        (Termination(1, "Error", "\n".join(map(str, range(30)))), "\n".join(map(str, range(18, 30)))),
        (Termination(1, "Error", "x" * 2000), "x" * 1500),
        (Termination(1, "Error", "a\x1b[2Jb"), r"a\x1b[2Jb"),
    ],
)
def test_termination_message_is_the_reported_error_or_the_end(termination: Termination | None, words: str) -> None:
    assert termination_message(Pod("a", "worker", termination=termination)) == words


#: Obstacles of one scan, in the order of docs/reference/conditions.md, each with the change that makes it.
ORDER: list[tuple[str, dict[str, Any]]] = [
    ("has another owner", {"foreign": True}),
    ("x.i3: no room", {"full": True}),
    ("Job alert-saver: quota", {"warning": ("Job alert-saver", "Refused", "quota")}),
    ("no class", {"warning": ("PersistentVolumeClaim c", "ProvisioningFailed", "no class")}),
    ("producer-1: no such image", {"pod": Pod("producer-1", "producer", waiting=("ErrImagePull", "no such image"))}),
    ("saver-a: 0/3 nodes", {"pod": Pod("saver-a", "saver", unschedulable="0/3 nodes are available")}),
    ("late words", {"warning": ("Pod saver-a", "FailedMount", "late words")}),
    ("early words", {"warning": ("Pod saver-a", "FailedMount", "early words")}),
    ("latest of all", {"warning": ("Pod saver-b", "FailedMount", "latest of all")}),
    ("Job alert-saver: FailedCreate", {"warning": ("Job alert-saver", "FailedCreate", "the policy denies it")}),
    ("collector-1: Evicted: disk", {"pod": Pod("collector-1", "collector", "Failed", failure=("Evicted", "disk"))}),
    ("worker-1: no registry", {"pod": Pod("worker-1", "worker", waiting=("ErrImagePull", "no registry"))}),
    ("has crashed", {"pod": Pod("worker-2", "worker", "Running", waiting=("CrashLoopBackOff", ""))}),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_first_obstacle_in_the_documented_order_is_shown(first: int) -> None:
    """Whether a warning is the latest counts within one pod only."""
    left = [change for _, change in ORDER[first:]]
    pods = [change["pod"] for change in reversed(left) if "pod" in change]
    names = {pod.name for pod in pods}
    pods += [Pod(name, "saver") for name in ("saver-b", "saver-a") if name not in names]
    warnings = [ObservedWarning(*change["warning"]) for change in left if "warning" in change]
    jobs = {role: Job({"metadata": {"name": f"alert-{role}"}}) for role in ("producer", "saver", "collector")}
    found = find_obstacle(
        observed(
            pods=tuple(pods),
            # The latest of all pods comes first, as Kubernetes reports it.
            warnings=tuple(sorted(warnings, key=lambda one: one.message != "latest of all")),
            children=Children(jobs=jobs | ({"saver": FOREIGN} if any("foreign" in one for one in left) else {})),
            pulsar=PulsarState(
                progress=snapshot(
                    ProgressPhase.WRITING, obstacle="x.i3: no room" if any("full" in one for one in left) else None
                )
            ),
        )
    )
    assert found is not None
    assert ORDER[first][0] in found.message
