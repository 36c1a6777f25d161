"""The order in which a ReplicaSet terminates pods when it scales down.

The order of Kubernetes 1.34, ``ActivePodsWithRanks.Less`` in pkg/controller/controller_utils.go and
https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-down-a-replicaset: without a node before
with one, pending before running, not ready before ready, lower pod deletion cost first, on a node with more of its kind
first, and of those that are left the younger, where ages are compared by their logarithm and equals by their uid.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class Place:
    """What the order depends on. Times in seconds; ``ready`` and ``node`` may be None; ``uid`` is any number."""

    created: float
    uid: float
    node: int | None = None
    running: bool = False
    ready: float | None = None
    cost: int = 0


T = TypeVar("T")


def leave_first(pods: Iterable[T], count: int, place: Callable[[T], Place], now: float) -> Sequence[T]:
    """Return the ``count`` pods that are terminated first."""
    placed = [(place(pod), pod) for pod in pods]
    on_node = Counter(one.node for one, _ in placed)
    placed.sort(key=lambda pair: _rank(pair[0], on_node, now))
    return [pod for _, pod in placed[:count]]


def _rank(pod: Place, on_node: Counter[int | None], now: float) -> tuple[object, ...]:
    ready = pod.ready is not None
    since = pod.created if pod.ready is None else pod.ready
    return (pod.node is not None, pod.running, ready, pod.cost, -on_node[pod.node], _log_age(now - since), pod.uid)


def _log_age(seconds: float) -> int:
    """Return the age's rank: the whole part of the logarithm to base 2 of its nanoseconds."""
    return int(math.log2(seconds * 1e9)) if seconds > 0 else -1
