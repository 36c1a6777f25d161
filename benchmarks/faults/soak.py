"""Runs one scan after another on a real cluster and checks that nothing grows: memory, threads, topics, pods, files.

    python -m benchmarks.faults.soak --minutes 60 -o build/soak

Each scan's files are compared bit for bit with those of the embedded broker; then the scan and its claim are deleted,
and the remaining objects are counted. The operator, Pulsar and the native cluster's daemons are processes of this
machine, whose memory is read from /proc. Writes soak.csv and soak.png; exit code 1 if a scan fails, its files differ,
anything grows or is left, or there are too few scans to judge that. (make pulsar-install, make cluster-install)
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
from matplotlib.figure import Figure
from testing.cluster import scans
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.clusters import own_cluster, prepared
from testing.cluster.operators import OperatorProcess
from testing.faults.node import Node
from testing.processes import usage
from testing.pulsar.server import PulsarServer
from testing.waiting import eventually

from skymap_api.names import TOPICS_NAMESPACE, metadata_namespace

TENANT = "soak"

#: Kinds of the objects of a scan, and of its claim.
LEFT = "skymapscans,configmaps,jobs,deployments,replicasets,pods,persistentvolumeclaims"

#: The first scans fill caches and create the namespaces in Pulsar: growth counts from here on.
WARM = 5
#: Fewest scans that growth is judged from: one early and one late, after the first ones.
LEAST = WARM + 2


@dataclass(frozen=True)
class Sample:
    """The state after a scan was deleted: ``seconds`` since the start, memory in MiB."""

    seconds: float
    scan_seconds: float
    same: bool
    left: int
    topics: int
    volumes: int
    operator_mib: float
    operator_threads: int
    operator_files: int
    pulsar_mib: float
    pulsar_threads: int
    pulsar_files: int
    pulsar_disk_mib: float
    api_server_mib: float
    kubelet_mib: float
    containerd_mib: float
    operator_cpu: float


#: Largest relative growth between the scans after the first few and the last ones. Java uses memory up to its limit, so
#: that of Pulsar is shown and not judged; nor is that of the cluster's daemons.
BOUNDED = {"operator_mib": 0.05, "operator_threads": 0.0, "operator_files": 0.1, "pulsar_threads": 0.05}


@dataclass
class Stage:
    """A cluster, a Pulsar and an operator of the benchmark's own."""

    namespace: Namespace
    server: PulsarServer
    operator: OperatorProcess
    image: str
    baseline: frozenset[str] = frozenset()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Start everything that scans need; stop it at the end of the block."""
    with ExitStack() as stack:
        cluster = stack.enter_context(own_cluster(folder))
        server = stack.enter_context(PulsarServer(folder / "pulsar", host=cluster.host))
        namespace, image = prepared(cluster, TENANT)
        settings = scans.SETTINGS | {"IMAGE": image}
        operator = OperatorProcess(namespace, server.address, TENANT, folder / "operator.log", settings)
        operator.start()
        made = Stage(namespace, server, operator, image)
        made.baseline = frozenset(_objects(namespace))
        yield made
        operator.end()


def spec(seconds: float) -> scans.Scan:
    """Return a scan of two levels, 48 + 32 pixels, whose fits take ``seconds`` each."""
    parameters = {"ra": 200.0, "dec": 20.0, "seconds": seconds}
    return scans.QUICK | {
        "event": {"simulate": {"topology": "cascade", "seed": 3}},
        "levels": [{"nside": 2}, {"nside": 4, "parents": 8}],
        "reconstruction": {"name": "dummy", "parameters": parameters},
        "workers": {"min": 0, "max": 2},
    }


def scan(at: Stage, name: str, wanted: scans.Scan, expected: Mapping[str, bytes]) -> tuple[float, bool]:
    """Scan, compare, delete; return the duration of the scan (s) and whether the files are the same."""
    began = time.monotonic()
    at.namespace.apply(scans.manifest(wanted, name))
    outcome = scans.ended(at.namespace, name)
    seconds = time.monotonic() - began
    if outcome[0] != "True":
        raise SystemExit(f"{name}: {' '.join(outcome)}")
    files = scans.results(at.namespace, at.image, name)
    at.namespace.kubectl("delete", "pod", f"read-{name}", "--grace-period=0", "--wait=false")
    at.namespace.kubectl("delete", "sms", name, "--timeout=60s")
    at.namespace.kubectl("delete", "pvc", f"{name}-results", "--timeout=60s")
    return seconds, files == expected


def sample(at: Stage, began: float, scan_seconds: float, *, same: bool) -> Sample:
    """Take a sample, once the deleted objects are gone or 30 s have passed."""
    try:
        eventually(lambda: set(_objects(at.namespace)) - at.baseline, lambda found: not found, 30.0)
    except AssertionError as error:
        print(error)
    cluster = at.namespace.cluster
    if at.operator.process is None:
        raise SystemExit("the operator has ended")
    operator, pulsar = usage(at.operator.process.pid), usage(at.server.pid)
    return Sample(
        seconds=time.monotonic() - began,
        scan_seconds=scan_seconds,
        same=same,
        left=len(set(_objects(at.namespace)) - at.baseline),
        topics=_topics(at.server, at.namespace.name),
        volumes=len(cluster.get("pv")["items"]),
        operator_mib=operator.mib,
        operator_threads=operator.threads,
        operator_files=operator.files,
        pulsar_mib=pulsar.mib,
        pulsar_threads=pulsar.threads,
        pulsar_files=pulsar.files,
        pulsar_disk_mib=sum(one.stat().st_size for one in at.server.folder.rglob("*") if one.is_file()) / 2**20,
        api_server_mib=_daemon(cluster, "kube-apiserver"),
        kubelet_mib=_daemon(cluster, "kubelet"),
        containerd_mib=_daemon(cluster, "containerd"),
        operator_cpu=operator.cpu,
    )


def _daemon(cluster: Cluster, name: str) -> float:
    """Return the memory (MiB) of a daemon of the cluster's node; 0 if it is not a process of this machine."""
    pid = Node(cluster.name or "", cluster.kubeconfig.parent).daemon(name) if cluster.is_native else None
    return 0.0 if pid is None else usage(pid).mib


