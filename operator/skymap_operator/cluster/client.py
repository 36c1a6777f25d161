"""The Kubernetes API as plain dictionaries. The only module that imports the Kubernetes client.

Requests use the client's transport and login but not its thousand models, so an object keeps every field that the API
server sent, including those of newer servers.
"""

from __future__ import annotations

import builtins
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, Unpack
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from skymap_api.names import SCAN_LABEL
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.clock import ServerClock
from skymap_operator.cluster.events import MANAGER, event_about, trimmed_event
from skymap_operator.cluster.paths import group_of, path_of
from skymap_operator.cluster.reading import JSON, Reading, TooLong, accepted, lines, read_body, selectors, whole
from skymap_operator.cluster.trim import trimmed
from skymap_operator.tls import TlsFiles

#: Timeout of a request (s), objects in one page of a list, and requests at a time.
TIMEOUT, PAGE, CONNECTIONS = 20.0, 500, 24

#: Longest page that is read (bytes); a longer one is requested again with fewer objects. No object is longer than
#: 3 MiB, the API server's limit for a request.
PAGE_BYTES = 4 << 20

#: The API server sends a bookmark every minute if nothing else happens. A watch without data for this long (s) is dead.
WATCH_TIMEOUT = 90.0

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

#: A webhook that rejects writes because it does not answer. The status has no other mark of it: its code and reason are
#: those of every internal error.
_NO_WEBHOOK = re.compile("Internal error occurred: failed calling (admission )?webhook ")

_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"

#: A connection to the API server, by its name in modules that do not import the Kubernetes client.
Connection: TypeAlias = ApiClient


class ClusterError(Exception):
    """A request to the API server failed.

    NotFound, Conflict: the observed state is outdated, so reconcile again. Refused: permissions, a quota, a policy or a
    webhook reject the request; Invalid: the object itself is wrong. Unavailable: the API server cannot be reached or is
    overloaded; try again later.
    """


class NotFound(ClusterError):  # noqa: N818 - a state of the cluster, not a mistake
    """There is no such object or kind."""


class Conflict(ClusterError):  # noqa: N818
    """The object was created, changed or replaced in the meantime."""


class Refused(ClusterError):  # noqa: N818
    """The request is not allowed: permissions, a quota or a policy."""


class Invalid(Refused):
    """A field of the object is invalid, or the object is too large: nobody could create it."""


class Unavailable(ClusterError):  # noqa: N818
    """The API server cannot be reached or cannot serve the request now."""


