"""How many workers a scan should have: a function of its queue, without memory.

    work   = (waiting + in hand / 2 + coming) · seconds per task    a task in hand is half done, on average
    wanted = work / (4/5 target − elapsed − start-up)               most workers wait for the last fits of each level

``coming`` is what is planned and not in the queue yet, the later levels: the one at hand must leave time for them. No
more workers are started than there are tasks in the queue; those that are there stay while more is to come that needs
them, since the next level begins sooner than a worker does.

Then, in this order: as many as there are, where two thirds of them would not do (a queue is never known exactly); never
fewer than are busy; ``minimum``; at most twice as many, and not less than half, at a time; ``maximum``, and the scan's
share of the cluster. These last two are limits that people set, so they hold for busy workers too: those finish the fit
in hand, and leave. None are left only when nothing is left to do. While the queue cannot be read the number stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

#: So many fits say how long one takes.
_SAMPLE = 10

#: The part of the target time that is planned with. At the end of each level most workers wait for its last fits, which
#: no number of them makes shorter: of simulated scans that planned with all of it most were late by a tenth.
_PLANNED = 0.8


class Cause(StrEnum):
    """What decides how many workers there are, in one word, for metrics; the reason beside it says it in figures."""

    WORK = "Work"  # so many can do in time what is left
    ENOUGH = "Enough"  # a few less would do: not worth a change
    IDLE = "Idle"  # nothing waits yet
    DONE = "Done"  # nothing is left to do
    BUSY = "Busy"  # less work is left, but a worker with a fit in hand stays
    MINIMUM = "Minimum"  # workers.min
    MAXIMUM = "Maximum"  # workers.max
    SHARE = "Share"  # the rest of the cluster is for other scans
    STEP = "Step"  # at most twice as many, and not less than half, at a time
    PENDING = "Pending"  # workers that are wanted already do not run yet
    UNREADABLE = "Unreadable"  # the queue cannot be read: their number stays
    SUSPENDED = "Suspended"  # the scan is suspended


class Direction(StrEnum):
    """What a decision does to the number of workers."""

    UP = "up"
    DOWN = "down"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a decision is made of.

    ``waiting``, ``in_flight``: tasks in the queue, and in hand; None where the statistics cannot be read. ``coming``:
    tasks that are planned and not in the queue yet. ``busy``: workers that have a task in hand. ``current``: workers
    that are wanted now; of them ``pending`` do not run yet. ``share``:
    what this scan may have of all workers of the cluster, None without such a limit. ``first``: the most to start with,
    where there are none. Times in seconds.
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
    coming: int = 0
    share: int | None = None
    first: int = 8

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.producer_done and self.waiting == self.in_flight == 0


@dataclass(frozen=True, slots=True)
class Scale:
    """How many workers there should be, and why: in one word, and in figures."""

    replicas: int
    cause: Cause
    reason: str

    def direction(self, current: int) -> Direction:
        """Return what it does where there are ``current`` workers."""
        if self.replicas == current:
            return Direction.HOLD
        return Direction.UP if self.replicas > current else Direction.DOWN

    def changed(self, replicas: int, cause: Cause, reason: str) -> Scale:
        """Return another number, for one more reason."""
        return replace(self, replicas=replicas, cause=cause, reason=f"{self.reason}; {reason}")


def scale(demand: Demand) -> Scale:
    """Decide how many workers there should be."""
    if demand.waiting is None or demand.in_flight is None:
        return Scale(demand.current, Cause.UNREADABLE, "the queue cannot be read: their number stays")
    needed = _needed(demand, demand.waiting, demand.in_flight)
    if needed.replicas < demand.busy:
        needed = needed.changed(demand.busy, Cause.BUSY, f"all {demand.busy} busy workers stay")
    if needed.replicas < demand.minimum:
        needed = needed.changed(demand.minimum, Cause.MINIMUM, f"at least {demand.minimum}")
    return _limited(demand, _stepped(demand, needed))


def _needed(demand: Demand, waiting: int, in_flight: int) -> Scale:
    """Return how many could do the work in the time that is left."""
    tasks = waiting + in_flight
    if demand.over:
        return Scale(0, Cause.DONE, "nothing waits")
    if not tasks and not (demand.coming and demand.current):
        return Scale(min(demand.current, 1), Cause.IDLE, "nothing waits yet")
    work = (waiting + in_flight / 2 + demand.coming) * demand.seconds_per_task
    spare = _PLANNED * demand.target - demand.elapsed - demand.startup
    # A worker cannot finish less than one task: with no time left there are as many as there are tasks.
    left = max(spare, demand.seconds_per_task)
    useful = max(tasks, demand.current if demand.coming else 0)
    wanted = max(min(math.ceil(work / left), useful), 1)
    more = f", {demand.coming} to come" if demand.coming else ""
    queue = f"{waiting} fits wait, {in_flight} in hand{more}, {demand.seconds_per_task:.3g} s each"
    needed = Scale(wanted, Cause.WORK, f"{queue}: {wanted} for " + ("a late scan" if spare <= 0 else f"{left:.0f} s"))
    enough = min(demand.current, useful)
    if wanted < enough and demand.current < 1.5 * wanted:
        return needed.changed(enough, Cause.ENOUGH, f"{enough} are there")
    return needed


def _stepped(demand: Demand, needed: Scale) -> Scale:
    """Go there step by step. Workers that still wait for a place are no ground for more."""
    running = max(demand.current - demand.pending, 0)
    most = max(2 * running, demand.current, demand.minimum, demand.first if demand.current == 0 else 1)
    if needed.replicas > most:
        full = most == demand.current and demand.pending > 0
        why = f"{demand.pending} do not run yet" if full else f"no more than {most} at once"
        return needed.changed(most, Cause.PENDING if full else Cause.STEP, why)
    least = 0 if demand.over else math.ceil(demand.current / 2)
    if needed.replicas < least:
        return needed.changed(least, Cause.STEP, "no fewer than half at once")
    return needed


def _limited(demand: Demand, needed: Scale) -> Scale:
    """Keep to the limits of the scan and to its share of the cluster: at once, and for busy workers too."""
    share = demand.maximum if demand.share is None else demand.share
    if needed.replicas > share < demand.maximum:
        return needed.changed(share, Cause.SHARE, f"at most {share}, the rest is for other scans")
    if needed.replicas > demand.maximum:
        return needed.changed(demand.maximum, Cause.MAXIMUM, f"at most {demand.maximum}")
    return needed


def learned_seconds(done: int, seconds: float) -> float | None:
    """Return the mean time of a fit (s), where workers did so many fits in so many worker seconds; None of a few.

    It is a mean over all that the workers of now have done, and no rate of late: this falls when a level ends and few
    are busy, and has not risen yet when many have just begun. To two digits: a small difference is none, and need not
    be written down.
    """
    return float(f"{seconds / done:.2g}") if done >= _SAMPLE and seconds > 0 else None


def shares(wanted: Mapping[str, int], ceiling: int, urgent: frozenset[str] = frozenset()) -> dict[str, int]:
    """Divide ``ceiling`` workers among scans: ``urgent`` ones first, then as evenly as their wishes allow.

    ``wanted`` is in the order of their turn, the oldest first: what an even division leaves over goes to the first, so
    that among more scans than workers the oldest have one each, end, and make room.
    """
    first = _even({scan: count for scan, count in wanted.items() if scan in urgent}, ceiling)
    rest = {scan: count for scan, count in wanted.items() if scan not in urgent}
    return first | _even(rest, ceiling - sum(first.values()))


def _even(wanted: Mapping[str, int], ceiling: int) -> dict[str, int]:
    """Give each scan what it wants, or the same as all others that want more, and one more to the first of them."""
    level, left = 0, ceiling
    modest = sorted(wanted.values())
    for place, count in enumerate(modest):
        step = min(count - level, left // (len(modest) - place))
        level, left = level + step, left - step * (len(modest) - place)
        if level < count:
            break
    given = {scan: min(count, level) for scan, count in wanted.items()}
    for scan in [scan for scan, count in wanted.items() if count > level][:left]:
        given[scan] += 1
    return given
