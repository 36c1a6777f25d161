"""The informer's store: never goes back to an older version, and keeps every field that a decision reads."""

from __future__ import annotations

from typing import Any

import pytest

from skymap_api.names import SCAN_LABEL, SCAN_NAME_ANNOTATION, NamespacedName
from skymap_operator.cluster.store import Store, trimmed
from skymap_operator.observe.state import Pod

SCAN = NamespacedName("ns", "alert")
ENDED = {"terminated": {"exitCode": 1, "message": "Error: no", "startedAt": "2026-01-01T00:00:00Z", "reason": "Error"}}


def made(kind: str, version: int, name: str = "a", **more: Any) -> dict[str, Any]:
    """An object of the scan as the API server gives it."""
    meta: dict[str, Any] = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    meta |= {"labels": {SCAN_LABEL: "alert"}, "annotations": {SCAN_NAME_ANNOTATION: "alert"}, "managedFields": [{}]}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": {}, **more}


def test_older_version_never_replaces_newer() -> None:
    store = Store()
    assert store.put("ConfigMap", made("ConfigMap", 9, data={"a": "1"})) == {SCAN}
    assert store.put("ConfigMap", made("ConfigMap", 10, data={"a": "2"})) == {SCAN}
    assert store.put("ConfigMap", made("ConfigMap", 9, data={"a": "1"})) == set()
    stored = store.get("ConfigMap", "ns", "a")
    assert stored is not None
    assert stored["data"] == {"a": "2"}
    assert store.remove("ConfigMap", made("ConfigMap", 8)) == set(), "an earlier object of this name"
    assert store.remove("ConfigMap", made("ConfigMap", 12)) == {SCAN}
    assert store.put("ConfigMap", made("ConfigMap", 11, data={"a": "3"})) == set(), "a late answer to a write"
    assert store.get("ConfigMap", "ns", "a") is None
    assert store.put("ConfigMap", made("ConfigMap", 13)) == {SCAN}
    assert store.get("ConfigMap", "ns", "a") is not None


def test_irrelevant_change_is_not_reported() -> None:
    store = Store()
    store.put("Deployment", made("Deployment", 1, status={"replicas": 1}))
    assert store.put("Deployment", made("Deployment", 2, status={"replicas": 2})) == set()
    failing = {"conditions": [{"type": "ReplicaFailure", "status": "True"}, {"type": "Available", "status": "True"}]}
    assert store.put("Deployment", made("Deployment", 3, status=failing)) == {SCAN}
    progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": "x"}
    both = {"conditions": [*failing["conditions"], progress]}
    assert store.put("Deployment", made("Deployment", 4, status=both)) == set()
    stuck = {"conditions": [progress | {"status": "False", "reason": "ReplicaSetCreateError"}]}
    assert store.put("Deployment", made("Deployment", 5, status=stuck)) == {SCAN}
    scan = made("SkymapScan", 1, name="alert", status={"phase": "Pending"})
    assert store.put("SkymapScan", scan) == {SCAN}
    assert store.put("SkymapScan", scan | made("SkymapScan", 2, name="alert", status={"phase": "Scanning"})) == set()
    stored = store.get("SkymapScan", "ns", "alert")
    assert stored is not None
    assert stored["status"] == {"phase": "Scanning"}
    assert store.put("SkymapScan", made("SkymapScan", 3, name="alert", spec={"suspend": True})) == {SCAN}


def test_unlisted_object_is_removed_unless_newer_than_the_list() -> None:
    store = Store()
    for number, name in enumerate(("kept", "gone", "new"), 1):
        store.put("Job", made("Job", number * 10, name, spec={}))
    store.put("ConfigMap", made("ConfigMap", 1, "gone"))
    other = made("Job", 10, "gone", spec={})
    other["metadata"] |= {"namespace": "other", "annotations": {SCAN_NAME_ANNOTATION: "theirs"}}
    store.put("Job", other)
    assert store.replace("Job", "ns", [("ns", "kept")], "25") == {SCAN}
    assert store.get("Job", "ns", "gone") is None
    assert store.get("Job", "ns", "kept")
    assert store.get("Job", "ns", "new")
    assert store.get("ConfigMap", "ns", "gone")
    assert store.get("Job", "other", "gone")
    assert store.replace("Job", None, [("ns", "kept"), ("ns", "new")], "40") == {NamespacedName("other", "theirs")}


def test_pods_are_found_by_scan_label() -> None:
    store = Store()
    for number, name in enumerate("ab", 1):
        store.put("Pod", made("Pod", number, name, status={"phase": "Pending"}))
    assert [pod["metadata"]["name"] for pod in store.pods("ns", "alert")] == ["a", "b"]
    store.put("Pod", made("Pod", 3, "a", status={"phase": "Running"}))
    assert [pod["status"]["phase"] for pod in store.pods("ns", "alert")] == ["Running", "Pending"]
    store.remove("Pod", made("Pod", 4, "a"))
    store.replace("Pod", None, [], "9")
    assert store.pods("ns", "alert") == []
    assert store.pods("ns", "another") == []


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Pending"},
        {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
        {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "podIPs": [{"ip": "10.0.0.7"}],
            "qosClass": "Burstable",
            "conditions": [
                {"type": kind, "status": "True"} for kind in ("PodScheduled", "PodReadyToStartContainers", "Ready")
            ],
            "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}, "restartCount": 0}],
            "containerStatuses": [
                {"name": "c", "state": {"running": {}}, "lastState": ENDED, "restartCount": 3, "imageID": "a@sha256:0"}
            ],
        },
        {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}
            ],
            "containerStatuses": [
                {"state": {"waiting": {"reason": "ErrImagePull", "message": "x"}}, "restartCount": 0}
            ],
        },
    ],
)
def test_stored_pod_is_observed_like_the_whole_pod(status: dict[str, Any]) -> None:
    pod = made("Pod", 1, status=status, spec={"containers": [{"image": "large"}]})
    pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "creationTimestamp": "2025-12-31T00:00:00Z"}
    pod["metadata"]["ownerReferences"] = [{"uid": "other"}, {"uid": "job-1", "kind": "Job", "controller": True}]
    pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] = "100"
    kept = trimmed("Pod", pod)
    assert Pod.of(kept) == Pod.of(pod)
    assert "spec" not in kept
    assert Pod.of(kept).owner == "job-1"


def test_stored_job_has_no_template() -> None:
    job = made("Job", 1, spec={"suspend": True, "template": {"spec": {}}, "selector": {}})
    job["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "long"
    kept = trimmed("Job", job)
    assert kept["spec"] == {"suspend": True}
    assert kept["metadata"]["annotations"] == {SCAN_NAME_ANNOTATION: "alert"}
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in job["metadata"], "the argument is unchanged"
