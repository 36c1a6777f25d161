"""Pods that are not admitted or do not start: the status quotes the warning that holds now, not an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.operators import NO_IMAGE
from testing.cluster.scans import (
    NAME,
    OBSTACLE_SECONDS,
    QUICK,
    SETTINGS,
    Start,
    condition,
    degraded,
    manifest,
    phase,
    scan,
)
from testing.waiting import consistently, eventually

from skymap_api.resource.quantities import amount

LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "small"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "256Mi"}}]},
}


@pytest.fixture
def policy(namespace: Namespace) -> Iterator[str]:
    """A policy that wants a label on every pod of the namespace; its name, which is that of its binding, too."""
    group, name = "admissionregistration.k8s.io/v1", f"require-team-{namespace.name}"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    rule = {"expression": "'team' in object.metadata.labels", "message": "every pod needs the label team"}
    here: dict[str, Any] = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
    }
    made = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [pods]}, "validations": [rule]}
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    namespace.apply(
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": made},
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": bound},
    )
    yield name
    namespace.cluster.kubectl("delete", "validatingadmissionpolicybinding", name, "--ignore-not-found")
    namespace.cluster.kubectl("delete", "validatingadmissionpolicy", name, "--ignore-not-found")


def test_rejected_pods_are_reported_with_the_current_reason(
    operators: Start, namespace: Namespace, policy: str
) -> None:
    namespace.apply(LIMITS)
    operators(**SETTINGS)
    namespace.apply(manifest({"event": {"simulate": {}}, "levels": [{"nside": 1}]}))
    limit = ("maximum memory usage per Container is 256Mi, but limit is 1Gi", "LimitRange")
    print(degraded(namespace, "PodsRejected", words=limit))  # noqa: T201 - for docs
    namespace.kubectl("delete", "limitrange", "small")
    denied = (policy, "denied request: every pod needs the label team", "satisfy the policy")
    print(degraded(namespace, "PodsRejected", words=denied))  # noqa: T201 - for docs
    assert condition(scan(namespace, NAME), "Succeeded")[0] == "Unknown"
    namespace.cluster.kubectl("delete", "validatingadmissionpolicybinding", policy)
    print(degraded(namespace, "ImageUnavailable", words=(NO_IMAGE,)))  # noqa: T201 - for docs


@pytest.fixture
def broken_claim(namespace: Namespace) -> Iterator[str]:
    """A claim that is bound to a volume that no node can mount."""
    name, size = f"broken-{namespace.name}", {"storage": "1Gi"}
    common: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = common | {"capacity": size, "hostPath": {"path": "/nowhere/at/all", "type": "Directory"}}
    claim = common | {"volumeName": name, "resources": {"requests": size}}
    namespace.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "broken"}, "spec": claim},
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
    )
    yield "broken"
    namespace.cluster.kubectl("delete", "pv", name, "--wait=false", "--ignore-not-found")


def test_scan_without_its_saver_fits_all_pixels_and_says_so(
    operators: Start, namespace: Namespace, worker_image: str, broken_claim: str
) -> None:
    operators(IMAGE=worker_image, **SETTINGS)
    output = QUICK["output"] | {"claim": {"name": broken_claim}}
    namespace.apply(manifest(QUICK | {"event": {"simulate": {"topology": "cascade", "seed": 7}}, "output": output}))
    print(degraded(namespace, "VolumeNotMounted", words=("-saver-", "FailedMount", "/nowhere/at/all")))  # noqa: T201
    found = phase(namespace, "Writing")
    assert condition(found, "Progressing")[2] == "all pixels are fitted; waiting for the saver to start"
    assert condition(found, "Degraded")[1] == "VolumeNotMounted"


def test_worker_without_room_is_no_obstacle_while_another_works(
    operators: Start, namespace: Namespace, worker_image: str
) -> None:
    nodes = namespace.cluster.get("nodes")["items"]
    largest = max(amount(node["status"]["allocatable"]["cpu"]) or 0 for node in nodes)
    operators(IMAGE=worker_image, **SETTINGS)
    resources = {"requests": {"cpu": f"{round(550 * largest)}m"}, "limits": {"memory": "1Gi"}}  # one fits on a node
    workers = {"min": len(nodes) + 1, "max": len(nodes) + 1, "resources": resources}
    slow = {"reconstruction": {"name": "dummy", "parameters": {"seconds": 20}}, "workers": workers}
    namespace.apply(manifest(QUICK | slow | {"event": {"simulate": {"topology": "cascade", "seed": 7}}}))
    found = eventually(
        lambda: scan(namespace),
        lambda found: "obstacle" in found.get("status", {}).get("workers", {}),
        OBSTACLE_SECONDS,
    )
    assert found["status"]["workers"]["ready"] > 0
    assert "Insufficient cpu" in found["status"]["workers"]["obstacle"]
    consistently(lambda: condition(scan(namespace), "Degraded")[0] == "False")
    about = namespace.get("events", "--field-selector", "involvedObject.kind=SkymapScan,reason=Unschedulable")["items"]
    assert [(one["type"], one["count"]) for one in about] == [("Normal", 1)]
