"""The objects of scans as the API server last reported them. Pure.

An older version never replaces a newer one, whether it comes from a watch or from the answer to a write: versions of a
kind only grow (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions). The store keeps only
the fields that the operator reads: a thousand scans have ten thousand objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skymap_api.names import COMPONENT_LABEL, KIND, SCAN_LABEL, SCAN_NAME_ANNOTATION, NamespacedName
from skymap_api.resource.base import Manifest

#: The kinds that a store holds: scans, their children, and the pods of these.
STORED = (KIND, "Job", "Deployment", "ConfigMap", "PersistentVolumeClaim", "Pod")

#: Identifies an object: kind, namespace, name.
Key = tuple[str, str, str]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class _Stored:
    """An object and its version, as JSON, which takes a fifth of the memory of dictionaries."""

    version: int
    text: bytes
    label: str  # the scan label

    @property
    def manifest(self) -> Manifest:
        """The object."""
        found: Manifest = json.loads(self.text)
        return found


class Store:
    """Objects of scans. Every method that changes the store returns the scans of which an object has changed."""

    def __init__(self) -> None:
        self._objects: dict[Key, _Stored] = {}
        self._pods: dict[tuple[str, str], set[Key]] = {}
        #: Versions at deletion. Without them a late answer to a write would bring back an object that has gone.
        self._deleted: dict[Key, int] = {}

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object; None if it is not in the store, even though it may exist."""
        stored = self._objects.get((kind, namespace, name))
        return None if stored is None else stored.manifest

    def all(self, kind: str) -> Iterator[Manifest]:
        """Return all objects of a kind."""
        return (stored.manifest for key, stored in self._objects.items() if key[0] == kind)

    def pods(self, namespace: str, scan: str) -> list[Manifest]:
        """Return the pods with the label ``scan``."""
        return [self._objects[key].manifest for key in sorted(self._pods.get((namespace, scan), ()))]

    def put(self, kind: str, found: Mapping[str, Any]) -> set[NamespacedName]:
        """Store an object unless a newer version is stored or was deleted."""
        key, version = _key(kind, found), _version(found)
        before = self._objects.get(key)
        if version <= (self._deleted.get(key, -1) if before is None else before.version):
            return set()
        kept = trimmed(kind, found)
        stored = _Stored(version, json.dumps(kept).encode(), kept["metadata"].get("labels", {}).get(SCAN_LABEL, ""))
        if before is not None:
            self._drop(key)
        self._objects[key] = stored
        if kind == "Pod":
            self._pods.setdefault((key[1], stored.label), set()).add(key)
        return set() if before is not None and _same(kind, before.manifest, kept) else scans_of(kind, kept)

    def put_written(self, found: Manifest) -> None:
        """Store an object that a write returned, if its kind is stored."""
        if found["kind"] in STORED:
            self.put(found["kind"], found)

    def remove(self, kind: str, found: Mapping[str, Any]) -> set[NamespacedName]:
        """Remove a deleted object, given in its last version."""
        key, version = _key(kind, found), _version(found)
        self._deleted[key] = max(version, self._deleted.get(key, -1))
        before = self._objects.get(key)
        if before is None or before.version > version:
            return set()
        self._drop(key)
        return scans_of(kind, found)

    def replace(
        self, kind: str, namespace: str | None, names: Iterable[tuple[str, str]], version: str
    ) -> set[NamespacedName]:
        """Remove the objects of a kind that a complete list at ``version`` does not name (namespace, name)."""
        listed, changed = {(kind, *name) for name in names}, set[NamespacedName]()
        for key, stored in list(self._objects.items()):
            affected = key[0] == kind and namespace in {None, key[1]}
            if affected and key not in listed and stored.version <= _number(version):
                self._drop(key)
                changed |= scans_of(kind, stored.manifest)
        for key in [key for key, when in self._deleted.items() if key[0] == kind and when <= _number(version)]:
            del self._deleted[key]
        return changed

    def _drop(self, key: Key) -> None:
        before = self._objects.pop(key)
        if key[0] == "Pod":
            group = key[1], before.label
            self._pods[group].discard(key)
            if not self._pods[group]:
                del self._pods[group]


