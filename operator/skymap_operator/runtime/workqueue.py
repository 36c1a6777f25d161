"""Decides when each scan is reconciled: one reconcile of a scan at a time, and a limited number in all.

A reconcile becomes due when the scan is added because of an event, or when the time has come that the last reconcile
asked for (a requeue). A scan added while it is reconciled is reconciled once more, so that no event is missed.

Where more reconciles are due than may run, the one that has been due longest starts first. Events get a head start
before requeues, and urgent scans before others. Since a head start is a time and not a rank, no scan waits for ever.
Namespaces take turns, and scans with a Pulsar of their own share a few of the places (`fairness`).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from skymap_api.names import NamespacedName
from skymap_operator.runtime.fairness import Lane, Places, longest_reconcile, next_lane, requeues_per_second

log = logging.getLogger(__name__)

#: Pause between two reconciles of a scan (s): events come in bursts.
PAUSE = 0.5

#: Head start of events before requeues, and of urgent scans before others (s). During a burst of events requeues may
#: wait: they are there for changes of the task queue, and with very many scans these are seen no sooner anyway.
EVENT_HEAD_START, URGENT_HEAD_START = 30.0, 60.0

#: Pause after an unexpected error (s): the first, doubled each time, and the longest.
FIRST_BACKOFF, LONGEST_BACKOFF = 2.0, 300.0


class Trigger(StrEnum):
    """Why a reconcile is due."""

    EVENT = "event"
    REQUEUE = "requeue"


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the queue is.

    ``depth``: scans that are due and wait. ``longest_running``: time since the longest running reconcile started (s).
    ``longest_overdue``: time since the longest overdue reconcile, waiting or running, became due (s), of the scans of
    the operator's Pulsar: nobody else's delays it. ``stalled``: for how long reconciles have been due while none has
    ended (s), of one kind, either of these scans or of those with a Pulsar of their own; many scans that wait their
    turn do not count.
    """

    depth: int = 0
    longest_running: float = 0.0
    longest_overdue: float = 0.0
    stalled: float = 0.0


@dataclass(slots=True)
class _Scan:
    """The state of one scan. Times are those of the event loop's clock (s).

    ``lane``: the line in which it waits. ``event``: time of the first event that no reconcile has started to handle.
    ``requeue``: when to reconcile at the latest, and ``slot``: the lane and the second in which that is booked.
    ``running_due``, ``started``: when the running reconcile became due and started. ``ready``: earliest next reconcile.
    ``timer`` puts the scan in line; ``place``: its number there.
    """

    lane: Lane
    event: float | None
    requeue: float = math.inf
    slot: tuple[Lane, int] | None = None
    running_due: float | None = None
    started: float | None = None
    ready: float = 0.0
    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    place: int | None = None
    task: asyncio.Task[None] | None = None

    @property
    def due(self) -> float:
        """When a reconcile became or becomes due. A running one stays due until it ends."""
        requeue = self.requeue if self.running_due is None else self.running_due
        return min(requeue, math.inf if self.event is None else self.event)

    def start(self, now: float) -> dict[Trigger, float]:
        """Start a reconcile, which handles all events so far; return its triggers and when each made it due."""
        due = {} if self.event is None else {Trigger.EVENT: self.event}
        due[Trigger.REQUEUE] = self.requeue
        self.running_due, self.started, self.event = self.due, now, None
        return {trigger: time for trigger, time in due.items() if time <= now}

    def priority(self, *, urgent: bool) -> float:
        """Return the time by which scans are ordered: when it became due, less its head starts."""
        event = math.inf if self.event is None else self.event - EVENT_HEAD_START
        return min(event, self.requeue) - (URGENT_HEAD_START if urgent else 0.0)


