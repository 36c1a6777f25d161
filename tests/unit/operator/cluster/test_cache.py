"""The cache: shared requests, limited time, limited size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from skymap_operator.cluster.cache import TimedCache


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Counts loads; each takes ``seconds`` of the clock."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.clock, self.seconds, self.loads = clock, seconds, 0

    async def load(self) -> int:
        self.loads += 1
        await asyncio.sleep(0)
        self.clock.now += self.seconds
        return self.loads


def ask(*keys: str, cache: TimedCache[str, int], load: Callable[[], Awaitable[int]]) -> list[int]:
    async def inside() -> list[int]:
        return list(await asyncio.gather(*(cache.get(key, load) for key in keys)))

    return asyncio.run(inside())


def test_concurrent_callers_share_one_load() -> None:
    source = Source(clock := Clock())
    cache: TimedCache[str, int] = TimedCache(lambda _: 3.0, clock)
    assert ask("a", "a", "a", cache=cache, load=source.load) == [1, 1, 1]
    assert ask("b", cache=cache, load=source.load) == [2]


def test_value_is_loaded_again_after_its_time() -> None:
    source = Source(clock := Clock(), seconds=1.0)
    cache: TimedCache[str, int] = TimedCache(lambda took: 5.0 * took, clock)
    assert ask("a", cache=cache, load=source.load) == [1]
    clock.now = 5.9
    assert ask("a", cache=cache, load=source.load) == [1]
    clock.now = 6.1
    assert ask("a", cache=cache, load=source.load) == [2]


def test_expired_values_are_dropped() -> None:
    source = Source(clock := Clock())
    cache: TimedCache[str, int] = TimedCache(lambda _: 3.0, clock)
    ask(*(f"namespace-{number}" for number in range(100)), cache=cache, load=source.load)
    clock.now = 10.0
    ask("a", cache=cache, load=source.load)
    assert len(cache) == 1
    assert len(cache._locks) == 0


def test_failed_load_is_not_cached() -> None:
    async def fail() -> int:
        raise ZeroDivisionError

    source = Source(clock := Clock())
    cache: TimedCache[str, int] = TimedCache(lambda _: 3.0, clock)
    with pytest.raises(ZeroDivisionError):
        ask("a", cache=cache, load=fail)
    assert ask("a", cache=cache, load=source.load) == [1]
