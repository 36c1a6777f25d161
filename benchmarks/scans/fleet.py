"""Fake nodes (kwok) of a real cluster: pods on them only seem to run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testing.cluster.cluster import SCRIPTS, Cluster
from testing.cluster.clusters import run
from testing.waiting import eventually

from skymap_api.names import Names, NamespacedName

KWOK = SCRIPTS / "kwok"
STORAGE_CLASS = "fake"

#: The annotation with the exit code of a fake pod.
EXIT_CODE = "fake.kwok/exit-code"


@contextmanager
def fake_nodes(cluster: Cluster, folder: Path, nodes: int) -> Iterator[None]:
    """Add fake nodes to a cluster and cordon its real ones while the context is open."""
    for node in cluster.get("nodes")["items"]:
        cluster.kubectl("cordon", node["metadata"]["name"])
    apply(cluster, [_node(number) for number in range(nodes)])
    command = [run(KWOK / "build.sh").strip(), "--kubeconfig", cluster.kubeconfig, "--config", KWOK / "stages.yaml"]
    command += [
        "--manage-nodes-with-annotation-selector",
        "kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds",
        "40",
    ]
    with (folder / "kwok.log").open("wb") as log:
        kwok = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    try:
        eventually(lambda: cluster.kubectl("wait", "--for=condition=Ready", "node", "-l", "type=kwok", "--timeout=20s"))
        yield
    finally:
        kwok.kill()
        kwok.wait()


def volumes(scans: Sequence[NamespacedName]) -> list[dict[str, Any]]:
    """Return a storage class and a volume for each scan's claim: the default class would use the real node."""
    made: list[dict[str, Any]] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": STORAGE_CLASS},
            "provisioner": "kubernetes.io/no-provisioner",
        }
    ]
    for number, scan in enumerate(scans):
        claim = Names.of(scan.namespace, scan.name).claim
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "2Gi"},
            "storageClassName": STORAGE_CLASS,
            "claimRef": {"namespace": scan.namespace, "name": claim},  # matching volumes to claims would take minutes
            "hostPath": {"path": "/nowhere"},
        }
        meta = {"name": f"fake-{number}"}
        made.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": spec})
    return made


def apply(cluster: Cluster, objects: list[dict[str, Any]]) -> None:
    """Create objects."""
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(listed))


def _node(number: int) -> dict[str, Any]:
    name = f"fake-{number}"
    room = {"cpu": "100k", "memory": "1Pi", "pods": "4k"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": room, "capacity": room},
    }
