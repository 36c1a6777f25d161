"""From an event to the SkymapScan that scans it: names, manifest, the ConfigMap that carries a file; pure functions.

`submit` alone touches the cluster. It may be repeated: what is there already stays, and another scan of the same name
is refused, never changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import zstandard
from pydantic import ValidationError

from skymap_api.names import API_VERSION, KIND, MAX_BASE, Names
from skymap_api.resource import SkymapScan, SkymapScanSpec
from skymap_api.resource.base import describe_errors, to_manifest
from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.kubectl.client import Kubectl
from skymap_scanner.kubectl.scans import SeenScan, find

Manifest = dict[str, Any]

#: What a ConfigMap holds at most (Kubernetes: MaxSecretSize), bytes.
MAX_CONFIG_MAP = 1 << 20

_ENDINGS = re.compile(r"(\.(json|i3|zst|gz|bz2|xz))+$", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """What is given to the cluster: the scan, and the ConfigMap with its event where that is a file of this machine."""

    scan: Manifest
    event: Manifest | None = None

    @property
    def documents(self) -> list[Manifest]:
        """All of it in the order in which it is made."""
        return [self.scan] if self.event is None else [self.event, self.scan]


def label(text: str) -> str:
    """Make a name of any text: lower case letters and digits, with - between; empty if it has neither."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MAX_BASE].rstrip("-")


def name_of_url(url: str) -> str:
    """Name a scan after the last part of an event's address: ``…/138632-31747601.json`` is ``138632-31747601``.

    Raises
    ------
    InputError
        If it has no such part.
    """
    last = PurePosixPath(urlsplit(url).path).name
    name = label(_ENDINGS.sub("", last))
    if not name:
        raise InputError("no name can be made of this address: give one with --name")
    return name


def event_config_map(name: str, file: str, content: bytes) -> Manifest:
    """Return the ConfigMap that carries an event's file to the cluster, compressed if it is too large as it is.

    It is named after the scan and after the content, so that two events are two ConfigMaps.

    Raises
    ------
    InputError
        If it is too large all the same; says where else the event may be.
    """
    key = re.sub(r"[^-._a-zA-Z0-9]", "-", file)[-200:]
    carried = content
    if len(carried) > MAX_CONFIG_MAP:
        carried, key = zstandard.ZstdCompressor(level=19).compress(content), f"{key}.zst"
    if len(carried) > MAX_CONFIG_MAP:
        raise InputError(
            f"{file} has {len(content)} bytes, {len(carried)} compressed, and a ConfigMap holds {MAX_CONFIG_MAP}: give "
            "a URL from where the cluster can fetch it, or put it on a claim and name that in a manifest "
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


def scan_manifest(
    name: str, event: Manifest, more: Mapping[str, Any] | None = None, sets: Sequence[str] = ()
) -> Manifest:
    """Write a SkymapScan: ``more`` are other fields of spec, ``sets`` changes of it, such as ``workers.max=500``.

    Raises
    ------
    InputError
        If it cannot be one; the message names the field.
    """
    spec: Manifest = {"event": event, **(more or {})}
    for change in sets:
        set_field(spec, change)
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    check(manifest, "the scan")
    return manifest


def set_field(spec: Manifest, change: str) -> None:
    """Set a field of ``spec`` as ``PATH=VALUE`` says; the value is JSON, or text where it is not.

    Raises
    ------
    InputError
        If it is not PATH=VALUE, or leads through something that has no fields.
    """
    path, equals, text = change.partition("=")
    names = path.removeprefix("spec.").split(".")
    if not equals or not all(names):
        raise InputError(f"--set {change!r} is not PATH=VALUE, such as workers.max=500")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    place = spec
    for inner in names[:-1]:
        place = place.setdefault(inner, {})
        if not isinstance(place, dict):
            raise InputError(f"--set {change!r}: {inner} has no fields")
    place[names[-1]] = value


def check(manifest: Mapping[str, Any], what: str) -> SkymapScan:
    """Read a manifest as the API server will.

    Raises
    ------
    InputError
        If it is no SkymapScan; the message begins with ``what`` and names the fields.
    """
    try:
        return SkymapScan.model_validate(manifest)
    except ValidationError as error:
        raise InputError(f"{what} is not a SkymapScan: {describe_errors(error)}") from error


def differences(wanted: SkymapScanSpec, found: SkymapScanSpec) -> list[str]:
    """Name the fields in which a scan that is there differs from the one that is wanted.

    What decides the map is compared as a whole; of the rest, which may be changed at any time, what was given.
    """
    whole, there = (dict(_fields(to_manifest(spec))) for spec in (wanted, found))
    given = dict(_fields(wanted.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)))
    fixed = [path for path in whole.keys() | there.keys() if path.split(".")[0] in SkymapScanSpec.immutable]
    compared = {*fixed, *given}
    return sorted(path for path in compared if whole.get(path) != there.get(path))


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give the leaves of an object with their paths."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def submit(kubectl: Kubectl, submission: Submission) -> bool:
    """Make the scan, unless it is there; tells whether it was made now.

    Raises
    ------
    ClusterError
        If the cluster cannot be used, or refuses.
    InputError
        If another scan has this name.
    """
    name = submission.scan["metadata"]["name"]
    found = find(kubectl, name)
    if found is not None:
        _refuse_another(submission, found)
    elif submission.event is not None:
        # Left by a submission that was cut short, or about to go with an earlier scan.
        kubectl.run("delete", "configmap", submission.event["metadata"]["name"], "--ignore-not-found", "--timeout=15s")
        kubectl.run("create", "-f", "-", stdin=json.dumps(submission.event))
    scan = found or SeenScan.read(
        json.loads(kubectl.run("create", "-f", "-", "-o", "json", stdin=json.dumps(submission.scan)))
    )
    if submission.event is not None:
        _go_with(kubectl, submission.event["metadata"]["name"], scan)
    return found is None


def _refuse_another(submission: Submission, found: SeenScan) -> None:
    """Refuse to take a scan that is there for another one."""
    if found.deleting:
        raise InputError(f"SkymapScan {found.name} is being deleted: wait until it is gone, or give another --name")
    try:
        there = SkymapScanSpec.model_validate(found.spec)
    except ValidationError as error:
        raise ClusterError(
            f"SkymapScan {found.name} is there already, of another version: give another --name"
        ) from error
    different = differences(check(submission.scan, "the scan").spec, there)
    if different:
        raise InputError(
            f"there is another SkymapScan {found.name} in namespace {found.namespace}: it differs in "
            f"{', '.join(different[:5])}{' and more' if len(different) > 5 else ''}. Give another --name, delete that "
            f"one (skymap-scanner abort {found.name} --delete), or change what can be changed with kubectl apply"
        )


def _go_with(kubectl: Kubectl, config_map: str, scan: SeenScan) -> None:
    """Let the ConfigMap of the event go when the scan does."""
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": scan.name, "uid": scan.document["metadata"]["uid"]}
    patch = {"metadata": {"ownerReferences": [owner]}}
    kubectl.run("patch", "configmap", config_map, "--type=merge", "--patch", json.dumps(patch))
