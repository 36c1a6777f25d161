"""The cluster behind the informer's store, and how long warnings are cached."""

# ruff: noqa: ARG002 - what the real one takes

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Unpack

import pytest

from skymap_api.resource.base import Manifest
from skymap_operator.cluster.cached import CachedReads, warnings_ttl
from skymap_operator.cluster.client import Cluster, Connection, Unavailable
from skymap_operator.cluster.reading import JSON, Reading
from skymap_operator.cluster.store import Store


class Events(Cluster):
    """Counts how often the warnings of each namespace are listed; a list takes ``seconds`` of the clock."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(Connection())
        self.now, self.seconds = 0.0, seconds
        self.reads = CachedReads(self, Store(), lambda: self.now)
        self.fault: Exception | None = None
        self.listed: list[str] = []

    async def pages(
        self, kind: str, namespace: str | None = None, **reading: Unpack[Reading]
    ) -> AsyncIterator[Manifest]:
        assert (kind, reading.get("labels"), reading["fields"]) == ("Event", None, "type=Warning")
        self.listed.append(str(namespace))
        await asyncio.sleep(0)
        self.now += self.seconds
        if self.fault is not None:
            raise self.fault
        yield {"items": [{"involvedObject": {"uid": "u"}, "message": namespace}]}

    async def messages(self, *namespaces: str) -> list[str]:
        found = await asyncio.gather(*map(self.reads.warnings, namespaces))
        return [one["u"][0]["message"] for one in found]


def test_warnings_are_listed_once_for_concurrent_callers() -> None:
    async def test() -> None:
        async with Events() as cluster:
            assert await cluster.messages(*["ns"] * 10) == ["ns"] * 10
            assert await cluster.messages("other") == ["other"]
            assert cluster.listed == ["ns", "other"]

    asyncio.run(test())


def test_warnings_are_listed_again_after_their_time() -> None:
    async def test() -> None:
        async with Events(seconds=1.0) as cluster:
            await cluster.messages("ns")
            cluster.now = 5.9
            await cluster.messages("ns")
            assert cluster.listed == ["ns"]
            cluster.now = 6.1
            await cluster.messages("ns")
            assert cluster.listed == ["ns", "ns"]

    asyncio.run(test())


def test_expired_warnings_are_dropped() -> None:
    async def test() -> None:
        async with Events() as cluster:
            await cluster.messages(*(f"namespace-{number}" for number in range(100)))
            cluster.now = 10.0
            await cluster.messages("ns")
            assert (len(cluster.reads._warnings), len(cluster.reads._listing)) == (1, 0)

    asyncio.run(test())


def test_failed_list_is_not_cached() -> None:
    async def test() -> None:
        async with Events() as cluster:
            cluster.fault = Unavailable("no answer")
            with pytest.raises(Unavailable):
                await cluster.messages("ns")
            cluster.fault = None
            assert await cluster.messages("ns") == ["ns"]

    asyncio.run(test())


@pytest.mark.parametrize(("took", "ttl"), [(0.0, 3.0), (0.1, 3.0), (2.0, 10.0), (60.0, 15.0)])
def test_slow_lists_of_warnings_are_kept_longer(took: float, ttl: float) -> None:
    assert warnings_ttl(took) == ttl


class Echo(Cluster):
    """Answers every request with its body."""

    async def _ask(
        self,
        method: str,
        path: str,
        query: Any = None,
        body: Manifest | None = None,
        content: str = JSON,
        *,
        accept: str = JSON,
        most: int | None = None,
    ) -> Manifest:
        assert body is not None
        return body


def test_writes_put_only_stored_kinds_into_the_store() -> None:
    async def test() -> None:
        store, meta = Store(), {"namespace": "ns", "name": "s", "resourceVersion": "1"}
        async with Echo(Connection(), on_write=store.put_written) as cluster:
            await cluster.create({"kind": "Secret", "metadata": dict(meta)})
            await cluster.create({"kind": "ConfigMap", "metadata": dict(meta), "data": {}})
        assert store.get("Secret", "ns", "s") is None
        assert store.get("ConfigMap", "ns", "s") is not None

    asyncio.run(test())