async def connect(watches: int = 0) -> Connection:
    """Connect with the pod's service account or, outside a cluster, with the user's kubeconfig.

    ``watches``: number of watches, each of which holds a connection.

    Raises ClusterError if there is neither a service account nor a kubeconfig.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS + watches
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and (_ACCOUNT / "token").exists():
            load_incluster_config(client_configuration=configuration)
        else:
            await load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise ClusterError(f"no access to a cluster: neither a service account nor a kubeconfig: {error}") from error
    return ApiClient(configuration)


class Cluster:
    """The API server that the environment names. Objects are identified by kind, namespace and name.

    ``on_request`` is called after every request with its method and the status code, None if there was no answer;
    ``on_write`` with every object that a write returned. ``clock`` learns the time from every answer.
    """

    def __init__(
        self,
        client: Connection,
        on_request: Callable[[str, int | None], None] = lambda *_: None,
        on_write: Callable[[Manifest], None] = lambda _: None,
        clock: ServerClock | None = None,
    ) -> None:
        self._client = client
        self._clock = clock or ServerClock()
        self._on_request = on_request
        self._on_write = on_write
        used = client.configuration
        files = (Path(file) if file else None for file in (used.ssl_ca_cert, used.cert_file, used.key_file))
        self._tls = TlsFiles(client.rest_client.ssl_context, *files)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def now(self) -> datetime:
        """Return the API server's time."""
        return self._clock.now()

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object; None if it does not exist."""
        try:
            return await self._ask("GET", path_of(kind, namespace, name))
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str | None = None, **reading: Unpack[Reading]) -> list[Manifest]:
        """Return all objects of a kind, in one namespace or in all."""
        found: list[Manifest] = []
        async for page in self.pages(kind, namespace, **reading):
            found += page["items"]
        return found

    async def pages(
        self, kind: str, namespace: str | None = None, **reading: Unpack[Reading]
    ) -> AsyncIterator[Manifest]:
        """Yield the same list page by page, which saves memory. All pages show the same resource version.

        A page has at most `PAGE` objects, and fewer where it would be longer than `PAGE_BYTES`.
        """
        query, path = selectors(reading), path_of(kind, namespace)
        limit = PAGE
        while True:
            try:
                page = await self._page(path, query | {"limit": str(limit)}, reading)
            except TooLong:
                if limit == 1:
                    raise Unavailable(f"GET {path}: an object is longer than {PAGE_BYTES} bytes") from None
                limit = max(limit // 8, 1)
                continue
            yield page
            more = page["metadata"].get("continue")
            if not more:
                return
            query["continue"] = more
            limit = min(2 * limit, PAGE)

    async def _page(self, path: str, query: Mapping[str, str], reading: Reading) -> Manifest:
        """Read a page and keep what is wanted of its objects. Raises TooLong."""
        accept = accepted(reading, "PartialObjectMetadataList")
        page = await self._ask("GET", path, query, accept=accept, most=PAGE_BYTES)
        keep, found = reading.get("keep", whole), page["items"] or ()  # null in an empty list of metadata
        return {"metadata": page.get("metadata", {}), "items": [keep(one) for one in found]}

    async def pods(self, namespace: str, scan: str, *, fresh: bool = True) -> builtins.list[Manifest]:  # noqa: ARG002
        """Return the pods with the label ``scan``; nothing is cached here, so they are always ``fresh``."""
        return await self.list("Pod", namespace, labels=f"{SCAN_LABEL}={scan}", keep=partial(trimmed, "Pod"))

    async def watch(
        self, kind: str, namespace: str | None, version: str, *, seconds: int = 300, **reading: Unpack[Reading]
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield each change after ``version``: (ADDED, MODIFIED or DELETED, object). Ends after ``seconds``.

        Raises ClusterError if the connection breaks, or the API server no longer has the changes since ``version``:
        list again.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version} | selectors(reading)
        query["timeoutSeconds"] = str(seconds)
        path, keep = path_of(kind, namespace), reading.get("keep", whole)
        timeout = aiohttp.ClientTimeout(total=seconds + WATCH_TIMEOUT, sock_read=WATCH_TIMEOUT)
        try:
            accept = accepted(reading, "PartialObjectMetadata")
            answer = await self._send("GET", path, query, None, JSON, timeout, accept)
            if answer.status != 200:
                raise _fault(answer.status, (await answer.read()).decode(errors="replace"), f"WATCH {path}")
            async with answer.response:
                async for line in lines(answer.response.content.iter_any()):
                    change = _change(line, keep, path)
                    if change is not None:
                        yield change
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"cannot watch {kind}: {str(error) or type(error).__name__}") from error

    async def warnings(self, namespace: str) -> dict[str, builtins.list[Manifest]]:
        """List all Warning Events of a namespace by the uid of the object that they are about."""
        found: dict[str, list[Manifest]] = {}
        async for page in self.pages("Event", namespace, fields="type=Warning", keep=trimmed_event):
            for event in page["items"]:
                found.setdefault(event.get("involvedObject", {}).get("uid", ""), []).append(event)
        return found

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object and return it. Raises Conflict if there is an object of this name."""
        path = path_of(manifest["kind"], manifest["metadata"]["namespace"])
        return await self._write("POST", path, manifest)

    async def dry_run(self, manifest: Manifest) -> None:
        """Validate an object strictly on the API server without creating it; raises as `create` does."""
        query = {"fieldManager": MANAGER, "dryRun": "All", "fieldValidation": "Strict"}
        await self._ask("POST", path_of(manifest["kind"], manifest["metadata"]["namespace"]), query, manifest)

    async def schema(self, kind: str) -> Manifest:
        """Return the OpenAPI schema of a kind. Raises NotFound if the API server does not know the kind."""
        published = await self._ask("GET", f"openapi/v3/{group_of(kind)}")
        for schema in published.get("components", {}).get("schemas", {}).values():
            kinds = schema.get("x-kubernetes-group-version-kind", ())
            if any(one.get("kind") == kind for one in kinds):
                found: Manifest = schema
                return found
        raise NotFound(f"no schema of {kind} is published")

    async def replace(self, manifest: Manifest, version: str) -> Manifest:
        """Replace an object and return it. Raises Conflict if its ``resourceVersion`` is no longer ``version``."""
        meta = manifest["metadata"]
        body = manifest | {"metadata": meta | {"resourceVersion": version}}
        path = path_of(manifest["kind"], meta["namespace"], meta["name"])
        return await self._write("PUT", path, body)

    async def put(self, manifest: Manifest) -> None:
        """Create an object, or replace the one of this name whatever its version. Needs no permission to read it."""
        try:
            await self.create(manifest)
        except Conflict:
            path = path_of(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            await self._write("PUT", path, manifest)

    async def apply_status(self, resource: Manifest) -> Manifest:
        """Set a resource's status by server-side apply, which removes what is no longer given; return the resource.

        Raises Conflict if the metadata holds a ``uid`` and the resource of this name has another one.
        """
        meta = resource["metadata"]
        path = path_of(resource["kind"], meta["namespace"], meta["name"], "status")
        return await self._write("PATCH", path, resource, _APPLY, force="true")

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> Manifest:
        """Apply a JSON merge patch, in which null removes a field, and return the object."""
        return await self._write("PATCH", path_of(kind, namespace, name), change, _MERGE)

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace: int | None = None
    ) -> None:
        """Delete an object and, in the background, its dependents. A missing object is no error.

        Raises Conflict if the object of this name has another ``uid``.
        """
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._ask("DELETE", path_of(kind, namespace, name), {}, options)
        except NotFound:
            return

    async def record(self, about: Manifest, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Record an Event about an object; an equal one only has its count raised."""
        event = event_about(about, kind, reason, message, self.now())
        meta = event["metadata"]
        try:
            await self.create(event)
        except Conflict:
            before = await self.get("Event", meta["namespace"], meta["name"]) or {}
            change = {"count": int(before.get("count") or 1) + 1, "lastTimestamp": event["lastTimestamp"]}
            await self.patch("Event", meta["namespace"], meta["name"], change)

    async def _write(self, method: str, path: str, body: Manifest, content: str = JSON, **query: str) -> Manifest:
        """Create or change an object and return it."""
        found = await self._ask(method, path, {"fieldManager": MANAGER} | query, body, content)
        self._on_write(found)
        return found

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content: str = JSON,
        *,
        accept: str = JSON,
        most: int | None = None,
    ) -> Manifest:
        """Send a request and return the object in the answer; raise the error that the answer stands for.

        Raises TooLong if the answer is longer than ``most`` bytes.
        """
        timeout = aiohttp.ClientTimeout(TIMEOUT)
        try:
            answer = await self._send(method, path, query, body, content, timeout, accept)
            text = await read_body(answer.response, most)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"cannot reach the API server: {str(error) or type(error).__name__}") from error
        if 200 <= answer.status < 300:
            found: Manifest = json.loads(text)
            return found
        raise _fault(answer.status, text.decode(errors="replace"), f"{method} {path}")

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Manifest | None,
        content: str,
        timeout: aiohttp.ClientTimeout,
        accept: str = JSON,
    ) -> Any:
        """Send a request and return the client's answer, whose body is still unread."""
        self._tls.reload()
        given = urlencode({key: value for key, value in (query or {}).items() if value})
        headers = {"Accept": accept, "Content-Type": content}
        code, sent = None, self._clock.timer()
        try:
            request = await self._client.param_serialize(
                method, f"/{path}?{given}", header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=timeout)
            code = answer.status
            self._clock.observe(answer.headers.get("Date"), sent)
        finally:
            self._on_request("WATCH" if query and "watch" in query else method, code)
        return answer


def _change(line: bytes, keep: Callable[[Manifest], Manifest], path: str) -> tuple[str, Manifest] | None:
    """Return an event of a watch and what is kept of its object; None for a bookmark. Raises ClusterError."""
    event = json.loads(line)
    found: Manifest = event["object"]
    if event["type"] == "ERROR":
        raise _fault(int(found.get("code", 500)), json.dumps(found), f"WATCH {path}")
    return None if event["type"] == "BOOKMARK" else (event["type"], keep(found))


def _fault(code: int, text: str, request: str) -> ClusterError:
    """Return the error for a status code (https://kubernetes.io/docs/reference/using-api/api-concepts)."""
    status: Any = None
    try:
        status = json.loads(text)
        message = str(status["message"])
    except (ValueError, KeyError, TypeError):
        message = " ".join(text.split())[:200]
    if code == 404:
        return NotFound(message)
    if code == 409:
        return Conflict(message)
    if code == 413 or (code == 422 and _names_field(status)):
        return Invalid(message)
    if code in {400, 403, 405, 422} or (code == 500 and _NO_WEBHOOK.match(message)):
        return Refused(message)
    return Unavailable(f"{request}: {code} {message}")


def _names_field(status: Any) -> bool:
    """Return whether a status names an invalid field. That of an admission policy, with the same code, names none."""
    details = status.get("details") if isinstance(status, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    return isinstance(causes, list) and any(isinstance(one, dict) and one.get("field") for one in causes)
