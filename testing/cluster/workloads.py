"""Workloads that meet the restricted pod security level."""

from __future__ import annotations

from typing import Any

RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10002,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(image: str, *command: str, volume: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the spec of a restricted pod; ``volume`` is mounted at /data."""
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        **more,
    }
    return {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": RESTRICTED,
        "containers": [container],
        "volumes": [{"name": "data", **(volume or {"emptyDir": {}})}],
    }


def labelled(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def deployment(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    selector = {"matchLabels": {"app": name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": selector, "template": labelled(name, spec)},
    }


def job(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    template = labelled(name, spec | {"restartPolicy": "Never"})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }
