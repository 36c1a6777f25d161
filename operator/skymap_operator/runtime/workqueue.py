"""When which scan is looked at: one look at a time for each, a few at a time in all.

A look is asked for by `WorkQueue.add`, as often as anybody likes, and is due again when the look before has said so.
What is asked for while a scan is being looked at leads to one more look: nothing that has happened is overlooked.

A look is due since something has happened (news), or since its time has come (a round). Where more looks are due than
can be had at a time, the one that is due longest comes first. News have a head start before rounds, and urgent scans
before others; since it is a time and no rank, nobody waits for ever.
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

log = logging.getLogger(__name__)

#: Looks at a time, which wait for answers most of it, and how long a scan rests between two (s): events come in swarms.
AT_A_TIME, REST = 12, 0.5

#: Rounds in a second, of all scans: with more scans each is looked at less often, so that news find time (two cores,
#: shared with the API server and Pulsar, bore 40 looks in all).
PACE = 25

#: By how much news are put before rounds, and urgent scans before others (s). A wave of news takes a while, in which
#: rounds may wait: what they are for, a queue that has changed, is no older then than where scans are very many.
NEWS_FIRST, URGENT_FIRST = 30.0, 60.0

#: A look may take so long (s): all that it waits for has limits of its own, and a slow Pulsar adds them up.
LONGEST_LOOK = 240.0

#: After an error nobody expected: the first pause (s), doubled each time up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0


class By(StrEnum):
    """By what a look is due."""

    NEWS = "news"
    TIME = "time"


@dataclass(slots=True)
class _Scan:
    """``news``: since when there are news that no look has begun to take in (s, the loop's clock), None without.

    ``round``: when a look is due in any case; ``second``: where that is booked. ``since``: since when the look under
    way is due. ``rested``: no look before. ``timer``: puts it in line at its time; ``place``: there it is.
    """

    news: float | None
    round: float = math.inf
    second: int | None = None
    since: float | None = None
    rested: float = 0.0
    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    place: int | None = None
    task: asyncio.Task[None] | None = None

    @property
    def due(self) -> float:
        """Since when, or when, a look is due; it stays so until the look is over."""
        return min(self.round if self.since is None else self.since, math.inf if self.news is None else self.news)

    def begin(self, now: float) -> dict[By, float]:
        """Begin a look, which takes in all news; return since when it is due, by news and by its time."""
        due = {By.TIME: self.round} if self.news is None else {By.NEWS: self.news, By.TIME: self.round}
        self.since, self.news = self.due, None
        return {by: since for by, since in due.items() if since <= now}

    def rank(self, urgent: bool) -> float:
        """Return what says who comes first: the time since when it is due, less its start before others."""
        news = math.inf if self.news is None else self.news - NEWS_FIRST
        return min(news, self.round) - (URGENT_FIRST if urgent else 0.0)


class WorkQueue:
    """Calls ``reconcile`` for every scan that is known; it returns when to look again (s), None where no scan is left.

    ``late`` is told how long after it was due each look has ended (s), and by what it was due: by both, twice.
    ``urgent`` tells which scans come first.
    """

    def __init__(
        self,
        reconcile: Callable[[NamespacedName], Awaitable[float | None]],
        late: Callable[[float, By], None] = lambda _, __: None,
        urgent: Callable[[NamespacedName], bool] = lambda _: False,
        at_a_time: int = AT_A_TIME,
        rest: float = REST,
    ) -> None:
        self._reconcile = reconcile
        self._late = late
        self._urgent = urgent
        self._free = at_a_time
        self._rest = rest
        self._scans: dict[NamespacedName, _Scan] = {}
        self._line: list[tuple[float, int, NamespacedName]] = []
        self._places = itertools.count()
        self._booked: Counter[int] = Counter()  # rounds by the second in which they are due
        self._ended = 0.0  # when the last look ended (the loop's clock)

    def add(self, key: NamespacedName) -> None:
        """Have the scan looked at soon."""
        now = asyncio.get_running_loop().time()
        scan = self._scans.get(key)
        if scan is None:
            scan = self._scans[key] = _Scan(now)
        elif scan.news is not None:
            return
        else:
            scan.news = now
        if scan.task is None:
            self._arrange(key, scan)

    def overdue(self) -> float:
        """Return for how long (s) the look that is late most is due; 0 where none is late."""
        now = asyncio.get_running_loop().time()
        return max([0.0, *(now - scan.due for scan in self._scans.values())])

    def stalled(self) -> float:
        """Return for how long (s) looks have been due and none has ended: many that wait their turn are no fault."""
        return max(min(self.overdue(), asyncio.get_running_loop().time() - self._ended), 0.0)

    async def close(self) -> None:
        """Stop looking; a look that is under way is broken off."""
        scans, self._line = list(self._scans.values()), []
        self._scans.clear()
        self._booked.clear()
        tasks = [scan.task for scan in scans if scan.task is not None]
        for scan in scans:
            if scan.timer is not None:
                scan.timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arrange(self, key: NamespacedName, scan: _Scan) -> None:
        """Put the scan in line when its look is due, in the place that it has then."""
        loop = asyncio.get_running_loop()
        if scan.timer is not None:
            scan.timer.cancel()
            scan.timer = None
        when = max(scan.due, scan.rested)
        if when > loop.time():
            scan.timer = loop.call_at(when, self._enter, key, scan)
        else:
            self._enter(key, scan)

    def _enter(self, key: NamespacedName, scan: _Scan) -> None:
        scan.timer, scan.place = None, next(self._places)  # where it stood before is void
        heapq.heappush(self._line, (scan.rank(self._urgent(key)), scan.place, key))
        self._proceed()

    def _proceed(self) -> None:
        """Begin looks while there are hands for them."""
        while self._free and self._line:
            _, place, key = heapq.heappop(self._line)
            scan = self._scans.get(key)
            if scan is not None and scan.place == place:
                scan.place = None
                self._free -= 1
                scan.task = asyncio.create_task(self._follow(key, scan), name=f"scan {key}")

    async def _follow(self, key: NamespacedName, scan: _Scan) -> None:
        """Look at a scan, and arrange for the next look."""
        loop = asyncio.get_running_loop()
        due = scan.begin(loop.time())
        self._unbook(scan)
        try:
            after = await self._once(key, scan)
        finally:
            self._free += 1
            self._proceed()
        now = loop.time()
        for by, since in due.items():
            self._late(now - since, by)
        scan.task, scan.since, scan.rested = None, None, now + self._rest
        if after is None and scan.news is None:
            del self._scans[key]
            return
        # What is to follow at once is no round, and does not wait for those of the others.
        if not after and scan.news is None:
            scan.news = now
        scan.round = self._book(scan, now + after) if after else math.inf
        self._arrange(key, scan)

    def _book(self, scan: _Scan, earliest: float) -> float:
        """Return the first time from ``earliest`` on at which there is room for a round."""
        second = math.floor(earliest)
        while self._booked[second] >= PACE:
            second += 1
        time = max(earliest, second + self._booked[second] / PACE)
        self._booked[second] += 1
        scan.second = second
        return time

    def _unbook(self, scan: _Scan) -> None:
        if scan.second is not None:
            self._booked[scan.second] -= 1
            if not self._booked[scan.second]:
                del self._booked[scan.second]
            scan.second = None

    async def _once(self, key: NamespacedName, scan: _Scan) -> float | None:
        try:
            async with asyncio.timeout(LONGEST_LOOK):
                after = await self._reconcile(key)
        except Exception:  # a fault in one scan's look must not end the others'
            log.exception("%s: the look at it failed", key)
            scan.failures += 1
            return min(FIRST_PAUSE * 2.0 ** min(scan.failures - 1, 10), LONGEST_PAUSE)
        finally:
            self._ended = asyncio.get_running_loop().time()
        scan.failures = 0
        return after
