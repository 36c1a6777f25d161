"""One event ready to be fitted, and one fit: from a start to a fit in the protocol's words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.arrays import EventArrays
from skymap_scanner.reconstruction.millipede.build_arrays import log_gamma_sum, make_track
from skymap_scanner.reconstruction.millipede.search import COARSE, FINE, Clues, Grid, SearchResult, closest_time, search
from skymap_scanner.reconstruction.millipede.segments import (
    InstrumentedVolume,
    grid_in_span,
    span_in_cube,
    transverse_axes,
)
from skymap_scanner.reconstruction.protocol import Fit, Loss, Start, failed_fit

#: Losses count as inside from this far before the instrumented volume to this far behind it, m (Millipede's scans).
MARGIN = 60.0


class MillipedeFitter:
    """Fits one event from any number of starts. Holds nothing that a fit changes."""

    def __init__(self, event: PreparedEvent, arrays: EventArrays, clues: Clues, reference: float) -> None:
        self._arrays = arrays
        self._clues = clues
        self._reference = reference
        self._vertex_time = float(event.vertex_time)
        self._constant = log_gamma_sum(arrays.bins.charge)
        self._volume = InstrumentedVolume(event.geometry)

    def fit(self, start: Start) -> Fit:
        """Fit the event from ``start``. A failed fit is an outcome (status, NaN, reason), not an exception."""
        numbers = (start.zenith, start.azimuth, *start.position, start.time)
        if not all(math.isfinite(x) for x in numbers):
            return failed_fit(start, FitStatus.MissingSeed, "the start holds a number that is not finite")
        vertex = np.array(start.position, np.float64)
        direction = travel_direction(start.zenith, start.azimuth)
        span = span_in_cube(vertex, direction)
        fine = span and grid_in_span(*span, FINE)
        coarse = span and grid_in_span(*span, COARSE)
        if not fine or not coarse:
            return failed_fit(
                start, FitStatus.MissingSeed, "the track from this start does not cross the detector's cube"
            )
        axes = transverse_axes(direction)
        track = make_track(self._arrays.hit, vertex, direction, axes)
        times = [
            start.time - self._reference,
            self._vertex_time - self._reference,
            closest_time(self._clues, vertex, direction),
        ]
        found = search(
            self._arrays,
            track,
            self._clues,
            np.array(times),
            Grid(COARSE, coarse[0], coarse[1] - coarse[0] + 1),
            Grid(FINE, fine[0], fine[1] - fine[0] + 1),
            warm=start.warm,
        )
        return self._conclude(start, found, vertex, direction, axes)

    def _conclude(
        self,
        start: Start,
        found: SearchResult,
        vertex: NDArray[np.float64],
        direction: NDArray[np.float64],
        axes: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> Fit:
        """Say what came out, in the protocol's words."""
        a, b, time, along = (float(x) for x in found.point)
        vertex = vertex + a * axes[0] + b * axes[1] + along * direction
        time += self._reference
        llh = found.f + self._constant
        energies = found.energy.astype(np.float64)
        if not (math.isfinite(llh) and np.isfinite(energies).all() and np.isfinite(found.point).all()):
            return failed_fit(start, FitStatus.GeneralFailure, "the likelihood is not finite", found.evaluations)
        lit = np.flatnonzero(energies > 0)
        places = found.s.astype(np.float64)
        losses = tuple(
            Loss(
                position=_triple(vertex + places[j] * direction),
                time=time + float(places[j]) / SPEED_OF_LIGHT,
                energy=float(energies[j]),
            )
            for j in lit
        )
        span = self._volume.span(vertex, direction)
        inside = 0.0
        if span is not None:
            within = (places >= span[0] - MARGIN) & (places <= span[1] + MARGIN)
            inside = float(energies[within].sum())
        return Fit(
            status=FitStatus.OK,
            llh=llh,
            zenith=start.zenith,
            azimuth=start.azimuth,
            position=_triple(vertex),
            time=time,
            energy_in=inside,
            energy_total=float(energies.sum()),
            losses=losses,
            evaluations=found.evaluations,
        )


def _triple(x: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return a position as plain numbers."""
    return float(x[0]), float(x[1]), float(x[2])
