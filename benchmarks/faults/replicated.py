"""Plays faults of a replicated Pulsar on whole scans, and judges what the topics and the map hold (testing.history).

    python -m benchmarks.faults.replicated --only '*bookie*'  (make test-replicated: all)

Starts a ZooKeeper, three bookies with a small disk each, and three brokers on this machine; needs root, for the disks.
Exit code 1 if anything is lost, repeated or different. (make pulsar-install)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path

from testing.faults.disk import small
from testing.faults.replicated import Outcome, play
from testing.faults.stage import DISK, Stage, undisturbed
from testing.faults.strikes import FAULTS
from testing.pulsar.replicated import ReplicatedPulsar

from skymap_scanner.event.demo import demo_event_path

COLUMNS = (
    "fault",
    "best fits before",
    "strike (s)",
    "longest wait (s)",
    "scan (s)",
    "messages",
    "repeated fits",
    "acknowledged to the witness",
    "verdict",
)


def row(outcome: Outcome) -> str:
    """Return a row of the table."""
    verdict = "; ".join(outcome.wrong) or "all promises kept, same files"
    seconds = [f"{one:.0f}" for one in (outcome.struck, outcome.waited, outcome.seconds)]
    numbers = (outcome.collected, *seconds, outcome.stored, outcome.repeated, outcome.acknowledged)
    cells = (outcome.fault, *map(str, numbers), verdict)
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Play the faults, one scan each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="patterns of faults, separated by commas")
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if any(fnmatch(fault, one) for one in arguments.only.split(","))]
    if not chosen:
        raise SystemExit(f"no fault is called {arguments.only}; there are {', '.join(FAULTS)}")
    wrong = False
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = ReplicatedPulsar(folder / "cluster")
        for bookie in cluster.bookies:
            stack.enter_context(small(bookie.folder / "ledgers", DISK))
        stack.enter_context(cluster)
        stage = Stage(cluster, demo_event_path(), folder, undisturbed(demo_event_path(), folder))
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
        for number, fault in enumerate(chosen):
            outcome = play(stage, fault, f"scan-{number}")
            wrong = wrong or bool(outcome.wrong)
            print(row(outcome), flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
