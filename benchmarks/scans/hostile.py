"""Measure how long honest scans wait beside scans whose own Pulsar is hostile, in the operator's reconciler.

    python -m benchmarks.scans.hostile --hostile 100 --attack drip

Hostile scans are created first, each in one of a few namespaces, with one of a few hostile servers that the settings
list. When they have begun, honest scans and a realtime one are created. The operator's queue, reconciler, clients and
web server are the real ones; the API server is a dictionary and Pulsar a small server, so that nothing else takes
time. Printed are the time until an honest scan is reconciled and until its workers exist, from which on its first
pixel does not depend on the operator; the operator's memory; and what /healthz answers meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import logging
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from benchmarks.scans.hostile_servers import Servers, servers
from testing.manifests import cases

from skymap_api.names import KIND, NamespacedName
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Cluster, Conflict, NotFound
from skymap_operator.pulsar.connections import Pulsars
from skymap_operator.runtime import health
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.reconciler import Reconciler, is_urgent, lane_of
from skymap_operator.runtime.workqueue import WorkQueue
from skymap_operator.settings import AllowedPulsar, Settings

#: Nobody listens there: the scans are new, and have no messages to read.
SERVICE = "pulsar://127.0.0.1:9"
SPEC = {"event": {"simulate": {}}, "levels": [{"nside": 1}], "workers": {"max": 2}}

#: How long the hostile scans are alone (s).
ALONE = 3.0


class MemoryCluster(Cluster):
    """Objects by kind, namespace and name, and when each was created (s)."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.created: dict[tuple[str, str, str], float] = {}

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return a copy, as a request does."""
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    async def pages(self, kind: str, namespace: str | None = None, **_: object) -> AsyncIterator[Manifest]:
        """Return one page."""
        found = [one for (found, where, _), one in self.objects.items() if found == kind and where == namespace]
        yield {"items": [] if kind == "Event" else found, "metadata": {}}

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        meta = manifest["metadata"]
        key = manifest["kind"], meta["namespace"], meta["name"]
        if key in self.objects:
            raise Conflict("there is one already")
        self.created[key] = time.monotonic()
        given = {"uid": "-".join(key), "resourceVersion": "1", "generation": 1}
        made = copy.deepcopy(manifest) | {"metadata": given | {"creationTimestamp": _now()} | meta}
        self.objects[key] = made
        return made

    async def apply_status(self, resource: Manifest) -> Manifest:
        """Set the status."""
        found = self._existing(resource["kind"], resource["metadata"]["namespace"], resource["metadata"]["name"])
        found["status"] = resource["status"]
        return found

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> Manifest:
        """Apply a merge patch of metadata or spec."""
        found = self._existing(kind, namespace, name)
        for part in ("metadata", "spec"):
            found[part] = found.get(part, {}) | change.get(part, {})
        return found

    def _existing(self, kind: str, namespace: str, name: str) -> Manifest:
        if (kind, namespace, name) not in self.objects:
            raise NotFound("it is gone")
        return self.objects[kind, namespace, name]


@dataclass
class Figures:
    """What was measured: times (s) from the creation of a scan by kind of scan, and the answers of /healthz."""

    reconciled: dict[NamespacedName, float] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0


def _now() -> str:
    return datetime.now(UTC).isoformat()


def memory(name: str = "VmHWM") -> float:
    """Return the largest (VmHWM) or present (VmRSS) memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def manifest(key: NamespacedName, **more: Any) -> Manifest:
    """Return a SkymapScan."""
    made = cases.manifest(SPEC | more, key.name)
    made["metadata"]["namespace"] = key.namespace
    return made


def hostile_scans(ports: list[int], count: int, namespaces: int) -> Iterator[tuple[NamespacedName, Manifest]]:
    """Yield scans that name the hostile servers in turn."""
    for number in range(count):
        key = NamespacedName(f"hostile-{number % namespaces}", f"scan-{number}")
        yield key, manifest(key, pulsar=_pulsar(ports[number % len(ports)]))


def _pulsar(port: int) -> dict[str, str]:
    return {"serviceUrl": f"pulsar://127.0.0.1:{port}", "adminUrl": f"http://127.0.0.1:{port}"}


def settings_for(running: Servers) -> Settings:
    """Return settings that list the hostile servers, as an administrator would who trusted them."""
    listed = tuple(
        AllowedPulsar.model_validate(_pulsar(port) | {"addresses": ["127.0.0.0/8"]}) for port in running.hostile
    )
    return Settings(
        image="scanner:1",
        pulsar_service_url=SERVICE,
        pulsar_admin_url=f"http://127.0.0.1:{running.pulsar}",
        allowed_pulsars=listed,
        realtime_namespaces=("alerts",),
    )


