"""Finds other operators that watch the same namespaces. Of several, one reconciles there, and the others stand by.

Two operators would correct each other's objects for ever, since their images and settings differ. So each holds a Lease
of its own in every namespace that it watches, and renews it. Of the operators whose Leases are valid, the one with the
oldest is the first, and reconciles. After the end of its Lease the next one does.

An operator of the whole cluster holds a Lease in its own namespace, and wherever there are scans or Leases of others.

An operator whose Lease somebody deleted waits for as long as a Lease is valid before it creates it again. So the
uninstall command can delete the Leases of an operator that is about to end, and nobody turns the guard off for good.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from skymap_api.names import GROUP
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Cluster, ClusterError, Conflict, NotFound, Refused
from skymap_operator.settings import MAX_NAME, OPERATOR_NAME, Settings

log = logging.getLogger(__name__)

LEASE = "Lease"

#: The label of the Leases.
LABEL = f"{GROUP}/operator"

#: How often Leases are renewed and listed, and how long they are valid without (s), whatever they say.
RENEWAL, DURATION = 60.0, 180

#: A renewal later than this from now (s) is not one that an operator wrote.
MAX_AHEAD = 30

#: Leases that are renewed at the same time.
MAX_CONCURRENT = 8

_MICROTIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Scope:
    """The Leases of this operator and of others. Without a name (``settings.name``) it has none and reconciles.

    ``in_use``: returns the namespaces that have scans.
    """

    def __init__(self, cluster: Cluster, settings: Settings, in_use: Callable[[], Iterable[str]] = tuple) -> None:
        self._cluster = cluster
        self._settings = settings
        self._name = settings.name
        self._in_use = in_use
        #: By namespace: the operators whose Leases are valid, the first one first, and when they were listed.
        self._operators: dict[str, tuple[tuple[str, ...], datetime]] = {}
        self._refused = set[str]()
        #: Namespaces in which this process has held a Lease, and since when it is missing there.
        self._held: dict[str, datetime | None] = {}

    async def run(self) -> None:
        """Renew and list the Leases until cancelled."""
        while self._name is not None:
            try:
                await self.refresh()
            except ClusterError as error:
                log.warning("the Leases of operators will be listed again in %.0f s: %s", RENEWAL, error)
            await asyncio.sleep(RENEWAL)

    async def refresh(self) -> None:
        """Renew the Leases of this operator and list those of all. Raises ClusterError."""
        if self._name is None:
            return
        watched = set(self._settings.namespaces)
        if not watched:
            found = await self._list(())
            others = {place for place, operators in found.items() if set(operators) - {self._name}}
            watched = {self._name.partition("/")[0], *others, *self._in_use()}
        free = asyncio.Semaphore(MAX_CONCURRENT)

        async def renew(name: str, namespace: str) -> None:
            async with free:
                await self._renew(name, namespace)

        self._held = {place: missing for place, missing in self._held.items() if place in watched}
        await asyncio.gather(*(renew(self._name, namespace) for namespace in sorted(watched)))
        found = await self._list(self._settings.namespaces)
        for namespace in sorted(watched | found.keys()):
            self._note(namespace, found.get(namespace, ()))
        for namespace in self._operators.keys() - watched - found.keys():
            del self._operators[namespace]

    async def other(self, namespace: str) -> str | None:
        """Return the name of another operator that reconciles a namespace, None if this one does.

        Raises ClusterError.
        """
        if self._name is None:
            return None
        operators, listed = self._operators.get(namespace, ((), datetime.min.replace(tzinfo=UTC)))
        if self._cluster.now() - listed > timedelta(seconds=DURATION):
            await self._renew(self._name, namespace)
            operators = (await self._list((namespace,))).get(namespace, ())
            self._note(namespace, operators)
        first = operators[0] if operators else self._name
        return None if first == self._name else first

    async def _list(self, namespaces: Iterable[str]) -> dict[str, tuple[str, ...]]:
        try:
            return await list_operators(self._cluster, namespaces)
        except Refused as error:
            self._warn("Leases", error)
            return {}

    async def _renew(self, name: str, namespace: str) -> None:
        """Renew the Lease in a namespace, but not soon after its deletion. A namespace that is deleted needs none."""
        now = self._cluster.now()
        lease = lease_of(name, namespace, now)
        try:
            try:
                await self._cluster.patch(LEASE, namespace, lease["metadata"]["name"], {"spec": lease["spec"]})
            except NotFound:
                if namespace in self._held:
                    missing = self._held[namespace] = self._held[namespace] or now
                    if now - missing < timedelta(seconds=DURATION):
                        return
                    log.warning("%s: the Lease of this operator was deleted, and is created again", namespace)
                await self._cluster.create(lease)
            self._held[namespace] = None
        except (Conflict, NotFound):
            return
        except Refused as error:
            self._warn(f"the Lease in {namespace}", error)

    def _warn(self, what: str, error: Refused) -> None:
        """Log once that another operator would not be noticed. That is no reason to leave scans alone."""
        if what not in self._refused:
            log.warning("another operator would not be noticed, since %s cannot be used: %s", what, error)
        self._refused.add(what)

    def _note(self, namespace: str, operators: tuple[str, ...]) -> None:
        """Note which operators watch a namespace, and log a change."""
        before, _ = self._operators.get(namespace, ((), None))
        self._operators[namespace] = operators, self._cluster.now()
        if operators != before and len(operators) > 1:
            first, *others = operators
            log.error("%s: %s reconciles the scans here, and %s stands by", namespace, first, ", ".join(others))


async def namespaces_of_leases(cluster: Cluster, operator: str, namespaces: Iterable[str]) -> list[str]:
    """Return where an operator has Leases, also expired ones; without namespaces, all are searched.

    Raises ClusterError.
    """
    return [
        one["metadata"]["namespace"]
        for one in await _leases(cluster, namespaces)
        if one["metadata"]["name"] == lease_name(operator)
    ]


async def list_operators(cluster: Cluster, namespaces: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the operators of these namespaces, without any of all, by namespace. Raises ClusterError."""
    return operators_of(await _leases(cluster, namespaces), cluster.now())


