"""Injects every fault into every part at a random moment of a scan in real pods, and compares the map and the time.

    python -m benchmarks.faults.matrix                                    # all cells: an hour on 2 cores (make faults)
    python -m benchmarks.faults.matrix --only 'worker:kill,broker:*' --repeat 3 --seed 7

Needs root on Linux, as the native cluster does (docs/how-to/run-a-local-cluster.md). An undisturbed scan over the
embedded broker gives the expected files, and some undisturbed scans in the same pods give the usual duration. The
folder keeps the outcomes; a cell that runs again replaces its own. Exit code 1 if a cell fails.
docs/benchmarks/faults.md describes the faults.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from testing.cluster import scans
from testing.faults.cells import Outcome, chosen, from_json, merged, table
from testing.faults.play import check, create, not_played, perform, remove, restore, spec
from testing.faults.scene import Scene, scene


def undisturbed(place: Scene, wanted: scans.Scan, expected: dict[str, bytes], number: int) -> list[float]:
    """Return the durations of undisturbed scans (s), which must give the expected files and leave nothing behind."""
    lengths = []
    for _ in range(number):
        watch = create(place, wanted)
        watch.until()
        wrong = [*check(place, watch, expected), *remove(place, "alert", expected)]
        if wrong:
            raise SystemExit(f"an undisturbed scan fails: {'; '.join(wrong)}")
        lengths.append(watch.seconds)
        print(f"undisturbed: {watch.seconds:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
    return lengths


def play(arguments: argparse.Namespace, folder: Path) -> tuple[list[float], list[Outcome]]:
    """Play the cells; set up a new scene if a cell has damaged it."""
    outcomes: list[Outcome] = []
    cells = [cell for cell in chosen(arguments.only) for _ in range(arguments.repeat)]
    lengths: list[float] = []
    number, runs = 0, 0
    while number < len(cells):
        with ExitStack() as stack:
            place = stack.enter_context(scene(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            wanted = spec(place.events, arguments.seconds, arguments.reconstruction)
            expected = scans.embedded(wanted, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            lengths += undisturbed(place, wanted, expected, arguments.undisturbed)
            for cell in cells[number:]:
                seed = arguments.seed + runs % arguments.repeat
                try:
                    outcome = perform(place, cell, seed, wanted, expected, statistics.median(lengths))
                except Exception as error:  # noqa: BLE001 - an error in the matrix itself must not end it
                    outcome = not_played(cell, seed, f"the cell could not be played: {error!r}")
                number, runs = number + 1, runs + 1
                outcomes.append(outcome)
                print(f"{number}/{len(cells)} {outcome.line()}", flush=True)
                keep(folder, lengths, outcomes)
                try:
                    restore(place)
                except Exception as error:  # noqa: BLE001 - whatever is wrong, a new scene helps
                    print(f"a new scene, since this one is damaged: {error}", flush=True)
                    break
    return lengths, outcomes


def keep(folder: Path, lengths: Sequence[float], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Store the outcomes with the earlier ones; return all."""
    path = folder / "matrix.json"
    before = [from_json(one) for one in json.loads(path.read_text())["outcomes"]] if path.exists() else []
    every = merged(before, outcomes)
    kept = {"undisturbed": list(lengths), "outcomes": [dataclasses.asdict(one) for one in every]}
    path.write_text(json.dumps(kept, indent=1))
    (folder / "matrix.md").write_text(table(every) + "\n")
    return every


def main() -> None:
    """Play the chosen cells and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="patterns of cells, such as worker:kill,broker:*")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random moments")
    parser.add_argument("--repeat", type=int, default=1, help="how often each cell runs, each time with the next seed")
    parser.add_argument("--seconds", type=float, default=0.2, help="duration of each of the 132 fits, on two workers")
    parser.add_argument("--reconstruction", default="dummy", choices=["dummy", "millipede"])
    parser.add_argument("--undisturbed", type=int, default=3, help="number of undisturbed scans at the start")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/faults"), help="folder for the outcomes")
    arguments = parser.parse_args()
    try:
        chosen(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(f"seed {arguments.seed}", flush=True)
    lengths, outcomes = play(arguments, arguments.output)
    print(table(keep(arguments.output, lengths, outcomes)))
    failed = [outcome.cell for outcome in outcomes if outcome.faults]
    print(f"{len(outcomes)} runs, {len(failed)} failed: {', '.join(failed) or 'none'}")
    print(f"undisturbed: {statistics.median(lengths):.1f} s (median of {len(lengths)})")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
