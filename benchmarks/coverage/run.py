"""Coverage of the contours: simulate tracks and cascades, scan each, count how often the truth lies inside.

    python benchmarks/coverage/run.py --tracks 50 --cascades 50 -o build/coverage

Directions are drawn evenly over the sky, vertices evenly in the instrumented volume, energies evenly in the logarithm
(``--energies``). Finished events are appended to ``events.jsonl``, one per line: a second run does only what
is missing. At the end: ``report.md``, ``errors.png`` and ``coverage.png``. Needs the extra ``plots``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core: threads of numpy would only get in the way
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from report import write_report
from scan import Case, ScanShape, run_case

from skymap_scanner.scan.levels import parse_levels

EVENTS = "events.jsonl"
SETTINGS = "settings.json"


def main() -> None:
    """Parse the arguments, scan the missing events, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--cascades", type=int, default=50)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the records and the report")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1, help="all events follow from it")
    parser.add_argument("--energies", type=float, nargs=2, default=(3e4, 1e6), metavar=("LOW", "HIGH"), help="GeV")
    parser.add_argument("--levels", default="4:0 8:12 32:6 128:6 512:4", help="as of the scanner")
    parser.add_argument("--seeds", type=int, default=1, help="seeds a pixel in levels up to nside 8")
    parser.add_argument("--warm-seeds", type=int, default=2, help="seeds a pixel in finer levels")
    parser.add_argument("--ice", default="spice_mie")
    given = parser.parse_args()

    given.output.mkdir(parents=True, exist_ok=True)
    records = given.output / EVENTS
    _check_settings(given)
    done = {record["key"] for record in read_records(records)}
    cases = [
        Case(topology, number, given.seed, tuple(given.energies))
        for number in range(max(given.tracks, given.cascades))
        for topology, count in (("track", given.tracks), ("cascade", given.cascades))
        if number < count
    ]
    missing = [case for case in cases if case.key not in done]
    shape = ScanShape(parse_levels(given.levels), given.seeds, given.warm_seeds, given.ice)
    print(f"{len(cases)} events, {len(missing)} to do, {given.workers} workers", flush=True)
    began = time.monotonic()
    # fresh processes, each with its own compiled code loaded: numba does not bear a fork
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool, records.open("a") as file:
        for count, record in enumerate(pool.imap_unordered(partial(run_case, shape=shape), missing), start=1):
            file.write(json.dumps(record) + "\n")
            file.flush()
            print(
                f"{count}/{len(missing)} {record['key']}: error {record['error']:.2f} deg, 2 delta ln L at the truth "
                f"{record['delta']:.2f}, {record['fits']} fits, {record['cpu']:.0f} s CPU",
                flush=True,
            )
    if missing:
        print(f"{(time.monotonic() - began) / len(missing):.1f} s wall time an event", flush=True)
    print(write_report(read_records(records), json.loads((given.output / SETTINGS).read_text()), given.output))


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the events done so far; a last line that was cut off does not count."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole))
    return [json.loads(line) for line in whole]


def _check_settings(given: argparse.Namespace) -> None:
    """Store the settings beside the records, and exit rather than mix two kinds."""
    settings = {name: getattr(given, name) for name in ("seed", "levels", "seeds", "warm_seeds", "ice")}
    settings["energies"] = list(given.energies)
    path = given.output / SETTINGS
    if path.exists() and json.loads(path.read_text()) != settings:
        sys.exit(f"{path} holds {path.read_text().strip()}: choose another folder, or the same settings")
    path.write_text(json.dumps(settings) + "\n")


if __name__ == "__main__":
    main()
