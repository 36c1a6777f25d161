"""The cluster as it is observed: the informer's store answers most reads.

An object that the store does not hold, or of which it holds metadata alone, is requested: a user's claim, an object of
our name that somebody else has made, one that no watch has reported yet, a ConfigMap that has changed. Writes update
the store at once (`Store.put_written`): otherwise the next reconcile would write again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from weakref import WeakValueDictionary

from cachetools import TLRUCache

from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Cluster
from skymap_operator.cluster.store import Store
from skymap_operator.cluster.trim import is_whole

#: How long a namespace's warnings are kept: a factor times as long as listing them took, between a lower and an upper
#: bound (s). Listing many Events therefore takes only a fraction of the time.
WARNINGS_TTL, WARNINGS_FACTOR, WARNINGS_LONGEST = 3.0, 5.0, 15.0

#: Most namespaces whose warnings are kept; the least recently used ones go first.
MAX_NAMESPACES = 4096


class CachedReads:
    """Reads of a cluster with a store in front of it."""

    def __init__(self, cluster: Cluster, store: Store, timer: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._store = store
        self._timer = timer
        #: By namespace: the warnings, and how long they are kept (s).
        self._warnings: TLRUCache[str, tuple[dict[str, list[Manifest]], float]] = TLRUCache(
            MAX_NAMESPACES, lambda _, kept, now: now + kept[1], timer
        )
        self._listing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def now(self) -> datetime:
        """Return the API server's time."""
        return self._cluster.now()

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object; None if it does not exist."""
        stored = self._store.get(kind, namespace, name)
        if stored is not None and is_whole(kind, stored):
            return stored
        found = await self._cluster.get(kind, namespace, name)
        if stored is not None and found is not None:
            self._store.put(kind, found)
        return found

    async def pods(self, namespace: str, scan: str, *, fresh: bool = True) -> list[Manifest]:
        """Return the pods with the label ``scan``; ``fresh``: from the API server, else from the store."""
        return await self._cluster.pods(namespace, scan) if fresh else self._store.pods(namespace, scan)

    async def warnings(self, namespace: str) -> dict[str, list[Manifest]]:
        """List Warning Events as `Cluster` does, at most some seconds old. Concurrent callers share one request."""
        async with self._listing.setdefault(namespace, asyncio.Lock()):
            kept = self._warnings.get(namespace)
            if kept is not None:
                return kept[0]
            began = self._timer()
            found = await self._cluster.warnings(namespace)
            self._warnings[namespace] = found, warnings_ttl(self._timer() - began)
            return found


def warnings_ttl(took: float) -> float:
    """Return how long warnings are kept (s) whose listing took ``took`` (s)."""
    return min(max(WARNINGS_TTL, WARNINGS_FACTOR * took), WARNINGS_LONGEST)


#: What observing reads from: the API server alone, or with a store in front of it.
Reads = Cluster | CachedReads
