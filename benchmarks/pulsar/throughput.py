"""Measures tasks per second through a real Pulsar, end to end, with the dummy reconstruction.

    python -m benchmarks.pulsar.throughput --tasks 20000 --workers 1 2 4 --collectors 1 2

The producer fills the queue first. Then collectors and workers start, and the measurement lasts from the first fit to
the last pixel collected. Results: CPU time per task (µs) of workers, collectors, saver and broker, and the memory (MiB)
of each role after a tenth of its run time, at the end, and at most. The benchmark starts its own Pulsar (make
pulsar-install).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from testing.processes import usage
from testing.pulsar.server import PulsarServer

from skymap_api.names import COLLECTOR_SUBSCRIPTION, WORKERS_SUBSCRIPTION, ScanTopics
from skymap_scanner.broker import Access, Backlog, Broker, open_broker
from skymap_scanner.errors import BrokerError
from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.roles.local.local_role import ONE_THREAD

SEEDS, NSIDE = 7, 64

#: Timeout of each phase of a scan (s).
TIMEOUT = 1800.0


@dataclass
class Role:
    """A process, its sampled memory (MiB), and its CPU time (s)."""

    name: str
    process: subprocess.Popen[bytes]
    memory: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def sample(self) -> None:
        """Record memory and CPU time."""
        try:
            now = usage(self.process.pid)
        except OSError:
            return  # it has ended
        self.cpu = now.cpu
        self.memory.append(now.mib)

    def end(self) -> None:
        """Terminate the process."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Measurement:
    """One scan: its topics and its running roles."""

    def __init__(self, broker: Broker, server: PulsarServer, folder: Path, stack: ExitStack) -> None:
        self.name = f"throughput-{uuid4().hex[:8]}"
        self.topics = ScanTopics.of(self.name)
        self.roles: list[Role] = []
        self._broker = broker
        self._server = server
        self._folder = folder
        self._stack = stack

    def start(self, *words: str) -> Role:
        """Start a role."""
        address = self._server.address
        command = [sys.executable, "-P", "-m", "skymap_scanner", *words, "-n", self.name]
        command += ["--broker", address.url, "--admin-url", address.admin_url]
        name = f"{words[0]}-{sum(role.name.startswith(words[0]) for role in self.roles)}"
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | ONE_THREAD)
        self.roles.append(Role(name, process))
        self._stack.callback(self.roles[-1].end)
        return self.roles[-1]

    def wait(self, what: str, ready: Callable[[], bool]) -> float:
        """Wait until ``ready()`` while sampling the roles; return the time it took (s)."""
        began = time.monotonic()
        while not ready():
            if time.monotonic() > began + TIMEOUT:
                raise SystemExit(f"gave up waiting for {what}")
            for role in self.roles:
                role.sample()
                if role.process.poll() not in {None, 0}:
                    log = (self._folder / f"{role.name}.log").read_text()
                    raise SystemExit(f"{role.name} ended with exit code {role.process.returncode}: {log}")
            time.sleep(0.05)
        return time.monotonic() - began

    def tasks(self) -> Backlog:
        """Return the backlog of the tasks."""
        try:
            return self._broker.backlog(self.topics.to_be_scanned, WORKERS_SUBSCRIPTION)
        except BrokerError:
            return Backlog(0, 0)  # not created yet

    def collected(self) -> bool:
        """Return whether every fit has been collected."""
        return self._broker.backlog(self.topics.scanned, COLLECTOR_SUBSCRIPTION) == Backlog(0, 0)

    def cpu(self, kind: str) -> float:
        """Return the CPU time of all roles of a kind (s)."""
        return sum(role.cpu for role in self.roles if role.name.startswith(kind))


def measure(broker: Broker, server: PulsarServer, tasks: int, workers: int, collectors: int, prefetch: int) -> None:
    """Run one scan and print the results."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scan = Measurement(broker, server, Path(folder), stack)
        pixels = tasks // SEEDS
        total = pixels * SEEDS
        chosen = ["--levels", f"{NSIDE}:0", "--pixel-list", f"0-{pixels - 1}", "--reconstruction", "dummy"]
        scan.start("producer", str(demo_event_path()), *chosen)
        filled = scan.wait("the queue", lambda: scan.tasks().waiting >= total)
        for _ in range(collectors):
            scan.start("collector", *(["--key-shared"] if collectors > 1 else []))
        saver = scan.start("saver", "-o", f"{folder}/result.i3.zst", "--format", "json")
        before = usage(server.pid).cpu
        for _ in range(workers):
            scan.start("worker", "--prefetch", str(prefetch))
        first = scan.wait("the first fit", lambda: scan.tasks().waiting < total)
        fitting = scan.wait("the last fit", lambda: scan.tasks() == Backlog(0, 0))
        collecting = fitting + scan.wait("the last pixel", scan.collected)
        saving = collecting + scan.wait("the files", lambda: saver.process.poll() is not None)
        shares = {kind: scan.cpu(kind) for kind in ("worker", "collector", "saver")} | {
            "broker": usage(server.pid).cpu - before
        }
        print(f"{workers} workers, {collectors} collectors, {total} tasks, prefetch {prefetch}")
        print(f"  queue filled in {filled:.1f} s ({total / filled:.0f} tasks/s, its start included)")
        print(f"  first fit {first:.1f} s after the workers' start; fitted {total / fitting:.0f} tasks/s, ", end="")
        print(f"collected {total / collecting:.0f} tasks/s, files {saving - collecting:.1f} s later")
        print("  CPU per task (us):", ", ".join(f"{kind} {1e6 * cpu / total:.0f}" for kind, cpu in shares.items()))
        print("  memory (MiB):", ", ".join(f"{role.name} {growth(role.memory)}" for role in scan.roles), flush=True)
        for topic in broker.topics(scan.topics.plan.removesuffix("plan")):
            broker.delete_topic(topic)


def growth(memory: Sequence[float]) -> str:
    """Return the memory after a tenth of the time, at the end, and at most, as text."""
    return f"{memory[len(memory) // 10]:.0f} to {memory[-1]:.0f} (most {max(memory):.0f})" if memory else "unknown"


def main() -> None:
    """Measure every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--collectors", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prefetch", type=int, default=100, help="tasks prefetched by a worker")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PulsarServer(Path(folder)) as server:
        address = server.address
        with open_broker(address.url, Access(admin_url=address.admin_url)) as broker:
            for collectors in arguments.collectors:
                for workers in arguments.workers:
                    measure(broker, server, arguments.tasks, workers, collectors, arguments.prefetch)


if __name__ == "__main__":
    main()
