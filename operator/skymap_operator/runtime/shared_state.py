"""State across scans, which a restarted operator has again once it has reconciled each scan."""

from __future__ import annotations

from skymap_api.names import NamespacedName
from skymap_operator.decide.allocation import Desired, allocate
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
