"""Coverage of the contours: simulate tracks and cascades, scan each, count how often the truth lies inside.

    python -m benchmarks.coverage.run --tracks 50 --cascades 50 -o build/coverage

Directions are drawn evenly over the sky, vertices evenly in the instrumented volume, energies evenly in the logarithm
(``--energies``). Finished events are appended to ``events.jsonl``, one per line: a second run does only what
is missing. At the end: ``report.md``, ``errors.png`` and ``coverage.png``, of the events asked for. Needs the extra
``plots``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core: threads of numpy would only get in the way
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.coverage.events import Physics, make_cases
from benchmarks.coverage.records import EVENTS, check_settings, complete_records
from benchmarks.coverage.report import write_report
from benchmarks.coverage.scan import ScanShape, run_case

from skymap_scanner.errors import SkymapError
from skymap_scanner.machine import worker_count
from skymap_scanner.scan.levels import parse_levels
from skymap_scanner.simulation.truth import Light


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, scan the missing events, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--cascades", type=int, default=50)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the records and the report")
    parser.add_argument("--workers", type=int, default=worker_count())
    parser.add_argument("--seed", type=int, default=1, help="all events follow from it")
    parser.add_argument("--energies", type=float, nargs=2, default=(3e4, 1e6), metavar=("LOW", "HIGH"), help="GeV")
    parser.add_argument("--levels", default="4:0 8:12 32:6 128:6 512:4", help="as of the scanner")
    parser.add_argument("--seeds", type=int, default=1, help="seeds a pixel in the first level")
    parser.add_argument("--warm-seeds", type=int, default=2, help="seeds a pixel in finer levels")
    parser.add_argument("--ice", default="spice_mie", help="of the fit, and of the simulation unless it is varied")
    parser.add_argument("--light", choices=get_args(Light), default="table", help="of the simulation")
    parser.add_argument("--varied", action="store_true", help="simulate each event with its own ice and DOM efficiency")
    given = parser.parse_args(arguments)

    given.output.mkdir(parents=True, exist_ok=True)
    settings = {
        name: getattr(given, name) for name in ("seed", "levels", "seeds", "warm_seeds", "ice", "varied", "light")
    }
    settings["energies"] = list(given.energies)
    check_settings(given.output, settings)
    cases = make_cases(given.tracks, given.cascades, given.seed, tuple(given.energies))
    physics = Physics(given.varied, given.ice, given.light)
    shape = ScanShape(parse_levels(given.levels), given.seeds, given.warm_seeds, given.ice, physics)
    try:
        records = complete_records(given.output / EVENTS, cases, partial(run_case, shape=shape), given.workers)
    except SkymapError as error:
        sys.exit(f"run: {error}")
    print(write_report(records, settings, given.output))


if __name__ == "__main__":
    main()
