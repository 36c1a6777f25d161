"""Time whole scans: the first fits, the last fit, all files, and the CPU time of all processes.

    .venv/bin/python -m benchmarks.scans.times                     # the demo event, half a minute
    .venv/bin/python -m benchmarks.scans.times event.json --runs 5

Each run is ``skymap-scanner run EVENT`` with its defaults, in a temporary folder. The times of the fits are those of
the scan's history. For figures in seconds the machine must be idle.
"""

from __future__ import annotations

import argparse
import csv
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: So many pixels are a first look at the whole sky: those of nside 1.
LOOK = 12
COLUMNS = ("first fit", f"{LOOK} pixels", "last fit", "files", "CPU")


def main() -> None:
    """Print a line for each run, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("event", nargs="?", default="demo")
    parser.add_argument("--runs", type=int, default=1)
    asked = parser.parse_args()
    print("".join(f"{name:>12}" for name in COLUMNS), " (s)")
    runs = []
    for _ in range(asked.runs):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(asked.event, Path(folder) / "scan"))
        print("".join(f"{value:12.2f}" for value in runs[-1]), flush=True)
    if len(runs) > 1:
        print("".join(f"{statistics.median(values):12.2f}" for values in zip(*runs, strict=True)), " median")


def measure(event: str, folder: Path) -> tuple[float, ...]:
    """Scan an event; return the `COLUMNS`, times since the command was started (s)."""
    used, began = _cpu(), time.time()
    subprocess.run(
        [sys.executable, "-P", "-m", "skymap_scanner", "run", event, "-o", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ended = time.time()
    [history] = folder.glob("*.history.csv")
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    fits = sorted(float(row["ended"]) - began for row in rows)
    first: dict[tuple[str, str], float] = {}
    for row in rows:
        pixel, at = (row["nside"], row["pixel"]), float(row["ended"]) - began
        first[pixel] = min(at, first.get(pixel, at))
    return fits[0], sorted(first.values())[LOOK - 1], fits[-1], ended - began, _cpu() - used


def _cpu() -> float:
    """Return the CPU time of all processes that this one has waited for, and that those have (s)."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
