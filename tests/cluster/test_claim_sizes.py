"""The size of a scan's claim is corrected after it was applied, on a real cluster with a real Pulsar."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from testing.cluster import scans
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.scans import NAME, Start, complete, degraded
from testing.waiting import eventually

CLAIM = f"{NAME}-results"


def scan(size: str, **claim: str) -> scans.Scan:
    output = {"claim": {"size": size} | claim}
    return scans.manifest({"event": {"simulate": {}}, "levels": [{"nside": 1}], "output": output}, NAME)


def change(namespace: Namespace, size: str) -> None:
    """Change the size in the scan, as a user does."""
    patch = json.dumps({"spec": {"output": {"claim": {"size": size}}}})
    namespace.kubectl("patch", "sms", NAME, "--type", "merge", "-p", patch)


def asked(namespace: Namespace) -> str:
    """Return the size that the claim asks for."""
    return str(namespace.get("pvc", CLAIM)["spec"]["resources"]["requests"]["storage"])


@pytest.fixture
def expandable(cluster: Cluster, namespace: Namespace) -> Iterator[str]:
    """A storage class that allows expansion, with one volume that nobody mounts; return its name."""
    name = f"{namespace.name}-expandable"
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kubernetes.io/no-provisioner",
        "allowVolumeExpansion": True,
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "hostPath": {"path": f"/tmp/{name}"},  # noqa: S108 - on the node
        },
    }
    cluster.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, (storage, volume))))
    yield name
    cluster.kubectl("delete", f"storageclass/{name}", f"persistentvolume/{name}", "--wait=false")


def test_size_that_a_quota_refuses_can_be_lowered(operators: Start, namespace: Namespace) -> None:
    operators()
    namespace.kubectl("create", "quota", "disk", "--hard=requests.storage=1Gi")
    eventually(lambda: namespace.get("quota", "disk")["status"]["hard"])
    namespace.apply(scan("5Gi"))
    assert CLAIM in degraded(namespace, "QuotaExceeded")
    change(namespace, "512Mi")
    complete(namespace)
    assert asked(namespace) == "512Mi"


def test_claim_grows_with_the_size_that_the_user_asks_for(
    operators: Start, namespace: Namespace, expandable: str
) -> None:
    operators()
    namespace.apply(scan("1Gi", storageClassName=expandable))
    bound = lambda: namespace.get("pvc", CLAIM).get("status", {}).get("phase") == "Bound"  # noqa: E731
    eventually(lambda: namespace.run("get", "pvc", CLAIM).returncode == 0)
    eventually(bound)
    change(namespace, "2Gi")
    eventually(lambda: asked(namespace), lambda size: size == "2Gi")
