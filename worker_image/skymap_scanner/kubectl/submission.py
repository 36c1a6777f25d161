"""Making a SkymapScan of an event: names, manifest, the ConfigMap that carries a file. Only `submit` uses the cluster.

Submitting again is safe: what exists stays, and a different scan of the same name is rejected, never changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import zstandard
from pydantic import ValidationError

from skymap_api.names import API_VERSION, KIND, MAX_BASE, Names
from skymap_api.resource import SkymapScan, SkymapScanSpec
from skymap_api.resource.base import to_manifest
from skymap_api.validation_errors import describe_errors
from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.kubectl.client import Kubectl, redacted
from skymap_scanner.kubectl.scans import ClusterScan, find_scan

Manifest = dict[str, Any]

#: Largest content of a ConfigMap (bytes). Source: MaxSecretSize of Kubernetes.
MAX_CONFIG_MAP = 1 << 20

_ENDINGS = re.compile(r"(\.(json|pkl|pickle|i3|zst|gz|bz2|xz))+$", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """What is created on the cluster: the scan, and a ConfigMap with its event if that is a file of this machine."""

    scan: Manifest
    event: Manifest | None = None

    @property
    def documents(self) -> list[Manifest]:
        """The manifests in the order in which they are created."""
        return [self.scan] if self.event is None else [self.event, self.scan]


def label(text: str) -> str:
    """Return a name made of any text: lower-case letters and digits joined by ``-``; empty if it has none."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MAX_BASE].rstrip("-")


def name_of_url(url: str) -> str:
    """Return a scan's name made of the last part of an event's URL: ``…/1386-31.json`` becomes ``1386-31``.

    Raises
    ------
    InputError
        If the URL has no such part.
    """
    last = PurePosixPath(urlsplit(url).path).name
    name = label(_ENDINGS.sub("", last))
    if not name:
        address = redacted(url.partition("?")[0])
        raise InputError(f"{address} has no file name for the name of the scan: give one with --name")
    return name


def event_config_map(name: str, file: str, content: bytes) -> Manifest:
    """Return the ConfigMap that carries an event's file to the cluster, compressed if it is too large otherwise.

    It is named after the scan and the content, so that two events have two ConfigMaps.

    Raises
    ------
    InputError
        If it is still too large; the message says where else the event may be.
    """
    key = re.sub(r"[^-._a-zA-Z0-9]", "-", file)[-200:]
    carried = content
    if len(carried) > MAX_CONFIG_MAP:
        carried, key = zstandard.ZstdCompressor(level=19).compress(content), f"{key}.zst"
    if len(carried) > MAX_CONFIG_MAP:
        raise InputError(
            f"{file} has {len(content)} bytes, {len(carried)} compressed, and a ConfigMap holds {MAX_CONFIG_MAP}: give "
            "a URL that the cluster can fetch, or put the file on a claim and name it in a manifest "
            "(spec.event.persistentVolumeClaim)"
        )
    base = Names.of("", name).base
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{base}-event-{hashlib.sha256(content).hexdigest()[:10]}",
            "labels": {"app.kubernetes.io/name": "skymap-scanner", "app.kubernetes.io/managed-by": "skymap-scanner"},
        },
        "binaryData": {key: base64.b64encode(carried).decode()},
        "immutable": True,
    }


def event_of_config_map(config_map: Manifest) -> Manifest:
    """Return ``spec.event`` for an event in a ConfigMap."""
    return {"configMap": {"name": config_map["metadata"]["name"], "key": next(iter(config_map["binaryData"]))}}


def scan_manifest(name: str, spec: Manifest) -> Manifest:
    """Return the manifest of a SkymapScan.

    Raises
    ------
    InputError
        If it is invalid; the message names the fields.
    """
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    parse_manifest(manifest, "the scan")
    return manifest


def parse_manifest(manifest: Any, what: str) -> SkymapScan:
    """Validate a manifest as the API server does.

    Raises
    ------
    InputError
        If it is not a SkymapScan; the message begins with ``what`` and names the fields.
    """
    try:
        return SkymapScan.model_validate(manifest)
    except ValidationError as error:
        raise InputError(f"{what} is not a valid SkymapScan: {describe_errors(error)}") from error


def differences(submitted: SkymapScanSpec, existing: SkymapScanSpec) -> list[str]:
    """Return the paths of the fields in which an existing scan differs from the submitted one.

    Immutable fields, which decide the map, are all compared; of the others, which may change at any time, only those
    that are given.
    """
    new, old = (dict(_fields(to_manifest(spec))) for spec in (submitted, existing))
    given = dict(_fields(submitted.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)))
    immutable = [path for path in new.keys() | old.keys() if path.split(".")[0] in SkymapScanSpec.immutable]
    return sorted(path for path in {*immutable, *given} if new.get(path) != old.get(path))


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the paths and values of the leaves of an object."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def submit(kubectl: Kubectl, submission: Submission) -> bool:
    """Create the scan unless it exists; return whether it was created now.

    Raises
    ------
    ClusterError
        If the cluster cannot be used, or rejects the scan.
    InputError
        If a different scan has this name.
    """
    name = submission.scan["metadata"]["name"]
    found = find_scan(kubectl, name)
    if found is not None:
        _check_same(submission, found)
    elif submission.event is not None:
        # It may remain from an interrupted submission, or be about to be deleted with an earlier scan.
        kubectl.run("delete", "configmap", submission.event["metadata"]["name"], "--ignore-not-found", "--timeout=15s")
        kubectl.run("create", "-f", "-", stdin=json.dumps(submission.event))
    scan = found or ClusterScan.read(
        json.loads(kubectl.run("create", "-f", "-", "-o", "json", stdin=json.dumps(submission.scan)))
    )
    if submission.event is not None:
        _set_owner(kubectl, submission.event["metadata"]["name"], scan)
    return found is None


def _check_same(submission: Submission, found: ClusterScan) -> None:
    """Raise an error unless the existing scan is the submitted one."""
    if found.deleting:
        raise InputError(f"SkymapScan {found.name} is being deleted: wait until it is deleted, or give another --name")
    try:
        existing = SkymapScanSpec.model_validate(found.spec)
    except ValidationError as error:
        raise ClusterError(
            f"SkymapScan {found.name} exists already, created with another version: give another --name"
        ) from error
    different = differences(parse_manifest(submission.scan, "the scan").spec, existing)
    if different:
        raise InputError(
            f"another SkymapScan {found.name} exists in namespace {found.namespace}: it differs in "
            f"{', '.join(different[:5])}{' and more' if len(different) > 5 else ''}. Give another --name, delete the "
            f"existing one (skymap-scanner abort {found.name} --delete), or change it with kubectl apply"
        )


def _set_owner(kubectl: Kubectl, config_map: str, scan: ClusterScan) -> None:
    """Make the scan the owner of the event's ConfigMap, so that Kubernetes deletes both together."""
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": scan.name, "uid": scan.uid}
    patch = {"metadata": {"ownerReferences": [owner]}}
    kubectl.run("patch", "configmap", config_map, "--type=merge", "--patch", json.dumps(patch))
