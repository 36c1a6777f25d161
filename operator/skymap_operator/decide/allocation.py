"""Divides the workers of the cluster among its scans, by max-min fairness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeVar

from skymap_operator.decide.allowed import is_realtime
from skymap_operator.observe.state import ObservedScan
from skymap_operator.settings import Settings

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Desired:
    """The workers that a scan would have without other scans, its priority, and when it was created."""

    workers: int
    realtime: bool
    created: datetime

    @classmethod
    def of(cls, scan: ObservedScan, workers: int, settings: Settings) -> Self:
        """Return them for a scan that would have so many workers."""
        realtime = scan.spec is not None and is_realtime(scan.namespace, scan.spec, settings)
        return cls(workers, realtime, scan.created)


def allocate(desired: Mapping[Key, Desired], limit: int) -> dict[Key, int]:
    """Divide ``limit`` workers among scans: realtime scans first, then the others, among equals as evenly as possible.

    A remainder goes to the oldest scans. So with more scans than workers the oldest have one worker each, finish, and
    make room.
    """
    if sum(one.workers for one in desired.values()) <= limit:
        return {scan: one.workers for scan, one in desired.items()}
    order = sorted(desired, key=lambda scan: (desired[scan].created, str(scan)))
    realtime = {scan: desired[scan].workers for scan in order if desired[scan].realtime}
    others = {scan: desired[scan].workers for scan in order if not desired[scan].realtime}
    first = _evenly(realtime, limit)
    return first | _evenly(others, limit - sum(first.values()))


def _evenly(desired: Mapping[Key, int], limit: int) -> dict[Key, int]:
    """Give each scan what it desires or an equal share, whichever is less; the first scans share the remainder."""
    share, remaining = 0, limit
    ascending = sorted(desired.values())
    for place, count in enumerate(ascending):
        unsatisfied = len(ascending) - place
        step = min(count - share, remaining // unsatisfied)
        share, remaining = share + step, remaining - step * unsatisfied
        if share < count:
            break
    allocated = {scan: min(count, share) for scan, count in desired.items()}
    for scan in [scan for scan, count in desired.items() if count > share][:remaining]:
        allocated[scan] += 1
    return allocated
