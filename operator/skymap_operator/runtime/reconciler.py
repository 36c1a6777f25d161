"""One look at one scan: observe, plan, apply. Whatever woke it, it is always the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from skymap_api.names import KIND, Names, NamespacedName
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Reason
from skymap_operator.apply import ActionRefused, apply
from skymap_operator.cluster.client import Away, Cluster, ClusterError, Refused
from skymap_operator.decide.actions import Plan, SetStatus
from skymap_operator.decide.plan import plan
from skymap_operator.decide.scaling import shares
from skymap_operator.observe.read import observe
from skymap_operator.observe.state import ObservedScan, ObservedState, ObservedWarning, PulsarState, needs_other_plans
from skymap_operator.pulsar.access import runs_with
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.runtime import metrics
from skymap_operator.runtime.metrics import Metrics, Seen
from skymap_operator.settings import Settings

log = logging.getLogger(__name__)

#: What was seen has changed meanwhile: look again soon (s).
SOON = 1.0


@dataclass(frozen=True, slots=True)
class _Wish:
    """The workers that a scan would have alone, whether it goes before others, and since when it is there."""

    workers: int
    urgent: bool
    since: datetime


class Reconciler:
    """Looks at scans. It remembers nothing that a new operator would miss for longer than one look."""

    def __init__(self, cluster: Cluster, pulsars: Pulsars, settings: Settings, figures: Metrics) -> None:
        self._cluster = cluster
        self._pulsars = pulsars
        self._settings = settings
        self._figures = figures
        self._leaving: dict[NamespacedName, str] = {}  # plans of scans whose topics are about to go
        self._refused: dict[NamespacedName, ObservedWarning] = {}  # what the last look was not allowed to do
        self._wishes: dict[NamespacedName, _Wish] = {}  # what each scan would have alone

    def remember(self, scans: Iterable[Manifest]) -> None:
        """Take in what an operator before has given to scans, so that the first look at one knows of the others."""
        for scan in map(ObservedScan.of, scans):
            workers = scan.status.workers
            self._wish(scan, 0 if workers is None else workers.wanted)

    async def reconcile(self, key: NamespacedName) -> float | None:
        """Look at a scan and do what is to be done; return when to look again (s), None where it is gone."""
        began = time.monotonic()
        outcome, again = metrics.FAILED, None
        try:
            outcome, again = await self._reconcile(key)
        finally:
            self._figures.looked(outcome, time.monotonic() - began)
        return again

    async def _reconcile(self, key: NamespacedName) -> tuple[str, float | None]:
        try:
            resource = await self._cluster.get(KIND, key.namespace, key.name)
            if resource is None:
                self._forget(key)
                return metrics.GONE, None
            refused = [self._refused[key]] if key in self._refused else []
            # Before anything is looked at: of two scans that go at the same time, one at least must know of the other.
            self._note_leaving(key, resource)
            leaving = self._leaving.values()
            observed = await observe(resource, self._cluster, self._pulsars, self._settings, refused, leaving)
            decided, observed = self._decide(key, observed)
            return await self._do(key, decided, observed)
        except Away as error:
            log.warning("%s: %s", key, error)
            return metrics.CLUSTER_AWAY, self._settings.retry_interval
        except Refused as error:
            log.error("%s: the operator lacks a right that it needs: %s", key, error)  # noqa: TRY400 - not ours
            return metrics.REFUSED, self._settings.retry_interval
        except ClusterError as error:
            log.info("%s: changed meanwhile: %s", key, error)
            return metrics.CHANGED, SOON

    async def _do(self, key: NamespacedName, decided: Plan, observed: ObservedState) -> tuple[str, float]:
        for action in decided.actions:
            log.debug("%s: %s", key, action)
        try:
            await apply(decided.actions, observed, self._cluster, self._pulsars, self._settings)
        except ActionRefused as error:
            log.warning("%s: refused: %s", key, error)
            self._refused[key] = error.warned
            away = error.warned.reason == Reason.PULSAR_UNAVAILABLE
            return metrics.PULSAR_AWAY if away else metrics.REFUSED, self._settings.retry_interval
        self._refused.pop(key, None)
        if decided.scaled is not None:
            self._figures.scaled(*decided.scaled)
        return metrics.DONE, decided.requeue_after

    def _decide(self, key: NamespacedName, observed: ObservedState) -> tuple[Plan, ObservedState]:
        """Plan for the scan alone, and again for its share where all scans together want too many workers."""
        decided = plan(observed, self._settings)
        status = _status(decided, observed)
        scan, wanted = observed.scan, 0 if status.workers is None else status.workers.wanted
        self._wish(scan, wanted)
        share = self._share(key)
        if share < wanted:
            observed = replace(observed, share=share)
            decided = plan(observed, self._settings)
            status = _status(decided, observed)
        tasks = observed.pulsar.tasks if isinstance(observed.pulsar, PulsarState) else None
        target = None if scan.spec is None else float(scan.spec.workers.target_seconds)
        self._figures.seen(key, Seen(status, tasks, target))
        return decided, observed

    def _wish(self, scan: ObservedScan, workers: int) -> None:
        urgent = scan.spec is not None and scan.spec.priority == "Realtime"
        self._wishes[NamespacedName(scan.namespace, scan.name)] = _Wish(workers, urgent, scan.created)

    def _share(self, key: NamespacedName) -> int:
        """Return what a scan may have of the workers of all: the realtime ones first, in each rank the oldest first."""
        if sum(wish.workers for wish in self._wishes.values()) <= self._settings.max_workers:
            return self._wishes[key].workers
        turn = sorted(self._wishes.items(), key=lambda one: (one[1].since, str(one[0])))
        urgent = frozenset(str(scan) for scan, wish in turn if wish.urgent)
        wanted = {str(scan): wish.workers for scan, wish in turn}
        return shares(wanted, self._settings.max_workers, urgent)[str(key)]

    def _note_leaving(self, key: NamespacedName, resource: Manifest) -> None:
        over = "deletionTimestamp" in resource["metadata"] or "completionTime" in resource.get("status", {})
        if over and needs_other_plans(scan := ObservedScan.of(resource)):
            tenant = runs_with(scan.spec, scan.status, self._settings).tenant
            self._leaving[key] = Names.of(scan.namespace, scan.name).topics(tenant).plan
        else:
            self._leaving.pop(key, None)

    def _forget(self, key: NamespacedName) -> None:
        self._leaving.pop(key, None)
        self._refused.pop(key, None)
        self._wishes.pop(key, None)
        self._figures.seen(key, None)


def _status(decided: Plan, observed: ObservedState) -> SkymapScanStatus:
    """Return the status that the plan leaves the scan in."""
    found = [action.status for action in decided.actions if isinstance(action, SetStatus)]
    return found[-1] if found else observed.scan.status
