"""SkymapScans as the API server sends them, an API server in memory, and a server of their pages."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Any

import httpx
import pytest
from testing.waiting import eventually
from tests.unit.roles.conftest import Scan, event, scan  # noqa: F401 - fixtures

from skymap_scanner.broker import Broker
from skymap_scanner.live.cluster.access import Access
from skymap_scanner.live.cluster.resources import Resources
from skymap_scanner.live.cluster.server import ClusterPages, OwnPulsar
from skymap_scanner.live.server import serve
from skymap_scanner.roles.stop import Stop

Document = dict[str, Any]
ADA, BOB = "token-of-ada", "token-of-bob"
PROXY_SECRET = "a secret of the proxy"  # noqa: S105 - of no real one


def condition(kind: str, status: str, reason: str, message: str = "") -> Document:
    when = "2026-01-02T12:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": when}


def document(namespace: str = "north", name: str = "alert", uid: str = "", **status: Any) -> Document:
    meta = {"namespace": namespace, "name": name, "uid": uid or f"uid-{namespace}-{name}"}
    meta["creationTimestamp"] = "2026-01-02T12:00:00Z"
    return {"metadata": meta, "spec": {}, "status": status}


def runs_with(service_url: str = "sqlite", tenant: str = "icecube") -> Document:
    return {
        "image": "image", "operator": "0.1.0", "serviceUrl": service_url, "adminUrl": "http://admin", "tenant": tenant,
    }  # fmt: skip


@dataclass
class FakeApi:
    """Lists ``scans``, watches what is put into ``changes``, and knows ``tokens`` and ``rights``.

    ``rights``: user, verb, namespace. ``asked``: kinds of the reviews, with the user or token.
    """

    scans: list[Document] = field(default_factory=list)
    changes: Queue[tuple[str, Document]] = field(default_factory=Queue)
    tokens: dict[str, str] = field(default_factory=lambda: {"token-of-ada": "ada", "token-of-bob": "bob"})
    rights: set[tuple[str, str, str]] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    lists: int = 0
    ended: bool = False

    def pages(self, namespace: str | None) -> Iterator[tuple[list[Document], str]]:  # noqa: ARG002 - as the real one
        self.lists += 1
        yield self.scans[:2], "7"
        yield self.scans[2:], "7"

    def watch(self, *request: object) -> Iterator[tuple[str, Document]]:
        _, version, _ = request
        assert version == "7"
        while not self.ended:
            try:
                yield self.changes.get(timeout=0.05)
            except Empty:
                continue

    def review(self, group: str, kind: str, spec: Document) -> Document:
        assert group == {"TokenReview": "authentication.k8s.io"}.get(kind, "authorization.k8s.io")
        if kind == "TokenReview":
            self.asked.append((kind, spec["token"]))
            name = self.tokens.get(spec["token"])
            found = {"username": name, "groups": ["people"], "uid": "1", "extra": {"k": ["v"]}}
            return {"authenticated": False} if name is None else {"authenticated": True, "user": found}
        self.asked.append((kind, spec["user"]))
        wanted = spec["resourceAttributes"]
        assert (wanted["group"], wanted["resource"]) == ("skymap.icecube.wisc.edu", "skymapscans")
        return {"allowed": (spec["user"], wanted["verb"], wanted["namespace"]) in self.rights}


class Says:
    """Answers every review in the same way, and keeps what was asked."""

    def __init__(self, **status: object) -> None:
        self._status = status
        self.specs: list[Document] = []

    def review(self, *review: Any) -> Document:
        self.specs.append(review[-1])
        return self._status


@dataclass
class ClusterServer:
    """A running server of the pages of a cluster."""

    url: str
    api: FakeApi
    resources: Resources
    pages: ClusterPages

    def client(self, token: str = "", **headers: str) -> httpx.Client:
        given = {"Accept": "text/html", **headers}
        if token:
            given["Authorization"] = f"Bearer {token}"
        return httpx.Client(base_url=self.url, headers=given, timeout=60)


ServeCluster = Callable[..., ClusterServer]


@contextmanager
def serving(
    api: FakeApi, open_broker: Callable[[], Broker], service_url: str, tls: ssl.SSLContext | None = None
) -> Iterator[ClusterServer]:
    resources, stop = Resources(api), Stop()
    access = Access(api, proxy=PROXY_SECRET)
    pages = ClusterPages(resources, access, OwnPulsar(service_url, None, "icecube", open_broker))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, pages, stop, threading.Event(), tls))
        thread.start()
        resources.start()
        try:
            eventually(lambda: resources.complete)
            scheme = "http" if tls is None else "https"
            yield ClusterServer(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", api, resources, pages)
        finally:
            api.ended = True
            resources.stop()
            stop.request()
            thread.join(30)
            pages.close()
    assert not thread.is_alive()


def no_broker() -> Broker:
    raise AssertionError("the broker is not needed here")


@pytest.fixture
def serve_cluster() -> Iterator[ServeCluster]:
    """Serve the scans of an API server until the end of the test."""
    with ExitStack() as stack:

        def start(
            api: FakeApi, open_broker: Callable[[], Broker] = no_broker, service_url: str = "sqlite"
        ) -> ClusterServer:
            return stack.enter_context(serving(api, open_broker, service_url))

        yield start


def scans_of_two() -> FakeApi:
    """Ada may see the scans of north, and Bob those of south."""
    rights = {(user, verb, place) for user, place in (("ada", "north"), ("bob", "south")) for verb in ("get", "list")}
    scans = [document("north", "a", **runs_with_other()), document("south", "b", **runs_with_other())]
    return FakeApi(scans, rights=rights)


def runs_with_other() -> dict[str, Any]:
    return {"runsWith": runs_with("pulsar://elsewhere"), "phase": "Scanning", "backlog": 3}


@pytest.fixture
def server(serve_cluster: ServeCluster) -> ClusterServer:
    return serve_cluster(scans_of_two())
