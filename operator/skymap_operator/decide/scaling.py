"""Decides how many workers a scan should have: a pure function of its queue.

    work    = (waiting + in flight / 2 + planned) · seconds per task    a task in flight is half done, on average
    desired = work / (4/5 target − elapsed − start-up)                  see `_PLANNED_PART`

``planned`` tasks belong to later levels and are not in the queue yet; the present level must leave time for them. No
more workers are started than there are tasks in the queue. Existing workers stay while planned tasks will need them,
since the next level begins sooner than a new worker does.

The desired number is then adjusted, in this order:

1. The current number stays if the desired one exceeds two thirds of it: the length of a queue is never known exactly.
2. It is never below the number of busy workers, nor below ``minimum``.
3. It at most doubles, and at most halves, at a time.
4. It is never above ``maximum``, nor above the scan's allocation. People set these limits, so they hold for busy
   workers too, which finish the task in flight before they end.

Unless ``minimum`` is higher, a scan has no workers before its first task and when no work is left. It also has none if
its allocation is 0. While the queue cannot be read the number stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

#: Number of fits from which on their mean time is used.
_SAMPLE = 10

#: Upper bound on the mean time of a fit (s), since the figures come from a Pulsar that a scan may name.
_LONGEST_FIT = 86400.0

#: Fraction of the target time that the work is planned for. At the end of each level most workers wait for its last
#: fits, which more workers do not make shorter. Planning for the whole target made most simulated scans 10 % late.
_PLANNED_PART = 0.8


class Cause(StrEnum):
    """What determines the number of workers, for metrics. The reason beside it gives the figures."""

    WORK = "Work"  # the work that is left
    ENOUGH = "Enough"  # slightly fewer would do, which is not worth a change
    IDLE = "Idle"  # there are no tasks yet
    DONE = "Done"  # nothing is left to do
    BUSY = "Busy"  # busy workers stay
    MINIMUM = "Minimum"  # workers.min
    MAXIMUM = "Maximum"  # workers.max
    ALLOCATION = "Allocation"  # the scan's part of the cluster's workers
    STEP = "Step"  # at most twice or half as many at a time
    PENDING = "Pending"  # workers that were added before do not run yet
    UNREADABLE = "Unreadable"  # the queue cannot be read
    SUSPENDED = "Suspended"  # the scan is suspended


class Direction(StrEnum):
    """What a decision does to the number of workers."""

    UP = "up"
    DOWN = "down"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Demand:
    """What the number of workers depends on. Times are in seconds.

    ``waiting``, ``in_flight``: tasks in the queue, None if its statistics cannot be read. ``planned``: tasks that are
    not in the queue yet. ``busy``: workers with a task in flight. ``current``: the number of workers set now;
    ``pending``: those of them that do not run yet. ``first``: the most workers to start with. ``allocation``: the most
    workers that the scan may have beside other scans, None without such a limit.
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
    planned: int = 0
    allocation: int | None = None
    first: int = 8

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.producer_done and self.waiting == self.in_flight == 0


@dataclass(frozen=True, slots=True)
class Scale:
    """The desired number of workers, what determines it, and the reason in figures."""

    replicas: int
    cause: Cause
    reason: str

    def direction(self, current: int) -> Direction:
        """Return the change from the ``current`` number."""
        if self.replicas == current:
            return Direction.HOLD
        return Direction.UP if self.replicas > current else Direction.DOWN

    def adjusted(self, replicas: int, cause: Cause, reason: str) -> Scale:
        """Return another number, with its reason added."""
        return replace(self, replicas=replicas, cause=cause, reason=f"{self.reason}; {reason}")


def scale(demand: Demand) -> Scale:
    """Decide how many workers there should be."""
    if demand.waiting is None or demand.in_flight is None:
        return Scale(demand.current, Cause.UNREADABLE, "the queue cannot be read, so the number stays")
    desired = _for_work(demand, demand.waiting, demand.in_flight)
    if desired.replicas < demand.busy:
        desired = desired.adjusted(demand.busy, Cause.BUSY, f"all {demand.busy} busy workers stay")
    if desired.replicas < demand.minimum:
        desired = desired.adjusted(demand.minimum, Cause.MINIMUM, f"at least {demand.minimum}")
    return _limited(demand, _stepped(demand, desired))


def _for_work(demand: Demand, waiting: int, in_flight: int) -> Scale:
    """Return how many workers can finish the work in the remaining time."""
    tasks = waiting + in_flight
    if demand.done:
        return Scale(0, Cause.DONE, "no tasks left")
    if not tasks and not (demand.planned and demand.current):
        return Scale(min(demand.current, 1), Cause.IDLE, "no tasks yet")
    work = (waiting + in_flight / 2 + demand.planned) * demand.seconds_per_task
    spare = _PLANNED_PART * demand.target - demand.elapsed - demand.startup
    # A worker takes at least one task, so without time left there are as many workers as tasks.
    left = max(spare, demand.seconds_per_task)
    useful = max(tasks, demand.current if demand.planned else 0)
    desired = max(math.ceil(min(work / left, useful)), 1)
    planned = f", {demand.planned} planned" if demand.planned else ""
    queue = f"{waiting} tasks waiting, {in_flight} in flight{planned}, {demand.seconds_per_task:.3g} s each"
    time = "since the scan is late" if spare <= 0 else f"for {left:.0f} s"
    found = Scale(desired, Cause.WORK, f"{queue}: {desired} workers {time}")
    enough = min(demand.current, useful)
    if desired < enough and demand.current < 1.5 * desired:
        return found.adjusted(enough, Cause.ENOUGH, f"{enough} exist, which is close enough")
    return found


def _stepped(demand: Demand, desired: Scale) -> Scale:
    """Limit one step to between half of the current workers and twice the running ones, or ``first`` if there are none.

    So none are added while half of the current workers or more do not run yet.
    """
    running = max(demand.current - demand.pending, 0)
    upper = max(2 * running, demand.current, demand.minimum, demand.first if demand.current == 0 else 1)
    if desired.replicas > upper:
        if upper == demand.current and demand.pending > 0:
            return desired.adjusted(upper, Cause.PENDING, f"{demand.pending} do not run yet")
        return desired.adjusted(upper, Cause.STEP, f"at most {upper} in one step")
    lower = 0 if demand.done else math.ceil(demand.current / 2)
    if desired.replicas < lower:
        return desired.adjusted(lower, Cause.STEP, f"at least {lower} in one step")
    return desired


def _limited(demand: Demand, desired: Scale) -> Scale:
    """Apply the limits of the scan and its allocation, to busy workers too."""
    allocation = demand.maximum if demand.allocation is None else demand.allocation
    if allocation < demand.maximum and desired.replicas > allocation:
        return desired.adjusted(allocation, Cause.ALLOCATION, f"at most {allocation} beside other scans")
    if desired.replicas > demand.maximum:
        return desired.adjusted(demand.maximum, Cause.MAXIMUM, f"at most {demand.maximum}")
    return desired


def learned_seconds(done: int, seconds: float) -> float | None:
    """Return the mean time of a fit (s) from the fits that the present workers have done; None before the tenth.

    It is the mean over the lives of the workers, not a recent rate: a rate falls at the end of a level, when few
    workers are busy, and is too low when many have just begun.
    """
    return None if done < _SAMPLE or seconds <= 0 else rounded_seconds(seconds / done)


def rounded_seconds(seconds: float) -> float:
    """Return the time of a fit (s), bounded, with two digits, so that small differences do not change the status."""
    return min(float(f"{seconds:.2g}"), _LONGEST_FIT)
