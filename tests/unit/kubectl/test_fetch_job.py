from __future__ import annotations

import inspect
from typing import Any

import pytest

from skymap_api.names import SCAN_LABEL, SCAN_NAME_ANNOTATION
from skymap_api.resource.pods import PodTemplate
from skymap_scanner.kubectl import fetch_job, fetch_program
from skymap_scanner.kubectl.fetch_job import ResultSource, is_ready, pending_reason, permanent_failure

MANAGED = "app.kubernetes.io/managed-by"
SOURCE = ResultSource("demo-results", "demo", "worker:1")


def test_job_mounts_read_only_and_expires() -> None:
    made = fetch_job.build_job("fetch-1", SOURCE)
    spec = made["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 3600, 5)
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["python3", "-I", "-c", inspect.getsource(fetch_program), "wait"]
    assert container["volumeMounts"] == [{"name": "results", "mountPath": "/results", "readOnly": True}]
    assert pod["volumes"] == [{"name": "results", "persistentVolumeClaim": {"claimName": "demo-results"}}]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert SCAN_LABEL not in spec["template"]["metadata"]["labels"], "the operator would count it as a pod of the scan"
    assert SOURCE.path == "/results/demo"


def test_job_has_what_the_site_asks_of_the_saver() -> None:
    """Otherwise the pod would stay pending where all nodes have a taint, or be rejected by a policy."""
    site = {
        "affinity": {"nodeAffinity": {}},
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "priorityClassName": "science",
        "securityContext": {"runAsUser": 7},
        "serviceAccountName": "scans",
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    }
    pod = {"containers": [{"imagePullPolicy": "Never"}], "restartPolicy": "Always", "volumes": [], **site}
    ours = {SCAN_LABEL: "demo", "app.kubernetes.io/component": "saver", "job-name": "demo-saver"}
    meta = {"labels": {"policy": "a"} | ours, "annotations": {"example.org/a": "b", SCAN_NAME_ANNOTATION: "demo"}}
    saver = {"spec": {"template": {"metadata": meta, "spec": pod}}}
    source = ResultSource.from_saver("claim", "demo", "worker:1", saver)
    template = fetch_job.build_job("fetch-1", source)["spec"]["template"]
    made = template["spec"]
    assert {name: made[name] for name in site} == site
    assert made["containers"][0]["imagePullPolicy"] == "Never"
    assert (made["restartPolicy"], len(made["volumes"])) == ("Never", 1)
    assert template["metadata"]["annotations"] == {"example.org/a": "b"}
    labels = template["metadata"]["labels"]
    assert (labels["policy"], labels["app.kubernetes.io/component"]) == ("a", "fetch")
    assert not {SCAN_LABEL, "job-name"} & set(labels)
    assert ResultSource.from_saver("claim", "demo", "worker:1", None) == ResultSource("claim", "demo", "worker:1")


def test_labels_that_only_begin_like_reserved_ones_are_copied() -> None:
    own = {"job-name-tier": "a", "controller-uid-2": "b", "example.org/job-name": "c"}
    ours = dict.fromkeys((SCAN_LABEL, "job-name", "controller-uid", "batch.kubernetes.io/job-name", MANAGED), "x")
    notes = {"app.kubernetes.io/owner": "a", "job-name": "b"}
    kubelets = dict.fromkeys((SCAN_NAME_ANNOTATION, "scheduler.alpha.kubernetes.io/critical-pod"), "x")
    meta = {"labels": own | ours, "annotations": notes | kubelets}
    PodTemplate.model_validate({"labels": own, "annotations": notes})  # a scan may set them
    saver = {"spec": {"template": {"metadata": meta, "spec": {"containers": [{}]}}}}
    source = ResultSource.from_saver("claim", "demo", "worker:1", saver)
    assert (source.labels, source.annotations) == (own, notes)


RANGE = {"metadata": {"annotations": {"openshift.io/sa.scc.uid-range": "1000660000/10000"}}}


@pytest.mark.parametrize(
    ("namespace", "pod", "user"),
    [
        (None, {}, 1000),
        ({"metadata": {}}, {}, 1000),
        (RANGE, {}, None),
        (RANGE, {"securityContext": {"runAsNonRoot": True, "runAsUser": 7}}, 7),
    ],
)
def test_ids_are_left_to_a_namespace_that_gives_them(
    namespace: dict[str, Any] | None, pod: dict[str, Any], user: int | None
) -> None:
    source = ResultSource("claim", "demo", "worker:1", pod=pod).in_namespace(namespace)
    security = fetch_job.build_job("fetch-1", source)["spec"]["template"]["spec"]["securityContext"]
    assert (security.get("runAsUser"), security["runAsNonRoot"]) == (user, True)


def state(**states: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"image": "worker:1", "state": states}]}}


@pytest.mark.parametrize(
    ("pod", "ready", "never"),
    [
        ({}, False, None),
        (state(running={}), True, None),
        (state(waiting={"reason": "ContainerCreating"}), False, None),
        (
            state(waiting={"reason": "ErrImagePull", "message": "no such"}),
            False,
            "image worker:1 cannot be pulled .no such",
        ),
        (
            state(waiting={"reason": "ErrImageNeverPull"}),
            False,
            "pulled .ErrImageNeverPull.: choose another",
        ),
        (state(waiting={"reason": "CreateContainerError", "message": "x"}), False, "its container cannot start: x"),
        (state(waiting={"reason": "PostStartHookError"}), False, "its container cannot start: PostStartHookError"),
        (state(waiting={"reason": "PodInitializing"}), False, None),
        (state(waiting={}), False, None),
        (state(terminated={"reason": "StartError", "message": "no python3"}), False, "exited at once: no python3"),
        ({"status": {"phase": "Failed", "reason": "Evicted"}}, False, "it exited at once: Evicted"),
    ],
)
def test_permanent_failures_of_a_pod_are_recognized(pod: dict[str, Any], ready: bool, never: str | None) -> None:
    assert is_ready(pod) == ready
    if never is None:
        assert permanent_failure(pod) is None
    else:
        with pytest.raises(ValueError, match=never):
            raise ValueError(permanent_failure(pod))


def test_pending_reason_comes_from_conditions_or_events() -> None:
    unscheduled = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]}}
    quota = {"type": "Warning", "message": "exceeded quota"}
    assert pending_reason([unscheduled], [quota]) == "no node can run it: no room"
    assert pending_reason([], [{"type": "Normal", "message": "x"}, quota]) == "exceeded quota"
    late = {"type": "Warning", "message": "no\x1b[2J\ndisk", "lastTimestamp": "2026-01-01T00:00:02Z"}
    early = quota | {"lastTimestamp": "2026-01-01T00:00:01Z"}
    assert pending_reason([], [late, early]) == r"no\x1b[2J disk"
    assert pending_reason([], []) == "it has not been created"
    assert pending_reason([{}], []) == "Kubernetes gives no reason"
