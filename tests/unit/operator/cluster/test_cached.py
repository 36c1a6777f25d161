"""The cluster behind the informer's store, and how long warnings are cached."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.operator.fakes import FakeCluster

from skymap_api.resource.base import Manifest
from skymap_operator.cluster.cached import CachedCluster, warnings_ttl
from skymap_operator.cluster.store import Store


class Events(FakeCluster):
    """Counts how often the warnings of each namespace are listed."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []

    async def warnings_by_uid(self, namespace: str) -> dict[str, list[Manifest]]:
        self.listed.append(namespace)
        await asyncio.sleep(0)
        return {"u": [{"message": namespace}]}


def test_warnings_are_listed_once_for_concurrent_callers() -> None:
    async def ask() -> list[Any]:
        found = await asyncio.gather(*(cluster.warnings("ns", ["u", "none"]) for _ in range(10)))
        return [*found, await cluster.warnings("other", ["u"])]

    events = Events()
    cluster = CachedCluster(events, Store())
    assert asyncio.run(ask()) == [[{"message": "ns"}]] * 10 + [[{"message": "other"}]]
    assert events.listed == ["ns", "other"]


@pytest.mark.parametrize(("took", "ttl"), [(0.0, 3.0), (0.1, 3.0), (2.0, 10.0), (60.0, 15.0)])
def test_slow_lists_of_warnings_are_kept_longer(took: float, ttl: float) -> None:
    assert warnings_ttl(took) == ttl


def test_only_stored_kinds_are_put_into_the_store() -> None:
    store = Store()
    meta = {"namespace": "ns", "name": "s", "annotations": {}}
    cluster = CachedCluster(FakeCluster(), store)
    asyncio.run(cluster.create({"kind": "Secret", "metadata": dict(meta)}))
    asyncio.run(cluster.create({"kind": "ConfigMap", "metadata": dict(meta), "data": {}}))
    assert store.get("Secret", "ns", "s") is None
    assert store.get("ConfigMap", "ns", "s") is not None
