"""The SkymapScans of a cluster as they are read from it, and waiting for one of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from skymap_api.names import GROUP, Names
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Condition, ConditionType, Phase
from skymap_scanner.errors import ClusterError, ClusterUnavailable, InputError
from skymap_scanner.kubectl.client import Kubectl

#: The resource, so named that no other one of the cluster can be meant.
RESOURCE = f"skymapscans.{GROUP}"

#: How often a scan is looked at while it is waited for, and how long an absent cluster is waited for (s).
LOOK_EVERY, ABSENCE = 2.0, 300.0

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253


@dataclass(frozen=True)
class SeenScan:
    """A SkymapScan: ``document`` is all that the cluster has of it, ``made`` when it was made."""

    namespace: str
    name: str
    made: datetime
    generation: int
    status: SkymapScanStatus
    document: dict[str, Any]

    @classmethod
    def read(cls, document: dict[str, Any]) -> SeenScan:
        """Read what kubectl prints of one.

        Raises
        ------
        ClusterError
            If its status is of a form that we do not know.
        """
        meta = document["metadata"]
        try:
            status = SkymapScanStatus.model_validate(document.get("status", {}))
        except ValidationError as error:
            raise ClusterError(
                f"the status of SkymapScan {meta['name']} was written by another version of the operator: use the "
                "skymap-scanner of that version, or look at it with --json"
            ) from error
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            made=datetime.fromisoformat(meta["creationTimestamp"]),
            generation=meta.get("generation", 0),
            status=status,
            document=document,
        )

    @property
    def base(self) -> str:
        """What the names of its objects begin with, and the value of their label."""
        return Names.of(self.namespace, self.name).base

    @property
    def spec(self) -> dict[str, Any]:
        """What its user has written, and the defaults."""
        return dict(self.document.get("spec", {}))

    @property
    def deleting(self) -> bool:
        """Whether it is on its way out."""
        return "deletionTimestamp" in self.document["metadata"]

    @property
    def phase(self) -> str:
        """Where it is, in one word, also before the operator has said so."""
        if self.deleting:
            return Phase.DELETING.value
        return "New" if self.status.phase is None else self.status.phase.value

    @property
    def finished(self) -> bool:
        """Whether it is done, with success or without."""
        return self.status.phase in {Phase.SUCCEEDED, Phase.FAILED}

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
    def hindrance(self) -> Condition | None:
        """What is in its way."""
        degraded = self.condition(ConditionType.DEGRADED)
        return degraded if degraded is not None and degraded.status == "True" else None


def check_name(name: str) -> str:
    """Return the name of an object of Kubernetes.

    Raises
    ------
    InputError
        If it cannot be one.
    """
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a name in Kubernetes: lower case letters, digits, - and . , beginning and ending "
            f"with a letter or digit, at most {_LONGEST_NAME}"
        )
    return name


def find(kubectl: Kubectl, name: str) -> SeenScan | None:
    """Look for a scan."""
    document = kubectl.get(RESOURCE, check_name(name))
    return None if document is None else SeenScan.read(document)


def find_all(kubectl: Kubectl, everywhere: bool = False) -> list[SeenScan]:
    """Look for all scans of the namespace, or of all namespaces."""
    words = ["--all-namespaces"] if everywhere else []
    return [SeenScan.read(document) for document in kubectl.items(RESOURCE, *words)]


def the(kubectl: Kubectl, name: str) -> SeenScan:
    """Return a scan that must be there.

    Raises
    ------
    InputError
        If there is no such scan; names those that there are.
    """
    scan = find(kubectl, name)
    if scan is not None:
        return scan
    others = sorted(document["metadata"]["name"] for document in kubectl.items(RESOURCE))
    where = "in this namespace" if kubectl.namespace is None else f"in namespace {kubectl.namespace}"
    known = (
        f"there are {', '.join(others[:10])}{' and more' if len(others) > 10 else ''}" if others else "there is none"
    )
    raise InputError(
        f"there is no SkymapScan {name} {where}; {known} (skymap-scanner status -A lists those of all namespaces)"
    )


def follow(
    look: Callable[[], SeenScan], show: Callable[[SeenScan], None], sleep: Callable[[float], None] = time.sleep
) -> SeenScan:
    """Show a scan again and again until it is done, and return it.

    A cluster that is away for a while is waited for.

    Raises
    ------
    ClusterUnavailable
        If it stays away.
    """
    absent = 0.0
    while True:
        try:
            scan = look()
        except ClusterUnavailable:
            if absent >= ABSENCE:
                raise
            absent += LOOK_EVERY
        else:
            absent = 0.0
            show(scan)
            if scan.finished:
                return scan
        sleep(LOOK_EVERY)
