"""Reconciles one SkymapScan: observe, decide, apply. Every trigger leads to the same call."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from skymap_api.names import KIND, NamespacedName
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import Manifest
from skymap_api.resource.status import Reason
from skymap_operator.apply import ActionRefused, apply
from skymap_operator.cluster.cached import Reads
from skymap_operator.cluster.client import Cluster, ClusterError, Refused, Unavailable
from skymap_operator.decide.actions import Action, Decision, Emit, EnlargeClaim, IssueTokens, SetStatus
from skymap_operator.decide.advice import advise
from skymap_operator.decide.allowed import may_be_realtime
from skymap_operator.decide.plan import decide
from skymap_operator.observe.read import observe
from skymap_operator.observe.state import ObservedScan, ObservedState, ObservedWarning, PulsarState, RefusedEnlargement
from skymap_operator.pulsar.access import named_endpoint
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.runtime.fairness import Lane
from skymap_operator.runtime.metrics import Metrics, Result, ScanFigures
from skymap_operator.runtime.scope import RENEWAL, Scope
from skymap_operator.runtime.shared_state import Allocations
from skymap_operator.settings import Settings

log = logging.getLogger(__name__)

#: When to reconcile again (s) after a write met a newer version.
CONFLICT_INTERVAL = 1.0


class Reconciler:
    """Reconciles SkymapScans. Keeps no state that a restarted operator could not rebuild in one pass.

    ``reads`` is what scans are observed from, ``cluster`` what actions are applied to. Scans that another operator of
    the ``scope`` reconciles are left alone.
    """

    def __init__(
        self,
        cluster: Cluster,
        reads: Reads,
        pulsars: Pulsars,
        settings: Settings,
        metrics: Metrics,
        scope: Scope | None = None,
    ) -> None:
        self._cluster = cluster
        self._scope = scope or Scope(cluster, settings)
        self._reads = reads
        self._pulsars = pulsars
        self._settings = settings
        self._metrics = metrics
        self._allocations = Allocations(settings)
        #: The action of each scan that was refused in its last reconcile.
        self._refused: dict[NamespacedName, ObservedWarning] = {}
        #: The last refusal to enlarge the claim of each scan; a restarted operator tries once more.
        self._enlargements: dict[NamespacedName, RefusedEnlargement] = {}
        #: When the tokens of each scan, given by its uid, were last signed; a restarted operator signs new ones.
        self._tokens: dict[NamespacedName, tuple[str, datetime]] = {}

    def restore(self, scans: Iterable[Manifest]) -> None:
        """Take over the allocations of all scans from their status, so that the first reconcile counts every scan."""
        for scan in map(ObservedScan.of, scans):
            workers = scan.status.workers
            self._allocations.request(scan, 0 if workers is None else workers.desired)

    async def reconcile(self, key: NamespacedName) -> float | None:
        """Reconcile a scan; return when to requeue it (s), None if it no longer exists."""
        began = time.monotonic()
        result, requeue_after = Result.ERROR, None
        try:
            result, requeue_after = await self._reconcile(key)
        finally:
            self._metrics.reconciled(result, time.monotonic() - began)
        return requeue_after

    async def _reconcile(self, key: NamespacedName) -> tuple[Result, float | None]:
        try:
            resource = await self._reads.get(KIND, key.namespace, key.name)
            if resource is None:
                self._forget(key)
                return Result.DELETED, None
            if await self._scope.other(key.namespace) is not None:
                self._forget(key)
                return Result.OTHER_OPERATOR, RENEWAL
            refused = [self._refused[key]] if key in self._refused else []
            observed = await observe(resource, self._reads, self._pulsars, self._settings, refused)
            issued = self._tokens.get(key, ("", None))
            observed = replace(
                observed,
                refused_enlargement=self._enlargements.get(key),
                tokens_issued=issued[1] if issued[0] == observed.scan.uid else None,
            )
            decision, observed = self._decide(key, observed)
            return await self._apply(key, decision, observed)
        except Unavailable as error:
            log.warning("%s: %s", key, error)
            return Result.API_SERVER_UNAVAILABLE, self._settings.retry_interval
        except Refused as error:
            log.error("%s: the operator lacks a permission: %s", key, error)  # noqa: TRY400 - not a fault of the code
            return Result.REFUSED, self._settings.retry_interval
        except ClusterError as error:
            log.info("%s: changed in the meantime: %s", key, error)
            return Result.CONFLICT, CONFLICT_INTERVAL

    def _decide(self, key: NamespacedName, observed: ObservedState) -> tuple[Decision, ObservedState]:
        """Decide for the scan alone, and again within its allocation if all scans together request too many workers."""
        decision = decide(observed, self._settings)
        status = _status(decision, observed)
        scan, desired = observed.scan, 0 if status.workers is None else status.workers.desired
        allocation = self._allocations.request(scan, desired)
        if allocation < desired:
            observed = replace(observed, allocation=allocation)
            decision = decide(observed, self._settings)
            status = _status(decision, observed)
        tasks = observed.pulsar.tasks if isinstance(observed.pulsar, PulsarState) else None
        target = None if scan.spec is None else float(scan.spec.workers.target_seconds)
        self._metrics.observed(key, ScanFigures(status, tasks, target))
        return decision, observed

    async def _apply(self, key: NamespacedName, decision: Decision, observed: ObservedState) -> tuple[Result, float]:
        for action in decision.actions:
            log.debug("%s: %s", key, action)
        try:
            await apply(decision.actions, observed, self._cluster, self._pulsars, self._settings)
        except ActionRefused as error:
            self._note_tokens(key, decision.actions[: decision.actions.index(error.action)], observed)
            log.warning("%s: refused: %s", key, error)
            if isinstance(error.action, EnlargeClaim):  # the last action, and no obstacle
                self._refused.pop(key, None)
                await self._note_enlargement(key, error.action, error.warning, observed)
                return Result.REFUSED, decision.requeue_after
            self._refused[key] = error.warning
            unavailable = error.warning.reason == Reason.PULSAR_UNAVAILABLE
            return Result.PULSAR_UNAVAILABLE if unavailable else Result.REFUSED, self._settings.retry_interval
        self._note_tokens(key, decision.actions, observed)
        self._refused.pop(key, None)
        if decision.scaled is not None:
            self._metrics.scaled(*decision.scaled)
        return Result.SUCCESS, decision.requeue_after

    def _note_tokens(self, key: NamespacedName, done: Sequence[Action], observed: ObservedState) -> None:
        """Note when tokens were signed, if these actions have done it."""
        if any(isinstance(action, IssueTokens) for action in done):
            self._tokens[key] = observed.scan.uid, observed.now

    async def _note_enlargement(
        self, key: NamespacedName, action: EnlargeClaim, warning: ObservedWarning, observed: ObservedState
    ) -> None:
        """Report that the claim is not enlarged, and note when to try again."""
        refused = RefusedEnlargement.of(action.size, warning.message, self._enlargements.get(key), observed.now)
        self._enlargements[key] = refused
        minutes = round(refused.pause.total_seconds() / 60)
        why = " - ".join(filter(None, (refused.message, advise(warning.reason, refused.message).text)))
        message = f"{warning.object} is not enlarged to {refused.size}, next try in {minutes} min: {why}"
        note = Emit("Warning", "ClaimNotEnlarged", message[:1024])
        await apply((note,), observed, self._cluster, self._pulsars, self._settings)

    def _forget(self, key: NamespacedName) -> None:
        self._allocations.forget(key)
        self._refused.pop(key, None)
        self._enlargements.pop(key, None)
        self._tokens.pop(key, None)
        self._metrics.forget(key)


def is_urgent(scan: Manifest | None, settings: Settings) -> bool:
    """Return whether a scan is reconciled before others."""
    if scan is None or scan["spec"].get("priority") != "Realtime":
        return False
    return may_be_realtime(scan["metadata"]["namespace"], settings)


def lane_of(key: NamespacedName, scan: Manifest | None, settings: Settings) -> Lane:
    """Return the lane of the work queue in which a scan waits."""
    return Lane(key.namespace, named_endpoint(scan, settings))


def _status(decision: Decision, observed: ObservedState) -> SkymapScanStatus:
    """Return the status of the scan after the decision."""
    found = [action.status for action in decision.actions if isinstance(action, SetStatus)]
    return found[-1] if found else observed.scan.status
