"""State across scans, which a restarted operator has again once it has reconciled each scan."""

from __future__ import annotations

from skymap_api.names import NamespacedName
from skymap_operator.decide.allocation import Desired, allocate
from skymap_operator.decide.cleanup import ending_plan
from skymap_operator.observe.state import ObservedScan
from skymap_operator.settings import Settings


class Allocations:
    """The workers that each scan desires, and how the most workers of the settings are divided among all scans."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._desired: dict[NamespacedName, Desired] = {}

    def request(self, scan: ObservedScan, workers: int) -> int:
        """Note how many workers a scan would have without other scans; return how many it may have."""
        key = NamespacedName(scan.namespace, scan.name)
        self._desired[key] = Desired.of(scan, workers, self._settings)
        return allocate(self._desired, self._settings.max_workers)[key]

    def forget(self, key: NamespacedName) -> None:
        """Leave out a scan that no longer exists."""
        self._desired.pop(key, None)


class EndingPlans:
    """Plan topics of the scans whose topics are about to be deleted.

    Such a plan no longer keeps the metadata topics that it names: of two scans that share them and end at the same
    time, each would otherwise leave them to the other.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._plans: dict[NamespacedName, str] = {}

    def update(self, scan: ObservedScan) -> None:
        """Note whether the topics of a scan are about to be deleted."""
        key, plan = NamespacedName(scan.namespace, scan.name), ending_plan(scan, self._settings)
        if plan is None:
            self.forget(key)
        else:
            self._plans[key] = plan

    def forget(self, key: NamespacedName) -> None:
        """Leave out a scan that goes on or no longer exists."""
        self._plans.pop(key, None)

    @property
    def topics(self) -> frozenset[str]:
        """The plan topics."""
        return frozenset(self._plans.values())