async def watch_health(port: int, figures: Figures) -> None:
    """Ask for the operator's health every second."""
    async with httpx.AsyncClient(timeout=60.0) as client:
        while True:
            began = time.monotonic()
            figures.answers[(await client.get(f"http://127.0.0.1:{port}/healthz")).status_code] += 1
            figures.slowest = max(figures.slowest, time.monotonic() - began)
            await asyncio.sleep(1.0)


async def measure(running: Servers, arguments: argparse.Namespace) -> None:
    """Create the scans, wait for the honest ones, and print the figures."""
    cluster, metrics, settings, figures = MemoryCluster(), Metrics(), settings_for(running), Figures()
    async with Pulsars(cluster, settings) as pulsars:
        reconciler = Reconciler(cluster, cluster, pulsars, settings, metrics)

        async def reconcile(key: NamespacedName) -> float | None:
            after = await reconciler.reconcile(key)
            figures.reconciled.setdefault(key, time.monotonic())
            return after

        scan = partial(_scan, cluster)
        queue = WorkQueue(
            reconcile,
            metrics.waited,
            lambda key: is_urgent(scan(key), settings),
            lambda key: lane_of(key, scan(key), settings),
        )
        async with health.serve("127.0.0.1", 0, metrics, queue.load) as port:
            asking = asyncio.create_task(watch_health(port, figures))
            before = memory("VmRSS")
            for key, made in hostile_scans(running.hostile, arguments.hostile, arguments.namespaces):
                await cluster.create(made)
                queue.add(key)
            await asyncio.sleep(ALONE if arguments.hostile else 0.0)
            urgent = NamespacedName("alerts", "realtime")
            honest = [NamespacedName(f"honest-{number % 4}", f"scan-{number}") for number in range(arguments.honest)]
            for key in (*honest, urgent):
                await cluster.create(manifest(key, **({"priority": "Realtime"} if key == urgent else {})))
                queue.add(key)
            ends = time.monotonic() + arguments.limit
            while time.monotonic() < ends and not all(_prepared(cluster, key) for key in (*honest, urgent)):
                await asyncio.sleep(0.05)
            await asyncio.sleep(arguments.linger)
            asking.cancel()
            report(cluster, figures, {"honest": honest, "realtime": [urgent]}, arguments)
            print(f"memory: {before:.0f} MiB before, {memory():.0f} MiB at most")
        await queue.close()


def _scan(cluster: MemoryCluster, key: NamespacedName) -> Manifest | None:
    return cluster.objects.get((KIND, key.namespace, key.name))


def _prepared(cluster: MemoryCluster, key: NamespacedName) -> float | None:
    """Return when the workers of a scan were created."""
    return cluster.created.get(("Deployment", key.namespace, f"{key.name}-workers"))


def report(
    cluster: MemoryCluster, figures: Figures, kinds: dict[str, list[NamespacedName]], arguments: argparse.Namespace
) -> None:
    """Print the times of each kind of scan."""
    for kind, keys in kinds.items():
        for what, times in (
            ("first reconcile", [figures.reconciled.get(key) for key in keys]),
            ("workers created", [_prepared(cluster, key) for key in keys]),
        ):
            since = [cluster.created[KIND, key.namespace, key.name] for key in keys]
            taken = [time - began for time, began in zip(times, since, strict=True) if time is not None]
            late = f", {len(keys) - len(taken)} not within {arguments.limit:g} s" if len(taken) < len(keys) else ""
            shown = f"median {statistics.median(taken):.2f} s, longest {max(taken):.2f} s" if taken else "none"
            print(f"{kind}, {what}: {shown}{late}")
    print(f"/healthz: {dict(figures.answers)}, slowest answer {figures.slowest:.2f} s")


def main() -> None:
    """Start the servers, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hostile", type=int, default=12, help="hostile scans")
    parser.add_argument("--honest", type=int, default=20, help="honest scans, beside one that is realtime")
    parser.add_argument("--attack", choices=["drip", "bomb", "redirect"], default="drip")
    parser.add_argument("--servers", type=int, default=12, help="hostile servers")
    parser.add_argument("--namespaces", type=int, default=3, help="namespaces of the hostile scans")
    parser.add_argument("--limit", type=float, default=300.0, help="longest wait for the honest scans (s)")
    parser.add_argument("--linger", type=float, default=5.0, help="time after the last honest scan is prepared (s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    began = time.process_time()
    with servers(arguments.attack, arguments.servers) as running:
        asyncio.run(measure(running, arguments))
        print(f"requests that redirects led to the operator's Pulsar: {len(running.strangers())}")
    print(f"processor time: {time.process_time() - began:.1f} s")


if __name__ == "__main__":
    main()
