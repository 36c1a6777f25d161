"""A cache of answers that many scans need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from cachetools import TLRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Most values in one cache; the least recently used one goes first.
MAX_SIZE = 4096


class TimedCache(Generic[K, V]):
    """Keeps each value for a limited time. Callers that need a value at the same time share one request for it.

    ``ttl`` returns how long a value is kept (s), given how long it took to load (s).
    """

    def __init__(self, ttl: Callable[[float], float], timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._ttl = ttl
        self._values: TLRUCache[K, tuple[V, float]] = TLRUCache(MAX_SIZE, lambda _key, kept, now: now + kept[1], timer)
        self._locks: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._values)

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """Return the value of a key, loaded if it is not in the cache."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            kept = self._values.get(key)
            if kept is not None:
                return kept[0]
            began = self._timer()
            value = await load()
            self._values[key] = (value, self._ttl(self._timer() - began))
            return value
