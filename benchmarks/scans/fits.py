"""Count the fits of a scan for several choices of levels and seeds, and compare best fit and 90 % area.

    .venv/bin/python -m benchmarks.scans.fits                              # the demo event, minutes
    .venv/bin/python -m benchmarks.scans.fits event.json --reconstruction dummy
    .venv/bin/python -m benchmarks.scans.fits --choice "8:0 64:12 512:24" 7 7

A choice is levels, seeds and first seeds. Everything is decided by the code of the producer, in this process and
without a broker. All choices share their fits, so a fit that two of them need is made once, and counts for both.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.protocol import EventFitter, Fit
from skymap_scanner.results.contours import contours
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.roles.producer.planning import ScanSettings, next_entry, scan_entry
from skymap_scanner.roles.producer.producer import complete_llh
from skymap_scanner.roles.readers import BestFits
from skymap_scanner.roles.saver.scan_state import scan_result
from skymap_scanner.roles.task_frames import FitStatement, PixelFit, Task
from skymap_scanner.roles.tasks import TaskMaker
from skymap_scanner.scan.best_fits import SeedFit, best_first
from skymap_scanner.scan.levels import DEFAULT_LEVELS, parse_levels
from skymap_scanner.scan.plan import Plan

#: The default levels with all seeds everywhere, with all by need, and the default.
CHOICES = ((DEFAULT_LEVELS, 7, 7), (DEFAULT_LEVELS, 7, 1), (DEFAULT_LEVELS, 3, 1))


@dataclass
class Fits:
    """The fits made so far, by pixel and start, and the CPU time (s) of each."""

    fitter: EventFitter
    known: dict[object, tuple[Fit, float]] = field(default_factory=dict)

    def of(self, task: Task) -> tuple[Fit, float]:
        """Return the fit of a task and its CPU time."""
        key = task.pixel, task.start
        if key not in self.known:
            began = time.process_time()
            fit = self.fitter.fit(task.start)
            self.known[key] = fit, time.process_time() - began
        return self.known[key]


@dataclass
class Outcome:
    """What one choice took and found: CPU time (s) of the fits, -ln L and direction (deg) of the best pixel, deg2."""

    fits: int
    seconds: float
    pixels: dict[int, int]
    llh: float
    direction: tuple[float, float]
    area: float
    inside: int


def scan(event: PreparedEvent, fits: Fits, choice: tuple[str, int, int], name: str) -> Outcome:
    """Scan the event, from the first entry of the plan to its end."""
    levels, seeds, first = choice
    settings = ScanSettings("fits", parse_levels(levels), seeds=seeds, first_seeds=first, reconstruction=name)
    entry = scan_entry(settings, event, (), "")
    maker, plan, best_fits = TaskMaker(entry, event), Plan(), BestFits(entry.seeding)
    plan.add(entry)
    seconds, place = 0.0, 0
    while not (plan.ended and place == len(plan.started)):
        following = next_entry(plan, complete_llh(plan, best_fits), 1.0)
        if following is not None:
            plan.add(following)
        for place in range(place, len(plan.started)):  # noqa: B020 - continues where the last entry ended
            tasks = maker.tasks_of(plan.round_at(place), plan, best_fits)
            assert tasks is not None  # noqa: S101 - everything before it is done
            seconds += sum(fits.of(task)[1] for task in tasks)
            best_fits.add(_best(tasks, fits))
        place = len(plan.started)
    skymap = multi_order_map(scan_result(plan, best_fits, lambda _: FitStatement()), WILKS)
    region = next(region for region in contours(skymap) if region.credible_level == 0.9)
    return Outcome(
        fits=plan.tasks,
        seconds=seconds,
        pixels={nside: len(pixels) for nside, pixels in plan.levels.items()},
        llh=skymap.best.llh,
        direction=(skymap.best.ra, skymap.best.dec),
        area=region.area,
        inside=region.pixels,
    )


def _best(tasks: list[Task], fits: Fits) -> PixelFit:
    """Return the best fit of a round, as the collector chooses it."""
    found = [(task, fits.of(task)[0]) for task in tasks]
    chosen = best_first([SeedFit(task.pixel, task.seed, fit.llh, fit) for task, fit in found])[0]
    fit = chosen.source
    return PixelFit(chosen.pixel, chosen.seed, fit.llh, fit.position, fit.time, fit.energy_in, fit.energy_total)


def table(choices: list[tuple[str, int, int]], outcomes: list[Outcome]) -> Iterator[str]:
    """Yield the lines of the table; differences are from the first choice."""
    yield "| levels | seeds | first | pixels | fits | CPU s | −ln L | RA, Dec | 90 % deg² | inside | change |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for (levels, seeds, first), found in zip(choices, outcomes, strict=True):
        pixels = " + ".join(map(str, found.pixels.values()))
        ra, dec = found.direction
        change = found.area / outcomes[0].area - 1 if outcomes[0].area > 0 else math.nan
        yield (
            f"| {levels} | {seeds} | {first} | {pixels} | {found.fits} | {found.seconds:.0f} | {found.llh:.3f} "
            f"| {ra:.3f}, {dec:+.3f} | {found.area:.4g} | {found.inside} | {100 * change:+.1f} % |"
        )


def main() -> None:
    """Run every choice on one event and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("event", nargs="?", help="path of the event  [default: the demo event]")
    parser.add_argument("--reconstruction", default="millipede")
    parser.add_argument("--choice", nargs=3, action="append", metavar=("LEVELS", "SEEDS", "FIRST"))
    given = parser.parse_args()
    event = prepare(read_event(given.event or str(demo_event_path())))
    fits = Fits(load(given.reconstruction, {}).set_up(event))
    choices = [(levels, int(seeds), int(first)) for levels, seeds, first in given.choice or CHOICES]
    outcomes = [scan(event, fits, choice, given.reconstruction) for choice in choices]
    print(*table(choices, outcomes), sep="\n")


if __name__ == "__main__":
    main()
