"""The informer keeps its store up to date, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from testing.servers import serving
from testing.waiting import eventually_async
from tests.unit.operator.cluster.test_store import made

from skymap_api.names import NamespacedName
from skymap_operator.cluster import client
from skymap_operator.cluster import informer as module
from skymap_operator.cluster.cached import CachedReads
from skymap_operator.cluster.client import Cluster, Refused
from skymap_operator.cluster.informer import FIRST_PAUSE, LONGEST_PAUSE, Backoff, Informer
from skymap_operator.cluster.store import Store
from skymap_operator.cluster.trim import data_digest

SCAN = NamespacedName("ns", "alert")
PLURALS = ("skymapscans", "jobs", "deployments", "configmaps", "persistentvolumeclaims", "pods")


class Api:
    """An API server whose lists and watches a test controls; ``refused``: a plural that may not be listed."""

    def __init__(self) -> None:
        #: Lists by plural, and single objects by name.
        self.objects: dict[str, Any] = {"skymapscans": [], "jobs": []}
        self.version = 100
        self.requests: Counter[str] = Counter()
        self.lines: dict[str, asyncio.Queue[bytes | None]] = {}
        self.refused = ""
        self.accepted: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.split("/")[-1]
        watch = "watch" in request.query
        self.requests[f"{'watch' if watch else request.method} {plural}"] += 1
        self.accepted[f"{'watch' if watch else request.method} {plural}"] = request.headers["Accept"]
        if plural == self.refused:
            return web.json_response({"message": "may not"}, status=403)
        if request.method != "GET":
            return web.json_response(await request.json() | {"kind": "Job"})
        if not watch and isinstance(self.objects.get(plural), dict):
            return web.json_response(self.objects[plural])  # one object
        if not watch:
            found = {"items": self.objects.get(plural, []), "metadata": {"resourceVersion": str(self.version)}}
            return web.json_response(found | {"groups": [], "versions": []})  # the discovery documents, too
        stream = web.StreamResponse()
        await stream.prepare(request)
        lines = self.lines[plural] = asyncio.Queue()
        while (line := await lines.get()) is not None:
            await stream.write(line)
        return stream

    def send(self, plural: str, event: str, found: dict[str, Any]) -> None:
        line = json.dumps({"type": event, "object": found}).encode() + b"\n"
        self.lines[plural].put_nowait(line[:20])  # lines arrive in pieces
        self.lines[plural].put_nowait(line[20:])


class Bench:
    """An informer, its store, the reads with the store in front, and the scans that it has reported."""

    def __init__(self, api: Api, cluster: Cluster, store: Store, resync: float) -> None:
        self.api, self.store = api, store
        self.changed: list[NamespacedName] = []
        self.informer = Informer(cluster, self.store, self.changed.append, resync)
        self.cluster, self.reads = cluster, CachedReads(cluster, store)

    async def started(self) -> None:
        """Start the informer and return when every kind is watched."""
        await self.informer.start(())
        await eventually_async(lambda: len(self.api.lines) == len(PLURALS))


def run(test: Callable[[Bench], Awaitable[None]], resync: float = 300.0) -> None:
    async def inside() -> None:
        api, store, configuration = Api(), Store(), Configuration()
        configuration.connection_pool_maxsize = 0
        async with (
            asyncio.timeout(30),
            serving(api.answer) as configuration.host,
            Cluster(ApiClient(configuration), on_write=store.put_written) as cluster,
        ):
            bench = Bench(api, cluster, store, resync)
            try:
                await test(bench)
            finally:
                await bench.informer.stop()

    asyncio.run(inside())


def scan(version: int, **spec: Any) -> dict[str, Any]:
    return made("SkymapScan", version, "alert", spec=spec)


def test_watched_objects_are_read_from_the_store() -> None:
    async def test(bench: Bench) -> None:
        api, reads = bench.api, bench.reads
        api.objects["skymapscans"] = [scan(1, priority="Realtime")]
        api.objects["jobs"] = [made("Job", 2, "alert-saver", spec={"backoffLimit": 1})]
        await bench.started()
        assert bench.changed == [SCAN], "once, when every list is complete"
        assert bench.store.get("SkymapScan", SCAN.namespace, SCAN.name) is not None
        before = api.requests.copy()
        found = await reads.get("Job", "ns", "alert-saver")
        assert found is not None
        assert (found["spec"], await reads.pods("ns", "alert", fresh=False)) == ({"backoffLimit": 1}, [])
        assert api.requests == before
        api.send("jobs", "MODIFIED", made("Job", 101, "alert-saver", spec={"backoffLimit": 2}))
        await eventually_async(lambda: len(bench.changed) == 2)
        found = await reads.get("Job", "ns", "alert-saver")
        assert found is not None
        assert found["spec"] == {"backoffLimit": 2}
        api.send("jobs", "BOOKMARK", {"metadata": {"resourceVersion": "102"}})
        api.send("jobs", "DELETED", made("Job", 103, "alert-saver", spec={}))
        await eventually_async(lambda: len(bench.changed) == 3)
        before = api.requests.copy()
        await reads.get("Job", "ns", "alert-saver")
        assert api.requests - before == Counter({"GET alert-saver": 1}), "an unknown object is requested"
        await reads.pods("ns", "alert", fresh=True)
        assert api.requests["GET pods"] == before["GET pods"] + 1

    run(test)


def test_config_maps_are_watched_without_their_data() -> None:
    async def test(bench: Bench) -> None:
        api, reads = bench.api, bench.reads
        whole = made("ConfigMap", 5, "alert-scan", data={"a": "1"})
        api.objects["configmaps"] = [{"metadata": whole["metadata"]}]
        api.objects["alert-scan"] = whole
        await bench.started()
        metadata = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
        assert api.accepted["GET configmaps"] == metadata.format("List")
        assert api.accepted["watch configmaps"] == metadata.format("")
        assert {api.accepted[f"GET {plural}"] for plural in PLURALS if plural != "configmaps"} == {"application/json"}
        for _ in range(2):
            found = await reads.get("ConfigMap", "ns", "alert-scan")
            assert found is not None
            assert data_digest(found) == data_digest(whole)
        assert api.requests["GET alert-scan"] == 1, "once for each version"
        newer = made("ConfigMap", 101, "alert-scan", data={"a": "2"})
        api.objects["alert-scan"] = newer
        api.send("configmaps", "MODIFIED", {"metadata": newer["metadata"]})
        await eventually_async(lambda: len(bench.changed) == 2)
        found = await reads.get("ConfigMap", "ns", "alert-scan")
        assert found is not None
        assert data_digest(found) == data_digest(newer)
        assert api.requests["GET alert-scan"] == 2

    run(test)


def test_written_object_is_stored_before_its_watch_event() -> None:
    async def test(bench: Bench) -> None:
        await bench.started()
        await bench.cluster.create(made("Job", 7, "alert-saver", spec={"suspend": False}))
        assert bench.store.get("Job", "ns", "alert-saver") is not None
        bench.api.send("jobs", "ADDED", made("Job", 7, "alert-saver", spec={"suspend": False}))
        bench.api.send("jobs", "ADDED", made("Job", 9, "alert-producer", spec={}))
        await eventually_async(lambda: bench.store.get("Job", "ns", "alert-producer"))
        assert bench.changed == [SCAN], "the event of our own write is not reported"

    run(test)


@pytest.mark.parametrize("how", ["ends", "gone"])
def test_interrupted_watch_misses_no_change(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)

    async def test(bench: Bench) -> None:
        api = bench.api
        api.objects["jobs"] = [made("Job", 1, "alert-saver", spec={}), made("Job", 2, "alert-producer", spec={})]
        await bench.started()
        bench.changed.clear()
        api.objects["jobs"] = [made("Job", 1, "alert-saver", spec={})]
        api.version = 200
        queue = api.lines.pop("jobs")
        if how == "gone":
            error = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
            queue.put_nowait(json.dumps(error).encode() + b"\n")
        queue.put_nowait(None)
        await eventually_async(lambda: bench.changed)
        assert bench.store.get("Job", "ns", "alert-producer") is None
        await eventually_async(lambda: "jobs" in api.lines)
        api.send("jobs", "ADDED", made("Job", 201, "alert-producer", spec={}))
        await eventually_async(lambda: bench.store.get("Job", "ns", "alert-producer"))

    run(test)


def test_watch_without_data_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WATCH_TIMEOUT", 0.2)
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)

    async def test(bench: Bench) -> None:
        await bench.started()
        lists = bench.api.requests["GET jobs"]
        await eventually_async(lambda: bench.api.requests["GET jobs"] > lists and bench.api.requests["watch jobs"] > 1)

    run(test)


def test_skymapscans_are_watched_like_their_children() -> None:
    async def test(bench: Bench) -> None:
        await bench.started()
        bench.api.send("skymapscans", "ADDED", scan(201, seeds=7))
        await eventually_async(lambda: bench.changed == [SCAN])
        bench.api.send("skymapscans", "MODIFIED", scan(202, seeds=3))
        bench.api.send("skymapscans", "DELETED", scan(203, seeds=3))
        await eventually_async(lambda: bench.changed == [SCAN] * 3)
        assert bench.store.get("SkymapScan", SCAN.namespace, SCAN.name) is None

    run(test)


def test_forbidden_list_ends_the_start_immediately() -> None:
    async def test(bench: Bench) -> None:
        bench.api.refused = "pods"
        with pytest.raises(Refused, match="may not"):
            await bench.informer.start(())

    run(test)


def test_watches_that_end_early_are_not_restarted_in_a_loop() -> None:
    async def test(bench: Bench) -> None:
        await bench.started()
        lists = bench.api.requests["GET jobs"]
        end = asyncio.get_running_loop().time() + 1.2
        while asyncio.get_running_loop().time() < end:  # every watch ends as soon as it has begun
            bench.api.lines["jobs"].put_nowait(None)
            await asyncio.sleep(0.005)
        assert 1 <= bench.api.requests["GET jobs"] - lists <= 4

    run(test)


def test_expired_watch_is_followed_immediately_by_a_list() -> None:
    async def test(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        await bench.started()
        await asyncio.sleep(0.1)
        lists, began = bench.api.requests["GET jobs"], loop.time()
        bench.api.lines["jobs"].put_nowait(None)
        await eventually_async(lambda: bench.api.requests["GET jobs"] > lists)
        assert loop.time() - began < FIRST_PAUSE / 2

    run(test, resync=1.0)  # within the tolerance, any end of a watch of one second is its time


def test_backoff_grows_while_watches_are_short() -> None:
    backoff = Backoff()
    pauses = [backoff.after_watch(1.0, 300.0) for _ in range(10)]
    assert all(FIRST_PAUSE / 2 <= pause <= LONGEST_PAUSE for pause in pauses)
    assert min(pauses[-2:]) >= LONGEST_PAUSE / 2
    assert backoff.after_failure(LONGEST_PAUSE) <= FIRST_PAUSE, "a proxy that cuts every watch costs little"
    assert backoff.after_failure(0.0) > FIRST_PAUSE / 2
    assert backoff.after_watch(299.5, 300.0) == 0.0
    assert backoff.after_failure(0.0) <= FIRST_PAUSE
