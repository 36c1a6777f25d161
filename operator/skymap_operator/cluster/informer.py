"""Lists and watches the objects of all scans, as the informers of client-go do, and keeps a `Store` of them up to date.

Each kind is listed and then watched from the version of the list. A watch ends after a while; then the kind is listed
again, so that no change can be missed for long. When the connection fails or a watch ends early, the next list waits
with an exponential back-off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random

from skymap_api.names import KIND, SCAN_LABEL, NamespacedName
from skymap_operator.cluster.client import Cluster, ClusterError
from skymap_operator.cluster.reading import Reading
from skymap_operator.cluster.store import STORED, Store
from skymap_operator.cluster.trim import METADATA_ONLY, trimmed

log = logging.getLogger(__name__)

#: Pause before the next list after a failure (s): the first, doubled each time, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0

#: A watch has ended early if it ends this long (s) before its timeout.
TOLERANCE = 1.0


class Informer:
    """Keeps ``store`` up to date and calls ``changed`` for every scan of which an object has changed.

    ``resync``: about how often each kind is listed again (s).
    """

    def __init__(
        self, cluster: Cluster, store: Store, changed: Callable[[NamespacedName], None], resync: float
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._changed = changed
        self._resync = resync
        self._watches: list[asyncio.Task[None]] = []

    async def start(self, namespaces: Sequence[str]) -> None:
        """List all objects of scans, in these namespaces or, if there are none, in all; then watch them until `stop`.

        ``changed`` is called only when every list is complete: an earlier reconcile would see a partial store.

        Raises ClusterError if a list fails.
        """
        places = [(kind, namespace) for kind in STORED for namespace in namespaces or (None,)]
        lists = await asyncio.gather(*(self._list(kind, namespace) for kind, namespace in places))
        self._report(set[NamespacedName]().union(*(scans for _, scans in lists)))
        self._watches = [
            asyncio.create_task(self._follow(kind, namespace, version), name=f"watch {kind}")
            for (kind, namespace), (version, _) in zip(places, lists, strict=True)
        ]

    async def stop(self) -> None:
        """Stop watching."""
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def _report(self, scans: Iterable[NamespacedName]) -> None:
        for scan in scans:
            self._changed(scan)

    async def _list(self, kind: str, namespace: str | None) -> tuple[str, set[NamespacedName]]:
        """List a kind; return the version of the list and the scans of which an object has changed."""
        names, version, changed = set[tuple[str, str]](), "", set[NamespacedName]()
        async for page in self._cluster.pages(kind, namespace, **_options(kind)):
            version = page["metadata"]["resourceVersion"]
            for found in page["items"]:
                names.add((found["metadata"]["namespace"], found["metadata"]["name"]))
                changed |= self._store.put(kind, found)
        return version, changed | self._store.replace(kind, namespace, names, version)

    async def _follow(self, kind: str, namespace: str | None, version: str) -> None:
        """Watch a kind and list it again, for ever and whatever the API server does."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            began = None
            try:
                if not version:
                    version, changed = await self._list(kind, namespace)
                    self._report(changed)
                began = loop.time()
                seconds = max(round(self._resync * _jitter(0.8, 1.2)), 1)  # kinds are not all listed at the same time
                await self._watch(kind, namespace, version, seconds)
                pause = backoff.after_watch(loop.time() - began, seconds)
            except ClusterError as error:
                pause = backoff.after_failure(0.0 if began is None else loop.time() - began)
                log.warning("%s: will be listed again in %.1f s: %s", kind, pause, error)
            except Exception:  # an unforeseen error must not leave a kind without a watch
                pause = LONGEST_PAUSE
                log.exception("%s: will be listed again in %.1f s", kind, pause)
            version = ""
            await asyncio.sleep(pause)

    async def _watch(self, kind: str, namespace: str | None, version: str, seconds: int) -> None:
        """Watch a kind until the watch ends."""
        watch = self._cluster.watch(kind, namespace, version, seconds=seconds, **_options(kind))
        async for event, found in watch:
            changed = self._store.remove(kind, found) if event == "DELETED" else self._store.put(kind, found)
            self._report(changed)


class Backoff:
    """The pause before the next list: none after a watch that lasted its time, else one that grows."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def after_watch(self, lasted: float, seconds: float) -> float:
        """Return the pause (s) after a watch that was to last ``seconds`` and ended by itself."""
        if lasted < seconds - TOLERANCE:
            return self.after_failure(lasted)
        self._next = FIRST_PAUSE
        return 0.0

    def after_failure(self, lasted: float) -> float:
        """Return the pause (s) after a list that failed, or a watch that broke after ``lasted`` seconds.

        The pause grows only while watches are short: a proxy may cut every watch after a minute.
        """
        if lasted >= LONGEST_PAUSE:
            self._next = FIRST_PAUSE
        pause, self._next = self._next, min(2.0 * self._next, LONGEST_PAUSE)
        return pause * _jitter(0.5, 1.0)


def _jitter(low: float, high: float) -> float:
    return Random().uniform(low, high)  # noqa: S311 - not for cryptography


def _options(kind: str) -> Reading:
    """Return which objects of a kind are read, and what of them."""
    labels = "" if kind == KIND else SCAN_LABEL
    return {"labels": labels, "keep": partial(trimmed, kind), "metadata_only": kind in METADATA_ONLY}
