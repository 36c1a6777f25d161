"""Scales the workers of real scans on a real cluster, samples every second, and checks that no fit was interrupted.

    python -m benchmarks.scaling.cluster -o build/scaling

Two scans run one after the other, over the benchmark's own Pulsar and cluster, with the operator as a process of this
machine (make pulsar-install, make cluster-install). The first has three levels and is not disturbed: its workers follow
the queue, from zero and back. The queue of the second is always long; its workers.max is lowered step by step and
raised again, many times, so that busy workers are removed. Then the benchmark checks how every worker's container
ended, how many crash reports there are, and how often Pulsar has delivered and stored each task.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from benchmarks.scaling.watched import POD_LINE, Account, Sample, Workers, busy_hosts, draw, figures, lowered, write_csv
from testing.cluster import scans
from testing.cluster.cluster import Namespace
from testing.cluster.clusters import own_cluster, prepared
from testing.cluster.operators import OperatorProcess
from testing.pulsar.server import PulsarServer
from testing.waiting import eventually

from skymap_api.names import Names, ScanTopics

TENANT = "bench"
WORKERS = "app.kubernetes.io/component=worker"

#: Time limit for pods to start or stop on a busy machine (s).
TIMEOUT = 300.0


def scan(levels: list[dict[str, int]], seeds: int, seconds: float, workers: dict[str, int]) -> scans.Scan:
    """Return a scan whose fits take ``seconds`` each. Its topics stay, so that they can be counted."""
    return scans.QUICK | {
        "event": {"simulate": {"topology": "cascade", "seed": 3}},
        "levels": levels,
        "seeds": seeds,
        "firstSeeds": seeds,
        "reconstruction": {"name": "dummy", "parameters": {"ra": 200.0, "dec": 20.0, "seconds": seconds}},
        "workers": workers,
        "cleanupPolicy": {"topics": "OnDelete"},
    }


class Watch:
    """Samples the running scan once a second and records all events of workers' pods."""

    def __init__(self, namespace: Namespace, operator: OperatorProcess, admin_url: str) -> None:
        self.samples: list[Sample] = []
        self.workers = Workers()
        self.busy: frozenset[str] = frozenset()
        self._namespace, self._operator, self._admin_url = namespace, operator, admin_url
        self._began = time.monotonic()

    def stats(self, name: str, topic: Callable[[ScanTopics], str]) -> dict[str, Any]:
        """Return Pulsar's statistics of a scan's topic; empty if the topic does not exist yet."""
        full = topic(Names.of(self._namespace.name, name).topics(TENANT)).replace("://", "/")
        answer = httpx.get(f"{self._admin_url}/admin/v2/{full}/stats?getPreciseBacklog=true", timeout=30)
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        return found

    def sample(self, name: str) -> Sample:
        """Take a sample."""
        self.busy = busy_hosts(self.stats(name, lambda topics: topics.to_be_scanned))
        seen = figures(self._operator.get("/metrics").text, name)
        seconds = round(time.monotonic() - self._began, 1)
        sample = Sample(seconds, name, **seen, leaving=self.workers.leaving)
        self.samples.append(sample)
        return sample

    def until(self, name: str, done: Callable[[Sample], bool], within: float = TIMEOUT) -> None:
        """Take a sample every second until ``done`` is true of one."""
        deadline = time.monotonic() + within
        while not done(taken := self.sample(name)):
            if time.monotonic() > deadline:
                raise SystemExit(f"not within {within:g} s; the last sample was: {taken}")
            time.sleep(1.0)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Record what kubectl prints about pods until the block ends."""
        words = ("--namespace", self._namespace.name, "get", "pods", "-l", WORKERS, "--watch", "-o", POD_LINE)
        command = self._namespace.cluster.command(*words)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            thread = threading.Thread(target=self._read, args=(watch,), daemon=True)
            thread.start()
            try:
                yield
            finally:
                watch.terminate()
                thread.join()

    def _read(self, watch: subprocess.Popen[str]) -> None:
        assert watch.stdout is not None  # noqa: S101 - it is a pipe
        for line in watch.stdout:
            self.workers.see(line, self.busy)

    def account(self, name: str) -> Account:
        """Return Pulsar's counters of a scan once they are complete; they lag behind a little."""

        def count() -> Account:
            tasks = self.stats(name, lambda topics: topics.to_be_scanned)
            fits = self.stats(name, lambda topics: topics.scanned)
            delivered = tasks["subscriptions"]["workers"]["msgOutCounter"]
            return Account(tasks["msgInCounter"], delivered, fits["msgInCounter"])

        return eventually(count, lambda found: found.fits >= found.tasks)

    def crash_reports(self, name: str) -> int:
        """Return the number of crash reports."""
        return int(self.stats(name, lambda topics: topics.crash_reports).get("msgInCounter", 0))


