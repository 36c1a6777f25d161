"""Plays faults of a replicated Pulsar on whole scans, and judges what the topics and the map hold (testing.history).

    python -m benchmarks.faults.replicated --only '*bookie*'  (make test-replicated: all)

Starts a ZooKeeper, three bookies and three brokers on this machine. Exit code 1 if anything is lost, repeated or
different. (make pulsar-install)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path

from testing.faults.replicated import FAULTS, Outcome, Stage, play, undisturbed
from testing.pulsar.replicated import ReplicatedPulsar

from skymap_scanner.event.demo import demo_event_path


def row(outcome: Outcome) -> str:
    """Return a row of the table."""
    verdict = "; ".join(outcome.wrong) or "nothing lost or repeated, same files"
    numbers = (outcome.collected, round(outcome.seconds), outcome.acknowledged)
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
        cluster = stack.enter_context(ReplicatedPulsar(folder / "cluster"))
        stage = Stage(cluster, demo_event_path(), folder, undisturbed(demo_event_path(), folder))
        print("| fault | best fits before | scan (s) | acknowledged to the witness | verdict |", flush=True)
        print("|---|---|---|---|---|", flush=True)
        for number, fault in enumerate(chosen):
            outcome = play(stage, fault, f"scan-{number}")
            wrong = wrong or bool(outcome.wrong)
            print(row(outcome), flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
