"""The cluster as one that looks at many scans sees it: what it needs again and again is followed, and not asked for.

Every kind that a scan consists of is listed and then watched, with our label; of SkymapScans kopf tells (`handlers`).
What a change of our own leads to is known from its answer, so that nothing is done twice. What is not known is asked
for: a claim of the user's, an object of our name that somebody else has made, whatever a watch has not told of yet. A
watch ends by itself now and then, or breaks; then all is listed anew, so that no news are lost for long.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from skymap_api.names import KIND, SCAN_LABEL, NamespacedName
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Cluster, ClusterError
from skymap_operator.cluster.store import Store

log = logging.getLogger(__name__)

#: What a scan consists of, and the pods of it.
CHILDREN = ("Job", "Deployment", "ConfigMap", "PersistentVolumeClaim", "Pod")
FOLLOWED = (KIND, *CHILDREN)

#: Before a list that failed is tried again (s): at first, and, doubled each time, at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Informer(Cluster):
    """A cluster of which the scans' objects are known, from `follow` on."""

    def __init__(self, client: Any, asked: Callable[[str, int | None], None] = lambda *_: None) -> None:
        super().__init__(client, asked)
        self.store = Store()
        self._changed: Callable[[NamespacedName], None] = lambda _: None
        self._followers: builtins.list[asyncio.Task[None]] = []

    async def follow(self, namespaces: Sequence[str], changed: Callable[[NamespacedName], None], every: float) -> None:
        """Know all objects of scans, in these namespaces or, if none, in all; ``changed`` is told of scans with news.

        Scans themselves are listed, and what happens to them afterwards is to be told by `heard`. ``every``: how often
        all is listed anew (s). Until `unfollow`.

        Raises
        ------
        ClusterError
            If they cannot be listed.
        """
        places = [(kind, namespace) for kind in FOLLOWED for namespace in namespaces or (None,)]
        news = set[NamespacedName]()  # who looks at once would find half of what there is
        self._changed = news.add
        versions = await asyncio.gather(*(self._list_anew(kind, namespace) for kind, namespace in places))
        self._changed = changed
        self._tell(news)
        self._followers = [
            asyncio.create_task(
                self._list_often(namespace, every) if kind == KIND else self._follow(kind, namespace, version, every),
                name=f"follow {kind}",
            )
            for (kind, namespace), version in zip(places, versions, strict=True)
        ]

    def heard(self, what: str | None, scan: Manifest) -> None:
        """Take in what has happened to a scan: it was ADDED, MODIFIED, DELETED, or is there (None)."""
        self._take(KIND, what, scan)

    async def unfollow(self) -> None:
        """Follow no longer."""
        for task in self._followers:
            task.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)

    def is_urgent(self, key: NamespacedName) -> bool:
        """Tell whether a scan comes before others."""
        scan = self.store.get(KIND, key.namespace, key.name)
        return scan is not None and scan["spec"].get("priority") == "Realtime"

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object; None where there is none."""
        known = self.store.get(kind, namespace, name)
        return await super().get(kind, namespace, name) if known is None else known

    async def pods(self, namespace: str, scan: str, *, fresh: bool = True) -> builtins.list[Manifest]:
        """Return the pods with the label ``scan``. ``fresh``: as they are now, not as they were known last."""
        return await super().pods(namespace, scan) if fresh else self.store.pods(namespace, scan)

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Make an object, or only ask whether it would be taken; return it. Conflict: there is one of this name."""
        made = await super().create(manifest, dry_run=dry_run)
        return made if dry_run else self._known(manifest["kind"], made)

    async def replace(self, manifest: Manifest, version: str) -> Manifest:
        """Make an object what the manifest says; return it. Conflict: it is not of this version any more."""
        return self._known(manifest["kind"], await super().replace(manifest, version))

    async def apply_status(self, resource: Manifest) -> Manifest:
        """Bring a resource's status to what is given; return the resource."""
        return self._known(resource["kind"], await super().apply_status(resource))

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> Manifest:
        """Change fields of an object (a JSON merge patch: null removes); return it."""
        return self._known(kind, await super().patch(kind, namespace, name, change))

    def _known(self, kind: str, made: Manifest) -> Manifest:
        if kind in FOLLOWED:
            self.store.put(kind, made)
        return made

    def _take(self, kind: str, what: str | None, found: Manifest) -> None:
        self._tell(self.store.remove(kind, found) if what == "DELETED" else self.store.put(kind, found))

    def _tell(self, news: Iterable[NamespacedName]) -> None:
        for key in news:
            self._changed(key)

    async def _list_anew(self, kind: str, namespace: str | None) -> str:
        """List a kind, tell what is new, and return of which version all that is."""
        there, version = set[tuple[str, str]](), ""
        async for page in self.pages(kind, namespace, labels=_labels(kind)):
            version = page["metadata"]["resourceVersion"]
            for found in page["items"]:
                there.add((found["metadata"]["namespace"], found["metadata"]["name"]))
                self._take(kind, None, found)
        self._tell(self.store.replace(kind, namespace, there, version))
        return version

    async def _list_often(self, namespace: str | None, every: float) -> None:
        """Find scans of which kopf has not told that they are gone: it does not list what is not there any more."""
        while True:
            await asyncio.sleep(every * random.uniform(0.8, 1.2))  # noqa: S311 - not all at once
            try:
                await self._list_anew(KIND, namespace)
            except ClusterError as error:
                log.warning("%s: not listed: %s", KIND, error)

    async def _follow(self, kind: str, namespace: str | None, version: str, every: float) -> None:
        """Keep what is known of a kind up to date, whatever happens to the API server."""
        pause, begun = FIRST_PAUSE, True
        while True:
            try:
                if not begun:
                    version = await self._list_anew(kind, namespace)
                begun, seconds = False, every * random.uniform(0.8, 1.2)  # noqa: S311 - not all at once
                async for what, found in self.watch(kind, namespace, version, labels=_labels(kind), seconds=seconds):
                    self._take(kind, what, found)
                    pause = FIRST_PAUSE
            except ClusterError as error:
                log.warning("%s: listed anew in %.1f s: %s", kind, pause, error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2.0 * pause, LONGEST_PAUSE)
            except Exception:  # what nobody foresaw in one kind must not leave it unfollowed
                log.exception("%s: listed anew", kind)
                await asyncio.sleep(LONGEST_PAUSE)


def _labels(kind: str) -> str:
    return "" if kind == KIND else SCAN_LABEL
