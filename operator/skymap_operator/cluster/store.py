"""The objects of scans as the API server last reported them. Pure.

An older version never replaces a newer one, whether it comes from a watch or from the answer to a write: versions of a
kind only grow (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions). The store keeps only
what `trim` leaves of an object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skymap_api.names import KIND, SCAN_LABEL, SCAN_NAME_ANNOTATION, NamespacedName
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.trim import is_whole, trimmed

#: The kinds that a store holds: scans, their children, and the pods of these.
STORED = (KIND, "Job", "Deployment", "ConfigMap", "PersistentVolumeClaim", "Pod")

#: Identifies an object: kind, namespace, name.
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Stored:
    """An object and its version, as JSON, which takes a fifth of the memory of dictionaries."""

    version: int
    text: bytes
    label: str  # the scan label
    whole: bool  # see `trim.is_whole`

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
        """Store an object unless it, or a newer version, is stored or was deleted."""
        key, version, kept = _key(kind, found), _version(found), trimmed(kind, found)
        before, whole = self._objects.get(key), is_whole(kind, kept)
        completes = before is not None and version == before.version and whole and not before.whole
        if version <= (self._deleted.get(key, -1) if before is None else before.version) and not completes:
            return set()
        label = kept["metadata"].get("labels", {}).get(SCAN_LABEL, "")
        stored = _Stored(version, json.dumps(kept, ensure_ascii=False).encode(), label, whole)
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
