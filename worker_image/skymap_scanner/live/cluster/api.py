"""The Kubernetes API as far as the page needs it: it lists and watches SkymapScans, and creates reviews.

It logs in as the pod's service account. Requests are bounded in time and answers in size, although the API server is
trusted: users decide how long a resource is.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from skymap_api.http_body import ACCEPTED, Body, BodyError
from skymap_api.limited_file import read_limited
from skymap_api.names import GROUP, VERSION
from skymap_api.text import LONGEST_SECRET, bounded_line
from skymap_scanner.errors import ClusterError, ClusterUnavailable

#: Where the kubelet puts the token and the certificate authority of a pod's service account.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: Timeout of a request (s), and time without data after which a watch is dead: the API server sends a bookmark every
#: minute.
TIMEOUT, WATCH_TIMEOUT = 10.0, 90.0
#: Most scans in a page of a list, and longest page and event of a watch (bytes). A longer page is asked for again with
#: half as many scans; no resource is longer than 3 MiB.
PAGE, PAGE_BYTES, EVENT_BYTES = 100, 4 * 2**20, 4 * 2**20
#: Longest answer to a review, and longest error message of the API server (bytes, characters).
ANSWER_BYTES, MAX_MESSAGE = 2**20, 300

Document = dict[str, Any]


class KubernetesApi:
    """The API server at ``url``; ``account``: folder with the files ``token`` and ``ca.crt``.

    Both files are read again when they change. Every method may be called by any thread; it raises ClusterUnavailable
    if the API server does not answer, and ClusterError if it rejects the request.
    """

    def __init__(self, url: str, account: Path = ACCOUNT) -> None:
        self._url = url.rstrip("/")
        self._account = account
        self._lock = threading.Lock()
        self._client: tuple[int, httpx.Client] | None = None

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str], account: Path = ACCOUNT) -> KubernetesApi:
        """Return the API server that a pod's environment names; raises ClusterError outside of a pod."""
        host, port = (environment.get(f"KUBERNETES_SERVICE_{what}") for what in ("HOST", "PORT"))
        if not host or not port:
            raise ClusterError("this is no pod of a cluster: KUBERNETES_SERVICE_HOST and _PORT are not set")
        return cls(f"https://{f'[{host}]' if ':' in host else host}:{port}", account)

    def pages(self, namespace: str | None) -> Iterator[tuple[list[Document], str]]:
        """List the SkymapScans of a namespace, or of all: yield a page of them, and the version of the list."""
        size, token = PAGE, ""
        while True:
            query = {"limit": str(size), "continue": token}
            try:
                found = self._ask("GET", _path(namespace), query, most=PAGE_BYTES)
            except BodyError as error:
                if size == 1:
                    raise ClusterError(f"a SkymapScan is too long: {error}") from error
                size = max(size // 2, 1)
                continue
            yield found["items"], str(found["metadata"]["resourceVersion"])
            token = found["metadata"].get("continue") or ""
            if not token:
                return

    def watch(self, namespace: str | None, version: str, seconds: int) -> Iterator[tuple[str, Document]]:
        """Yield the type (ADDED, MODIFIED, DELETED) and the SkymapScan of each change since a version, for a while (s).

        Raises ClusterError when the version has become too old.
        """
        query = {
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "allowWatchBookmarks": "true",
        }
        with _explained(), self._stream("GET", _path(namespace), query, None, WATCH_TIMEOUT) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _error(answer.status_code, b"")
            for line in _lines(answer.iter_raw(), EVENT_BYTES):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(int(event["object"].get("code", 500)), line)
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]

    def review(self, group: str, kind: str, spec: Document) -> Document:
        """Create a review of the group, such as a TokenReview; return its status."""
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        try:
            found = self._ask("POST", f"/apis/{group}/v1/{kind.lower()}s", {}, body)
        except BodyError as error:
            raise ClusterError(f"the answer to a {kind} is too long: {error}") from error
        status: Document = found.get("status") or {}
        return status

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: Document | None = None, most: int = ANSWER_BYTES
    ) -> Document:
        """Send a request and return the answer; raises BodyError if it is longer than ``most`` bytes."""
        with _explained(), self._stream(method, path, query, body, TIMEOUT) as answer:
            content = _read(answer, most)
            if not answer.is_success:
                raise _error(answer.status_code, content)
            found: Document = json.loads(content)
            return found

    @contextmanager
    def _stream(
        self, method: str, path: str, query: Mapping[str, str], body: Document | None, timeout: float
    ) -> Iterator[httpx.Response]:
        headers = {"Accept": "application/json", "Accept-Encoding": ACCEPTED if "watch" not in query else "identity"}
        headers["Authorization"] = f"Bearer {self._token()}"
        given = {name: value for name, value in query.items() if value}
        limit = httpx.Timeout(TIMEOUT, read=timeout)
        url = f"{self._url}{path}"
        with self._current().stream(method, url, params=given, json=body, headers=headers, timeout=limit) as answer:
            yield answer

    def _token(self) -> str:
        path = self._account / "token"
        try:
            with path.open("rb") as file:
                return read_limited(file, LONGEST_SECRET).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"the token of the service account cannot be read: {error}") from error

    def _current(self) -> httpx.Client:
        """Return a client that trusts the authority of the cluster as the file names it now."""
        path = self._account / "ca.crt"
        with self._lock:
            try:
                changed = path.stat().st_mtime_ns
                if self._client is None or self._client[0] != changed:
                    context = ssl.create_default_context(cafile=path)
                    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
                    # A former client goes with its last watch. No proxy leads to the API server of one's own cluster.
                    self._client = changed, httpx.Client(verify=context, limits=limits, trust_env=False)
            except OSError as error:  # also ssl.SSLError
                raise ClusterError(f"the authority of the cluster in {path} cannot be used: {error}") from error
            return self._client[1]


def _path(namespace: str | None) -> str:
    place = "" if namespace is None else f"/namespaces/{namespace}"
    return f"/apis/{GROUP}/{VERSION}{place}/skymapscans"


def _read(answer: httpx.Response, most: int) -> bytes:
    body = Body(answer.headers, most)
    for piece in answer.iter_raw():
        body.add(piece)
    return body.end()


def _lines(pieces: Iterator[bytes], longest: int) -> Iterator[bytes]:
    """Yield the lines of a stream; drop a last line without a newline, which is incomplete."""
    begun = b""
    for piece in pieces:
        *complete, begun = (begun + piece).split(b"\n")
        yield from complete
        if len(begun) > longest:
            raise ClusterError("an event of the API server is too long")


def _error(status: int, content: bytes) -> ClusterError:
    try:
        text = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        text = f"status {status}"
    kind = ClusterUnavailable if status >= 500 or status == httpx.codes.TOO_MANY_REQUESTS else ClusterError
    return kind(bounded_line(text, MAX_MESSAGE))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise ClusterUnavailable(f"the API server does not answer ({str(error) or type(error).__name__})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError("the answer of the API server is not a Kubernetes object") from error
