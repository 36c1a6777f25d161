"""The cluster as the reconciler uses it: the informer's store answers most reads, and writes update the store at once.

An object that the store does not hold is requested: a user's claim, an object of our name that somebody else has made,
or one that no watch has reported yet. Without the update after a write, the next reconcile would write again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from skymap_api.resource.base import Manifest
from skymap_operator.cluster.cache import TimedCache
from skymap_operator.cluster.client import Cluster
from skymap_operator.cluster.store import STORED, Store

#: How long a namespace's warnings are kept: so long (s), or so many times as long as it took to list them, up to a
#: longest time (s). Listing then takes at most a fifth of the time, however many Events there are.
WARNINGS_TTL, WARNINGS_FACTOR, WARNINGS_LONGEST = 3.0, 5.0, 15.0


class CachedCluster:
    """A cluster that reads from a store and feeds it."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster = cluster
        self._store = store
        self._warnings: TimedCache[str, dict[str, list[Manifest]]] = TimedCache(warnings_ttl)

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object; None if it does not exist."""
        stored = self._store.get(kind, namespace, name)
        return await self._cluster.get(kind, namespace, name) if stored is None else stored

    async def pods(self, namespace: str, scan: str, *, fresh: bool = True) -> list[Manifest]:
        """Return the pods with the label ``scan``; ``fresh``: from the API server, else from the store."""
        return await self._cluster.pods(namespace, scan) if fresh else self._store.pods(namespace, scan)

    async def warnings(self, namespace: str, uids: Iterable[str]) -> list[Manifest]:
        """Return the Warning Events about the objects with these uids, at most some seconds old."""
        found = await self._warnings.get(namespace, lambda: self._cluster.warnings_by_uid(namespace))
        return [event for uid in uids for event in found.get(uid, ())]

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object and return it."""
        return self._stored(manifest["kind"], await self._cluster.create(manifest))

    async def replace(self, manifest: Manifest, version: str) -> Manifest:
        """Replace an object that still has this ``resourceVersion`` and return it."""
        return self._stored(manifest["kind"], await self._cluster.replace(manifest, version))

    async def apply_status(self, resource: Manifest) -> Manifest:
        """Set a resource's status by server-side apply and return the resource."""
        return self._stored(resource["kind"], await self._cluster.apply_status(resource))

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> Manifest:
        """Apply a JSON merge patch and return the object."""
        return self._stored(kind, await self._cluster.patch(kind, namespace, name, change))

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace: int | None = None
    ) -> None:
        """Delete an object and, in the background, its dependents; a watch reports when it has gone."""
        await self._cluster.delete(kind, namespace, name, uid=uid, grace=grace)

    async def record(self, about: Manifest, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Record an Event about an object."""
        await self._cluster.record(about, kind, reason, message)

    def _stored(self, kind: str, found: Manifest) -> Manifest:
        if kind in STORED:
            self._store.put(kind, found)
        return found


def warnings_ttl(took: float) -> float:
    """Return how long warnings are kept (s) that took so long to list (s)."""
    return min(max(WARNINGS_TTL, WARNINGS_FACTOR * took), WARNINGS_LONGEST)


#: What observing and applying use: the API server alone, or with a store in front of it.
Client = Cluster | CachedCluster
