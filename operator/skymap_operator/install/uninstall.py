"""The operator's last act, before it is uninstalled: no scan may keep a finalizer that nobody would ever take off.

Scans go, or stay as records; either way their pods end and their topics are deleted, as when a scan is deleted
(`ending.plan_deletion`). The operator may still run, or be gone: all looks here are our own. A scan that is to stay is
suspended first, so that an operator that still runs makes nothing anew.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from skymap_api.names import FINALIZER, KIND, Names
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Reason
from skymap_operator.apply import ActionRefused, apply
from skymap_operator.cluster.client import Away, Cluster, ClusterError, Conflict, NotFound
from skymap_operator.decide.actions import Emit, RemoveFinalizer, SetStatus
from skymap_operator.decide.ending import plan_deletion
from skymap_operator.observe.read import observe
from skymap_operator.observe.state import ObservedScan, ObservedState, PulsarFault, needs_other_plans
from skymap_operator.pulsar.access import runs_with
from skymap_operator.pulsar.admin import PulsarAway
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.settings import Settings

log = logging.getLogger(__name__)

#: Between two passes over all scans (s), and how many in a row must find nothing to do: an operator that still runs may
#: be acting on what it saw before.
PAUSE, QUIET_PASSES = 1.0, 3

#: Scans that are looked at at the same time, and tries to change one that others change too.
AT_A_TIME, TRIES = 8, 5


@dataclass(frozen=True)
class Held:
    """A scan that cannot be let go yet, and what it waits for."""

    resource: Manifest
    waits_for: str

    @property
    def name(self) -> str:
        """Its namespace and name."""
        meta = self.resource["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


class Uninstall:
    """Lets go of all scans of the namespaces that the settings name; ``delete``: the scans themselves go too."""

    def __init__(self, cluster: Cluster, pulsars: Pulsars, settings: Settings, *, delete: bool) -> None:
        self._cluster = cluster
        self._pulsars = pulsars
        self._settings = settings
        self._delete = delete
        self._free = asyncio.Semaphore(AT_A_TIME)
        self._leaving: frozenset[str] = frozenset()  # plans of scans whose topics go

    async def run(self, timeout: float) -> None:
        """Return when the pods and topics of all scans are gone; after ``timeout`` (s) say what is left and let go.

        Raises
        ------
        ClusterError
            If the API server stays away, or refuses what is needed.
        """
        loop = asyncio.get_running_loop()
        deadline, quiet = loop.time() + timeout, 0
        before = set[str]()
        while quiet < QUIET_PASSES:
            late = loop.time() > deadline
            try:
                held = await self._pass()
            except Away as error:
                if late:
                    raise
                log.warning("%s", error)
                quiet = 0
            else:
                if held and late:
                    await asyncio.gather(*map(self._abandon, held))
                    return
                now = {one.name for one in held}
                # Whoever did it: an operator that still runs is often quicker.
                for name in sorted(before - now):
                    log.info("%s: its pods and topics are gone", name)
                before = now
                quiet = 0 if held else quiet + 1
            await asyncio.sleep(PAUSE)

    async def _pass(self) -> list[Held]:
        """Take the next step with every scan; return those that need another."""
        found: list[Manifest] = []
        for namespace in self._settings.namespaces or (None,):
            try:
                found += await self._cluster.list(KIND, namespace)
            except NotFound:  # there is no definition, so there are no scans
                return []
        self._leaving = frozenset(plan for plan in map(self._plan_that_goes, found) if plan is not None)
        return [held for held in await asyncio.gather(*map(self._step, found)) if held is not None]

    async def _step(self, resource: Manifest) -> Held | None:
        async with self._free:
            try:
                waits_for = await self._begin(resource) or await self._let_go(resource)
            except Away:
                raise
            except NotFound:
                return None
            except (ClusterError, ActionRefused, PulsarAway) as error:
                waits_for = str(error)
        return None if waits_for is None else Held(resource, waits_for)

    async def _begin(self, resource: Manifest) -> str | None:
        """Delete or suspend the scan; return what is awaited then, None where there is nothing to begin."""
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

    async def _let_go(self, resource: Manifest) -> str | None:
        """End pods, delete topics, take the finalizer off; return what is awaited, None where it is off already."""
        if FINALIZER not in resource["metadata"].get("finalizers", ()):
            return None
        observed = await observe(
            _deleted(resource), self._cluster, self._pulsars, self._settings, leaving=self._leaving
        )
        # The status, of a scan that stays, is to tell of the scan.
        actions = [
            one for one in plan_deletion(observed, self._settings).actions if not isinstance(one, SetStatus | Emit)
        ]
        await apply(actions, observed, self._cluster, self._pulsars, self._settings)
        return observed.pulsar.message if isinstance(observed.pulsar, PulsarFault) else "the end of its pods and topics"

    def _plan_that_goes(self, resource: Manifest) -> str | None:
        scan = ObservedScan.of(_deleted(resource))
        if not needs_other_plans(scan):
            return None
        tenant = runs_with(scan.spec, scan.status, self._settings).tenant
        return Names.of(scan.namespace, scan.name).topics(tenant).plan

    async def _abandon(self, held: Held) -> None:
        """Take the finalizer off as things are, and say what may be left."""
        scan = ObservedScan.of(held.resource)
        runs = runs_with(scan.spec, scan.status, self._settings)
        name = Names.of(scan.namespace, scan.name).scan
        left = (
            f"let go as it is, with no time left to wait for: {held.waits_for}. Pulsar at {runs.admin_url} may still "
            f"have its topics persistent://{runs.tenant}/skymap/{name}-...; skymap-scanner topics delete -n {name}"
        )
        log.warning("%s/%s: %s", scan.namespace, scan.name, left)
        fault = PulsarFault(Reason.PULSAR_UNAVAILABLE, held.waits_for)
        observed = ObservedState(datetime.now(UTC), scan, fault, children={}, claim=None, pods=())
        for attempt in range(TRIES):
            try:
                await apply([RemoveFinalizer()], observed, self._cluster, self._pulsars, self._settings)
                break
            except NotFound:
                break
            except Conflict:
                if attempt + 1 == TRIES:
                    raise
        try:
            await self._cluster.record(held.resource, "Warning", "Released", left)
        except ClusterError as error:  # the log has it
            log.info("%s/%s: Event Released not recorded: %s", scan.namespace, scan.name, error)


def _deleted(resource: Manifest) -> Manifest:
    """Return the scan as if somebody had deleted it."""
    return resource | {"metadata": {"deletionTimestamp": datetime.now(UTC).isoformat()} | resource["metadata"]}
