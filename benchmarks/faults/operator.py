"""Kills the operator (SIGKILL) at random moments of a real scan on a real cluster; compares the files bit for bit.

    python -m benchmarks.faults.operator --kills 20

A scan over the embedded broker gives the expected files. The operator is a process of this machine; the pods run on the
benchmark's own cluster, over its own Pulsar (make pulsar-install, make cluster-install).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from testing.cluster import scans
from testing.cluster.cluster import Namespace
from testing.cluster.clusters import own_cluster, prepared
from testing.cluster.operators import OperatorProcess
from testing.pulsar.server import PulsarServer

NAME = "killed"


def spec(seconds: float) -> scans.Scan:
    """Return a scan of two levels whose fits take ``seconds`` each."""
    parameters = {"ra": 200.0, "dec": 20.0, "seconds": seconds}
    return scans.QUICK | {
        "event": {"simulate": {"topology": "cascade", "seed": 3}},
        "levels": [{"nside": 1}, {"nside": 4, "parents": 2}],
        "seeds": 3,
        "firstSeeds": 3,
        "reconstruction": {"name": "dummy", "parameters": parameters},
        "workers": {"min": 0, "max": 2},
    }


def scan_with_kills(
    namespace: Namespace, operator: OperatorProcess, wanted: scans.Scan, kills: int, seed: int
) -> list[str]:
    """Kill and restart the operator during a scan; return the phase and progress at each kill."""
    chance = random.Random(seed)
    operator.start()
    namespace.apply(scans.manifest(wanted, NAME))
    moments: list[str] = []
    while len(moments) < kills:
        time.sleep(chance.uniform(0.2, 4.0))  # the moment is what varies
        status = scans.scan(namespace, NAME).get("status", {})
        operator.kill()
        operator.start()
        moments.append(f"{status.get('phase', 'new')} {status.get('progress', '')}".strip())
    return moments


def main() -> None:
    """Scan undisturbed over the embedded broker, then on the cluster with kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.6, help="duration of each of the 132 fits, on two workers")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    wanted = spec(arguments.seconds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(own_cluster(folder))
        server = stack.enter_context(PulsarServer(folder / "pulsar", host=cluster.host))
        namespace, image = prepared(cluster, "killed")
        settings = scans.SETTINGS | {"IMAGE": image}
        operator = OperatorProcess(namespace, server.address, "bench", folder / "operator.log", settings)
        began = time.monotonic()
        moments = scan_with_kills(namespace, operator, wanted, arguments.kills, arguments.seed)
        outcome = scans.ended(namespace, NAME)
        seconds = time.monotonic() - began
        files = scans.results(namespace, image, NAME)
        operator.kill()
        same = files == scans.embedded(wanted, folder)
        for number, moment in enumerate(moments, 1):
            print(f"kill {number:2d}: {moment}")
        print(f"{' '.join(outcome)}; {seconds:.0f} s; files {'bit for bit the same' if same else 'DIFFERENT'}")
        print(json.dumps({name: len(content) for name, content in sorted(files.items())}))
        tracebacks = operator.log.read_text().count("Traceback")
        print(f"tracebacks in the operator's log: {tracebacks}")
        if not same or tracebacks or outcome[0] != "True":
            sys.exit(1)


if __name__ == "__main__":
    main()
