"""An upgrade of the operator and its rollback while scans run in real pods.

The older version is this one, but that it does not know ``spec.area``. The newer version gives every container an
option that no image of the scanner knows, and names an image that does not exist. A pod of a scan that the older one
began would not start, or end at once, if the newer one gave it anything of its own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.operators import OperatorProcess, other_version
from testing.cluster.scans import (
    KINDS,
    NAME,
    QUICK,
    SETTINGS,
    Scan,
    Start,
    children,
    complete,
    condition,
    degraded,
    embedded,
    ended,
    manifest,
    phase,
    results,
    scan,
    unfinished_pods,
)
from testing.waiting import consistently, eventually

from skymap_operator.version import VERSION

NEWER, OPTION, NEWER_IMAGE = "99.0.0", "--of-a-newer-version", "registry.invalid/skymap-scanner:99"

#: 12 pixels of 7 seeds take one worker 20 s. The scan cannot end before its claim exists.
SLOW: Scan = QUICK | {
    "event": {"simulate": {"topology": "cascade", "seed": 4}},
    "seeds": 7,
    "firstSeeds": 7,
    "reconstruction": {"name": "dummy", "parameters": {"seconds": 0.25}},
    "workers": {"min": 0, "max": 1},
    "output": {"formats": ["json"], "claim": {"name": "results"}},
}
OTHER: Scan = SLOW | {"output": {"formats": ["json"]}}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "results"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
}
COMPLETED = ("True", "Completed", "the results are written")


def started(operators: Start, program: tuple[str, ...], image: str) -> OperatorProcess:
    """Start a version of the operator, and wait until it has listed the scans."""
    operator = operators(program=program, IMAGE=image, **SETTINGS)
    eventually(lambda: operator.get("/healthz").is_success)
    return operator


def patch(namespace: Namespace, change: str, name: str = NAME) -> None:
    namespace.kubectl("patch", "sms", name, "--type=merge", "-p", change)


def commands(namespace: Namespace, name: str) -> dict[str, Any]:
    """Return what the containers of a scan's Jobs and Deployment run: image, arguments and variables."""
    found = {key[1]: one for key, one in children(namespace, "jobs,deployments").items() if key[1].startswith(name)}
    return {key: [(each["image"], each["args"], each["env"]) for each in containers(one)] for key, one in found.items()}


def containers(found: Scan) -> list[Scan]:
    pod = found["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def uids(namespace: Namespace, kinds: str, name: str) -> dict[str, str]:
    return {
        key[1]: one["metadata"]["uid"]
        for key, one in children(namespace, kinds).items()
        if key[1].startswith(f"{name}-")
    }


@pytest.mark.timeout(600)
def test_running_scans_survive_upgrade_and_rollback(
    operators: Start, namespace: Namespace, worker_image: str, python_image: str, tmp_path: Path
) -> None:
    older, newer = other_version(VERSION, unknown="area"), other_version(NEWER, option=OPTION)
    operator = started(operators, older, worker_image)
    namespace.apply(manifest(SLOW))
    phase(namespace, "Scanning")
    begun, pods = commands(namespace, NAME), uids(namespace, "pods", NAME)
    recorded = eventually(
        lambda: scan(namespace)["status"]["runsWith"], lambda found: re.search("sha256:", found.get("imageId", ""))
    )
    assert (recorded["image"], recorded["operator"]) == (worker_image, VERSION)

    # Upgrade: nothing of the running scan changes, and a new scan runs what the newer version says.
    operator.end()
    operator = started(operators, newer, NEWER_IMAGE)
    area = {"area": {"nside": 1, "pixel": 0, "pixels": 4}}
    namespace.apply(manifest(OTHER, "second"), manifest(OTHER | area, "third"))
    complete(namespace, "second")
    degraded(namespace, "ImageUnavailable", "third")
    assert commands(namespace, NAME) == begun
    assert set(uids(namespace, "pods", NAME).values()) <= set(pods.values()), "no pod was replaced"
    assert f"/{NAME}: Replace(" not in operator.log.read_text()
    patch(namespace, '{"spec": {"suspend": true}}')
    phase(namespace, "Suspended")
    eventually(lambda: [pod for pod in unfinished_pods(namespace) if pod.startswith(f"{NAME}-")], lambda left: not left)
    namespace.kubectl("delete", "job/alert-collector", "job/alert-saver", "deployment/alert-workers")
    patch(namespace, '{"spec": {"suspend": false}}')
    complete(namespace)
    assert {key: [one[1:] for one in found] for key, found in commands(namespace, NAME).items()} == {
        key: [one[1:] for one in found] for key, found in begun.items()
    }
    second = commands(namespace, "second")
    assert all(OPTION in args and image == NEWER_IMAGE for found in second.values() for image, args, _ in found)

    # Rollback: the first scan ends with the same bits. The others wait, with their objects as they are.
    operator.end()
    namespace.kubectl("delete", "deployment/second-workers", "job/second-saver")
    operator = started(operators, older, worker_image)
    message = degraded(namespace, "OtherVersion", "second")
    assert "cannot create its Job of the saver, Deployment of the workers" in message
    assert f"operator {NEWER} began the scan" in message
    assert "cannot read the spec: spec.area" in degraded(namespace, "OtherVersion", "third")
    there = uids(namespace, KINDS, "second"), uids(namespace, KINDS, "third")
    namespace.apply(CLAIM)
    assert ended(namespace) == COMPLETED
    assert results(namespace, python_image) == embedded(SLOW, tmp_path)
    consistently(lambda: (uids(namespace, KINDS, "second"), uids(namespace, KINDS, "third")) == there)
    assert condition(scan(namespace, "third"), "Succeeded")[0] == "Unknown"
    namespace.kubectl("delete", "sms", "third", "--timeout=60s")

    # The upgrade again: what was missing is made as the newer version began it.
    operator.end()
    started(operators, newer, NEWER_IMAGE)
    eventually(lambda: commands(namespace, "second"), lambda found: found == second)
    degraded(namespace, "ImageUnavailable", "second")
