"""The Kubernetes API: plain dictionaries in and out. The only module that imports the Kubernetes client.

Requests go through the client's transport, which knows how to log in, and past its thousand models: what comes back is
what the API server sent, fields of newer servers included.
"""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import json
import math
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from skymap_api.names import SCAN_LABEL
from skymap_api.resource.base import Manifest

#: Who we are, in the fields that we own and in events.
MANAGER = "skymap-operator"

#: Longest time of a request (s), objects in one page of a list, and requests at a time.
TIMEOUT, PAGE, CONNECTIONS = 20.0, 500, 24

#: How long a namespace's warnings are kept: so long (s), or so many times the time that it takes to list them, but no
#: longer than some seconds.
KEEP, KEEP_TIMES, KEEP_LONGEST = 3.0, 5.0, 15.0

#: The API server says something every minute (a bookmark, if there is nothing else); a watch that is silent for so long
#: (s) is dead.
SILENCE = 90.0

#: Longest message of an event that the API server takes.
LONGEST_MESSAGE = 1024

_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

_PLURALS = {
    "SkymapScan": ("apis/skymap.icecube.wisc.edu/v1alpha1", "skymapscans"),
    "Job": ("apis/batch/v1", "jobs"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ConfigMap": ("api/v1", "configmaps"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Event": ("api/v1", "events"),
}

#: What is kept of an event.
_TOLD = ("involvedObject", "reason", "message", "series", "lastTimestamp", "eventTime")

_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


class ClusterError(Exception):
    """The API server did not do what was asked.

    NotFound, Conflict: what was seen before is not so any more: look again. Refused: not allowed, or more than a quota
    allows. Away: the API server cannot be reached for now.
    """


class NotFound(ClusterError):  # noqa: N818 - a state of the cluster, not a mistake
    """The object, or its kind, is not there."""


class Conflict(ClusterError):  # noqa: N818
    """The object was changed, made or replaced meanwhile."""


class Refused(ClusterError):  # noqa: N818
    """The request is understood and not allowed: permissions, a quota, a policy, a field that cannot be."""


class Away(ClusterError):  # noqa: N818
    """The API server cannot be reached, or has no time."""


@dataclass
class _Kept:
    """A namespace's warnings by the uid of what they are about, and until when they are kept (s, the loop's clock)."""

    events: dict[str, list[Manifest]] = field(default_factory=dict)
    until: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Cluster:
    """The API server that the environment names. Objects are given by kind, namespace and name.

    ``asked`` is told of every request: its method, and the code of the answer, None where there was none.
    """

    def __init__(self, client: ApiClient, asked: Callable[[str, int | None], None] = lambda *_: None) -> None:
        self._client = client
        self._asked = asked
        self._warnings: dict[str, _Kept] = {}

    @classmethod
    async def open(cls, asked: Callable[[str, int | None], None] = lambda *_: None, watches: int = 0) -> Self:
        """Connect with the pod's service account, or, outside a cluster, with the kubeconfig of the user.

        ``watches``: how many there are to be, each with a connection of its own.

        Raises
        ------
        ClusterError
            If there is neither.
        """
        configuration = Configuration()
        configuration.connection_pool_maxsize = CONNECTIONS + watches
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and _TOKEN.exists():
                load_incluster_config(client_configuration=configuration)
            else:
                await load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise ClusterError(
                f"no access to a cluster: neither a service account nor a kubeconfig: {error}"
            ) from error
        return cls(ApiClient(configuration), asked)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._client.close()

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object; None where there is none."""
        try:
            return await self._ask("GET", _path(kind, namespace, name))
        except NotFound:
            return None

    async def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """Return the objects of a kind, in one namespace or in all, that the selectors match."""
        found: list[Manifest] = []
        async for page in self.pages(kind, namespace, labels=labels, fields=fields):
            found += page["items"]
        return found

    async def pages(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[Manifest]:
        """Return the same page by page: what many objects take of memory is had once. All are of one version."""
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
        while True:
            page = await self._ask("GET", _path(kind, namespace), query)
            yield page
            more = page.get("metadata", {}).get("continue")
            if not more:
                return
            query["continue"] = more

    async def pods(self, namespace: str, scan: str, *, fresh: bool = True) -> builtins.list[Manifest]:  # noqa: ARG002
        """Return the pods with the label ``scan``. ``fresh``: as they are now, not as they were known last."""
        return await self.list("Pod", namespace, labels=f"{SCAN_LABEL}={scan}")

    async def watch(
        self, kind: str, namespace: str | None, version: str, *, labels: str = "", seconds: float = 300.0
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Return what changes after ``version``, as it does: (ADDED, MODIFIED or DELETED, the object). Ends by itself.

        Raises
        ------
        ClusterError
            If the connection breaks, or what has happened since ``version`` is not known any more: list anew.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, "labelSelector": labels}
        query["timeoutSeconds"] = str(max(round(seconds), 1))
        path = _path(kind, namespace)
        timeout = aiohttp.ClientTimeout(total=seconds + SILENCE, sock_read=SILENCE)
        try:
            answer = await self._send("GET", path, query, None, "application/json", timeout, "WATCH")
            if answer.status != 200:
                raise _fault(answer.status, (await answer.read()).decode(errors="replace"), f"WATCH {path}")
            async with answer.response:
                async for line in _lines(answer.response.content.iter_any()):
                    event = json.loads(line)
                    kept: Manifest = event["object"]
                    if event["type"] == "ERROR":
                        raise _fault(int(kept.get("code", 500)), json.dumps(kept), f"WATCH {path}")
                    if event["type"] != "BOOKMARK":
                        yield event["type"], kept
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Away(f"cannot follow {kind}: {str(error) or type(error).__name__}") from error

    async def warnings(self, namespace: str, uids: Iterable[str]) -> builtins.list[Manifest]:
        """Return the namespace's warnings about these objects, some seconds old: many scans ask for them."""
        found = self._warnings.setdefault(namespace, _Kept())
        async with found.lock:
            clock = asyncio.get_running_loop().time
            if (now := clock()) > found.until:
                found.events = {}
                async for page in self.pages("Event", namespace, fields="type=Warning"):
                    for event in page["items"]:
                        kept = {key: event[key] for key in _TOLD if key in event}
                        found.events.setdefault(event.get("involvedObject", {}).get("uid", ""), []).append(kept)
                found.until = clock() + min(max(KEEP, KEEP_TIMES * (clock() - now)), KEEP_LONGEST)
            return [event for uid in uids for event in found.events.get(uid, ())]

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Make an object, or only ask whether it would be taken; return it. Conflict: there is one of this name."""
        query = {"fieldManager": MANAGER} | ({"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {})
        return await self._ask("POST", _path(manifest["kind"], manifest["metadata"]["namespace"]), query, manifest)

    async def schema(self, kind: str) -> Manifest:
        """Return the OpenAPI schema that the API server publishes for a kind. NotFound: it does not know the kind."""
        published = await self._ask("GET", f"openapi/v3/{_PLURALS[kind][0]}")
        for schema in published.get("components", {}).get("schemas", {}).values():
            kinds = schema.get("x-kubernetes-group-version-kind", ())
            if any(one.get("kind") == kind for one in kinds):
                found: Manifest = schema
                return found
        raise NotFound(f"no schema of {kind} is published")

    async def replace(self, manifest: Manifest, version: str) -> Manifest:
        """Make an object what the manifest says; return it. Conflict: it is of another ``resourceVersion`` now."""
        meta = manifest["metadata"]
        body = manifest | {"metadata": meta | {"resourceVersion": version}}
        path = _path(manifest["kind"], meta["namespace"], meta["name"])
        return await self._ask("PUT", path, {"fieldManager": MANAGER}, body)

    async def apply_status(self, resource: Manifest) -> Manifest:
        """Bring a resource's status to what is given, by server-side apply: what is not given any more goes.

        Returns the resource.

        A ``uid`` in its metadata must be that of the resource: Conflict if it is another one of this name.
        """
        meta = resource["metadata"]
        path = _path(resource["kind"], meta["namespace"], meta["name"], "status")
        return await self._ask("PATCH", path, {"fieldManager": MANAGER, "force": "true"}, resource, _APPLY)

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> Manifest:
        """Change fields of an object (a JSON merge patch: null removes); return it."""
        return await self._ask("PATCH", _path(kind, namespace, name), {"fieldManager": MANAGER}, change, _MERGE)

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace: int | None = None
    ) -> None:
        """Delete an object and, after it, what belongs to it; one that is gone, or another of its name, is left."""
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._ask("DELETE", _path(kind, namespace, name), {}, options)
        except NotFound:
            return

    async def record(self, about: Manifest, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Record an Event about an object; one that says the same counts up."""
        event = event_about(about, kind, reason, message, datetime.now(UTC))
        meta = event["metadata"]
        try:
            await self.create(event)
        except Conflict:
            before = await self.get("Event", meta["namespace"], meta["name"]) or {}
            change = {"count": int(before.get("count") or 1) + 1, "lastTimestamp": event["lastTimestamp"]}
            await self.patch("Event", meta["namespace"], meta["name"], change)

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content: str = "application/json",
    ) -> Manifest:
        """Send a request; return the object that comes back, or raise what the answer means."""
        timeout = aiohttp.ClientTimeout(TIMEOUT)
        try:
            answer = await self._send(method, path, query, body, content, timeout, method)
            text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Away(f"cannot reach the API server: {str(error) or type(error).__name__}") from error
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
        counted: str,
    ) -> Any:
        """Send a request; return the client's answer, of which nothing is read yet."""
        given = urlencode({key: value for key, value in (query or {}).items() if value})
        headers = {"Accept": "application/json", "Content-Type": content}
        code = None
        try:
            request = await self._client.param_serialize(
                method, f"/{path}?{given}", header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=timeout)
            code = answer.status
        finally:
            self._asked(counted, code)
        return answer


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut a stream into its lines, however long they are; what ends without a newline was cut off."""
    begun: list[bytes] = []
    async for piece in pieces:
        *whole, rest = piece.split(b"\n")
        for line in whole:
            yield b"".join((*begun, line))
            begun = []
        begun.append(rest)


def event_about(about: Manifest, kind: str, reason: str, message: str, now: datetime) -> Manifest:
    """Return an Event, named after what it says, so that the same is not listed twice."""
    meta = about["metadata"]
    digest = hashlib.sha256(f"{meta['uid']}\n{reason}\n{message}".encode()).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[: LONGEST_MESSAGE - 1]}…"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name'][:230]}.{digest}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": MANAGER},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


def _path(kind: str, namespace: str | None, *rest: str) -> str:
    """Return the path of a kind's objects, of one, or of a part of it."""
    group, plural = _PLURALS[kind]
    where = "" if namespace is None else f"namespaces/{quote(namespace, safe='')}/"
    return "/".join([f"{group}/{where}{plural}", *(quote(part, safe="") for part in rest)])


def _fault(code: int, text: str, request: str) -> ClusterError:
    """Return the error that an answer stands for (https://kubernetes.io/docs/reference/using-api/api-concepts)."""
    try:
        said: Any = json.loads(text)
        message = str(said["message"])
    except (ValueError, KeyError, TypeError):
        message = " ".join(text.split())[:200]
    if code == 404:
        return NotFound(message)
    if code == 409:
        return Conflict(message)
    if code in {400, 403, 405, 413, 422}:
        return Refused(message)
    return Away(f"{request}: {code} {message}")