def _objects(namespace: Namespace) -> list[str]:
    return [f"{one['kind']}/{one['metadata']['name']}" for one in namespace.get(LEFT)["items"]]


def _topics(server: PulsarServer, namespace: str) -> int:
    """Count the topics of the scans and of their events' metadata."""
    count = 0
    for name in (TOPICS_NAMESPACE, metadata_namespace(namespace)):
        answer = httpx.get(f"{server.admin_url}/admin/v2/persistent/{TENANT}/{name}", timeout=30)
        count += len(answer.json()) if answer.status_code == httpx.codes.OK else 0
    return count


def faults(samples: Sequence[Sample]) -> list[str]:
    """Describe everything that has grown or is left, or say that there are too few scans to judge growth."""
    found = [f"scan {number}: its files differ" for number, one in enumerate(samples, 1) if not one.same]
    for last in samples[-1:]:
        counts = ("objects", last.left), ("topics", last.topics), ("volumes", last.volumes)
        found += [f"{count} {what} are left" for what, count in counts if count]
    if len(samples) < LEAST:
        return [*found, f"too few scans to judge growth: {len(samples)} of at least {LEAST}"]
    warm = samples[WARM:]
    part = max(len(warm) // 5, 1)
    for name, grows in BOUNDED.items():
        early = float(np.median([getattr(one, name) for one in warm[:part]]))
        late = float(np.median([getattr(one, name) for one in warm[-part:]]))
        if late > early * (1 + grows) + 0.5:
            found.append(f"{name} has grown from {early:g} to {late:g}")
    return found


def table(samples: Sequence[Sample]) -> str:
    """Return the figures after the first few scans and at the end, in Markdown."""
    first, last = samples[min(WARM, len(samples)) - 1], samples[-1]
    rows = [f"| | after {min(WARM, len(samples))} scans | after {len(samples)} scans |", "|---|---|---|"]
    rows += [
        f"| {name.replace('_', ' ')} | {getattr(first, name):.6g} | {getattr(last, name):.6g} |" for name in COLUMNS
    ]
    return "\n".join(rows)


COLUMNS = [name for name in Sample.__dataclass_fields__ if name not in {"same", "scan_seconds", "seconds"}]


def draw(samples: Sequence[Sample]) -> Figure:
    """Draw memory and the duration of each scan over time."""
    minutes = [one.seconds / 60 for one in samples]
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for name in [name for name in COLUMNS if name.endswith("_mib") and "disk" not in name]:
        upper.plot(minutes, [getattr(one, name) for one in samples], label=name.removesuffix("_mib").replace("_", " "))
    upper.set(ylabel="resident memory (MiB)", ylim=(0, None), title=f"{len(samples)} scans, one after another")
    upper.legend(loc="upper left", ncols=3)
    lower.plot(minutes, [one.scan_seconds for one in samples], ".", color="black")
    lower.set(xlabel="time (minutes)", ylabel="scan (s)", ylim=(0, None))
    return figure


def write(samples: Sequence[Sample], folder: Path) -> None:
    """Write the figures and their picture after each scan, so that an interruption loses nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "soak.csv").open("w", newline="") as out:
        rows = csv.DictWriter(out, list(Sample.__dataclass_fields__))
        rows.writeheader()
        rows.writerows(asdict(one) for one in samples)
    draw(samples).savefig(folder / "soak.png", dpi=120)


def main() -> None:
    """Run scans for the given time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=0.05, help="duration of each of the 80 fits, on two workers")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/soak"))
    arguments = parser.parse_args()
    wanted = spec(arguments.seconds)
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as text:
        expected = scans.embedded(wanted, Path(text))
        with stage(Path(text)) as at:
            began = time.monotonic()
            while time.monotonic() - began < 60 * arguments.minutes:
                seconds, same = scan(at, f"soak-{len(samples) + 1}", wanted, expected)
                samples.append(sample(at, began, seconds, same=same))
                write(samples, arguments.output)
                print(json.dumps(asdict(samples[-1])), flush=True)
            tracebacks = (Path(text) / "operator.log").read_text().count("Traceback")
    if samples:
        print(table(samples))
    found = faults(samples) + ([f"{tracebacks} tracebacks in the operator's log"] if tracebacks else [])
    print("\n".join(found) or "nothing has grown, nothing is left")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
