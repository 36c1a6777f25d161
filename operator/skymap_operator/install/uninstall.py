"""Ends all scans before the operator is uninstalled: no scan may keep a finalizer that nobody would ever remove.

Scans are deleted, or released: they stay as records without pods and topics. In both cases pods end and topics are
deleted as for a deleted scan (`decide_deleting`). The operator may still run or be gone, so the state is observed here.
A scan to be released is suspended first, because an operator that still runs would create its objects again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime

from skymap_api.names import FINALIZER, KIND, Names, TopicBases
from skymap_api.pulsar_admin import PulsarUnavailable
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Reason
from skymap_operator.apply import ActionRefused, apply
from skymap_operator.cluster.client import Cluster, ClusterError, Conflict, NotFound, Refused, Unavailable
from skymap_operator.decide.actions import Emit, RemoveFinalizer, SetStatus
from skymap_operator.decide.deletion import decide_deleting
from skymap_operator.observe.read import observe
from skymap_operator.observe.state import ObservedScan, ObservedState, PulsarFault
from skymap_operator.pulsar.access import runs_with
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.runtime.scope import LEASE, lease_name, list_operators, namespaces_of_leases
from skymap_operator.settings import Settings

log = logging.getLogger(__name__)

#: Pause between two passes over all scans (s), and how many in a row must find nothing to do: an operator that still
#: runs may act on an older state.
PAUSE, QUIET_PASSES = 1.0, 3

#: Scans that are handled at the same time, and attempts to change one that others change too.
MAX_CONCURRENT, ATTEMPTS = 8, 5


@dataclass(frozen=True)
class Pending:
    """A scan that still has the finalizer, and what it waits for."""

    resource: Manifest
    waits_for: str

    @property
    def name(self) -> str:
        """Its namespace and name."""
        meta = self.resource["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


class Uninstall:
    """Deletes (``delete``) or releases all scans of the namespaces in the settings, but for another operator's."""

    def __init__(self, cluster: Cluster, pulsars: Pulsars, settings: Settings, *, delete: bool) -> None:
        self._cluster = cluster
        self._pulsars = pulsars
        self._settings = settings
        self._delete = delete
        self._free = asyncio.Semaphore(MAX_CONCURRENT)
        self._spared = frozenset[str]()

    async def run(self, timeout: float) -> None:
        """Return when the pods and topics of all scans are gone, or report what is left after ``timeout`` (s).

        Raises ClusterError if the API server stays unavailable or refuses a request.
        """
        self._spared = await self._of_others()
        await self._run(timeout)
        await self._delete_leases()

    async def _run(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        deadline, quiet = loop.time() + timeout, 0
        before = set[str]()
        while quiet < QUIET_PASSES:
            late = loop.time() > deadline
            try:
                pending = await self._pass()
            except Unavailable as error:
                if late:
                    raise
                log.warning("%s", error)
                quiet = 0
            else:
                if pending and late:
                    await asyncio.gather(*map(self._release, pending))
                    return
                now = {one.name for one in pending}
                # An operator that still runs may have done it first.
                for name in sorted(before - now):
                    log.info("%s: its pods and topics are gone", name)
                before = now
                quiet = 0 if pending else quiet + 1
            await asyncio.sleep(PAUSE)

    async def _pass(self) -> list[Pending]:
        """Take the next step for every scan; return those that need another."""
        found: list[Manifest] = []
        for namespace in self._settings.namespaces or (None,):
            try:
                found += await self._cluster.list(KIND, namespace)
            except NotFound:  # without the definition there are no scans
                return []
        ours = [one for one in found if one["metadata"]["namespace"] not in self._spared]
        return [pending for pending in await asyncio.gather(*map(self._step, ours)) if pending is not None]

    async def _of_others(self) -> frozenset[str]:
        """Return the namespaces whose scans another operator reconciles; they are left to it."""
        if self._settings.name is None:
            return frozenset()
        try:
            operators = await list_operators(self._cluster, self._settings.namespaces)
        except Refused as error:
            log.warning("the Leases of operators cannot be listed: %s", error)
            return frozenset()
        others = {place: found[0] for place, found in operators.items() if found[0] != self._settings.name}
        for place, first in sorted(others.items()):
            log.info("%s: its scans are left to the operator %s", place, first)
        return frozenset(others)

    async def _delete_leases(self) -> None:
        """Delete the operator's Leases, also expired ones. One that still runs creates them only minutes later."""
        name = self._settings.name
        if name is None:
            return
        try:
            for namespace in await namespaces_of_leases(self._cluster, name, self._settings.namespaces):
                await self._cluster.delete(LEASE, namespace, lease_name(name))
        except ClusterError as error:
            log.warning("Leases are left: %s", error)

    async def _step(self, resource: Manifest) -> Pending | None:
        async with self._free:
            try:
                waits_for = await self._begin(resource) or await self._clean_up(resource)
            except Unavailable:
                raise
            except NotFound:
                return None
            except (ClusterError, ActionRefused, PulsarUnavailable) as error:
                waits_for = str(error)
        return None if waits_for is None else Pending(resource, waits_for)

    async def _begin(self, resource: Manifest) -> str | None:
        """Delete or suspend the scan; return what it waits for then, None if that was done before."""
        scan = ObservedScan.of(resource)
        if scan.deleting:
            return None
        if self._delete:
            await self._cluster.delete(KIND, scan.namespace, scan.name, uid=scan.uid)
            return "its deletion"
        if scan.finished or resource["spec"].get("suspend"):
            return None
        await self._cluster.patch(KIND, scan.namespace, scan.name, {"spec": {"suspend": True}})
        return "its suspension"

    async def _clean_up(self, resource: Manifest) -> str | None:
        """End pods, delete topics, remove the finalizer; return what it waits for, None if the finalizer is gone."""
        if FINALIZER not in resource["metadata"].get("finalizers", ()):
            return None
        observed = await observe(_deleted(resource, self._cluster.now()), self._cluster, self._pulsars, self._settings)
        # A scan that stays keeps its last status.
        actions = [
            one for one in decide_deleting(observed, self._settings).actions if not isinstance(one, SetStatus | Emit)
        ]
        await apply(actions, observed, self._cluster, self._pulsars, self._settings)
        return observed.pulsar.message if isinstance(observed.pulsar, PulsarFault) else "the end of its pods and topics"

    async def _release(self, pending: Pending) -> None:
        """Remove the finalizer in any case and report what may be left."""
        scan = ObservedScan.of(pending.resource)
        runs = runs_with(scan.spec, scan.status, self._settings)
        names = Names.of(scan.namespace, scan.name)
        metadata = TopicBases.of(runs.tenant, scan.namespace).metadata
        left = (
            f"released after the timeout, while waiting for: {pending.waits_for}. Pulsar at {runs.admin_url} may still "
            f"have its topics persistent://{runs.tenant}/skymap/{names.scan}-...: "
            f"skymap-scanner topics delete -n {names.scan} -m {metadata}"
        )
        log.warning("%s/%s: %s", scan.namespace, scan.name, left)
        fault = PulsarFault(Reason.PULSAR_UNAVAILABLE, pending.waits_for)
        observed = ObservedState(self._cluster.now(), scan, fault)
        for attempt in range(ATTEMPTS):
            try:
                await apply([RemoveFinalizer()], observed, self._cluster, self._pulsars, self._settings)
                break
            except NotFound:
                break
            except Conflict:
                if attempt + 1 == ATTEMPTS:
                    raise
        try:
            await self._cluster.record(pending.resource, "Warning", "Released", left)
        except ClusterError as error:  # the log holds the same
            log.info("%s/%s: Event Released not recorded: %s", scan.namespace, scan.name, error)


def _deleted(resource: Manifest, now: datetime) -> Manifest:
    """Return the resource as if it had been deleted."""
    return resource | {"metadata": {"deletionTimestamp": now.isoformat()} | resource["metadata"]}