async def _leases(cluster: Cluster, namespaces: Iterable[str]) -> list[Manifest]:
    listed = [
        await cluster.list(LEASE, namespace, labels=LABEL, keep=trimmed) for namespace in tuple(namespaces) or (None,)
    ]
    return [lease for found in listed for lease in found]


def operators_of(leases: Iterable[Manifest], now: datetime) -> dict[str, tuple[str, ...]]:
    """Return the holders of the valid Leases by namespace, the first one first."""
    found: dict[str, list[tuple[str, str]]] = {}
    for lease in leases:
        meta, holder = lease["metadata"], _holder(lease.get("spec") or {}, now)
        if holder:
            found.setdefault(meta["namespace"], []).append((meta.get("creationTimestamp") or "", holder))
    return {namespace: tuple(holder for _, holder in sorted(holders)) for namespace, holders in found.items()}


def trimmed(lease: Manifest) -> Manifest:
    """Return what is read of a Lease. Anybody who may create Leases decides how large they are."""
    meta, spec = lease["metadata"], lease.get("spec") or {}
    kept = {field: str(meta.get(field) or "")[:MAX_NAME] for field in ("namespace", "name", "creationTimestamp")}
    said = {field: str(spec.get(field) or "")[: MAX_NAME + 1] for field in ("holderIdentity", "renewTime")}
    return {"metadata": kept, "spec": said}


def _holder(spec: Mapping[str, Any], now: datetime) -> str:
    """Return the holder of a Lease; empty if it is not the name of an operator, or not valid now."""
    holder = str(spec.get("holderIdentity") or "")
    if len(holder) > MAX_NAME or not re.fullmatch(OPERATOR_NAME, holder):
        return ""
    try:
        age = now - datetime.fromisoformat(spec.get("renewTime") or "")
    except (ValueError, TypeError, OverflowError):
        return ""
    return holder if timedelta(seconds=-MAX_AHEAD) < age < timedelta(seconds=DURATION) else ""


def lease_of(operator: str, namespace: str, now: datetime) -> Manifest:
    """Return the Lease that an operator, given as ``namespace/name``, holds in a namespace."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": LEASE,
        "metadata": {"name": lease_name(operator), "namespace": namespace, "labels": {LABEL: "true"}},
        "spec": {
            "holderIdentity": operator,
            "leaseDurationSeconds": DURATION,
            "renewTime": now.strftime(_MICROTIME),
        },
    }


def lease_name(operator: str) -> str:
    """Return the name of an operator's Leases. The chart computes it, too, for the permission to renew them."""
    return f"skymap-operator-{hashlib.sha256(operator.encode()).hexdigest()[:10]}"
