"""One event ready to be fitted, and one fit: from a start to a fit in the protocol's words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.build_arrays import log_gamma_sum
from skymap_scanner.reconstruction.millipede.search import Solution, Surfaces, closest_time, search
from skymap_scanner.reconstruction.millipede.segments import InstrumentedVolume, make_line
from skymap_scanner.reconstruction.protocol import Fit, Located, Loss, Start, failed_fit

#: Losses count as inside from this far before the instrumented volume to this far behind it, m (Millipede's scans).
MARGIN = 60.0


class MillipedeFitter:
    """Fits one event from any number of starts. Holds nothing that a fit changes."""

    def __init__(self, event: PreparedEvent, surfaces: Surfaces, reference: float, identity: str) -> None:
        self._surfaces = surfaces
        self._reference = reference
        self._identity = identity
        self._vertex_time = float(event.vertex_time)
        self._constant = log_gamma_sum(surfaces.event.bins.charge)
        self._volume = InstrumentedVolume(event.geometry)

    def fit(self, start: Start) -> Fit:
        """Fit the event from ``start``. A failed fit is an outcome (status, NaN, reason), not an exception."""
        return self._search(start, free=False)[0]

    def locate(self, start: Start) -> Located:
        """Fit the direction too, from ``start``."""
        fit, solution = self._search(start, free=True)
        if solution is None or solution.covariance is None:
            return Located(fit, np.full((2, 2), math.nan))
        return Located(fit, in_sky_axes(solution, fit.zenith, fit.azimuth))

    def _search(self, start: Start, *, free: bool) -> tuple[Fit, Solution | None]:
        numbers = (start.zenith, start.azimuth, *start.position, start.time)
        if not all(math.isfinite(x) for x in numbers):
            return failed_fit(start, FitStatus.MissingSeed, "the start holds a number that is not finite"), None
        line = make_line(np.array(start.position, np.float64), travel_direction(start.zenith, start.azimuth))
        times = [
            start.time - self._reference,
            self._vertex_time - self._reference,
            closest_time(self._surfaces.clues, line.vertex, line.direction),
        ]
        found = search(self._surfaces, line, np.array(times), warm=start.warm, free=free)
        if found is None:
            reason = "the track from this start does not cross the detector's cube"
            return failed_fit(start, FitStatus.MissingSeed, reason), None
        return self._conclude(start, found, free=free), found

    def _conclude(self, start: Start, found: Solution, *, free: bool) -> Fit:
        """Say what came out, in the protocol's words."""
        vertex, direction = found.line.vertex, found.line.direction
        time = found.time + self._reference
        llh = found.f + self._constant
        if not (math.isfinite(llh) and np.isfinite(found.energy).all() and np.isfinite([*vertex, time]).all()):
            return failed_fit(start, FitStatus.GeneralFailure, "the likelihood is not finite", found.evaluations)
        losses = tuple(
            Loss(position=_triple(vertex + s * direction), time=time + s / SPEED_OF_LIGHT, energy=energy)
            for s, energy in zip(found.s.tolist(), found.energy.tolist(), strict=True)
        )
        span = self._volume.span(vertex, direction)
        inside = 0.0
        if span is not None:
            within = (found.s >= span[0] - MARGIN) & (found.s <= span[1] + MARGIN)
            inside = math.fsum(found.energy[within].tolist())
        zenith, azimuth = origin(direction) if free else (start.zenith, start.azimuth)
        return Fit(
            status=FitStatus.OK,
            llh=llh,
            zenith=zenith,
            azimuth=azimuth,
            position=_triple(vertex),
            time=time,
            energy_in=inside,
            energy_total=math.fsum(found.energy.tolist()),
            losses=losses,
            evaluations=found.evaluations,
            topology="cascade" if found.cascade else "track",
            likelihood=self._identity,
        )


def origin(direction: NDArray[np.float64]) -> tuple[float, float]:
    """Return zenith and azimuth (rad) of where a particle that travels in ``direction`` comes from."""
    x, y, z = (-float(c) for c in direction)
    return math.acos(max(-1.0, min(1.0, z))), math.atan2(y, x) % (2 * math.pi)


def in_sky_axes(solution: Solution, zenith: float, azimuth: float) -> NDArray[np.float64]:
    """Return the covariance (2, 2; rad^2) along zenith and along azimuth times sin zenith."""
    assert solution.covariance is not None  # noqa: S101 - the caller has checked
    towards_zenith = np.array(
        [math.cos(zenith) * math.cos(azimuth), math.cos(zenith) * math.sin(azimuth), -math.sin(zenith)]
    )
    towards_azimuth = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    axes = np.array(
        [[(t * s).sum() for s in (solution.line.a, solution.line.b)] for t in (towards_zenith, towards_azimuth)]
    )
    return np.asarray(np.einsum("ia,ab,jb->ij", axes, solution.covariance, axes))


def _triple(x: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return a position as plain numbers."""
    return float(x[0]), float(x[1]), float(x[2])
