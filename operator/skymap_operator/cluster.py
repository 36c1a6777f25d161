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
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from skymap_operator.manifests.common import Manifest

#: Who we are, in the fields that we own and in events.
MANAGER = "skymap-operator"

#: Longest time of a request (s), and objects in one page of a list.
TIMEOUT, PAGE = 20.0, 500

#: How long a namespace's warnings are kept (s).
KEEP = 3.0

#: Longest message of an event that the API server takes.
LONGEST_MESSAGE = 1024

_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

_PLURALS = {
    "SkymapScan": ("apis/skymap.icecube.wisc.edu/v1alpha1", "skymapscans"),
    "Job": ("apis/batch/v1", "jobs"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "ConfigMap": ("api/v1", "configmaps"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Event": ("api/v1", "events"),
}

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
    """A namespace's warnings, and since when they are known (s, the loop's clock)."""

    events: list[Manifest] = field(default_factory=list)
    since: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Cluster:
    """The API server that the environment names. Objects are given by kind, namespace and name."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._warnings: dict[str, _Kept] = {}

    @classmethod
    async def open(cls) -> Self:
        """Connect with the pod's service account, or, outside a cluster, with the kubeconfig of the user.

        Raises
        ------
        ClusterError
            If there is neither.
        """
        configuration = Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and _TOKEN.exists():
                load_incluster_config(client_configuration=configuration)
            else:
                await load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise ClusterError(
                f"no access to a cluster: neither a service account nor a kubeconfig: {error}"
            ) from error
        return cls(ApiClient(configuration))

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
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
        found: list[Manifest] = []
        while True:
            page = await self._ask("GET", _path(kind, namespace), query)
            found += page["items"]
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found
            query["continue"] = more

    async def warnings(self, namespace: str) -> builtins.list[Manifest]:
        """Return the namespace's warnings, as they were `KEEP` seconds ago at most: every scan in it asks for them."""
        found = self._warnings.setdefault(namespace, _Kept())
        async with found.lock:
            now = asyncio.get_running_loop().time()
            if now - found.since > KEEP:
                found.events = await self.list("Event", namespace, fields="type=Warning")
                found.since = now
            return found.events

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> None:
        """Make an object, or only ask whether it would be taken. Conflict: there is one of this name."""
        query = {"fieldManager": MANAGER} | ({"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {})
        await self._ask("POST", _path(manifest["kind"], manifest["metadata"]["namespace"]), query, manifest)

    async def schema(self, kind: str) -> Manifest:
        """Return the OpenAPI schema that the API server publishes for a kind. NotFound: it does not know the kind."""
        published = await self._ask("GET", f"openapi/v3/{_PLURALS[kind][0]}")
        for schema in published.get("components", {}).get("schemas", {}).values():
            kinds = schema.get("x-kubernetes-group-version-kind", ())
            if any(one.get("kind") == kind for one in kinds):
                found: Manifest = schema
                return found
        raise NotFound(f"no schema of {kind} is published")

    async def replace(self, manifest: Manifest, version: str) -> None:
        """Make an object what the manifest says. Conflict: it is not the one of this ``resourceVersion`` any more."""
        meta = manifest["metadata"]
        body = manifest | {"metadata": meta | {"resourceVersion": version}}
        path = _path(manifest["kind"], meta["namespace"], meta["name"])
        await self._ask("PUT", path, {"fieldManager": MANAGER}, body)

    async def apply_status(self, resource: Manifest) -> None:
        """Bring a resource's status to what is given, by server-side apply: what is not given any more goes.

        A ``uid`` in its metadata must be that of the resource: Conflict if it is another one of this name.
        """
        meta = resource["metadata"]
        path = _path(resource["kind"], meta["namespace"], meta["name"], "status")
        await self._ask("PATCH", path, {"fieldManager": MANAGER, "force": "true"}, resource, _APPLY)

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> None:
        """Change fields of an object (a JSON merge patch: null removes)."""
        await self._ask("PATCH", _path(kind, namespace, name), {"fieldManager": MANAGER}, change, _MERGE)

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
        given = urlencode({key: value for key, value in (query or {}).items() if value})
        headers = {"Accept": "application/json", "Content-Type": content}
        try:
            request = await self._client.param_serialize(
                method, f"/{path}?{given}", header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=aiohttp.ClientTimeout(TIMEOUT))
            text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Away(f"cannot reach the API server: {str(error) or type(error).__name__}") from error
        if 200 <= answer.status < 300:
            found: Manifest = json.loads(text)
            return found
        raise _fault(answer.status, text.decode(errors="replace"), f"{method} {path}")


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
