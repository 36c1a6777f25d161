"""How many workers a scan should have: a function of its queue, without memory.

    work    = (waiting + in flight / 2) · seconds per task          a task in hand is half done, on average
    wanted  = work / ((target − elapsed − start-up) · slots)        never more than there are tasks

Then, in this order: as many as there are, where two thirds of them would not do (a queue is never known exactly);
between ``minimum`` and ``maximum`` (or the scan's share of the cluster); at most twice as many, and not less than half,
at a time; never fewer than are busy; none only when nothing is left to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: A new figure's part in a running mean.
_NEWEST = 0.2


@dataclass(frozen=True, slots=True)
class Demand:
    """What a decision is made of.

    ``waiting``, ``in_flight``: tasks in the queue, and in hand; None where the statistics cannot be read. ``busy``:
    workers that have a task in hand. ``current``: workers that are wanted now; of them ``pending`` do not run yet.
    ``slots``: tasks that a worker fits at a time. ``share``: what this scan may have of all workers of the cluster,
    None without such a limit. ``first``: the most to start with, where there are none. Times in seconds.
    """

    waiting: int | None
    in_flight: int | None
    busy: int
    current: int
    pending: int
    producer_done: bool
    minimum: int
    maximum: int
    seconds_per_task: float
    startup: float
    elapsed: float
    target: float
    slots: int = 1
    share: int | None = None
    first: int = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """How many workers there should be, and why."""

    replicas: int
    reason: str


def scale(demand: Demand) -> Scale:
    """Decide how many workers there should be."""
    if demand.waiting is None or demand.in_flight is None:
        return Scale(demand.current, "the queue cannot be read: their number stays")
    tasks = demand.waiting + demand.in_flight
    wanted, why = _wanted(demand, demand.waiting, demand.in_flight)
    over = demand.producer_done and tasks == 0
    if not over and demand.current:
        wanted = max(wanted, 1)
    limited, limit = _limited(demand, wanted)
    most, least = _most(demand), 0 if over else math.ceil(demand.current / 2)
    ceiling = demand.maximum if demand.share is None else min(demand.maximum, demand.share)
    steady = min(max(limited, min(least, ceiling)), most)
    replicas = max(steady, demand.busy)
    if replicas == limited:
        return Scale(replicas, why + limit)
    if replicas > steady:
        return Scale(replicas, f"{why}; all {demand.busy} busy workers stay")
    step = f"no more than {most} at once" if replicas < limited else "no fewer than half at once"
    return Scale(replicas, f"{why}{limit}; {step}")


def _wanted(demand: Demand, waiting: int, in_flight: int) -> tuple[int, str]:
    """Return how many could do the work in the time that is left, and that in words."""
    tasks = waiting + in_flight
    if not tasks:
        return 0, "nothing waits" if demand.producer_done else "nothing waits yet"
    work = (waiting + in_flight / 2) * demand.seconds_per_task
    # A worker cannot finish less than one task: with no time left there are as many as there are tasks.
    left = max(demand.target - demand.elapsed - demand.startup, demand.seconds_per_task)
    useful = math.ceil(tasks / demand.slots)
    wanted = min(math.ceil(work / (left * demand.slots)), useful)
    queue = f"{waiting} fits wait, {in_flight} in hand, {demand.seconds_per_task:.3g} s each"
    late = demand.target - demand.elapsed - demand.startup <= 0
    why = f"{queue}: {max(wanted, 1)} for " + ("a late scan" if late else f"{left:.0f} s")
    enough = min(demand.current, useful)
    if wanted < enough < 1.5 * wanted:
        return enough, f"{why}; {enough} are there"
    return max(wanted, 1), why


def _limited(demand: Demand, wanted: int) -> tuple[int, str]:
    """Keep to the limits of the scan and to its share of the cluster."""
    if wanted < demand.minimum:
        wanted, why = demand.minimum, f"; at least {demand.minimum}"
    else:
        why = ""
    if demand.share is not None and wanted > demand.share < demand.maximum:
        return demand.share, f"; at most {demand.share}, the rest is for other scans"
    if wanted > demand.maximum:
        return demand.maximum, f"; at most {demand.maximum}"
    return wanted, why


def _most(demand: Demand) -> int:
    """Return how many there may be at the next look. Workers that still wait for a place are no ground for more."""
    running = max(demand.current - demand.pending, 0)
    return max(2 * running, demand.current, demand.minimum, demand.first if demand.current == 0 else 1)


def learned_seconds(before: float, busy: int, pixels_per_second: float, seeds: int) -> float:
    """Return the mean time of a fit (s), where ``busy`` workers fit at this rate now and it was ``before``.

    How many are busy is true for a moment only, and the rate for half a minute, so that one look alone may be wrong by
    several times. To two digits: a small difference is none, and need not be written down.
    """
    if busy < 1 or pixels_per_second <= 0:
        return before
    now = busy / (pixels_per_second * seeds)
    return float(f"{before + _NEWEST * (now - before):.2g}")


def shares(wanted: Mapping[str, int], ceiling: int, urgent: frozenset[str] = frozenset()) -> dict[str, int]:
    """Divide ``ceiling`` workers among scans: ``urgent`` ones first, then as evenly as their wishes allow."""
    first = _even({scan: count for scan, count in wanted.items() if scan in urgent}, ceiling)
    rest = {scan: count for scan, count in wanted.items() if scan not in urgent}
    return first | _even(rest, ceiling - sum(first.values()))


def _even(wanted: Mapping[str, int], ceiling: int) -> dict[str, int]:
    """Give each scan what it wants or an equal part of what is left, from the most modest on; the same every time."""
    given: dict[str, int] = {}
    for scan in sorted(wanted, key=lambda one: (wanted[one], one)):
        given[scan] = min(wanted[scan], ceiling // (len(wanted) - len(given)))
        ceiling -= given[scan]
    return given
