"""Measure the operator with a thousand SkymapScans on a real API server and Pulsar, with pods that only seem to run.

    python -m benchmarks.scans.thousand --scans 100 --steady 60

Starts its own cluster, Pulsar and operator (make pulsar-install, make cluster-install; kwok is built the first time).
Creates scans at a rate, publishes their progress, kills and restarts the operator, then lets some scans succeed and
some fail, deletes some, and in the end all. Prints a table, and draws memory, processor time and latencies.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from benchmarks.scans.figures import Phase, Probe, Series, difference, scrape, table, total
from benchmarks.scans.fleet import STORAGE_CLASS, apply, fake_nodes, volumes
from benchmarks.scans.simulated_roles import ScanWatcher, SimulatedRoles, until
from testing.cluster.cluster import Namespace
from testing.cluster.clusters import define, own_cluster
from testing.cluster.operators import OperatorProcess
from testing.manifests import cases
from testing.pulsar.server import PulsarServer

from skymap_api.names import NamespacedName
from skymap_operator.cluster.client import Cluster, Unavailable, connect

TENANT = "bench"
#: How often metrics are read within a phase (s), as Prometheus would: building the page takes time in the operator.
SCRAPE = 15.0
OVERDUE = "skymap_operator_workqueue_longest_overdue_seconds"
#: Timeout of each phase (s).
TIMEOUT = 1800.0

SPEC = {
    "event": {"simulate": {}},
    "levels": [{"nside": 8}],
    "workers": {"max": 2},
    "cleanupPolicy": {"pods": "OnSuccess", "topics": "OnSuccess"},
}


@dataclass
class Bench:
    """An operator, its surroundings, and the measurements."""

    operator: OperatorProcess
    cluster: Cluster
    watcher: ScanWatcher
    roles: SimulatedRoles
    keys: Sequence[NamespacedName]
    rate: float
    probe: Probe = field(default_factory=Probe)
    phases: list[Phase] = field(default_factory=list)
    overdue: float = 0.0

    @property
    def url(self) -> str:
        """The address of the operator's metrics."""
        return self.operator.url("/metrics")

    async def figures(self) -> Series:
        """Read the operator's metrics."""
        return await asyncio.to_thread(scrape, self.url)

    async def sample(self) -> None:
        """Take samples of the operator until cancelled."""
        scraped = time.monotonic()
        while True:
            process = self.operator.process
            with suppress(OSError, httpx.HTTPError):
                if process is not None:
                    self.probe.read(process.pid)
                if time.monotonic() - scraped > SCRAPE:
                    scraped = time.monotonic()
                    self.overdue = max(self.overdue, total(await self.figures(), OVERDUE))
            await asyncio.sleep(1.0)

    @asynccontextmanager
    async def phase(self, name: str, scans: int | None = None, *, fresh: bool = False) -> AsyncIterator[list[str]]:
        """Measure the block; it adds notes for the table to the list. ``fresh``: the operator has just started."""
        before = {} if fresh else await self.figures()
        self.overdue, note, began, first = 0.0, list[str](), time.monotonic(), len(self.probe.samples)
        yield note
        after = await self.figures()
        seconds = time.monotonic() - began
        late = max(self.overdue, total(after, OVERDUE))
        samples = self.probe.samples[max(first - 1, 0) :]
        grown = difference(before, after)
        self.phases.append(Phase(name, scans or len(self.keys), seconds, samples, grown, late, "; ".join(note)))
        print(table(self.phases[-1:]).splitlines()[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)

    async def create(self) -> None:
        """Create all scans at the rate; return when each has its children and its pods run."""
        async with self.phase("create") as note:
            began = time.monotonic()
            for number, key in enumerate(self.keys):
                await asyncio.sleep(max(began + number / self.rate - time.monotonic(), 0.0))
                made = cases.manifest(SPEC, key.name)
                made["metadata"]["namespace"] = key.namespace
                await self.cluster.create(made)
            made_in = time.monotonic() - began
            going = lambda: self.watcher.phases().get("Preparing", 0)  # noqa: E731
            await until(lambda: going() == len(self.keys), TIMEOUT, self.watcher.phases)
            note.append(f"created in {made_in:.0f} s, all prepared {time.monotonic() - began - made_in:.0f} s later")

    async def begin(self) -> None:
        """Let all scans begin at once; return when each status shows it and no reconcile is overdue."""
        async with self.phase("begin") as note:
            began = time.monotonic()
            await asyncio.to_thread(self.roles.begin, self.keys)
            await asyncio.to_thread(self.roles.advance, self.keys)
            await until(lambda: self.watcher.phases() == {"Scanning": len(self.keys)}, TIMEOUT, self.watcher.phases)
            note.append(f"all at once; shown {time.monotonic() - began:.0f} s later")
            while total(await self.figures(), OVERDUE) > 1.0:
                await asyncio.sleep(1.0)

    async def steady(self, seconds: float) -> None:
        """Publish progress of each scan every 20 s."""
        self.watcher.lags.clear()
        async with self.phase("steady") as note:
            end, number = time.monotonic() + seconds, 0
            while time.monotonic() < end:
                began = time.monotonic()
                await asyncio.to_thread(self.roles.advance, self.keys[number % 20 :: 20])
                number += 1
                await asyncio.sleep(max(began + 1.0 - time.monotonic(), 0.0))
            lags = sorted(self.watcher.lags)
            longest = max([*lags[-1:], self.watcher.late()])
            note.append(f"snapshot to status: p50 {lags[len(lags) // 2]:.1f} s, longest {longest:.1f} s")

    async def restart(self) -> None:
        """Kill the operator; return when a new one has reconciled every scan. No object may change."""
        before = await self.uids()
        self.operator.kill()
        began = time.monotonic()
        self.operator.start()
        await asyncio.to_thread(self.operator.get, "/healthz")
        async with self.phase("restart", fresh=True) as note:
            while total(await self.figures(), "skymap_operator_scans") < len(self.keys):
                await asyncio.sleep(0.5)
                if time.monotonic() - began > TIMEOUT:
                    raise TimeoutError("the new operator has not reconciled all scans")
            note.append(f"every scan reconciled {time.monotonic() - began:.1f} s after kill -9")
        same = before == await self.uids()
        self.phases[-1] = _noted(self.phases[-1], "same objects" if same else "OBJECTS HAVE CHANGED")

    async def uids(self) -> set[str]:
        """Return the uids of all Jobs and Deployments."""
        while True:
            with suppress(Unavailable):  # an overloaded API server is no fault of the operator
                found = [await self.cluster.list(kind) for kind in ("Job", "Deployment")]
                return {one["metadata"]["uid"] for kind in found for one in kind}
            await asyncio.sleep(1.0)

    async def endings(self) -> None:
        """Let a tenth of the scans succeed and a twentieth fail, and delete a twentieth."""
        tenth, twentieth = len(self.keys) // 10, len(self.keys) // 20
        succeed, fail = self.keys[:tenth], self.keys[tenth : tenth + twentieth]
        delete = self.keys[tenth + twentieth : tenth + 2 * twentieth]
        wanted = {"Succeeded": len(succeed), "Failed": len(fail)}
        going = len(self.keys) - sum(map(len, (succeed, fail, delete)))
        wanted |= {"Scanning": going}
        async with self.phase("endings", len(succeed) + len(fail) + len(delete)) as note:
            await self.roles.finish(succeed)
            await self.roles.fail(fail)
            await asyncio.to_thread(self.roles.end, [*succeed, *delete])
            await self.delete(delete)
            took = await until(lambda: self.watcher.phases() == wanted, TIMEOUT, self.watcher.phases)
            note.append(f"{len(succeed)} succeed, {len(fail)} fail, {len(delete)} deleted; shown {took:.0f} s later")
        await asyncio.to_thread(self.roles.end, [key for key in self.keys if key not in {*succeed, *delete}])

    async def delete(self, keys: Sequence[NamespacedName]) -> None:
        """Delete scans."""
        for key in keys:
            await self.cluster.delete("SkymapScan", key.namespace, key.name)

    async def delete_all(self, admin_url: str) -> None:
        """Delete all scans; return when they are gone."""
        left = list(self.watcher.seen)
        async with self.phase("delete all", len(left)) as note:
            await self.delete(left)
            await until(lambda: not self.watcher.seen, TIMEOUT, self.watcher.phases)
            async with httpx.AsyncClient(timeout=60) as client:
                topics = (await client.get(f"{admin_url}/admin/v2/persistent/{TENANT}/skymap")).json()
            note.append(f"{len(topics)} topics left")


def _noted(phase: Phase, note: str) -> Phase:
    return Phase(*(getattr(phase, name) for name in phase.__slots__[:-1]), note=f"{phase.note}; {note}")


def picture(bench: Bench, path: Path) -> None:
    """Draw memory and processor time over time, and the latencies of the steady phase."""
    from benchmarks.scans.picture import draw  # noqa: PLC0415 - slow to load, and not everywhere

    draw(bench.probe.samples, bench.phases, path)


async def measure(bench: Bench, steady: float, admin_url: str) -> None:
    """Run all phases."""
    watching, sampling = asyncio.create_task(bench.watcher.follow()), asyncio.create_task(bench.sample())
    try:
        await bench.create()
        await bench.begin()
        await bench.steady(steady)
        await bench.restart()
        await bench.endings()
        await bench.delete_all(admin_url)
    finally:
        for task in (watching, sampling):
            task.cancel()
        bench.roles.close()


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--namespaces", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2.0, help="scans created per second")
    parser.add_argument("--steady", type=float, default=300.0, help="duration of the steady phase (s)")
    parser.add_argument("--picture", type=Path, help="where to draw memory, processor time and latencies")
    parser.add_argument("--log", type=Path, help="where to keep the operator's log")
    return parser.parse_args()


def main() -> None:
    """Start everything, measure, and print the results."""
    arguments = options()
    # Six topics for each scan exceed the default memory of Pulsar. Java prefers these options over all others.
    os.environ["_JAVA_OPTIONS"] = "-Xmx2g -XX:MaxDirectMemorySize=1g"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(own_cluster(folder))
        server = stack.enter_context(PulsarServer(folder / "pulsar"))
        stack.enter_context(fake_nodes(cluster, folder, 4))
        define(cluster)
        names = [f"alerts-{number}" for number in range(arguments.namespaces)]
        for name in names:
            cluster.kubectl("create", "namespace", name)
        keys = [NamespacedName(names[number % len(names)], f"scan-{number:04d}") for number in range(arguments.scans)]
        apply(cluster, volumes(keys))
        settings = {
            "NAMESPACES": "",
            "RETRY_INTERVAL": "",
            "SCALING_INTERVAL": "",
            "CLAIM_STORAGE_CLASS": STORAGE_CLASS,
        }
        settings |= {"MAX_WORKERS": "100000"}
        log = arguments.log or folder / "operator.log"
        operator = OperatorProcess(Namespace(cluster, names[0]), server.address, TENANT, log, settings, level="info")
        operator.start()
        stack.callback(operator.kill)
        operator.get("/healthz")
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)

        async def go() -> Bench:
            async with Cluster(await connect()) as api:
                watcher = ScanWatcher(api)
                bench = Bench(
                    operator, api, watcher, SimulatedRoles(server.address, TENANT, api, watcher), keys, arguments.rate
                )
                await measure(bench, arguments.steady, server.admin_url)
                return bench

        bench = asyncio.run(go())
        print(table(bench.phases))
        tracebacks = log.read_text().count("Traceback")
        print(f"tracebacks in the operator's log: {tracebacks}")
        if arguments.picture:
            picture(bench, arguments.picture)
        if tracebacks:
            sys.exit(1)


if __name__ == "__main__":
    main()
