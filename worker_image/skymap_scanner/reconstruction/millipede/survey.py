"""A first fit of an event, before any is asked for: how low -ln L can be.

Most of the sky is far above it, and fits that end there need not be right to a tenth (`descent.Descent.least_gain`).
The first fit starts from a line fit and has its direction free. Where it ends in a wrong minimum, too high, the others
are only more exact than they need be.
"""

from __future__ import annotations

import math

import numpy as np

from skymap_scanner.reconstruction.millipede.descent import TrackLikelihood
from skymap_scanner.reconstruction.millipede.search import (
    COARSE,
    FROM_START,
    NOTHING,
    SEARCH,
    TURNING_CASCADE,
    TURNING_TRACK,
    Attained,
    Clues,
    Surfaces,
    at_time,
    better,
    closest_time,
    cost_of_losses,
    every_segment,
    explore,
    fit_cascade,
    fit_track,
)
from skymap_scanner.reconstruction.millipede.segments import Line, make_line

#: Least gain worth a step of the first fit.
GAIN = 1.0


def attain(surfaces: Surfaces) -> Attained:
    """Fit the event from its line fit; return -ln L on both surfaces, inf where there is no fit within the cube."""
    line = line_fit(surfaces.clues)
    if line is None:
        return NOTHING
    event, cost = surfaces.event, cost_of_losses(surfaces.event)
    point, _ = explore(surfaces, line, np.array([closest_time(surfaces.clues, line.vertex, line.direction)]))
    start = line.moved(point[0], point[1], point[3])
    track = fit_track(event, start, float(point[2]), TURNING_TRACK._replace(gain=GAIN))
    if track is None:
        return NOTHING
    limit = track.f + cost
    cascade = fit_cascade(event, [(track.line, track.time)], TURNING_CASCADE._replace(gain=GAIN), limit)
    best = better(track, cascade, limit)
    numbers = every_segment(best.line, COARSE)
    if numbers.size == 0:
        return NOTHING
    rough = TrackLikelihood(surfaces.smeared, best.line, COARSE, numbers)
    smeared, _ = rough.descend(at_time(best.time), rough.value(at_time(best.time), SEARCH), FROM_START, SEARCH)
    return Attained(best.f, smeared) if math.isfinite(best.f) and math.isfinite(smeared) else NOTHING


def line_fit(clues: Clues) -> Line | None:
    """Return the line of a point that moves uniformly, fitted to the first pulses by least squares weighted by charge.

    Its vertex is their mean position. None where they are all at one place or at one time. V. J. Stenger, DUMAND Report
    HDC-1-90 (1990).
    """
    weight = np.maximum(clues.charge, 0.0)
    total = float(weight.sum())
    if total == 0:
        return None
    vertex = (weight[:, None] * clues.position).sum(axis=0) / total
    late = weight * (clues.time - (weight * clues.time).sum() / total)
    way = (late[:, None] * (clues.position - vertex)).sum(axis=0)
    length = math.sqrt(float((way * way).sum()))
    return make_line(vertex, way / length) if length > 0 else None
