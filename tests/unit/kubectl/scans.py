"""SkymapScans as a cluster would print them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from skymap_scanner.kubectl.scans import ClusterScan

MADE = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
NOW = MADE + timedelta(seconds=200)


def at(seconds: float) -> str:
    return (MADE + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def condition(kind: str, status: str, reason: str, message: str = "", since: float = 20) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at(since)}


STARTED: dict[str, Any] = {"observedGeneration": 1, "startTime": at(10)}
SCANNING: dict[str, Any] = STARTED | {
    "phase": "Scanning",
    "level": 64,
    "progress": "812/3072",
    "pixels": {
        "done": 812,
        "planned": 3072,
        "failed": 1,
        "levels": [
            {"nside": 8, "done": 768, "planned": 768, "decided": True},
            {"nside": 64, "done": 44, "planned": 768, "decided": True, "failed": 1},
            {"nside": 512, "done": 0, "planned": 1536},
        ],
    },
    "best": {
        "nside": 64,
        "pixel": 21234,
        "ra": 77.41,
        "dec": 5.71,
        "llh": 612.3,
        "area90": 12.34,
        "contours": "calibrated",
    },
    "workers": {"desired": 16, "ready": 14, "busy": 12, "reason": "16 end within 900 s", "secondsPerTask": 0.83},
    "backlog": 1234,
    "rate": 3.2,
    "eta": at(400),
    "conditions": [
        condition("Succeeded", "Unknown", "InProgress"),
        condition("Progressing", "True", "Scanning", "the workers are fitting pixels"),
        condition("Degraded", "False", "AsExpected"),
    ],
    "runsWith": {
        "image": "worker:1",
        "operator": "0.1.0",
        "serviceUrl": "pulsar://p:6650",
        "adminUrl": "http://p:8080",
        "tenant": "icecube",
    },
}
DEGRADED = SCANNING | {"conditions": [condition("Degraded", "True", "Unschedulable", "no room: add nodes")]}
SUCCEEDED = SCANNING | {
    "phase": "Succeeded",
    "progress": "3072/3072",
    "completionTime": at(130),
    "rate": None,
    "eta": None,
    "outputs": {"claim": "demo-results", "path": "demo", "files": ["a.i3.zst", "a.json"]},
    "conditions": [condition("Succeeded", "True", "Completed", "the results are written", 130)],
}
FAILED = STARTED | {
    "phase": "Failed",
    "completionTime": at(60),
    "conditions": [condition("Succeeded", "False", "EventUnreachable", "producer failed: 404", 60)],
}
OUTPUT_FAILED = SCANNING | {
    "phase": "Failed",
    "completionTime": at(130),
    "roleMemory": [{"role": "saver", "limit": "4096Mi", "message": "its memory limit of 2Gi was too low"}],
    "conditions": [condition("Succeeded", "False", "OutputFailed", "saver failed: Error: no room", 130)],
}
SUSPENDED = SCANNING | {"phase": "Suspended", "startTime": None}


def document(status: dict[str, Any] | None = None, name: str = "demo", **metadata: Any) -> dict[str, Any]:
    written = {
        "apiVersion": "skymap.icecube.wisc.edu/v1alpha1",
        "kind": "SkymapScan",
        "metadata": {"name": name, "namespace": "sky", "creationTimestamp": at(0), "generation": 1, "uid": "u"}
        | metadata,
        "spec": {"event": {"url": "https://example.org/e.json?signature=x"}, "levels": [{"nside": 8, "parents": 0}]},
    }
    plain = {key: value for key, value in (status or {}).items() if value is not None}
    return written | ({"status": plain} if status else {})


def scan(status: dict[str, Any] | None = None, name: str = "demo", **metadata: Any) -> ClusterScan:
    return ClusterScan.read(document(status, name, **metadata))
