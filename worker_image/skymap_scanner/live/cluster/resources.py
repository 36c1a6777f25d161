"""The SkymapScans of a cluster as the API server last reported them: listed, then watched, in a thread a namespace."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Protocol

from skymap_api.text import printable_line
from skymap_scanner.errors import ClusterError
from skymap_scanner.live.cluster.resource import Backlog, Resource, read_resource
from skymap_scanner.roles.stop import Stop

log = logging.getLogger(__name__)

#: Most scans that a server shows; the page says so if there are more.
MAX_SCANS = 5000
#: Duration of a watch, after which the scans are listed again (s); shortest and longest pause after a failure (s).
WATCH_SECONDS, FIRST_PAUSE, LONGEST_PAUSE = 300, 0.5, 30.0

Document = dict[str, Any]


class Api(Protocol):
    """What is asked of the API server; see `KubernetesApi`."""

    def pages(self, namespace: str | None) -> Iterator[tuple[list[Document], str]]:
        """List the SkymapScans in pages, each with the version of the list."""

    def watch(self, namespace: str | None, version: str, seconds: int) -> Iterator[tuple[str, Document]]:
        """Yield the changes since a version."""


class Resources:
    """The SkymapScans of some ``namespaces``, or of all if there are none; any thread may read them."""

    def __init__(self, api: Api, namespaces: Sequence[str] = ()) -> None:
        self._api = api
        self._places: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._stop = Stop()
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Resource] = {}
        self._backlogs: dict[tuple[str, str], Backlog] = {}
        self._listed = set[str | None]()
        #: Whether scans were left out, because there are too many.
        self.full = False

    def start(self) -> None:
        """Begin to list and watch, in threads."""
        for place in self._places:
            name = f"watch {place or 'all namespaces'}"
            threading.Thread(target=self._follow, args=(place,), name=name, daemon=True).start()

    def stop(self) -> None:
        """End the threads once their requests end."""
        self._stop.request()

    @property
    def complete(self) -> bool:
        """Whether all scans have been listed once."""
        return len(self._listed) == len(self._places)

    def all(self) -> list[Resource]:
        """Return all scans by namespace and name."""
        with self._lock:
            return [self._found[key] for key in sorted(self._found)]

    def get(self, namespace: str, name: str) -> Resource | None:
        """Return a scan, None if there is none."""
        with self._lock:
            return self._found.get((namespace, name))

    def backlog(self, one: Resource) -> list[tuple[float, int, int]]:
        """Return time (s since 1970), waiting fits and desired workers of a scan, as far as they were seen."""
        with self._lock:
            return list(self._backlogs.get((one.namespace, one.name), ()))

    def _follow(self, place: str | None) -> None:
        """List and watch until a stop is requested, whatever the API server does."""
        pause = FIRST_PAUSE
        while not self._stop.requested:
            try:
                version = self._list(place)
                began = time.monotonic()
                for event, document in self._api.watch(place, version, WATCH_SECONDS):
                    self._change(event, document)
                    if self._stop.requested:
                        return
                if time.monotonic() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                    continue
            except ClusterError as error:
                log.warning("the SkymapScans are listed again in %.1f s: %s", pause, printable_line(str(error)))
            except Exception:  # an unforeseen error must not leave the page without its scans
                log.exception("the SkymapScans are listed again in %.1f s", pause)
            self._stop.wait(pause * Random().uniform(0.5, 1.0))  # noqa: S311 - not for cryptography
            pause = min(2 * pause, LONGEST_PAUSE)

    def _list(self, place: str | None) -> str:
        """List the scans of a place, remove those that are gone, and return the version of the list."""
        names, version = set[tuple[str, str]](), ""
        for documents, version in self._api.pages(place):  # noqa: B007 - that of the last page counts
            for document in documents:
                names.add(_name(document))
                self._change("ADDED", document)
        with self._lock:
            gone = [key for key in self._found if key not in names and place in {None, key[0]}]
            for key in gone:
                self._remove(key)
            self.full = self.full and len(self._found) >= MAX_SCANS
        self._listed.add(place)
        return version

    def _change(self, event: str, document: Document) -> None:
        key = _name(document)
        resource = None if event == "DELETED" else read_resource(document)
        with self._lock:
            before = self._found.get(key)
            if resource is None or (before is not None and before.uid != resource.uid):
                self._remove(key)
            if resource is None:
                return
            if key not in self._found and len(self._found) >= MAX_SCANS:
                self.full = True
                return
            self._found[key] = resource
            if resource.backlog is not None and not resource.finished:
                history = self._backlogs.setdefault(key, Backlog())
                history.add(time.time(), resource.backlog, resource.desired or 0)

    def _remove(self, key: tuple[str, str]) -> None:
        self._found.pop(key, None)
        self._backlogs.pop(key, None)


def _name(document: Document) -> tuple[str, str]:
    meta = document["metadata"]
    return str(meta["namespace"]), str(meta["name"])
