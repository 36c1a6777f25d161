"""A cluster and a Pulsar in memory, for faults that real ones do not produce on demand."""

# ruff: noqa: ARG002 - what the real ones take

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Unpack

from skymap_api.pulsar_admin import PulsarAdminError, StoredMessage, UnreadableMessage
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Cluster, ClusterError, Conflict, NotFound
from skymap_operator.cluster.clock import ServerClock
from skymap_operator.cluster.reading import Reading, whole
from skymap_operator.pulsar.access import PulsarAccess
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.connections import Pulsars


def merge(target: Manifest, patch: Manifest) -> None:
    """Apply a JSON merge patch (RFC 7396)."""
    for key, value in patch.items():
        if isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value


class FakeCluster(Cluster):
    """Objects by kind and name. ``faults``: by method, the error that its next request raises."""

    def __init__(self, *objects: Manifest) -> None:
        self.objects = {(one["kind"], one["metadata"]["name"]): copy.deepcopy(one) for one in objects}
        self.faults: dict[str, ClusterError] = {}
        self.done: list[str] = []
        self.clock = ServerClock()

    def _begin(self, method: str, kind: str, name: str) -> None:
        self.done.append(f"{method} {kind} {name}")
        if method in self.faults:
            raise self.faults.pop(method)

    def now(self) -> datetime:
        return self.clock.now()

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        if "get" in self.faults:
            raise self.faults.pop("get")
        return copy.deepcopy(self.objects.get((kind, name)))

    async def list(self, kind: str, namespace: str | None = None, **reading: Unpack[Reading]) -> list[Manifest]:
        return [copy.deepcopy(one) for (found, _), one in self.objects.items() if found == kind]

    async def pages(
        self, kind: str, namespace: str | None = None, **reading: Unpack[Reading]
    ) -> AsyncIterator[Manifest]:
        keep = reading.get("keep", whole)
        yield {"items": [keep(one) for one in await self.list(kind)], "metadata": {"resourceVersion": "1"}}

    async def dry_run(self, manifest: Manifest) -> None:
        self._begin("dry_run", manifest["kind"], manifest["metadata"]["generateName"])

    async def create(self, manifest: Manifest) -> Manifest:
        key = (manifest["kind"], manifest["metadata"]["name"])
        self._begin("create", *key)
        if key in self.objects:
            raise Conflict("there is one already")
        made = self.objects[key] = copy.deepcopy(manifest)
        made["metadata"] |= {"uid": f"uid-{key[1]}", "resourceVersion": "1"}
        return made

    async def replace(self, manifest: Manifest, version: str) -> Manifest:
        key = (manifest["kind"], manifest["metadata"]["name"])
        self._begin("replace", *key)
        if self.objects[key]["metadata"].get("resourceVersion") != version:
            raise Conflict("it was changed meanwhile")
        self.objects[key] = copy.deepcopy(manifest)
        return self.objects[key]

    async def put(self, manifest: Manifest) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        self._begin("put", *key)
        self.objects[key] = copy.deepcopy(manifest)

    async def apply_status(self, resource: Manifest) -> Manifest:
        key = (resource["kind"], resource["metadata"]["name"])
        self._begin("apply_status", *key)
        if key not in self.objects:
            raise NotFound("it is gone")
        self.objects[key]["status"] = resource["status"]
        return self.objects[key]

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> Manifest:
        self._begin("patch", kind, name)
        if (kind, name) not in self.objects:
            raise NotFound("it is gone")
        merge(self.objects[kind, name], change)
        return self.objects[kind, name]

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace: int | None = None
    ) -> None:
        self._begin("delete", kind, name)
        found = self.objects.get((kind, name))
        if found is not None and uid not in {None, found["metadata"].get("uid")}:
            raise Conflict("it is another one")
        self.objects.pop((kind, name), None)


class FakeAdmin(PulsarAdmin):
    """Topics with their subscriptions and messages.

    ``fault``: the error that every request raises. ``unreadable``: topics whose messages are too large.
    """

    def __init__(self) -> None:
        self.stored: dict[str, list[StoredMessage]] = {}
        self.made: dict[str, dict[str, Subscription]] = {}
        self.unreadable: set[str] = set()
        self.found_policies: dict[str, dict[str, Any]] = {}
        self.fault: PulsarAdminError | None = None
        self.prepared: tuple[str, str, dict[str, tuple[str, ...]]] | None = None
        self.granted: dict[str, dict[str, tuple[str, ...]]] = {}

    def _begin(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def prepare(self, tenant: str, namespace: str, roles: Mapping[str, Sequence[str]]) -> None:
        self._begin()
        self.prepared = (tenant, namespace, {role: tuple(what) for role, what in roles.items()})

    async def policies(self, tenant: str) -> dict[str, dict[str, Any]]:
        self._begin()
        return {place: found for place, found in self.found_policies.items() if place.startswith(f"{tenant}/")}

    async def grant(self, place: str, actions: Mapping[str, Sequence[str]]) -> None:
        self._begin()
        self.granted.setdefault(place, {}).update({role: tuple(what) for role, what in actions.items()})

    async def revoke(self, place: str, roles: Iterable[str]) -> None:
        self._begin()
        for role in roles:
            self.granted.get(place, {}).pop(role, None)

    async def create(self, topic: str, subscriptions: Iterable[str] = ()) -> None:
        self._begin()
        self.stored.setdefault(topic, [])
        self.made.setdefault(topic, {}).update({name: Subscription(0, 0, frozenset()) for name in subscriptions})

    async def delete(self, topic: str) -> None:
        self._begin()
        self.stored.pop(topic, None)
        self.made.pop(topic, None)
        self.granted.pop(topic, None)

    async def check_broker(self) -> None:
        self._begin()

    async def topics(self, tenant: str, namespace: str, *, cached: bool = False) -> frozenset[str]:
        self._begin()
        return frozenset(topic for topic in self.stored if f"://{tenant}/{namespace}/" in topic)

    async def subscriptions(self, topic: str, *, cached: bool = False) -> dict[str, Subscription]:
        self._begin()
        return self.made.get(topic, {})

    async def last(self, topic: str) -> StoredMessage | None:
        self._begin()
        self._check(topic)
        return next(reversed(self.stored.get(topic, [])), None)

    def _check(self, topic: str) -> None:
        if topic in self.unreadable:
            raise UnreadableMessage(
                f"{topic}: a message of 2147483648 bytes when it is decompressed, more than 1048576"
            )


class FakePulsars(Pulsars):
    """The same Pulsar for every scan."""

    def __init__(self, admin: FakeAdmin) -> None:
        self.admin = admin

    @asynccontextmanager
    async def reach(self, namespace: str, access: PulsarAccess) -> AsyncIterator[PulsarAdmin]:
        yield self.admin


def pod(name: str, **status: Any) -> Manifest:
    return {"kind": "Pod", "metadata": {"name": name, "uid": f"uid-{name}"}, "status": {"phase": "Pending"} | status}
