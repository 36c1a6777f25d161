"""One event: simulate it, scan the sky for it in this process, and return how far the best fit is from the truth.

The scan is that of the roles (levels, parents, seeds around the parent's best, best of the seeds), reduced: fewer
pixels and seeds than the default, so that an event costs about a minute. The first level starts from the event's
vertex, the finer ones from the best fit of the parent pixel.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.coverage.events import Case, EventError, Physics, draw_event, drawn_record, failed_record, set_up

from skymap_scanner.detector.coordinates import angular_separation, equatorial_to_detector
from skymap_scanner.event.model import PreparedEvent, Topology
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.locate import SEEDS, fit_direction, lowest_llh
from skymap_scanner.reconstruction.protocol import EventFitter, Fit
from skymap_scanner.results.calibration import choose_rule, shipped_calibrations, topology_of_losses
from skymap_scanner.results.contours import contours
from skymap_scanner.results.result import PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results.rule import LEVELS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.scan.levels import Level, first_pixels
from skymap_scanner.scan.pixels import Pixel, centres, parent
from skymap_scanner.scan.refinement import beyond_the_edge, refine
from skymap_scanner.simulation import Truth


@dataclass(frozen=True)
class ScanShape:
    """How to scan: the levels, and the seeds per pixel in the first one, which starts cold, and in the others.

    ``ice``: of the fit. ``physics``: of the simulation.
    """

    levels: Sequence[Level]
    seeds: int
    warm_seeds: int
    ice: str
    physics: Physics


def run_case(case: Case, shape: ScanShape) -> dict[str, Any]:
    """Simulate, scan and compare; return the record of the event (angles in degrees, areas in square degrees).

    An event without a fit, in the scan or at its truth, has the reason under ``failed`` and no fitted values.
    """
    reconstruction = load("millipede", {"ice": shape.ice})
    try:
        prepared, truth, attempts = draw_event(case, shape.physics)
        began = time.process_time()
        fitter = set_up(reconstruction, prepared)
    except EventError as error:
        return failed_record(case, shape.physics, str(error))
    bests, fits = scan(fitter, prepared, shape)
    done = {pixel: fit for pixel, fit in bests.items() if not math.isnan(fit.llh)}
    if not done:
        return failed_record(case, shape.physics, f"no pixel has a fit: {next(iter(bests.values())).reason}")
    result = _result(done, prepared)
    best = multi_order_map(result).best
    nearest = done[Pixel(best.nside, best.index)]
    rule = choose_rule(shipped_calibrations(), nearest.likelihood, fit_topology(nearest), nearest.energy_total)
    at_truth = _fit_truth(fitter, prepared, truth, nearest, shape.seeds)
    if math.isnan(at_truth.llh):
        return failed_record(case, shape.physics, f"no fit at the true direction: {at_truth.reason}")
    regions = contours(multi_order_map(result, rule))
    error = angular_separation(*(math.radians(x) for x in (best.ra, best.dec, truth.ra, truth.dec)))
    return drawn_record(case, prepared, truth, attempts) | {
        "best_ra": best.ra,
        "best_dec": best.dec,
        "error": math.degrees(float(error)),
        "llh": best.llh,
        "llh_truth": at_truth.llh,
        "delta": 2 * (at_truth.llh - best.llh),
        "energy_total": best.energy_total,
        "rule": rule.name,
        "limits": {f"{level:g}": rule.levels[level] for level in LEVELS},
        "regions": {
            f"{region.rule} {region.credible_level:g}": {
                "area": region.area,
                "inside": bool(region.contains(truth.ra, truth.dec)),
            }
            for region in regions
        },
        "failed_pixels": len(bests) - len(done),
        "fits": fits,
        "cpu": time.process_time() - began,
    }


def _fit_truth(fitter: EventFitter, prepared: PreparedEvent, truth: Truth, nearest: Fit, seeds: int) -> Fit:
    """Fit the true direction itself, not the nearest pixel's, from the seeds and from the best fit of the scan."""
    direction = truth.zenith, truth.azimuth
    cold = fit_direction(fitter, direction, prepared.vertex.tolist(), prepared.vertex_time, seeds)
    warm = fit_direction(fitter, direction, nearest.position, nearest.time, SEEDS, warm=True)
    return min(cold, warm, key=lowest_llh)


def scan(fitter: EventFitter, prepared: PreparedEvent, shape: ScanShape) -> tuple[dict[Pixel, Fit], int]:
    """Fit all levels; return the best fit of each pixel, and how many fits that took."""
    bests: dict[Pixel, Fit] = {}
    fits = 0
    level_before: dict[Pixel, float] = {}
    for level in shape.levels:
        pixels = refine(level_before, level) if level_before else first_pixels(level, None, None)
        seeds = shape.warm_seeds if level_before else shape.seeds
        solved = [pixel for pixel, llh in level_before.items() if not math.isnan(llh)]
        found: dict[Pixel, float] = {}
        while pixels:
            bests |= _fit_pixels(fitter, prepared, pixels, bests, seeds)
            fits += len(pixels) * seeds
            found |= {pixel: bests[pixel].llh for pixel in pixels}
            pixels = beyond_the_edge(found, solved) if level.probability is not None else []
        level_before = found
    return bests, fits


def _fit_pixels(
    fitter: EventFitter, prepared: PreparedEvent, pixels: Sequence[Pixel], bests: Mapping[Pixel, Fit], seeds: int
) -> dict[Pixel, Fit]:
    """Fit pixels of one level, from the fits of their parents among ``bests``, or from the event's vertex."""
    coarser = max((pixel.nside for pixel in bests if pixel.nside < pixels[0].nside), default=None)
    ra, dec = centres(pixels)
    zenith, azimuth = equatorial_to_detector(ra, dec, prepared.mjd)
    found = {}
    for pixel, z, a in zip(pixels, zenith.tolist(), azimuth.tolist(), strict=True):
        if coarser is None:
            found[pixel] = fit_direction(fitter, (z, a), prepared.vertex.tolist(), prepared.vertex_time, seeds)
        else:
            near = bests[parent(pixel, coarser)]
            found[pixel] = fit_direction(fitter, (z, a), near.position, near.time, seeds, warm=True)
    return found


def fit_topology(fit: Fit) -> Topology | None:
    """Return the topology that a fit shows, as the scanner decides it."""
    position = np.array([loss.position for loss in fit.losses]).reshape(-1, 3)
    return fit.topology or topology_of_losses(position, np.array([loss.energy for loss in fit.losses]))


def _result(bests: Mapping[Pixel, Fit], prepared: PreparedEvent) -> ScanResult:
    """Lay the fits out as the saver does."""
    levels = {
        nside: np.array(
            [
                (pixel.index, fit.llh, fit.energy_in, fit.energy_total, *fit.position, fit.time)
                for pixel, fit in sorted(bests.items())
                if pixel.nside == nside
            ],
            PIXEL,
        )
        for nside in sorted({pixel.nside for pixel in bests})
    }
    header = prepared.header
    return ScanResult(levels, ScanMetadata(header.run_id, header.event_id, "simulation", prepared.mjd, False))
