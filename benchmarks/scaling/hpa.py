"""The decisions of Kubernetes' HorizontalPodAutoscaler (HPA), as pure functions and a small class for its state.

Sources: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/ (algorithm details; default
behaviour: no stabilization and the larger of 4 pods or 100 % in 15 s upwards, 300 s and 100 % in 15 s downwards;
tolerance 0.1; a sync every 15 s), and pkg/controller/podautoscaler/{replica_calculator,horizontal}.go of Kubernetes
1.34.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

#: --horizontal-pod-autoscaler-sync-period (s), -tolerance, and -downscale-stabilization (s); the defaults.
SYNC, TOLERANCE, DOWN_WINDOW = 15.0, 0.1, 300.0
#: The default behaviour upwards: in each period (s) at most this many more pods or this factor, whichever is more.
UP_PERIOD, UP_PODS, UP_FACTOR = 15.0, 4, 2.0


def by_utilization(usages: Sequence[float], unready: int, current: int, target: float) -> int:
    """Return the number of pods from the usage of each ready pod, relative to its request (``GetResourceReplicas``).

    Unready pods count with zero usage when scaling up, and are ignored otherwise.
    """
    if not usages:
        return current
    ratio = sum(usages) / (len(usages) * target)
    if unready and ratio > 1:
        counted = len(usages) + unready
        ratio = sum(usages) / (counted * target)
        if ratio < 1 or _tolerable(ratio):
            return current
        return max(_ceil(ratio * counted), current)
    return current if _tolerable(ratio) else _ceil(ratio * len(usages))


def by_average_value(metric: float, target: float, current: int) -> int:
    """Return the number of pods with ``target`` of an external metric each (``GetExternalPerPodMetricReplicas``)."""
    if current and _tolerable(metric / (target * current)):
        return current
    return _ceil(metric / target)


def _tolerable(ratio: float) -> bool:
    return abs(ratio - 1) <= TOLERANCE


def _ceil(number: float) -> int:
    """Round up, ignoring rounding errors of floats: HPA computes in thousandths."""
    return math.ceil(round(number, 6))


@dataclass
class Stabilizer:
    """The state of an HPA: its recent recommendations and changes."""

    minimum: int
    maximum: int
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def settle(self, now: float, current: int, desired: int) -> int:
        """Return the number of replicas to set for a recommendation and the current number."""
        while self._recommended and self._recommended[0][0] <= now - DOWN_WINDOW:
            self._recommended.popleft()
        most = max([desired, *(count for _, count in self._recommended)])
        self._recommended.append((now, desired))
        wanted = min(max(current, desired), most)  # up at once; down to the most of the last five minutes
        while self._changes and self._changes[0][0] <= now - UP_PERIOD:
            self._changes.popleft()
        if wanted > current:
            before = current - sum(change for _, change in self._changes)
            wanted = min(wanted, max(current, before + UP_PODS, math.ceil(before * UP_FACTOR)))
        settled = min(max(wanted, self.minimum), self.maximum)
        if settled != current:
            self._changes.append((now, settled - current))
        return settled
