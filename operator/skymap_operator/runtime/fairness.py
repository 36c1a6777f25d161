"""Which scan is reconciled next, how often, and for how long at most: decisions of the work queue, without its state.

A scan with a Pulsar of its own, which the administrator has listed, waits for a server that others operate. Such scans
therefore share a few of the places only, each of their Pulsars fewer, and their reconciles end early. The other places
belong to the scans of the operator's Pulsar.

Within each kind, namespaces take turns: the next scan is one of the namespace that has the fewest reconciles running,
and among these the one that comes first by its time. So a namespace with very many scans delays its own, and no scan
waits for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lane:
    """The scans that wait in one line: those of a namespace with one Pulsar.

    ``endpoint``: the Pulsar that the scan names, None for the operator's.
    """

    namespace: str
    endpoint: str | None = None

    @property
    def named(self) -> bool:
        """Whether the scans name a Pulsar of their own."""
        return self.endpoint is not None


@dataclass(frozen=True, slots=True)
class Places:
    """Most concurrent reconciles: ``total``; of these with a Pulsar of the scans' own (``named``), and with the same.

    Reconciles mostly wait for answers.
    """

    total: int = 12
    named: int = 4
    same: int = 2


#: Most requeues per second, of all scans. With more scans each is requeued less often, which leaves time for events.
#: (Two cores shared with the API server and Pulsar managed 40 reconciles per second in all.)
REQUEUES_PER_SECOND = 25

#: More of them per second, for namespaces that have no more than their share of the requeues.
RESERVED_PER_SECOND = 5

#: The same of scans with a Pulsar of their own, which take nothing from the others.
NAMED_PER_SECOND = 5

#: Longest reconcile (s), also with a Pulsar of the scan's own. Each of its requests has a timeout, but these add up.
LONGEST, LONGEST_NAMED = 120.0, 60.0


def next_lane(waiting: Mapping[Lane, float], running: Mapping[Lane, int], places: Places) -> Lane | None:
    """Return the lane whose first scan is reconciled next, None if none may be.

    ``waiting``: by lane, the time of its first scan; the earliest comes first. ``running``: reconciles by lane.
    """
    if sum(running.values()) >= places.total:
        return None
    named = sum(count for lane, count in running.items() if lane.named)
    same: Counter[str | None] = Counter()
    turns: Counter[tuple[str, bool]] = Counter()
    for lane, count in running.items():
        same[lane.endpoint] += count
        turns[lane.namespace, lane.named] += count
    allowed = (
        lane for lane in waiting if not lane.named or (named < places.named and same[lane.endpoint] < places.same)
    )
    return min(allowed, key=lambda lane: (turns[lane.namespace, lane.named], waiting[lane]), default=None)


def requeues_per_second(lane: Lane, booked: Mapping[str, int]) -> int:
    """Return up to how many requeues of its kind a second may hold that one of the lane is booked for.

    ``booked``: by namespace, the requeues of scans of the operator's Pulsar that are booked.
    """
    if lane.named:
        return NAMED_PER_SECOND
    within_share = booked.get(lane.namespace, 0) * len(booked) <= sum(booked.values())
    return REQUEUES_PER_SECOND + (RESERVED_PER_SECOND if within_share and len(booked) > 1 else 0)


def longest_reconcile(lane: Lane) -> float:
    """Return how long a reconcile may take (s)."""
    return LONGEST_NAMED if lane.named else LONGEST
