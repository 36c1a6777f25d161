"""The SkymapScans of a cluster: reading them, and watching one until it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from skymap_api.names import GROUP, Names
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import ObjectName
from skymap_api.resource.status import Condition, ConditionType, Phase, Reason
from skymap_scanner.errors import ClusterError, ClusterUnavailable, InputError
from skymap_scanner.kubectl.client import Kubectl

#: Full name of the resource, so that kubectl cannot confuse it with another one.
RESOURCE = f"skymapscans.{GROUP}"

#: Seconds between two readings of a scan that is watched, and the longest outage of the cluster that is tolerated.
POLL_INTERVAL, LONGEST_OUTAGE = 2.0, 300.0

_OBJECT_NAME = TypeAdapter(ObjectName)


@dataclass(frozen=True)
class ClusterScan:
    """A SkymapScan of a cluster; ``document`` is the whole resource."""

    namespace: str
    name: str
    created: datetime
    generation: int
    status: SkymapScanStatus
    document: dict[str, Any]

    @classmethod
    def read(cls, document: dict[str, Any]) -> ClusterScan:
        """Read the resource as kubectl prints it.

        Raises
        ------
        ClusterError
            If another version wrote its status.
        """
        meta = document["metadata"]
        try:
            status = SkymapScanStatus.model_validate(document.get("status", {}))
        except ValidationError as error:
            raise ClusterError(
                f"the status of SkymapScan {meta['name']} was written by another version of the operator: use the "
                "skymap-scanner of that version, or read it with --json"
            ) from error
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            created=datetime.fromisoformat(meta["creationTimestamp"]),
            generation=meta.get("generation", 0),
            status=status,
            document=document,
        )

    @property
    def uid(self) -> str:
        """The UID, which tells it from a later scan of the same name."""
        return str(self.document["metadata"]["uid"])

    @property
    def base(self) -> str:
        """The prefix of its objects' names, and the value of their label."""
        return Names.of(self.namespace, self.name).base

    @property
    def spec(self) -> dict[str, Any]:
        """The spec with the API server's defaults."""
        return dict(self.document.get("spec", {}))

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return "deletionTimestamp" in self.document["metadata"]

    @property
    def phase(self) -> str:
        """The phase; ``New`` before the operator has set one."""
        if self.deleting:
            return Phase.DELETING.value
        return "New" if self.status.phase is None else self.status.phase.value

    @property
    def finished(self) -> bool:
        """Whether it has succeeded or failed."""
        return self.status.phase in {Phase.SUCCEEDED, Phase.FAILED}

    @property
    def output_failed(self) -> bool:
        """Whether it has failed to write its results alone, so that its saver can run again."""
        succeeded = self.condition(ConditionType.SUCCEEDED)
        return self.finished and succeeded is not None and succeeded.reason is Reason.OUTPUT_FAILED

    @property
    def image(self) -> str | None:
        """Image of its pods, None before it has started."""
        return None if self.status.runs_with is None else self.status.runs_with.image

    @property
    def claim(self) -> str:
        """Name of the claim for its results."""
        named = self.spec.get("output", {}).get("claim", {}).get("name")
        return str(named or Names.of(self.namespace, self.name).claim)

    @property
    def folder(self) -> str:
        """Folder of its results in the claim."""
        return str(self.spec.get("output", {}).get("path") or self.name)

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return a condition of its status."""
        return next((one for one in self.status.conditions if one.type is kind), None)

    @property
    def degraded(self) -> Condition | None:
        """The condition Degraded if it is True."""
        degraded = self.condition(ConditionType.DEGRADED)
        return degraded if degraded is not None and degraded.status == "True" else None


def check_object_name(name: str) -> str:
    """Return the name of a Kubernetes object.

    Raises
    ------
    InputError
        If it is invalid.
    """
    try:
        return _OBJECT_NAME.validate_python(name)
    except ValidationError as error:
        raise InputError(
            f"{name!r} cannot be a name in Kubernetes: use at most 253 lower-case letters, digits, - and . , and begin "
            "and end with a letter or digit"
        ) from error


def find_scan(kubectl: Kubectl, name: str) -> ClusterScan | None:
    """Return a scan, None if it does not exist."""
    document = kubectl.get(RESOURCE, check_object_name(name))
    return None if document is None else ClusterScan.read(document)


def list_scans(kubectl: Kubectl, all_namespaces: bool = False) -> list[ClusterScan]:
    """Return the scans of the namespace, or of all namespaces."""
    words = ["--all-namespaces"] if all_namespaces else []
    return [ClusterScan.read(document) for document in kubectl.items(RESOURCE, *words)]


def get_scan(kubectl: Kubectl, name: str) -> ClusterScan:
    """Return a scan that must exist.

    Raises
    ------
    InputError
        If it does not; the message names those that do.
    """
    scan = find_scan(kubectl, name)
    if scan is not None:
        return scan
    others = sorted(document["metadata"]["name"] for document in kubectl.items(RESOURCE))
    where = "in this namespace" if kubectl.namespace is None else f"in namespace {kubectl.namespace}"
    known = (
        f"there are {', '.join(others[:10])}{' and more' if len(others) > 10 else ''}" if others else "there are none"
    )
    raise InputError(
        f"there is no SkymapScan {name} {where}; {known} (skymap-scanner status -A lists those of all namespaces)"
    )


def watch_until_finished(
    read: Callable[[], ClusterScan],
    show: Callable[[ClusterScan], None],
    sleep: Callable[[float], None] = time.sleep,
) -> ClusterScan:
    """Show a scan again and again until it is finished; return it. A temporary outage of the cluster is tolerated.

    Raises
    ------
    ClusterUnavailable
        If the outage lasts too long.
    """
    outage = 0.0
    while True:
        try:
            scan = read()
        except ClusterUnavailable:
            if outage >= LONGEST_OUTAGE:
                raise
            outage += POLL_INTERVAL
        else:
            outage = 0.0
            show(scan)
            if scan.finished:
                return scan
        sleep(POLL_INTERVAL)
