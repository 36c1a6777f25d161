from __future__ import annotations

import inspect
from typing import Any

import pytest

from skymap_api.names import SCAN_LABEL
from skymap_scanner.kubectl import fetch_job, fetch_program
from skymap_scanner.kubectl.fetch_job import Source, is_ready, why_never, why_not_yet

SOURCE = Source("demo-results", "demo", "worker:1")


def test_the_job_can_only_read_and_goes_by_itself() -> None:
    made = fetch_job.job("fetch-1", SOURCE)
    spec = made["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 3600, 5)
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["python3", "-c", inspect.getsource(fetch_program), "wait"]
    assert container["volumeMounts"] == [{"name": "results", "mountPath": "/results", "readOnly": True}]
    assert pod["volumes"] == [{"name": "results", "persistentVolumeClaim": {"claimName": "demo-results"}}]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert SCAN_LABEL not in spec["template"]["metadata"]["labels"], "the operator would take it for a pod of the scan"
    assert SOURCE.path == "/results/demo"


def test_it_runs_as_the_saver_did() -> None:
    pod = {
        "containers": [{"imagePullPolicy": "Never"}],
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsUser": 7},
    }
    saver = {"spec": {"template": {"spec": pod}}}
    source = Source.like("claim", "demo", "worker:1", saver)
    made = fetch_job.job("fetch-1", source)["spec"]["template"]["spec"]
    assert made["imagePullSecrets"] == pod["imagePullSecrets"]
    assert made["securityContext"] == pod["securityContext"]
    assert made["containers"][0]["imagePullPolicy"] == "Never"
    assert Source.like("claim", "demo", "worker:1", None) == Source("claim", "demo", "worker:1")


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
            "image worker:1 cannot be had .no such",
        ),
        (state(waiting={"reason": "ErrImageNeverPull"}), False, "cannot be had .ErrImageNeverPull.: name another with"),
        (state(waiting={"reason": "CreateContainerError", "message": "x"}), False, "its container cannot start: x"),
        (state(terminated={"reason": "StartError", "message": "no python3"}), False, "ended at once: no python3"),
        ({"status": {"phase": "Failed", "reason": "Evicted"}}, False, "it ended at once: Evicted"),
    ],
)
def test_what_becomes_of_a_pod(pod: dict[str, Any], ready: bool, never: str | None) -> None:
    assert is_ready(pod) == ready
    if never is None:
        assert why_never(pod) is None
    else:
        with pytest.raises(ValueError, match=never):
            raise ValueError(why_never(pod))


def test_why_a_pod_has_not_started_yet() -> None:
    unscheduled = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]}}
    quota = {"type": "Warning", "message": "exceeded quota"}
    assert why_not_yet([unscheduled], [quota]) == "no node can take it: no room"
    assert why_not_yet([], [{"type": "Normal", "message": "x"}, quota]) == "exceeded quota"
    assert why_not_yet([], []) == "it has not been made"
    assert why_not_yet([{}], []) == "nothing says why"
