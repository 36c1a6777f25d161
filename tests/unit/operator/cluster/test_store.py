"""The informer's store: never goes back to an older version, and keeps every field that a decision reads."""

from __future__ import annotations

from typing import Any

from skymap_api.names import SCAN_LABEL, SCAN_NAME_ANNOTATION, NamespacedName
from skymap_operator.cluster.store import Store
from skymap_operator.cluster.trim import DATA_DIGEST, data_digest

SCAN = NamespacedName("ns", "alert")


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
    assert stored[DATA_DIGEST] == data_digest({"data": {"a": "2"}})
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


def test_metadata_is_completed_and_never_completes() -> None:
    store = Store()
    content, newer = made("ConfigMap", 9, data={"a": "1"}), made("ConfigMap", 10)
    metadata = {"metadata": content["metadata"]}
    assert store.put("ConfigMap", metadata) == {SCAN}
    assert store.put("ConfigMap", content) == {SCAN}, "the same version with its content"
    assert store.put("ConfigMap", metadata) == set(), "the same version without it"
    stored = store.get("ConfigMap", "ns", "a")
    assert stored is not None
    assert stored[DATA_DIGEST] == data_digest(content)
    assert store.put("ConfigMap", {"metadata": newer["metadata"]}) == {SCAN}, "what has changed is not known"
    stored = store.get("ConfigMap", "ns", "a")
    assert stored is not None
    assert DATA_DIGEST not in stored
    assert store.put("ConfigMap", content) == set(), "an older version"
