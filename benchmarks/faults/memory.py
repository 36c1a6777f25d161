"""Measures the operator's memory while somebody fills a namespace with large objects that carry its label.

    python -m benchmarks.faults.memory --objects 100

For each kind of object, a process serves so many of them as an API server does: in pages, as metadata alone where that
is requested, and again as events of a watch. Another process runs the operator's informer on it and prints its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from skymap_api.names import SCAN_LABEL, SCAN_NAME_ANNOTATION, NamespacedName
from skymap_operator.cluster.client import Cluster
from skymap_operator.cluster.informer import Informer
from skymap_operator.cluster.store import Store

Object = dict[str, Any]

MB = 10**6
#: What the API server allows: all annotations of an object together, and an object as a whole (bytes).
ANNOTATIONS, WHOLE = 256 * 1024, 1_400_000


def _object(annotations: int = 0, **content: Any) -> Object:
    """Return an object with the operator's label, and so many bytes of annotations; NAME and VERSION are filled in."""
    notes = {SCAN_NAME_ANNOTATION: "NAME"} | ({"note": "x" * annotations} if annotations else {})
    meta = {"namespace": "ns", "name": "NAME", "uid": "NAME", "resourceVersion": "VERSION"}
    return {"metadata": meta | {"labels": {SCAN_LABEL: "NAME"}, "annotations": notes}, **content}


def _with_owners() -> Object:
    found = _object()
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "a"}
    found["metadata"]["ownerReferences"] = [owner | {"uid": str(one)} for one in range(WHOLE // 70)]
    return found


def _with_variables() -> Object:
    variables = [{"name": f"A{one}", "value": "b"} for one in range(WHOLE // 32)]
    return _object(spec={"template": {"spec": {"containers": [{"name": "main", "env": variables}]}}})


#: Kinds of objects: plural, and an object.
CASES: dict[str, tuple[str, Callable[[], Object]]] = {
    "ConfigMaps of 1 MB": ("configmaps", lambda: _object(data={"x": "y" * MB})),
    "ConfigMaps with 256 KiB of annotations": ("configmaps", lambda: _object(ANNOTATIONS - 100)),
    "ConfigMaps with 20,000 owners": ("configmaps", _with_owners),
    "Deployments with 44,000 variables": ("deployments", _with_variables),
    "pods with 256 KiB of annotations": ("pods", lambda: _object(ANNOTATIONS - 100, status={})),
    "scans with 256 KiB of annotations": ("skymapscans", lambda: _object(ANNOTATIONS - 100, spec={}, status={})),
}


class Api:
    """An API server with ``count`` objects of one kind; watches of it report each once and then nothing."""

    def __init__(self, plural: str, found: Object, count: int) -> None:
        self.plural, self.count = plural, count
        self.text, self.metadata = json.dumps(found), json.dumps({"metadata": found["metadata"]})

    def _texts(self, request: web.Request, begin: int, end: int, version: int) -> list[str]:
        """Return the objects from ``begin`` to ``end``, as the request wants them."""
        if not request.path.endswith(f"/{self.plural}"):
            return []
        text = self.metadata if "PartialObjectMetadata" in request.headers.get("Accept", "") else self.text
        numbers = range(begin, min(end, self.count))
        return [text.replace('"NAME"', f'"a{one}"').replace('"VERSION"', f'"{version + one}"') for one in numbers]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch."""
        if "watch" in request.query:
            return await self._watch(request)
        begin, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", self.count))
        texts = self._texts(request, begin, begin + limit, 1)
        more = len(texts) == limit and begin + limit < self.count
        meta = {"resourceVersion": "1000"} | ({"continue": str(begin + limit)} if more else {})
        page = f'{{"metadata": {json.dumps(meta)}, "items": [{",".join(texts)}]}}'
        return web.Response(text=page, content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        for number in range(self.count):
            for text in self._texts(request, number, number + 1, 2000):
                await stream.write(f'{{"type": "MODIFIED", "object": {text}}}\n'.encode())
        await asyncio.Event().wait()
        return stream


async def serve(case: str, count: int) -> None:
    """Serve the objects of a case until this process ends; print the port."""
    plural, make = CASES[case]
    app = web.Application()
    app.router.add_route("GET", "/{rest:.*}", Api(plural, make(), count).answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


class Watched(Store):
    """A store that knows the newest version that it was given."""

    newest = 0

    def put(self, kind: str, found: Mapping[str, Any]) -> set[NamespacedName]:
        """Store an object."""
        self.newest = max(self.newest, int(found["metadata"]["resourceVersion"]))
        return super().put(kind, found)


async def follow(port: int, count: int) -> None:
    """List and watch what is served there; print the memory before, after and at its peak (MiB)."""
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    before, store = _memory("VmRSS"), Watched()
    async with Cluster(ApiClient(configuration)) as cluster:
        informer = Informer(cluster, store, lambda _: None, resync=300)
        await informer.start(())
        while store.newest < 2000 + count - 1:  # until the watch has reported everything
            await asyncio.sleep(0.1)
        print(json.dumps([before, _memory("VmRSS"), _memory("VmHWM")]))
        await informer.stop()


def _memory(field: str) -> float:
    """Return a figure of this process's memory (MiB)."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Measure each case in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--serve", metavar="CASE", help=argparse.SUPPRESS)
    parser.add_argument("--follow", metavar="PORT", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve, arguments.objects))
        return
    if arguments.follow is not None:
        asyncio.run(follow(arguments.follow, arguments.objects))
        return
    command = [sys.executable, "-m", "benchmarks.faults.memory", "--objects", str(arguments.objects)]
    print(f"| {arguments.objects} | before (MiB) | after | at its peak |\n|---|---|---|---|")
    for case in CASES:
        with subprocess.Popen([*command, "--serve", case], stdout=subprocess.PIPE, text=True) as server:
            try:
                port = server.stdout.readline().strip() if server.stdout else ""
                done = subprocess.run([*command, "--follow", port], capture_output=True, text=True, check=True)
            finally:
                server.kill()
        before, after, peak = json.loads(done.stdout)
        print(f"| {case} | {before:.0f} | {after:.0f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
