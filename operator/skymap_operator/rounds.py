"""When which scan is looked at: one look at a time for each, a few at a time in all.

A look is asked for by `Rounds.wake`, as often as anybody likes, and is due again when the look before has said so.
What is asked for while a scan is being looked at leads to one more look: nothing that has happened is overlooked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

#: Looks at a time, and how long a scan rests between two (s): events come in swarms.
AT_A_TIME, REST = 8, 0.5

#: A look may take so long (s): all that it waits for has limits of its own, and a slow Pulsar adds them up.
LONGEST_LOOK = 240.0

#: After an error nobody expected: the first pause (s), doubled each time up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0


@dataclass(frozen=True, slots=True)
class Key:
    """A scan: its namespace and its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass
class _Scan:
    """``due``: since when, or when, a look is due (s, the loop's clock); it stays so until the look is over."""

    due: float
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    failures: int = 0


class Rounds:
    """Calls ``look`` for every scan that is known; it returns when to look again (s), None where no scan is left."""

    def __init__(
        self, look: Callable[[Key], Awaitable[float | None]], at_a_time: int = AT_A_TIME, rest: float = REST
    ) -> None:
        self._look = look
        self._rest = rest
        self._free = asyncio.Semaphore(at_a_time)
        self._scans: dict[Key, _Scan] = {}
        self._ended = 0.0  # when the last look ended (the loop's clock)

    def wake(self, key: Key) -> None:
        """Have the scan looked at soon."""
        now = asyncio.get_running_loop().time()
        scan = self._scans.get(key)
        if scan is None:
            scan = self._scans[key] = _Scan(now)
            scan.task = asyncio.create_task(self._follow(key, scan), name=f"scan {key}")
        scan.due = min(scan.due, now)
        scan.woken.set()

    @property
    def known(self) -> int:
        """How many scans are looked after."""
        return len(self._scans)

    def overdue(self) -> float:
        """Return for how long (s) the look that is late most is due; 0 where none is late."""
        now = asyncio.get_running_loop().time()
        return max([0.0, *(now - scan.due for scan in self._scans.values())])

    def stalled(self) -> float:
        """Return for how long (s) looks have been due and none has ended: many that wait their turn are no fault."""
        return max(min(self.overdue(), asyncio.get_running_loop().time() - self._ended), 0.0)

    async def close(self) -> None:
        """Stop looking; a look that is under way is broken off."""
        tasks = [scan.task for scan in self._scans.values() if scan.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._scans.clear()

    async def _follow(self, key: Key, scan: _Scan) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._free:
                scan.woken.clear()
                after = await self._once(key, scan)
            if after is None and not scan.woken.is_set():
                del self._scans[key]
                return
            scan.due = loop.time() + (after or 0.0)
            await asyncio.sleep(self._rest)
            try:
                async with asyncio.timeout_at(scan.due):
                    await scan.woken.wait()
            except TimeoutError:
                continue

    async def _once(self, key: Key, scan: _Scan) -> float | None:
        try:
            async with asyncio.timeout(LONGEST_LOOK):
                after = await self._look(key)
        except Exception:  # a fault in one scan's look must not end the others'
            log.exception("%s: the look at it failed", key)
            scan.failures += 1
            return min(FIRST_PAUSE * 2.0 ** min(scan.failures - 1, 10), LONGEST_PAUSE)
        finally:
            self._ended = asyncio.get_running_loop().time()
        scan.failures = 0
        return after
