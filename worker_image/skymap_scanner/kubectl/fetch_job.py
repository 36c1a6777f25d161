"""Manifest of the Job whose pod reads a claim for ``skymap-scanner fetch``, and the reasons why its pod does not start.

It is a Job so that Kubernetes removes it even if ``fetch`` is killed: the pod ends once nobody uses it (see
`fetch_program`) or at its deadline, and the Job's time to live deletes it afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skymap_scanner.kubectl import fetch_program

Manifest = dict[str, Any]

RESULTS, CONTAINER = "/results", "fetch"
#: No copy takes longer (s).
DEADLINE = 3600
#: How long it stays when it has ended by itself (s).
_TIME_TO_LIVE = 5

_BAD_IMAGE = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_USER = 1000


@dataclass(frozen=True)
class Source:
    """Where results are, and what can read them: a folder of a claim, an image with Python, a user.

    ``security``: the security context of the pod that wrote them, where it is known.
    """

    claim: str
    folder: str
    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    security: Mapping[str, Any] | None = None

    @classmethod
    def like(cls, claim: str, folder: str, image: str, job: Manifest | None) -> Source:
        """Return it as the Job ``job`` of the saver has it: its user can read what it wrote."""
        if job is None:
            return cls(claim, folder, image)
        pod = job["spec"]["template"]["spec"]
        return cls(
            claim,
            folder,
            image,
            pull_policy=pod["containers"][0].get("imagePullPolicy", "IfNotPresent"),
            pull_secrets=tuple(secret["name"] for secret in pod.get("imagePullSecrets", ())),
            security=pod.get("securityContext") or None,
        )

    @property
    def path(self) -> str:
        """The folder as the pod sees it."""
        return f"{RESULTS}/{self.folder}"


def job(name: str, source: Source) -> Manifest:
    """Return the Job; its pod keeps to the `restricted` level."""
    labels = {
        "app.kubernetes.io/name": "skymap-scanner",
        "app.kubernetes.io/component": "fetch",
        "app.kubernetes.io/managed-by": "skymap-scanner",
    }
    container = {
        "name": CONTAINER,
        "image": source.image,
        "imagePullPolicy": source.pull_policy,
        "command": ["python3", "-c", inspect.getsource(fetch_program), "wait"],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "results", "mountPath": RESULTS, "readOnly": True}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": secret} for secret in source.pull_secrets],
        "restartPolicy": "Never",
        "securityContext": source.security
        or {
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": _USER,
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "results", "persistentVolumeClaim": {"claimName": source.claim}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "activeDeadlineSeconds": DEADLINE,
            "backoffLimit": 0,
            "template": {"metadata": {"labels": labels}, "spec": pod},
            "ttlSecondsAfterFinished": _TIME_TO_LIVE,
        },
    }


def is_ready(pod: Manifest) -> bool:
    """Tell whether the pod's container runs."""
    return any("running" in one.get("state", {}) for one in pod.get("status", {}).get("containerStatuses", ()))


def why_never(pod: Manifest) -> str | None:
    """Return why a pod will not start, whatever time it is given; None while it may."""
    status = pod.get("status", {})
    for one in status.get("containerStatuses", ()):
        waiting, ended = one.get("state", {}).get("waiting", {}), one.get("state", {}).get("terminated")
        if waiting.get("reason") in _BAD_IMAGE:
            said = waiting.get("message") or waiting["reason"]
            return f"the image {one.get('image')} cannot be had ({said}): name another with --image"
        if waiting.get("reason") in {"CreateContainerError", "RunContainerError", "CreateContainerConfigError"}:
            return f"its container cannot start: {waiting.get('message') or waiting['reason']}"
        if ended is not None:
            return f"its container ended at once: {ended.get('message') or ended.get('reason')}"
    if status.get("phase") in {"Failed", "Succeeded"}:
        return f"it ended at once: {status.get('message') or status.get('reason') or status['phase']}"
    return None


def why_not_yet(pods: Sequence[Manifest], events: Sequence[Manifest]) -> str:
    """Return what a pod that has not started waits for: from its state, else from the warnings about Job and pod."""
    for pod in pods:
        for one in pod.get("status", {}).get("conditions", ()):
            if one["type"] == "PodScheduled" and one["status"] == "False":
                return f"no node can take it: {one.get('message', one.get('reason'))}"
    warnings = [event.get("message", "") for event in events if event.get("type") == "Warning"]
    if warnings:
        return str(warnings[-1])
    return "nothing says why" if pods else "it has not been made"
