"""Manifest of the Job whose pod reads a claim for ``skymap-scanner fetch``, and the reasons why its pod does not start.

It is a Job so that Kubernetes removes it even if ``fetch`` is killed: the pod ends once nobody uses it (see
`fetch_program`) or at its deadline, and the Job's time to live deletes it afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from skymap_api.pod_reasons import IMAGE_UNAVAILABLE, STARTING
from skymap_api.resource.pods import is_reserved_annotation, is_reserved_label
from skymap_api.text import bounded_line
from skymap_scanner.kubectl import fetch_program

Manifest = dict[str, Any]

MOUNT_PATH, CONTAINER = "/results", "fetch"
#: Longest copy (s).
DEADLINE = 3600
#: Time until Kubernetes deletes a finished Job (s).
_TIME_TO_LIVE = 5

#: Most characters of a message of Kubernetes that are shown.
_LONGEST_MESSAGE = 1024

_USER = 1000
#: User and groups of a pod whose scan is not known any more.
_SECURITY = {
    "fsGroup": _USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "runAsGroup": _USER,
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}

_IDS = {"fsGroup", "runAsGroup", "runAsUser"}
#: Annotation of the namespaces of OpenShift, which rejects pods with ids out of the range.
_UID_RANGE = "openshift.io/sa.scc.uid-range"

#: Fields of the saver's pod that decide where it may run, as whom, and with which image.
_SITE_FIELDS = (
    *("affinity", "imagePullSecrets", "nodeSelector", "priorityClassName"),
    *("securityContext", "serviceAccountName", "tolerations"),
)


@dataclass(frozen=True)
class ResultSource:
    """A folder of a claim, and the image of a pod that can read it; the image needs Python.

    ``pod``, ``labels``, ``annotations``: what the site asks of pods, from the pod that wrote the results.
    """

    claim: str
    folder: str
    image: str
    pull_policy: str = "IfNotPresent"
    pod: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_saver(cls, claim: str, folder: str, image: str, saver: Manifest | None) -> ResultSource:
        """Return the source with what the saver's Job has: its pod may run, and read what it wrote."""
        if saver is None:
            return cls(claim, folder, image)
        pod, meta = saver["spec"]["template"]["spec"], saver["spec"]["template"].get("metadata") or {}
        return cls(
            claim,
            folder,
            image,
            pull_policy=pod["containers"][0].get("imagePullPolicy", "IfNotPresent"),
            pod={name: pod[name] for name in _SITE_FIELDS if pod.get(name)},
            labels=_copied(meta.get("labels"), is_reserved_label),
            annotations=_copied(meta.get("annotations"), is_reserved_annotation),
        )

    def in_namespace(self, namespace: Manifest | None) -> ResultSource:
        """Return the source with its ids left to a namespace that assigns its own, unless the saver had some."""
        notes = ((namespace or {}).get("metadata") or {}).get("annotations") or {}
        if _UID_RANGE not in notes or "securityContext" in self.pod:
            return self
        security = {key: value for key, value in _SECURITY.items() if key not in _IDS}
        return replace(self, pod={**self.pod, "securityContext": security})

    @property
    def path(self) -> str:
        """The folder in the pod."""
        return f"{MOUNT_PATH}/{self.folder}"


def _copied(meta: Mapping[str, str] | None, reserved: Callable[[str], bool]) -> dict[str, str]:
    """Return the labels or annotations that the site or the user has added."""
    return {key: value for key, value in (meta or {}).items() if not reserved(key)}


def build_job(name: str, source: ResultSource) -> Manifest:
    """Return the Job's manifest; its pod meets the Pod Security Standard `restricted`."""
    labels = {
        "app.kubernetes.io/name": "skymap-scanner",
        "app.kubernetes.io/component": "fetch",
        "app.kubernetes.io/managed-by": "skymap-scanner",
    }
    container = {
        "name": CONTAINER,
        "image": source.image,
        "imagePullPolicy": source.pull_policy,
        "command": ["python3", "-I", "-c", inspect.getsource(fetch_program), "wait"],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "results", "mountPath": MOUNT_PATH, "readOnly": True}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": _SECURITY,
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "results", "persistentVolumeClaim": {"claimName": source.claim}}],
        **source.pod,
    }
    meta: Manifest = {"labels": {**source.labels, **labels}}
    if source.annotations:
        meta["annotations"] = dict(source.annotations)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "activeDeadlineSeconds": DEADLINE,
            "backoffLimit": 0,
            "template": {"metadata": meta, "spec": pod},
            "ttlSecondsAfterFinished": _TIME_TO_LIVE,
        },
    }


def is_ready(pod: Manifest) -> bool:
    """Return whether the pod's container runs."""
    return any("running" in one.get("state", {}) for one in pod.get("status", {}).get("containerStatuses", ()))


def permanent_failure(pod: Manifest) -> str | None:
    """Return why a pod will never start; None while it may."""
    status = pod.get("status", {})
    for one in status.get("containerStatuses", ()):
        waiting, ended = one.get("state", {}).get("waiting", {}), one.get("state", {}).get("terminated")
        if waiting.get("reason") in IMAGE_UNAVAILABLE:
            detail = waiting.get("message") or waiting["reason"]
            return f"the image {one.get('image')} cannot be pulled ({detail}): choose another with --image"
        if waiting.get("reason") and waiting["reason"] not in STARTING:
            return f"its container cannot start: {waiting.get('message') or waiting['reason']}"
        if ended is not None:
            return f"its container exited at once: {ended.get('message') or ended.get('reason')}"
    if status.get("phase") in {"Failed", "Succeeded"}:
        return f"it exited at once: {status.get('message') or status.get('reason') or status['phase']}"
    return None


def _last_seen(event: Manifest) -> str:
    """Return when an Event was seen last; kubectl lists Events in the order of their first."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def pending_reason(pods: Sequence[Manifest], events: Sequence[Manifest]) -> str:
    """Return why a pod has not started yet, from its conditions, or else from the last warning about Job and pod."""
    for pod in pods:
        for one in pod.get("status", {}).get("conditions", ()):
            if one["type"] == "PodScheduled" and one["status"] == "False":
                return f"no node can run it: {one.get('message', one.get('reason'))}"
    warnings = [event for event in events if event.get("type") == "Warning"]
    if warnings:
        return bounded_line(str(max(warnings, key=_last_seen).get("message", "")), _LONGEST_MESSAGE)
    return "Kubernetes gives no reason" if pods else "it has not been created"
