"""The progress of every level, the best fit so far, and the result, from the plan and the best fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from skymap_api.progress import FitCounts
from skymap_api.resource.base import INT32
from skymap_api.resource.status import BestFitStatus, CalibrationStatus, LevelStatus
from skymap_scanner import __version__
from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.healpix import pixel_count
from skymap_scanner.results import PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results.calibration import (
    choose_rule,
    rule_of_event,
    shipped_calibrations,
    topology_of_losses,
)
from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.roles.readers import BestFits
from skymap_scanner.roles.task_frames import FitStatement, PixelFit
from skymap_scanner.scan.levels import Level
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import EventFacts
from skymap_scanner.scan.refinement import choose_parents
from skymap_scanner.scan.region import area_is_known
from skymap_scanner.scan.seeds import Round

SQUARE_DEGREES = (180 / math.pi) ** 2

#: Returns what the fit of a pixel states.
Statements = Callable[[Pixel], FitStatement]


#: Parents that a level with a probability refines where the peak is sharper than a pixel: the best, three neighbours,
#: and some that may be as good. The last levels, of smaller pixels than the peak, refine more.
TYPICAL_PARENTS = 8


#: Pixels of a level that need more seeds where the peak is sharper than a pixel.
TYPICAL_NEED = 16


def level_progress(plan: Plan, best_fits: Mapping[Pixel, PixelFit]) -> list[LevelStatus]:
    """Count the pixels of every level, including those not decided yet."""
    if plan.scan is None:
        return []
    levels = plan.scan.parsed_levels()
    llh = {pixel: best.llh for pixel, best in best_fits.items()}
    planned = expected_pixels(levels, plan.levels, llh)
    found = []
    for level in levels:
        if plan.ended and level.nside not in plan.levels:
            continue  # left out, since the area is known
        done = [best_fits[pixel] for pixel in plan.levels.get(level.nside, ()) if pixel in best_fits]
        found.append(
            LevelStatus(
                nside=level.nside,
                done=len(done),
                planned=planned[level.nside],
                decided=level.nside in plan.levels,
                failed=sum(math.isnan(best.llh) for best in done),
            )
        )
    return found


def calibration_progress(plan: Plan, best_fits: Mapping[Pixel, PixelFit]) -> CalibrationStatus | None:
    """Count the re-simulations; None if the scan has none."""
    if plan.scan is None or not plan.scan.calibrate or (plan.ended and plan.resimulated is None):
        return None
    done = [best_fits[one] for one in plan.resimulations if one in best_fits]
    failed = sum(math.isnan(fit.llh) for fit in done)
    return CalibrationStatus(done=len(done), planned=plan.scan.calibrate, failed=failed)


def fit_counts(plan: Plan, best_fits: BestFits, levels: Sequence[LevelStatus]) -> FitCounts:
    """Count the fits of all ``levels``, including those not decided yet.

    With seeds by need, each level that has not asked for more seeds is expected to do so for `TYPICAL_NEED` pixels.
    """
    later = 0
    if plan.scan is not None and not plan.ended:
        later = 0 if plan.resimulated else plan.scan.calibrate
        seeding = plan.scan.seeding
        open_levels = [level for level in levels if not level.decided or level.nside == plan.newest]
        later += max(sum(level.planned for level in levels if not level.decided) - plan.guessed, 0) * seeding.first
        for level in open_levels:
            if not plan.sweeps(level.nside):
                more = seeding.seeds_of(Round(Pixel(level.nside, 0), 1))
                later += min(level.planned, TYPICAL_NEED) * len(more)
    done = min(best_fits.fits, plan.tasks)
    return FitCounts(done=done, started=plan.tasks, planned=min(plan.tasks + later, INT32))


def expected_pixels(
    levels: tuple[Level, ...], decided: Mapping[int, list[Pixel]], llh: Mapping[Pixel, float]
) -> dict[int, int]:
    """Return the number of pixels of every level: exact if decided, otherwise expected parents x children.

    ``llh``: -ln L of the pixels so far. A level with a probability is expected to refine the pixels that it would
    refine if no further fit came, none if these resolve the region, or `TYPICAL_PARENTS` while the level before is not
    decided either.
    """
    counts = {levels[0].nside: len(decided.get(levels[0].nside, ())) or pixel_count(levels[0].nside)}
    for before, level in itertools.pairwise(levels):
        parents = min(level.parents, counts[before.nside])
        if level.probability is not None and level.nside not in decided:
            done = {pixel: llh[pixel] for pixel in decided.get(before.nside, ()) if pixel in llh}
            parents = len(choose_parents(done, level)) or min(parents, TYPICAL_PARENTS)
            parents = 0 if area_is_known(done) else parents
        counts[level.nside] = parents * pixel_count(level.nside) // pixel_count(before.nside)
    return counts | {nside: len(pixels) for nside, pixels in decided.items()}


def best_fit(plan: Plan, best_fits: BestFits, statements: Statements) -> BestFitStatus | None:
    """Return the best pixel so far, with the area of the pixels inside the 90 % threshold; None without a fit.

    Before the first level is complete, the area is not known, and all fits lie at the edge of the sky with fits.
    """
    result = scan_result(plan, best_fits, statements)
    if result.metadata.rule is None:
        return None
    skymap = multi_order_map(result, result.metadata.rule)
    inside = (skymap.owner >= 0) & (skymap.delta[skymap.owner] <= skymap.rule.levels[0.9])
    best, covered = skymap.best, all(pixel in best_fits for pixel in plan.levels[min(plan.levels)])
    return BestFitStatus(
        nside=best.nside,
        pixel=best.index,
        ra=best.ra,
        dec=best.dec,
        llh=best.llh,
        area_90=float(skymap.area[inside].sum()) * SQUARE_DEGREES if covered else None,
        contours="wilks" if skymap.rule.name == WILKS.name else "calibrated",
        caution="; ".join(cautions(skymap)) or None if covered else None,
    )


def scan_result(plan: Plan, best_fits: BestFits, statements: Statements) -> ScanResult:
    """Return the result with the planned pixels that are done, and with the contour rule for its best fit.

    Its newest level is complete when the whole scan is, since further rounds and re-simulations change the result.
    It does not depend on the time or the speed of the scan: the same scan gives the same files. Raises ValueError if
    the plan is empty.
    """
    if plan.scan is None:
        raise ValueError("a result needs a plan that has begun")
    levels = {}
    for nside, pixels in plan.levels.items():
        rows = [_row(best_fits[pixel]) for pixel in pixels if pixel in best_fits]
        levels[nside] = np.array(rows, dtype=PIXEL)
    finished = plan.complete(best_fits.has)
    result = ScanResult(
        levels=levels,
        metadata=replace(
            event_metadata(plan.scan.event),
            complete={
                nside: len(levels[nside]) == len(pixels) and (finished or nside != plan.newest)
                for nside, pixels in plan.levels.items()
            },
            plan={nside: len(pixels) for nside, pixels in plan.levels.items()},
            reconstruction=plan.scan.reconstruction,
            scanner_version=__version__,
        ),
    )
    return _with_rule(result, statements, event_deltas(plan, best_fits))


def event_metadata(event: EventFacts) -> ScanMetadata:
    """Return what is known of a scan before its first fit."""
    return ScanMetadata(
        run_id=event.run,
        event_id=event.event,
        sub_event_id=event.sub_event,
        sub_event_stream=event.sub_event_stream,
        choice=event.choice,
        caution=event.caution,
        online=None if event.online is None else OnlineDirection(**event.online.model_dump()),
        event_type=event.kind,
        mjd=event.mjd,
        is_real_event=event.real,
        name=event.name,
    )


def event_deltas(plan: Plan, best_fits: Mapping[Pixel, PixelFit]) -> list[float] | None:
    """Return what the re-simulations found, -ln L at the truth above the best fit (NaN: no fit), in their order.

    None while one is missing, or if there is none.
    """
    found = [best_fits[one].llh for one in plan.resimulations if one in best_fits]
    return found if found and len(found) == len(plan.resimulations) else None


def _with_rule(result: ScanResult, statements: Statements, deltas: Sequence[float] | None) -> ScanResult:
    """Add what the best fit states, and the contour rule that follows from it; nothing where no pixel was fitted."""
    if not any(np.isfinite(level["llh"]).any() for level in result.levels.values()):
        return result
    best = multi_order_map(result).best
    stated = statements(Pixel(best.nside, best.index))
    topology = stated.topology or topology_of_losses(
        np.array([loss.position for loss in stated.losses]).reshape(-1, 3),
        np.array([loss.energy for loss in stated.losses]),
    )
    reconstruction, likelihood = stated.provenance
    rule = choose_rule(shipped_calibrations(), likelihood, topology, best.energy_total)
    if deltas is not None:
        rule = rule_of_event(deltas, likelihood, rule)
    described = replace(
        result.metadata,
        reconstruction=reconstruction or result.metadata.reconstruction,  # workers may have another than the plan
        likelihood=likelihood,
        topology=topology or "",
        rule=rule,
    )
    return replace(result, metadata=described)


def _row(best: PixelFit) -> tuple[float, ...]:
    return (best.pixel.index, best.llh, best.energy_in, best.energy_total, *best.position, best.time)
