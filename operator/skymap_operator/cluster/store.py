"""What is known of the cluster without asking: the objects of scans as the API server last told of them. Pure.

An older state never replaces a newer one, from wherever it comes: news of a watch, or the answer to a change of our
own. (Versions of one kind grow: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions.) Of
each object only that is kept which the operator looks at: of a thousand scans there are ten thousand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skymap_api.names import COMPONENT_LABEL, KIND, SCAN_LABEL, SCAN_NAME_ANNOTATION, NamespacedName
from skymap_api.resource.base import Manifest

#: An object: kind, namespace, name.
Where = tuple[str, str, str]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class _Known:
    """An object of a version, as JSON: as dictionaries it would take five times as much."""

    version: int
    text: bytes
    label: str  # of its scan

    @property
    def manifest(self) -> Manifest:
        """The object."""
        found: Manifest = json.loads(self.text)
        return found


class Store:
    """Objects of scans. What changes them returns the scans that there are news of."""

    def __init__(self) -> None:
        self._objects: dict[Where, _Known] = {}
        self._pods: dict[tuple[str, str], set[Where]] = {}
        self._gone: dict[
            Where, int
        ] = {}  # versions of late deletions: what an answer says of before is not so any more

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object; None says that it is not known, not that it is not there."""
        known = self._objects.get((kind, namespace, name))
        return None if known is None else known.manifest

    def all(self, kind: str) -> Iterator[Manifest]:
        """Return all objects of a kind."""
        return (known.manifest for where, known in self._objects.items() if where[0] == kind)

    def pods(self, namespace: str, scan: str) -> list[Manifest]:
        """Return the pods with the label ``scan``."""
        return [self._objects[where].manifest for where in sorted(self._pods.get((namespace, scan), ()))]

    def put(self, kind: str, found: Mapping[str, Any]) -> set[NamespacedName]:
        """Take in an object as it is now, or as it was a moment ago."""
        where, version = _where(kind, found), _version(found)
        before = self._objects.get(where)
        if version <= (self._gone.get(where, -1) if before is None else before.version):
            return set()
        kept = trimmed(kind, found)
        known = _Known(version, json.dumps(kept).encode(), kept["metadata"].get("labels", {}).get(SCAN_LABEL, ""))
        if before is not None:
            self._drop(where)
        self._objects[where] = known
        if kind == "Pod":
            self._pods.setdefault((where[1], known.label), set()).add(where)
        return set() if before is not None and _same(kind, before.manifest, kept) else scans_of(kind, kept)

    def remove(self, kind: str, found: Mapping[str, Any]) -> set[NamespacedName]:
        """Take in that an object is gone; it is given as it was last."""
        where, version = _where(kind, found), _version(found)
        self._gone[where] = max(version, self._gone.get(where, -1))
        before = self._objects.get(where)
        if before is None or before.version > version:
            return set()
        self._drop(where)
        return scans_of(kind, found)

    def replace(
        self, kind: str, namespace: str | None, names: Iterable[tuple[str, str]], version: str
    ) -> set[NamespacedName]:
        """Take in which objects (namespace, name) of a kind there were at ``version``: all of them were listed."""
        there, news = {(kind, *name) for name in names}, set[NamespacedName]()
        for where, known in list(self._objects.items()):
            listed = where[0] == kind and namespace in {None, where[1]}
            if listed and where not in there and known.version <= _number(version):
                self._drop(where)
                news |= scans_of(kind, known.manifest)
        for where in [where for where, when in self._gone.items() if where[0] == kind and when <= _number(version)]:
            del self._gone[where]
        return news

    def _drop(self, where: Where) -> None:
        before = self._objects.pop(where)
        if where[0] == "Pod":
            group = where[1], before.label
            self._pods[group].discard(where)
            if not self._pods[group]:
                del self._pods[group]


def scans_of(kind: str, found: Mapping[str, Any]) -> set[NamespacedName]:
    """Return the scan that an object is, or belongs to; none where that cannot be told."""
    meta = found["metadata"]
    name = meta["name"] if kind == KIND else meta.get("annotations", {}).get(SCAN_NAME_ANNOTATION)
    return {NamespacedName(meta["namespace"], name)} if name else set()


def trimmed(kind: str, found: Mapping[str, Any]) -> Manifest:
    """Return what is kept of an object.

    Of a Job its pods' template is left out, which nobody can change; of a Deployment's status all but why it gets no
    pods, since the pods themselves are known; of a pod all that `observed.Pod` does not read.
    """
    meta = {key: value for key, value in found["metadata"].items() if key not in {"managedFields", "selfLink"}}
    notes = meta.get("annotations")
    if notes and _LAST_APPLIED in notes:
        meta["annotations"] = {key: value for key, value in notes.items() if key != _LAST_APPLIED}
    kept = {"kind": kind, **found, "metadata": meta}
    if kind == "Job":
        kept["spec"] = {key: value for key, value in found["spec"].items() if key not in {"template", "selector"}}
    elif kind == "Deployment":
        conditions = [one for one in found.get("status", {}).get("conditions", ()) if one["type"] == "ReplicaFailure"]
        kept["status"] = {"conditions": conditions} if conditions else {}
    elif kind == "Pod":
        return {"kind": kind, "metadata": _pod_meta(meta), "status": _pod_status(found.get("status", {}))}
    return kept


_POD_META = ("name", "namespace", "uid", "resourceVersion", "annotations", "deletionTimestamp")
_POD_CONDITIONS = {"PodScheduled", "Ready"}
_POD_CONTAINERS = ("initContainerStatuses", "containerStatuses")


def _pod_meta(meta: Mapping[str, Any]) -> Manifest:
    kept = {key: meta[key] for key in _POD_META if key in meta}
    labels = meta.get("labels", {})
    return kept | {"labels": {key: labels[key] for key in (SCAN_LABEL, COMPONENT_LABEL) if key in labels}}


def _pod_status(status: Mapping[str, Any]) -> Manifest:
    kept = {key: status[key] for key in ("phase", "podIP") if key in status}
    kept["conditions"] = [
        {key: one[key] for key in ("type", "status", "reason", "message") if key in one}
        for one in status.get("conditions", ())
        if one["type"] in _POD_CONDITIONS
    ]
    for key in _POD_CONTAINERS:
        if key in status:
            kept[key] = [
                {name: one[name] for name in ("state", "lastState", "restartCount") if name in one}
                for one in status[key]
            ]
    return kept


def _same(kind: str, before: Manifest, now: Manifest) -> bool:
    """Tell whether nothing has changed that the operator looks at. What it says of a scan is its own word."""
    ignored = {"metadata", "status"} if kind == KIND else {"metadata"}
    without = [
        {key: value for key, value in one["metadata"].items() if key != "resourceVersion"} for one in (before, now)
    ]
    rest = [{key: value for key, value in one.items() if key not in ignored} for one in (before, now)]
    return without[0] == without[1] and rest[0] == rest[1]


def _where(kind: str, found: Mapping[str, Any]) -> Where:
    return kind, found["metadata"]["namespace"], found["metadata"]["name"]


def _version(found: Mapping[str, Any]) -> int:
    return _number(found["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0
