"""The scans' objects are known as the API server tells of them, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from tests.unit.operator.test_store import made

from skymap_api.names import NamespacedName
from skymap_operator.cluster import informer
from skymap_operator.cluster.client import Refused
from skymap_operator.cluster.informer import Informer

SCAN = NamespacedName("ns", "alert")


class Api:
    """An API server of two kinds that is told what its lists hold, and what its watches say."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {"skymapscans": [], "jobs": []}
        self.version = 100
        self.asked: Counter[str] = Counter()
        self.lines: dict[str, asyncio.Queue[bytes | None]] = {}
        self.refuses = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.split("/")[-1]
        watched = "watch" in request.query
        self.asked[f"{'watch' if watched else request.method} {plural}"] += 1
        if plural == self.refuses:
            return web.json_response({"message": "may not"}, status=403)
        if request.method != "GET":
            return web.json_response(await request.json() | {"kind": "Job"})
        if not watched:
            version = {"resourceVersion": str(self.version)}
            return web.json_response({"items": self.objects.get(plural, []), "metadata": version})
        stream = web.StreamResponse()
        await stream.prepare(request)
        lines = self.lines[plural] = asyncio.Queue()
        while (line := await lines.get()) is not None:
            await stream.write(line)
        return stream

    def tell(self, plural: str, what: str, found: dict[str, Any]) -> None:
        line = json.dumps({"type": what, "object": found}).encode() + b"\n"
        self.lines[plural].put_nowait(line[:20])  # lines come in pieces
        self.lines[plural].put_nowait(line[20:])


def run(test: Callable[[Api, Informer, list[NamespacedName]], Awaitable[None]], every: float = 300.0) -> None:
    async def inside() -> None:
        api, news = Api(), list[NamespacedName]()
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", api.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
        configuration.connection_pool_maxsize = 0
        async with Informer(ApiClient(configuration)) as cluster:
            try:
                await test(api, cluster, news)
            finally:
                await cluster.unfollow()
                await runner.cleanup()

    async def limited() -> None:
        async with asyncio.timeout(30):
            await inside()

    asyncio.run(limited())


async def until(probe: Callable[[], object]) -> None:
    while not probe():
        await asyncio.sleep(0.005)


def scan(version: int, **spec: Any) -> dict[str, Any]:
    return made("SkymapScan", version, "alert", spec=spec)


def test_changes_are_heard_and_nothing_is_asked_for_that_is_known() -> None:
    async def test(api: Api, cluster: Informer, news: list[NamespacedName]) -> None:
        api.objects["skymapscans"] = [scan(1, priority="Realtime")]
        api.objects["jobs"] = [made("Job", 2, "alert-saver", spec={"backoffLimit": 1})]
        await cluster.follow((), news.append, 300.0)
        assert news == [SCAN], "once, when all is known"
        assert cluster.is_urgent(SCAN)
        before = api.asked.copy()
        found = await cluster.get("Job", "ns", "alert-saver")
        assert found is not None
        assert (found["spec"], await cluster.pods("ns", "alert", fresh=False)) == ({"backoffLimit": 1}, [])
        assert api.asked - before - Counter({f"watch {plural}": 1 for plural in PLURALS}) == Counter()
        await until(lambda: len(api.lines) == len(PLURALS))
        api.tell("jobs", "MODIFIED", made("Job", 101, "alert-saver", spec={"backoffLimit": 2}))
        await until(lambda: len(news) == 2)
        found = await cluster.get("Job", "ns", "alert-saver")
        assert found is not None
        assert found["spec"] == {"backoffLimit": 2}
        api.tell("jobs", "BOOKMARK", {"metadata": {"resourceVersion": "102"}})
        api.tell("jobs", "DELETED", made("Job", 103, "alert-saver", spec={}))
        await until(lambda: len(news) == 3)
        before = api.asked.copy()
        await cluster.get("Job", "ns", "alert-saver")
        assert api.asked - before == Counter({"GET alert-saver": 1}), "what is not known is asked for"
        await cluster.pods("ns", "alert", fresh=True)
        assert api.asked["GET pods"] == before["GET pods"] + 1

    run(test)


#: What is watched; of SkymapScans kopf tells.
PLURALS = ("jobs", "deployments", "configmaps", "persistentvolumeclaims", "pods")


def test_what_was_written_is_known_before_it_is_heard_of() -> None:
    async def test(api: Api, cluster: Informer, news: list[NamespacedName]) -> None:
        await cluster.follow((), news.append, 300.0)
        await cluster.create(made("Job", 7, "alert-saver", spec={"suspend": False}))
        await cluster.create(made("Job", 8, "asked"), dry_run=True)
        assert cluster.store.get("Job", "ns", "alert-saver") is not None
        assert cluster.store.get("Job", "ns", "asked") is None
        await until(lambda: len(api.lines) == len(PLURALS))
        api.tell("jobs", "ADDED", made("Job", 7, "alert-saver", spec={"suspend": False}))
        api.tell("jobs", "ADDED", made("Job", 9, "alert-producer", spec={}))
        await until(lambda: cluster.store.get("Job", "ns", "alert-producer"))
        assert news == [SCAN], "of what we did ourselves there are no news"

    run(test)


@pytest.mark.parametrize("how", ["ends", "gone"])
def test_a_watch_that_ends_or_breaks_is_begun_anew_and_what_happened_meanwhile_is_heard(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "FIRST_PAUSE", 0.01)

    async def test(api: Api, cluster: Informer, news: list[NamespacedName]) -> None:
        api.objects["jobs"] = [made("Job", 1, "alert-saver", spec={}), made("Job", 2, "alert-producer", spec={})]
        await cluster.follow((), news.append, 300.0)
        await until(lambda: "jobs" in api.lines)
        news.clear()
        api.objects["jobs"] = [made("Job", 1, "alert-saver", spec={})]
        api.version = 200
        queue = api.lines.pop("jobs")
        if how == "gone":
            error = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
            queue.put_nowait(json.dumps(error).encode() + b"\n")
        queue.put_nowait(None)
        await until(lambda: news)
        assert cluster.store.get("Job", "ns", "alert-producer") is None
        await until(lambda: "jobs" in api.lines)
        api.tell("jobs", "ADDED", made("Job", 201, "alert-producer", spec={}))
        await until(lambda: cluster.store.get("Job", "ns", "alert-producer"))

    run(test)


def test_scans_are_heard_of_from_kopf_and_listed_now_and_then() -> None:
    async def test(api: Api, cluster: Informer, news: list[NamespacedName]) -> None:
        await cluster.follow((), news.append, 0.05)
        cluster.heard("ADDED", scan(201, seeds=7))
        assert news == [SCAN]
        cluster.heard(None, scan(201, seeds=7))
        assert news == [SCAN], "kopf lists what is known already whenever its watch is begun anew"
        cluster.heard("MODIFIED", scan(202, seeds=3))
        cluster.heard("DELETED", scan(203, seeds=3))
        assert news == [SCAN] * 3
        assert cluster.store.get("SkymapScan", "ns", "alert") is None
        cluster.heard("ADDED", scan(204, seeds=7))
        api.version = 300
        await until(lambda: cluster.store.get("SkymapScan", "ns", "alert") is None)
        assert news == [SCAN] * 5, "that it has gone while kopf was cut off is found by listing"

    run(test)


def test_without_the_right_to_list_it_says_so_at_once() -> None:
    async def test(api: Api, cluster: Informer, news: list[NamespacedName]) -> None:
        api.refuses = "pods"
        with pytest.raises(Refused, match="may not"):
            await cluster.follow((), news.append, 300.0)

    run(test)
