"""Replaces the roles that do not run on fake nodes: publishes tasks and snapshots, ends pods, and watches scans."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.scans.fleet import EXIT_CODE
from testing.pulsar.server import PulsarAddress

from skymap_api.names import KIND, PRODUCER, SAVER, Names, NamespacedName, ScanTopics
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Cluster, Unavailable
from skymap_scanner.broker import Access, Broker, Outgoing, Producer, open_broker

#: Pixels of the scans' single level (nside 8), and tasks in each queue.
PIXELS, TASKS = 768, 40


@dataclass
class ScanWatcher:
    """Watches all scans. ``seen``: their resources; ``lags``: times from each snapshot to the status (s)."""

    cluster: Cluster
    seen: dict[NamespacedName, Manifest] = field(default_factory=dict)
    sent: dict[NamespacedName, tuple[int, float]] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)

    async def follow(self) -> None:
        """Watch until cancelled."""
        while True:
            page: Manifest = {}
            async for page in self.cluster.pages(KIND):
                for found in page["items"]:
                    self._take(found)
            try:
                async for event, found in self.cluster.watch(
                    KIND, None, page["metadata"]["resourceVersion"], seconds=600
                ):
                    if event == "DELETED":
                        self.seen.pop(_key(found), None)
                    else:
                        self._take(found)
            except Unavailable:
                await asyncio.sleep(1.0)

    def phases(self) -> dict[str, int]:
        """Return the number of scans by phase."""
        found: dict[str, int] = {}
        for one in self.seen.values():
            phase = one.get("status", {}).get("phase", "new")
            found[phase] = found.get(phase, 0) + 1
        return found

    def late(self) -> float:
        """Return the age of the oldest snapshot that no status shows yet (s)."""
        return max((time.monotonic() - at for _, at in self.sent.values()), default=0.0)

    def _take(self, found: Manifest) -> None:
        key = _key(found)
        self.seen[key] = found
        done, at = self.sent.get(key, (0, 0.0))
        if key in self.sent and found.get("status", {}).get("pixels", {}).get("done", 0) >= done:
            self.lags.append(time.monotonic() - at)
            del self.sent[key]


class SimulatedRoles:
    """Acts as producers and savers of scans over Pulsar."""

    def __init__(self, pulsar: PulsarAddress, tenant: str, cluster: Cluster, watcher: ScanWatcher) -> None:
        self._address = pulsar
        self._tenant = tenant
        self._cluster = cluster
        self._watcher = watcher
        self._stack = ExitStack()
        self._broker: Broker | None = None
        self._savers: dict[NamespacedName, Producer] = {}
        self._done: dict[NamespacedName, int] = {}

    def close(self) -> None:
        """Close the connection to the broker."""
        self._stack.close()

    def begin(self, keys: Sequence[NamespacedName]) -> None:
        """Publish the tasks of scans."""
        for key in keys:
            with self._open().producer(self._topics(key).to_be_scanned, "bench-producer") as producer:
                producer.send(*(Outgoing(b"task") for _ in range(TASKS)))
            self._savers[key] = self._open().producer(self._topics(key).progress, "bench-saver")
            self._done[key] = 0

    def advance(self, keys: Sequence[NamespacedName], phase: str = "scanning") -> None:
        """Publish a snapshot of each scan with one more pixel."""
        for key in keys:
            self._done[key] += 1
            if phase == "scanning":
                self._watcher.sent.setdefault(key, (self._done[key], time.monotonic()))
            self._savers[key].send(Outgoing(json.dumps(_snapshot(key, self._done[key], phase)).encode()))

    def end(self, keys: Sequence[NamespacedName]) -> None:
        """Close the producers of scans that end, whose topics can then be deleted."""
        for key in keys:
            self._savers.pop(key).close()
            self._watcher.sent.pop(key, None)

    async def finish(self, keys: Sequence[NamespacedName]) -> None:
        """Let scans succeed: publish the last snapshot and end the saver."""
        await asyncio.to_thread(self.advance, keys, "done")
        await self._exit(keys, SAVER, 0)

    async def fail(self, keys: Sequence[NamespacedName]) -> None:
        """Let scans fail by an error of their producer."""
        await self._exit(keys, PRODUCER, 1)

    async def _exit(self, keys: Sequence[NamespacedName], role: str, code: int) -> None:
        for key in keys:
            self._watcher.sent.pop(key, None)
            for pod in await self._cluster.pods(key.namespace, Names.of(key.namespace, key.name).base):
                if pod["metadata"]["labels"]["app.kubernetes.io/component"] == role:
                    change = {"metadata": {"annotations": {EXIT_CODE: str(code)}}}
                    await self._cluster.patch("Pod", key.namespace, pod["metadata"]["name"], change)

    def _open(self) -> Broker:
        if self._broker is None:
            broker = open_broker(self._address.url, Access(self._address.admin_url))
            self._broker = self._stack.enter_context(broker)
        return self._broker

    def _topics(self, key: NamespacedName) -> ScanTopics:
        return Names.of(key.namespace, key.name).topics(self._tenant)


async def until(probe: Callable[[], object], within: float, what: Callable[[], object]) -> float:
    """Wait until ``probe`` is true; return how long that took (s).

    Raises
    ------
    TimeoutError
        If ``probe`` stays false for ``within`` seconds; the message shows ``what``.
    """
    began = time.monotonic()
    while not probe():
        if time.monotonic() - began > within:
            raise TimeoutError(f"not within {within:.0f} s: {what()}")
        await asyncio.sleep(0.2)
    return time.monotonic() - began


def _key(found: Manifest) -> NamespacedName:
    return NamespacedName(found["metadata"]["namespace"], found["metadata"]["name"])


def _snapshot(key: NamespacedName, done: int, phase: str) -> Manifest:
    level = {"nside": 8, "done": done, "planned": PIXELS, "decided": True, "failed": 0}
    best = {"nside": 8, "pixel": 3, "ra": 10.5, "dec": -20.25, "llh": 5.0 - done, "area_90": 42.0}
    return {
        "name": str(key),
        "phase": phase,
        "levels": [level],
        "fits": {"done": done, "started": PIXELS, "planned": PIXELS},
        "rate": 0.05,
        "eta": 600.0,
        "elapsed": float(done),
        "best": best,
        "outputs": ["map.json"] if phase == "done" else [],
    }