def finished(namespace: Namespace, name: str) -> bool:
    """Return whether a scan has finished."""
    return scans.condition(scans.scan(namespace, name), "Succeeded")[0] in {"True", "False"}


def lower_and_raise(watch: Watch, namespace: Namespace, name: str, steps: int, most: int, least: int) -> None:
    """Lower workers.max one by one from ``most`` to ``least``, raise it again, and repeat until ``steps`` are done."""
    taken = 0
    while taken < steps:
        watch.until(name, lambda sample: sample.ready == most and sample.busy >= most - 1)
        for limit in range(most - 1, least - 1, -1):
            change = json.dumps({"spec": {"workers": {"max": limit}}})
            namespace.kubectl("patch", "sms", name, "--type=merge", "-p", change)
            watch.until(name, lambda sample, limit=limit: sample.desired <= limit)  # type: ignore[misc]
            taken += 1
        namespace.kubectl("patch", "sms", name, "--type=merge", "-p", json.dumps({"spec": {"workers": {"max": most}}}))


def play(watch: Watch, namespace: Namespace, arguments: argparse.Namespace) -> dict[str, Account]:
    """Run both scans; return what Pulsar counted of each."""
    levels = [{"nside": 2}, {"nside": 8, "parents": 6}, {"nside": 32, "parents": 6}]
    alone = scan(levels, 3, 1.0, {"min": 0, "max": arguments.workers, "targetSeconds": 150})
    # More work than fits into the time of the changes; the rest is then done with all workers.
    pushed = scan(
        [{"nside": 8}], arguments.seeds, arguments.seconds, {"min": 0, "max": arguments.workers, "targetSeconds": 60}
    )
    for name, spec in (("follows-its-queue", alone), ("limits-that-fall", pushed)):
        namespace.apply(scans.manifest(spec, name))
        if spec is pushed:
            lower_and_raise(watch, namespace, name, arguments.steps, arguments.workers, max(arguments.workers // 4, 1))
        watch.until(name, lambda _, name=name: finished(namespace, name), 1800.0)  # type: ignore[misc]
        watch.until(name, lambda _: not scans.at_work(namespace))
    return {name: watch.account(name) for name in ("follows-its-queue", "limits-that-fall")}


def main() -> None:
    """Run, draw, and report whether any fit was interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/scaling"), help="folder for picture and table")
    parser.add_argument("--steps", type=int, default=56, help="how often the limit is lowered")
    parser.add_argument("--seeds", type=int, default=2, help="fits of each of the 768 pixels in the second scan")
    parser.add_argument("--workers", type=int, default=10, help="most workers at a time")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of a fit in the second scan")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(own_cluster(folder))
        server = PulsarServer(folder / "pulsar", host=cluster.host)
        stack.enter_context(server)
        namespace, image = prepared(cluster, "scaling")
        settings = scans.SETTINGS | {"IMAGE": image, "STARTUP_SECONDS": "5", "FIRST_WORKERS": "4"}
        operator = OperatorProcess(namespace, server.address, TENANT, folder / "operator.log", settings)
        operator.start()
        stack.callback(operator.end)
        watch = Watch(namespace, operator, server.admin_url)
        with watch.following():
            try:
                accounts = play(watch, namespace, arguments)
            finally:
                write_csv(watch.samples, arguments.output / "scaling.csv")
        decisions = lowered(operator.get("/metrics").text)
        failed = report(watch, accounts, decisions, arguments.output)
    sys.exit(1 if failed else 0)


def report(watch: Watch, accounts: dict[str, Account], decisions: dict[str, int], output: Path) -> bool:
    """Print the figures and write picture and table; return whether a fit was interrupted or stored twice."""
    left, killed = watch.workers.left, watch.workers.killed
    held = sum(worker.held for worker in left)
    causes = ", ".join(f"{cause} {count}" for cause, count in sorted(decisions.items()))
    print(f"decisions for fewer workers: {sum(decisions.values())} ({causes})")
    print(f"workers that were terminated: {len(left)}, of them with an in-flight task: {held}")
    print(f"workers that did not end cleanly: {len(killed)} {[worker.code for worker in killed] or ''}")
    bad = bool(killed)
    for name, account in accounts.items():
        crashes = watch.crash_reports(name)
        print(
            f"{name}: {account.tasks} tasks, {account.again} of them redelivered, {account.twice} fitted twice; "
            f"crash reports: {crashes}"
        )
        bad = bad or account.twice != 0 or crashes != 0
    title = (
        f"{sum(decisions.values())} decisions for fewer workers; {len(left)} workers left, "
        f"{held} of them with an in-flight task; interrupted: {len(killed)}"
    )
    draw(watch.samples, output / "scaling.png", title)
    print(f"{output}/scaling.png, {output}/scaling.csv")
    return bad


if __name__ == "__main__":
    main()
