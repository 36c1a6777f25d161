"""Requests to the API server, and what is taken from its answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import certifi
import pytest
from tests.unit.live.cluster.conftest import document

from skymap_scanner.errors import ClusterError, ClusterUnavailable
from skymap_scanner.live.cluster import api as module
from skymap_scanner.live.cluster.api import KubernetesApi

Answer = tuple[int, bytes]
#: Answers a request, given its path, its parameters and its body.
Respond = Callable[[str, dict[str, str], Any], Answer]
PATH = "/apis/skymap.icecube.wisc.edu/v1alpha1/skymapscans"


class ApiServer(ThreadingHTTPServer):
    """Answers as ``respond`` says, and keeps the tokens of the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond: Respond = lambda *_: (404, b"{}")
        self.tokens: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        status, content = self.server.respond(parts.path, query, body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text(Path(certifi.where()).read_text())
    return tmp_path


@pytest.fixture
def api(server: ApiServer, account: Path) -> KubernetesApi:
    return KubernetesApi(f"http://127.0.0.1:{server.server_port}", account)


def listing(items: list[Any], token: str = "") -> bytes:
    return json.dumps({"items": items, "metadata": {"resourceVersion": "7", "continue": token}}).encode()


def test_scans_are_listed_in_pages(server: ApiServer, api: KubernetesApi) -> None:
    def respond(path: str, query: dict[str, str], body: Any) -> Answer:
        assert path == PATH
        first = "continue" not in query
        return 200, listing([document(name="a" if first else "b")], "more" if first else "")

    server.respond = respond
    assert [[one["metadata"]["name"] for one in items] for items, _ in api.pages(None)] == [["a"], ["b"]]


def test_long_pages_are_asked_for_in_smaller_ones(
    server: ApiServer, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 1000)
    limits = []

    def respond(path: str, query: dict[str, str], body: Any) -> Answer:
        assert path == "/apis/skymap.icecube.wisc.edu/v1alpha1/namespaces/north/skymapscans"
        limits.append(int(query["limit"]))
        return 200, listing([{"spec": "x" * 100}] * limits[-1])

    server.respond = respond
    assert [len(items) for items, _ in api.pages("north")] == [6]
    assert limits == [100, 50, 25, 12, 6]
    server.respond = lambda *_: (200, listing([{"spec": "x" * 2000}]))
    with pytest.raises(ClusterError, match="too long"):
        list(api.pages("north"))


def test_changes_are_watched_without_bookmarks(server: ApiServer, api: KubernetesApi) -> None:
    kinds = ("ADDED", "BOOKMARK", "DELETED")
    lines = b"".join(json.dumps({"type": kind, "object": document()}).encode() + b"\n" for kind in kinds)

    def respond(path: str, query: dict[str, str], body: Any) -> Answer:
        assert (query["resourceVersion"], query["timeoutSeconds"], query["watch"]) == ("7", "5", "1")
        return 200, lines + b'{"type": "ADDED", "cut'

    server.respond = respond
    assert [event for event, _ in api.watch(None, "7", 5)] == ["ADDED", "DELETED"]


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (200, b'{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}\n', ClusterError),
        (200, b"no json\n", ClusterError),
        (200, b"[]\n", ClusterError),
        (403, b"", ClusterError),
        (500, b"", ClusterUnavailable),
    ],
)
def test_broken_watches_raise(
    server: ApiServer, api: KubernetesApi, status: int, content: bytes, error: type[Exception]
) -> None:
    server.respond = lambda *_: (status, content)
    with pytest.raises(error) as raised:
        list(api.watch(None, "7", 5))
    assert type(raised.value) is error


def test_endless_event_is_cut(server: ApiServer, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENT_BYTES", 1000)
    server.respond = lambda *_: (200, b"x" * 10**6)
    with pytest.raises(ClusterError, match="too long"):
        list(api.watch(None, "7", 5))


def test_reviews_are_created_with_the_current_token(server: ApiServer, api: KubernetesApi, account: Path) -> None:
    def respond(path: str, query: dict[str, str], body: Any) -> Answer:
        assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
        assert body == {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "t"}}
        return 201, b'{"status": {"authenticated": true}}'

    server.respond = respond
    assert api.review("authentication.k8s.io", "TokenReview", {"token": "t"}) == {"authenticated": True}
    (account / "token").write_text("renewed")
    api.review("authentication.k8s.io", "TokenReview", {"token": "t"})
    assert server.tokens == ["Bearer first", "Bearer renewed"]


@pytest.mark.parametrize(
    ("status", "content", "kind", "words"),
    [
        (403, b'{"message": "forbidden\\nfor\\u001b this account"}', ClusterError, "forbidden for"),
        (429, b"{}", ClusterUnavailable, "status 429"),
        (503, b"<html>", ClusterUnavailable, "status 503"),
        (201, b"<html>", ClusterError, "not a Kubernetes object"),
        (201, b"x" * (2**20 + 1), ClusterError, "too long"),
    ],
)
def test_refused_and_strange_reviews_raise(
    server: ApiServer, api: KubernetesApi, status: int, content: bytes, kind: type[Exception], words: str
) -> None:
    server.respond = lambda *_: (status, content)
    with pytest.raises(kind, match=words) as raised:
        api.review("authentication.k8s.io", "TokenReview", {})
    assert type(raised.value) is kind
    assert str(raised.value).isprintable()


def test_missing_server_and_account_are_reported(account: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailable, match="does not answer"):
        list(KubernetesApi("http://127.0.0.1:1", account).pages(None))
    with pytest.raises(ClusterError, match="token of the service account"):
        list(KubernetesApi("http://127.0.0.1:1", tmp_path / "none").pages(None))
    (account / "ca.crt").write_text("no certificate")
    with pytest.raises(ClusterError, match="authority of the cluster"):
        list(KubernetesApi("http://127.0.0.1:1", account).pages(None))


def test_address_comes_from_the_environment_of_a_pod() -> None:
    found = KubernetesApi.in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})
    assert found._url == "https://[fd00::1]:443"
    with pytest.raises(ClusterError, match="no pod"):
        KubernetesApi.in_cluster({})
