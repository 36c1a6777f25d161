"""Calibrate the contours: simulate events with varied physics, and find how far 2 delta ln L of the truth goes.

    python -m benchmarks.coverage.calibrate --tracks 400 --cascades 400 --version 1 -o build/calibration

Each event has its own ice model, scattering, absorption, DOM efficiency, hole ice and anisotropy
(``draw_variation``). Its record is appended to ``events.jsonl``: if the command is interrupted, the same command
continues, with the same results. At the end it writes ``calibration.json``, the thresholds by fitted topology and
energy, which belongs into ``worker_image/skymap_scanner/results/calibrations``; and ``report.md`` with two pictures,
how often the regions hold the truth. Needs the extra ``plots``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core: threads of numpy would only get in the way
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.coverage.calibration_report import write_report
from benchmarks.coverage.events import LIGHTS, Physics, make_cases
from benchmarks.coverage.locate import LocateSettings, locate_case
from benchmarks.coverage.records import EVENTS, check_settings, complete_records
from benchmarks.coverage.thresholds import LEAST_EVENTS, RANGE_EVENTS, Records, energy_ranges

from skymap_scanner import __version__
from skymap_scanner.atomic_file import write_atomically
from skymap_scanner.errors import SkymapError
from skymap_scanner.results.calibration import Calibration, tev

CALIBRATION = "calibration.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, locate the missing events, write the thresholds and the report."""
    given = _parse(arguments)
    physics = Physics(varied=not given.nominal, light=given.light)
    parameters = json.loads(given.parameters)
    how = LocateSettings(physics, given.coarse_nside, given.candidates, given.reconstruction, parameters)
    given.output.mkdir(parents=True, exist_ok=True)
    settings = {"seed": given.seed, "energies": list(given.energies), **asdict(how)}
    check_settings(given.output, settings)
    try:
        cases = make_cases(given.tracks, given.cascades, given.seed, tuple(given.energies))
        records = complete_records(given.output / EVENTS, cases, partial(locate_case, settings=how), given.workers)
    except SkymapError as error:
        sys.exit(f"calibrate: {error}")
    print(write_report(records, settings, given.output, given.range_events))
    if given.nominal:
        print(f"No {CALIBRATION}: the physics was that of the fit, so the thresholds are statistical only.")
        return
    try:
        calibration = make_calibration(records, settings, given.version, _command(given), given.range_events)
    except ValueError as error:
        sys.exit(f"calibrate: no {CALIBRATION}: {error}")
    print(f"wrote {write_atomically(given.output / CALIBRATION, calibration.to_json())}")


def make_calibration(
    records: Records, settings: dict[str, Any], version: str, command: str, range_events: int
) -> Calibration:
    """Return the calibration that follows from the records.

    Raises ValueError if they are of several likelihoods or of one without a name, or too few for a threshold.
    """
    fitted = [record for record in records if "failed" not in record]
    likelihoods = {record["likelihood"] for record in fitted}
    if len(likelihoods) > 1:
        raise ValueError(f"the records are of several likelihoods ({', '.join(sorted(likelihoods))}): start again")
    if not all(likelihoods):
        raise ValueError(f"the reconstruction {settings['reconstruction']} names no likelihood")
    ranges = tuple(energy_ranges(fitted, range_events))
    if not ranges:
        raise ValueError(f"{len(fitted)} events with a fit are too few: thresholds need {LEAST_EVENTS} of a topology")
    low, high = map(tev, settings["energies"])
    larger = "; the larger threshold of both" if settings["physics"]["light"] == "both" else ""
    return Calibration(
        version=version,
        likelihood=next(iter(likelihoods), ""),
        command=command,
        scanner_version=__version__,
        simulation=(
            f"{low} to {high} TeV, {LIGHTS[settings['physics']['light']]}; ice model, scattering, absorption, DOM "
            f"efficiency, hole ice and anisotropy varied{larger}"
        ),
        simulated=len(records),
        failed=len(records) - len(fitted),
        ranges=ranges,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=400)
    parser.add_argument("--cascades", type=int, default=400)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the records and the results")
    parser.add_argument("--version", default="1", help="version of the calibration")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1, help="processes")
    parser.add_argument("--seed", type=int, default=1, help="all events follow from it")
    parser.add_argument("--energies", type=float, nargs=2, default=(3e4, 1e6), metavar=("LOW", "HIGH"), help="GeV")
    parser.add_argument("--nominal", action="store_true", help="simulate the physics of the fit; makes no calibration")
    parser.add_argument(
        "--light",
        choices=tuple(LIGHTS),
        default="both",
        help="of the simulation; both: half of the events each",
    )
    parser.add_argument("--coarse-nside", type=int, choices=(1, 2, 4, 8), default=2, help="grid of the cold fits")
    parser.add_argument("--candidates", type=int, default=3, help="pixels of it where the direction is fitted")
    parser.add_argument(
        "--range-events",
        type=int,
        default=RANGE_EVENTS,
        help="fewest events of a range of energy, of both lights together",
    )
    parser.add_argument("--reconstruction", default="millipede")
    parser.add_argument("--parameters", default="{}", help="of the reconstruction, as JSON")
    return parser.parse_args(arguments)


def _command(given: argparse.Namespace) -> str:
    """Return the command that makes the same calibration."""
    low, high = given.energies
    words = [
        f"--tracks {given.tracks} --cascades {given.cascades} --version {given.version} --seed {given.seed}",
        f"--energies {low:g} {high:g} --light {given.light} --coarse-nside {given.coarse_nside}",
        f"--candidates {given.candidates} --range-events {given.range_events}",
    ]
    if given.reconstruction != "millipede" or given.parameters != "{}":
        words.append(f"--reconstruction {given.reconstruction} --parameters '{given.parameters}'")
    return " ".join(["python -m benchmarks.coverage.calibrate", *words])


if __name__ == "__main__":
    main()
