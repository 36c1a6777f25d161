"""One event for a calibration: simulate it, fit its direction, and compare with the fit at the true direction.

The lowest minimum of the sky is found as a scan finds it, with fewer fits: one cold fit in each pixel of a coarse grid,
then fits with free direction from the best of these pixels. They also start from the truth, since a scan's fine pixels
would not miss a minimum there.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from benchmarks.coverage.events import Case, EventError, Physics, draw_event, drawn_record, failed_record, set_up
from benchmarks.coverage.scan import fit_topology

from skymap_scanner.detector.coordinates import angular_separation, equatorial_to_detector
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.locate import as_locator, locate
from skymap_scanner.reconstruction.protocol import Fit, Located
from skymap_scanner.scan.levels import Level, first_pixels
from skymap_scanner.scan.pixels import centres
from skymap_scanner.simulation import Truth

VARIED = Physics(varied=True)


@dataclass(frozen=True)
class LocateSettings:
    """How events are simulated and located.

    ``coarse_nside``: the grid of the cold fits; ``candidates``: how many of its pixels are starts with free direction.
    """

    physics: Physics = VARIED
    coarse_nside: int = 2
    candidates: int = 3
    reconstruction: str = "millipede"
    parameters: dict[str, Any] = field(default_factory=dict)


def locate_case(case: Case, settings: LocateSettings) -> dict[str, Any]:
    """Simulate, locate and compare; return the record of the event (angles in degrees, energies in GeV).

    An event without a fit has the reason under ``failed`` and no fitted values. Raises ReconstructionError if the
    reconstruction cannot fit a direction, or no event at all.
    """
    reconstruction = load(settings.reconstruction, settings.parameters)
    try:
        prepared, truth, attempts = draw_event(case, settings.physics)
        began = time.process_time()
        fitter = as_locator(set_up(reconstruction, prepared), settings.reconstruction)
    except EventError as error:
        return failed_record(case, settings.physics, str(error))
    record = drawn_record(case, prepared, truth, attempts)
    ra, dec = centres(first_pixels(Level(settings.coarse_nside, 0), None, None))
    zenith, azimuth = equatorial_to_detector(ra, dec, prepared.mjd)
    coarse = zip(zenith.tolist(), azimuth.tolist(), strict=True)
    located, at_truth = locate(fitter, prepared, (truth.zenith, truth.azimuth), coarse, settings.candidates)
    record["cpu"] = time.process_time() - began
    failed = located.fit.reason or at_truth.reason
    if math.isnan(located.fit.llh) or math.isnan(at_truth.llh):
        return record | {"failed": failed or "the fit gave no number"}
    return record | fitted_values(located, at_truth, truth)


def fitted_values(located: Located, at_truth: Fit, truth: Truth) -> dict[str, Any]:
    """Return what the fits say about the event."""
    fit = located.fit
    error = angular_separation(fit.azimuth, math.pi / 2 - fit.zenith, truth.azimuth, math.pi / 2 - truth.zenith)
    determinant = float(np.linalg.det(located.covariance))
    return {
        "likelihood": fit.likelihood,
        "fitted_topology": fit_topology(fit),
        "fitted_energy": fit.energy_total,
        "error": math.degrees(float(error)),
        "llh": fit.llh,
        "llh_truth": at_truth.llh,
        "delta": 2 * (at_truth.llh - fit.llh),
        # of a parabolic minimum: the area, square degrees, for each unit of 2 delta ln L
        "area_per_delta": math.pi * math.sqrt(determinant) * math.degrees(1) ** 2 if determinant > 0 else None,
    }
