"""What the operator keeps of an object: the fields that it reads, in bounded size. Pure.

A thousand scans have ten thousand objects. And whoever may create objects in a namespace may make large ones that carry
the operator's label, so everything else is dropped on receipt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from skymap_api.names import COMPONENT_LABEL, FINALIZER, GROUP, KIND, SCAN_LABEL
from skymap_api.resource.base import Manifest

#: Kinds that are listed and watched without their content, which `CachedReads` requests where a scan needs it.
METADATA_ONLY = frozenset({"ConfigMap"})

#: Field of a kept ConfigMap with the digest of its data, which the API server never sends.
DATA_DIGEST = "dataDigest"

#: Longest child of a scan that is kept with its content (bytes of JSON). The longest Deployment has a fourth of it.
LONGEST = 256 << 10

_Object = Mapping[str, Any]

_META = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")
_LABELS = frozenset(
    {SCAN_LABEL, COMPONENT_LABEL, *(f"app.kubernetes.io/{name}" for name in ("name", "instance", "managed-by"))}
)
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_OWNER = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
#: Most annotations, owners and containers that are kept, and the longest text of an annotation or owner. The operator's
#: objects have fewer and shorter ones.
_MOST, _LONGEST_TEXT = 16, 512


def trimmed(kind: str, found: _Object) -> Manifest:
    """Return the part of an object that is kept; the argument is unchanged.

    A child that is longer than `LONGEST` keeps its metadata alone.
    """
    meta = _metadata(kind, found["metadata"])
    if kind == KIND:
        return {**found, "kind": kind, "metadata": meta}
    kept = {"kind": kind, "metadata": meta} | _CONTENT[kind](found)
    return kept if len(json.dumps(kept, ensure_ascii=False)) <= LONGEST else {"kind": kind, "metadata": meta}


def is_whole(kind: str, kept: _Object) -> bool:
    """Return whether a kept object has all that the operator reads of its kind."""
    return kind not in METADATA_ONLY or DATA_DIGEST in kept


def data_digest(config_map: _Object) -> str:
    """Return the digest of a ConfigMap's data, of one that is kept or one that is not."""
    if DATA_DIGEST in config_map:
        return str(config_map[DATA_DIGEST])
    content = [config_map.get(field) or {} for field in ("data", "binaryData")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def explains_missing_pods(condition: _Object) -> bool:
    """Return whether a condition of a Deployment says why no pod, or no ReplicaSet, could be created."""
    if condition["type"] == "Progressing":
        return condition["status"] == "False" and condition.get("reason") == "ReplicaSetCreateError"
    return bool(condition["type"] == "ReplicaFailure" and condition["status"] == "True")


def _metadata(kind: str, meta: _Object) -> Manifest:
    """Return what the operator reads or writes itself."""
    kept = {key: meta[key] for key in _META if key in meta}
    if FINALIZER in (meta.get("finalizers") or ()):
        kept["finalizers"] = [FINALIZER]
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    ours = [key for key, text in notes.items() if _is_ours(key) and len(text) <= _LONGEST_TEXT]
    owners = [
        _picked(one, _OWNER) for one in meta.get("ownerReferences") or () if kind != "Pod" or one.get("controller")
    ]
    owners = [one for one in owners if all(len(str(value)) <= _LONGEST_TEXT for value in one.values())]
    more = {
        "labels": _picked(labels, _LABELS),
        "annotations": {key: notes[key] for key in sorted(ours)[:_MOST]},
        "ownerReferences": owners[:_MOST],
    }
    return kept | {key: value for key, value in more.items() if value}


def _is_ours(annotation: str) -> bool:
    return annotation.startswith(f"{GROUP}/") or annotation == _DELETION_COST


def _job(found: _Object) -> Manifest:
    """Leave out the pod template, which is immutable."""
    spec, status = found.get("spec") or {}, found.get("status") or {}
    kept = _picked(status, ("active", "terminating")) | _conditions(status, {"Complete", "Failed"})
    return {"spec": _picked(spec, ("suspend", "backoffLimit", "activeDeadlineSeconds")), "status": kept}


def _deployment(found: _Object) -> Manifest:
    """Keep the whole spec, which is compared with the wanted one; of the status only why pods are missing."""
    conditions = [one for one in (found.get("status") or {}).get("conditions") or () if explains_missing_pods(one)]
    return {"spec": found.get("spec") or {}, "status": {"conditions": conditions} if conditions else {}}


def _config_map(found: _Object) -> Manifest:
    """Keep the digest of the data, unless only metadata was received."""
    whole = DATA_DIGEST in found or "data" in found or "binaryData" in found
    return {DATA_DIGEST: data_digest(found)} if whole else {}


def _claim(found: _Object) -> Manifest:
    requests = ((found.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return {
        "spec": {"resources": {"requests": _picked(requests, ("storage",))}},
        "status": _picked(found.get("status") or {}, ("phase",)),
    }


def _pod(found: _Object) -> Manifest:
    """Keep what `observe.state.Pod` reads."""
    status = found.get("status") or {}
    kept = _picked(status, ("phase", "podIP", "reason", "message"))
    kept |= _conditions(status, {"PodScheduled", "PodReadyToStartContainers", "Ready"})
    for key in ("initContainerStatuses", "containerStatuses"):
        if key in status:
            kept[key] = [_picked(one, ("state", "lastState", "restartCount", "imageID")) for one in status[key][:_MOST]]
    return {"status": kept}


_CONTENT: dict[str, Callable[[_Object], Manifest]] = {
    "Job": _job,
    "Deployment": _deployment,
    "ConfigMap": _config_map,
    "PersistentVolumeClaim": _claim,
    "Pod": _pod,
}


def _conditions(status: _Object, types: set[str]) -> Manifest:
    """Return the conditions of these types."""
    fields = ("type", "status", "reason", "message", "lastTransitionTime")
    return {"conditions": [_picked(one, fields) for one in status.get("conditions") or () if one["type"] in types]}


def _picked(found: _Object, keys: tuple[str, ...] | frozenset[str]) -> Manifest:
    return {key: found[key] for key in found if key in keys}
