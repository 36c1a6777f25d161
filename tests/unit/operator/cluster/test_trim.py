"""What is kept of an object: all that a decision reads, and nothing that somebody else could make large."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testing.manifests import cases
from tests.unit.operator.cluster.test_store import made
from tests.unit.operator.recipes import Manifest, everything
from tests.unit.operator.recipes import made as recipe_of
from tests.unit.security.test_settings import longest

from skymap_api.names import FINALIZER, SCAN_NAME_ANNOTATION
from skymap_operator.cluster.trim import LONGEST, trimmed
from skymap_operator.decide.drift import differs
from skymap_operator.observe.state import ObservedScan, Pod

ENDED = {"terminated": {"exitCode": 1, "message": "Error: no", "startedAt": "2026-01-01T00:00:00Z", "reason": "Error"}}

#: The longest scan in any script; JSON writes a character beyond the BMP as 12 bytes.
LONGEST_SCAN = json.loads(json.dumps(longest()).replace("x" * 768, "\\ud83c\\udf0c" * 768))


@pytest.mark.parametrize("spec", [cases.URL, LONGEST_SCAN], ids=["usual", "longest"])
def test_trimmed_object_does_not_differ_from_what_is_wanted(spec: Manifest) -> None:
    for wanted in everything(recipe_of(spec)):
        if wanted["kind"] not in {"ConfigMap", "Deployment"}:
            continue
        listed = {key: value for key, value in wanted.items() if key not in {"apiVersion", "kind"}}
        kept = trimmed(wanted["kind"], listed)
        assert not differs(kept, wanted)
        assert trimmed(wanted["kind"], kept) == kept


def test_changed_data_of_a_config_map_is_noticed() -> None:
    (wanted,) = (one for one in everything(recipe_of(cases.URL)) if one["kind"] == "ConfigMap")
    for data in ({}, {"broker": "pulsar://elsewhere:6650"}, wanted["data"] | {"more": "x"}):
        assert differs(trimmed("ConfigMap", wanted | {"data": data}), wanted)
    assert differs(trimmed("ConfigMap", {"metadata": wanted["metadata"]}), wanted), "its metadata alone"
    assert differs(trimmed("ConfigMap", wanted | {"binaryData": {"more": "eA=="}}), wanted)


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
def test_trimmed_pod_is_observed_like_the_whole_pod(status: dict[str, Any]) -> None:
    pod = made("Pod", 1, status=status, spec={"containers": [{"image": "large"}]})
    pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "creationTimestamp": "2025-12-31T00:00:00Z"}
    pod["metadata"]["ownerReferences"] = [{"uid": "other"}, {"uid": "job-1", "kind": "Job", "controller": True}]
    pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] = "100"
    kept = trimmed("Pod", pod)
    assert Pod.of(kept) == Pod.of(pod)
    assert "spec" not in kept
    assert Pod.of(kept).owner == "job-1"


def test_trimmed_scan_is_observed_like_the_whole_scan() -> None:
    scan = made("SkymapScan", 1, "alert", apiVersion="skymap.icecube.wisc.edu/v1alpha1", status={"phase": "Pending"})
    scan |= {"spec": cases.URL}
    scan["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3}
    scan["metadata"]["finalizers"] = [FINALIZER]
    scan["metadata"]["annotations"]["note"] = "x" * 200_000
    kept = trimmed("SkymapScan", scan)
    assert ObservedScan.of(kept) == ObservedScan.of(scan)
    assert len(json.dumps(kept)) < 2000


def test_trimmed_job_has_no_template() -> None:
    job = made("Job", 1, spec={"suspend": True, "template": {"spec": {}}, "selector": {}})
    job["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "long"
    kept = trimmed("Job", job)
    assert kept["spec"] == {"suspend": True}
    assert kept["metadata"]["annotations"] == {SCAN_NAME_ANNOTATION: "alert"}
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in job["metadata"], "the argument is unchanged"


LARGE = "y" * 1_000_000
ENTRIES = {f"k{number}": "x" for number in range(20_000)}
OURS = {f"skymap.icecube.wisc.edu/{key}": value for key, value in ENTRIES.items()}
OWNERS = [{"uid": str(number), "kind": "SkymapScan", "name": "a", "controller": True} for number in range(20_000)]
STATUSES = [{"state": {"waiting": {"reason": "x", "message": "y" * 1000}}, "restartCount": 0}] * 1000


@pytest.mark.parametrize("kind", ["Job", "Deployment", "ConfigMap", "PersistentVolumeClaim", "Pod"])
@pytest.mark.parametrize(
    "more",
    [
        {"data": {"x": LARGE}, "binaryData": {"x": LARGE}},
        {"spec": {"template": {"spec": LARGE}, "resources": {"requests": ENTRIES}, "volumeName": LARGE}},
        {"status": {"conditions": [{"type": "Ready", "message": LARGE}], "phase": LARGE, "message": LARGE}},
        {"status": {"containerStatuses": STATUSES, "initContainerStatuses": STATUSES, "active": LARGE}},
    ],
)
def test_large_object_is_kept_short(kind: str, more: dict[str, Any]) -> None:
    found = made(kind, 1, **more)
    found["metadata"] |= {"labels": ENTRIES, "ownerReferences": OWNERS, "finalizers": [*ENTRIES]}
    found["metadata"]["annotations"] |= ENTRIES | OURS | {"skymap.icecube.wisc.edu/a": LARGE}
    assert len(json.dumps(trimmed(kind, found))) <= LONGEST