class WorkQueue:
    """Calls ``reconcile`` for every added scan; it returns when to requeue it (s), None if it no longer exists.

    ``waited`` is called after each reconcile with its trigger and the times from when it was due to its start and to
    its end (s): for both triggers if both made it due. ``urgent`` returns whether a scan goes before others, and
    ``lane`` the lane in which it waits.
    """

    def __init__(
        self,
        reconcile: Callable[[NamespacedName], Awaitable[float | None]],
        waited: Callable[[Trigger, float, float], None] = lambda *_: None,
        urgent: Callable[[NamespacedName], bool] = lambda _: False,
        lane: Callable[[NamespacedName], Lane] = lambda key: Lane(key.namespace),
        places: Places = Places(),  # noqa: B008 - immutable
        pause: float = PAUSE,
    ) -> None:
        self._reconcile = reconcile
        self._waited = waited
        self._urgent = urgent
        self._lane = lane
        self._places = places
        self._pause = pause
        self._scans: dict[NamespacedName, _Scan] = {}
        self._lines: dict[Lane, list[tuple[float, int, NamespacedName]]] = {}
        self._running: Counter[Lane] = Counter()
        self._numbers = itertools.count()
        self._slots: Counter[tuple[bool, int]] = (
            Counter()
        )  # requeues by their kind and the second in which they are due
        self._booked: Counter[str] = Counter()  # requeues of scans of the operator's Pulsar by namespace
        self._last_end = {False: 0.0, True: 0.0}  # of a reconcile, by whether the scan names a Pulsar

    def add(self, key: NamespacedName) -> None:
        """Have a scan reconciled soon because of an event."""
        now = asyncio.get_running_loop().time()
        scan = self._scans.get(key)
        if scan is None:
            scan = self._scans[key] = _Scan(self._lane(key), now)
        elif scan.event is not None:
            return
        else:
            scan.event = now
        if scan.task is None:
            self._schedule(key, scan)

    def load(self) -> Load:
        """Return how busy the queue is."""
        now = asyncio.get_running_loop().time()
        scans = self._scans.values()
        overdue = {
            named: max([0.0, *(now - scan.due for scan in scans if scan.lane.named is named)])
            for named in self._last_end
        }
        return Load(
            depth=sum(scan.place is not None for scan in scans),
            longest_running=max([0.0, *(now - scan.started for scan in scans if scan.started is not None)]),
            longest_overdue=overdue[False],
            stalled=max(0.0, *(min(overdue[named], now - end) for named, end in self._last_end.items())),
        )

    async def close(self) -> None:
        """Stop; running reconciles are cancelled."""
        scans = list(self._scans.values())
        for state in (self._lines, self._scans, self._slots, self._booked):
            state.clear()
        tasks = [scan.task for scan in scans if scan.task is not None]
        for scan in scans:
            if scan.timer is not None:
                scan.timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _schedule(self, key: NamespacedName, scan: _Scan) -> None:
        """Put a scan in line when its reconcile is due."""
        loop = asyncio.get_running_loop()
        if scan.timer is not None:
            scan.timer.cancel()
            scan.timer = None
        when = max(scan.due, scan.ready)
        if when > loop.time():
            scan.timer = loop.call_at(when, self._enqueue, key, scan)
        else:
            self._enqueue(key, scan)

    def _enqueue(self, key: NamespacedName, scan: _Scan) -> None:
        scan.timer = None
        self._line_up(key, scan)
        self._start_next()

    def _line_up(self, key: NamespacedName, scan: _Scan) -> None:
        scan.place, scan.lane = next(self._numbers), self._lane(key)  # an older place of this scan is void
        entry = scan.priority(urgent=self._urgent(key)), scan.place, key
        heapq.heappush(self._lines.setdefault(scan.lane, []), entry)

    def _start_next(self) -> None:
        """Start reconciles up to the limits."""
        while (lane := next_lane(self._waiting(), self._running, self._places)) is not None:
            _, _, key = heapq.heappop(self._lines[lane])
            scan = self._scans[key]
            if self._lane(key) != lane:  # it names another Pulsar now
                self._line_up(key, scan)
                continue
            scan.place = None
            self._running[lane] += 1
            scan.task = asyncio.create_task(self._process(key, scan, lane), name=f"reconcile {key}")

    def _waiting(self) -> dict[Lane, float]:
        """Return when the first scan of each lane began to wait; drops void places and empty lanes."""
        for lane, line in list(self._lines.items()):
            while line and (line[0][2] not in self._scans or self._scans[line[0][2]].place != line[0][1]):
                heapq.heappop(line)
            if not line:
                del self._lines[lane]
        return {lane: line[0][0] for lane, line in self._lines.items()}

    async def _process(self, key: NamespacedName, scan: _Scan, lane: Lane) -> None:
        """Reconcile a scan and schedule its next reconcile."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        due = scan.start(started)
        self._free_slot(scan)
        try:
            after = await self._reconcile_once(key, scan, lane)
        finally:
            self._running -= Counter([lane])
            self._start_next()
        now = loop.time()
        for trigger, time in due.items():
            self._waited(trigger, started - time, now - time)
        scan.task, scan.running_due, scan.started, scan.ready = None, None, None, now + self._pause
        if after is None and scan.event is None:
            del self._scans[key]
            return
        # A reconcile that is to follow at once does not wait for a slot among the requeues of others.
        if not after and scan.event is None:
            scan.event = now
        scan.requeue = self._book_slot(scan, now + after) if after else math.inf
        self._schedule(key, scan)

    def _book_slot(self, scan: _Scan, earliest: float) -> float:
        """Book the first free slot for a requeue from ``earliest`` on; return its time."""
        lane, second = scan.lane, math.floor(earliest)
        most = requeues_per_second(lane, self._booked)
        while self._slots[lane.named, second] >= most:
            second += 1
        time = max(earliest, second + self._slots[lane.named, second] / most)
        self._slots[lane.named, second] += 1
        if not lane.named:
            self._booked[lane.namespace] += 1
        scan.slot = lane, second
        return time

    def _free_slot(self, scan: _Scan) -> None:
        if scan.slot is not None:
            lane, second = scan.slot
            self._slots -= Counter([(lane.named, second)])  # drops what becomes 0
            if not lane.named:
                self._booked -= Counter([lane.namespace])
            scan.slot = None

    async def _reconcile_once(self, key: NamespacedName, scan: _Scan, lane: Lane) -> float | None:
        longest = longest_reconcile(lane)
        try:
            async with asyncio.timeout(longest) as limit:
                after = await self._reconcile(key)
        except Exception:  # an error in one scan must not stop the others
            if limit.expired():
                log.error("%s: reconcile failed: not finished within %g s", key, longest)  # noqa: TRY400 - no fault
            else:
                log.exception("%s: reconcile failed", key)
            scan.failures += 1
            return min(FIRST_BACKOFF * 2.0 ** min(scan.failures - 1, 10), LONGEST_BACKOFF)
        finally:
            self._last_end[lane.named] = asyncio.get_running_loop().time()
        scan.failures = 0
        return after