def scans_of(kind: str, found: Mapping[str, Any]) -> set[NamespacedName]:
    """Return the scan that an object is or belongs to; an empty set if it names none."""
    meta = found["metadata"]
    name = meta["name"] if kind == KIND else meta.get("annotations", {}).get(SCAN_NAME_ANNOTATION)
    return {NamespacedName(meta["namespace"], name)} if name else set()


def trimmed(kind: str, found: Mapping[str, Any]) -> Manifest:
    """Return the part of an object that the store keeps.

    A Job loses its pod template, which is immutable. Of a Deployment's status only the reasons for missing pods stay,
    because the pods themselves are stored. A pod keeps what `observe.state.Pod` reads.
    """
    meta = {key: value for key, value in found["metadata"].items() if key not in {"managedFields", "selfLink"}}
    notes = meta.get("annotations")
    if notes and _LAST_APPLIED in notes:
        meta["annotations"] = {key: value for key, value in notes.items() if key != _LAST_APPLIED}
    kept = {"kind": kind, **found, "metadata": meta}
    if kind == "Job":
        kept["spec"] = {key: value for key, value in found["spec"].items() if key not in {"template", "selector"}}
    elif kind == "Deployment":
        conditions = [one for one in found.get("status", {}).get("conditions", ()) if explains_missing_pods(one)]
        kept["status"] = {"conditions": conditions} if conditions else {}
    elif kind == "Pod":
        return {"kind": kind, "metadata": _pod_meta(meta), "status": _pod_status(found.get("status", {}))}
    return kept


def explains_missing_pods(condition: Mapping[str, Any]) -> bool:
    """Return whether a condition of a Deployment says why no pod, or no ReplicaSet, could be created."""
    if condition["type"] == "Progressing":
        return condition["status"] == "False" and condition.get("reason") == "ReplicaSetCreateError"
    return bool(condition["type"] == "ReplicaFailure" and condition["status"] == "True")


_POD_META = ("name", "namespace", "uid", "resourceVersion", "annotations", "creationTimestamp", "deletionTimestamp")
_POD_CONDITIONS = {"PodScheduled", "PodReadyToStartContainers", "Ready"}
_POD_CONTAINERS = ("initContainerStatuses", "containerStatuses")


def _pod_meta(meta: Mapping[str, Any]) -> Manifest:
    kept = {key: meta[key] for key in _POD_META if key in meta}
    owners = [
        {"uid": one["uid"], "controller": True} for one in meta.get("ownerReferences") or () if one.get("controller")
    ]
    kept |= {"ownerReferences": owners} if owners else {}
    labels = meta.get("labels", {})
    return kept | {"labels": {key: labels[key] for key in (SCAN_LABEL, COMPONENT_LABEL) if key in labels}}


def _pod_status(status: Mapping[str, Any]) -> Manifest:
    kept = {key: status[key] for key in ("phase", "podIP", "reason", "message") if key in status}
    kept["conditions"] = [
        {key: one[key] for key in ("type", "status", "reason", "message") if key in one}
        for one in status.get("conditions", ())
        if one["type"] in _POD_CONDITIONS
    ]
    for key in _POD_CONTAINERS:
        if key in status:
            kept[key] = [
                {name: one[name] for name in ("state", "lastState", "restartCount", "imageID") if name in one}
                for one in status[key]
            ]
    return kept


def _same(kind: str, before: Manifest, now: Manifest) -> bool:
    """Return whether two versions are equal for the operator, which writes the status of a scan itself."""
    ignored = {"metadata", "status"} if kind == KIND else {"metadata"}
    without = [
        {key: value for key, value in one["metadata"].items() if key != "resourceVersion"} for one in (before, now)
    ]
    rest = [{key: value for key, value in one.items() if key not in ignored} for one in (before, now)]
    return without[0] == without[1] and rest[0] == rest[1]


def _key(kind: str, found: Mapping[str, Any]) -> Key:
    return kind, found["metadata"]["namespace"], found["metadata"]["name"]


def _version(found: Mapping[str, Any]) -> int:
    return _number(found["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0
