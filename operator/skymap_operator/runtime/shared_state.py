"""State that the reconciler keeps between reconciles, because a decision about one scan depends on others or on before.

A restarted operator has all of it again after it has reconciled each scan once.
"""

from __future__ import annotations

from collections.abc import Collection

from skymap_api.names import Names, NamespacedName
from skymap_operator.decide.allocation import Desired, allocate
from skymap_operator.observe.state import ObservedScan, ObservedWarning, needs_other_plans
from skymap_operator.pulsar.access import runs_with
from skymap_operator.settings import Settings


class Allocations:
    """The workers that each scan desires, and how ``limit`` workers are divided among all scans."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._desired: dict[NamespacedName, Desired] = {}

    def request(self, scan: ObservedScan, workers: int) -> None:
        """Note how many workers a scan would have alone."""
        realtime = scan.spec is not None and scan.spec.priority == "Realtime"
        self._desired[NamespacedName(scan.namespace, scan.name)] = Desired(workers, realtime, scan.created)

    def forget(self, key: NamespacedName) -> None:
        """Leave a scan out that no longer exists."""
        self._desired.pop(key, None)

    def of(self, key: NamespacedName) -> int:
        """Return how many workers a scan may have: what it requests if that of all scans fits into the limit."""
        if sum(desired.workers for desired in self._desired.values()) <= self._limit:
            return self._desired[key].workers
        return allocate(self._desired, self._limit)[key]


class EndingPlans:
    """Plan topics of scans whose topics are about to be deleted.

    Such a plan no longer keeps the metadata topics that it names: of two scans that share them and end at the same
    time, each would otherwise leave them to the other.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._plans: dict[NamespacedName, str] = {}

    def update(self, scan: ObservedScan) -> None:
        """Note whether the topics of a scan are about to be deleted."""
        key = NamespacedName(scan.namespace, scan.name)
        plan = ending_plan(scan, self._settings)
        if plan is None:
            self.forget(key)
        else:
            self._plans[key] = plan

    def forget(self, key: NamespacedName) -> None:
        """Leave out a scan that goes on or no longer exists."""
        self._plans.pop(key, None)

    @property
    def topics(self) -> Collection[str]:
        """The plan topics."""
        return self._plans.values()


def ending_plan(scan: ObservedScan, settings: Settings) -> str | None:
    """Return a scan's plan topic if its topics are about to be deleted."""
    if not needs_other_plans(scan):
        return None
    tenant = runs_with(scan.spec, scan.status, settings).tenant
    return Names.of(scan.namespace, scan.name).topics(tenant).plan


class RefusedActions:
    """The action of each scan that was refused in its last reconcile, for the scan's condition Degraded."""

    def __init__(self) -> None:
        self._warnings: dict[NamespacedName, ObservedWarning] = {}

    def set(self, key: NamespacedName, warning: ObservedWarning) -> None:
        """Note that an action was refused."""
        self._warnings[key] = warning

    def forget(self, key: NamespacedName) -> None:
        """Note that all actions of a scan were carried out, or that it no longer exists."""
        self._warnings.pop(key, None)

    def of(self, key: NamespacedName) -> tuple[ObservedWarning, ...]:
        """Return the refused action of a scan, if there is one."""
        return (self._warnings[key],) if key in self._warnings else ()
