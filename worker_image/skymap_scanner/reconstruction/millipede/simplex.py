"""Nelder and Mead's simplex over the vertex and time of a track, all energies at their best."""

from __future__ import annotations

import numpy as np

from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, Segments, Track
from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.energies import Solver
from skymap_scanner.reconstruction.millipede.likelihood import evaluate

# What is evaluated next. The machine of phases has one place that evaluates: the likelihood is compiled into it once.
_CORNER, _REFLECTION, _EXPANSION, _CONTRACTION = 0, 1, 2, 3
#: A simplex whose values differ by less than this share of ``flat`` is done, however large it is.
_LEVEL = 0.2


@compiled
def descend(  # noqa: C901, PLR0912 - one machine of phases, so that the likelihood is compiled into it once
    event: EventArrays,
    track: Track,
    seg: Segments,
    solver: Solver,
    point: Double,
    value: float,
    step: Double,
    most: int,
    close: float,
    flat: float,
    exact: bool,
    tolerance: float,
) -> tuple[float, int]:
    """Improve ``point`` (4,) as in `evaluate`, in and out; return the best -ln L and the number of evaluations.

    ``value``: that of ``point`` on these segments, inf when not known; ``step``: to the other corners, one for each of
    the first coordinates, the others stay. The search ends after ``most`` evaluations, or when the corners are within
    ``close`` (m, ns) and their values within ``flat``.
    """
    last = step.size
    corners, values = np.zeros((last + 1, 4)), np.zeros(last + 1)
    for i in range(last + 1):
        corners[i] = point
        if i > 0:
            corners[i, i - 1] += step[i - 1]
    values[0] = value
    trial, mirror, reflected = np.zeros(4), np.zeros(4), 0.0
    phase, corner, reach, used = _CORNER, 0 if value == np.inf else 1, 0.0, 0
    while True:
        if phase == _CORNER:
            trial[:] = corners[corner]
        else:
            _between(corners, reach, trial)
        f = evaluate(event, track, trial, seg, solver, exact, tolerance)
        used += 1
        if phase == _CORNER:
            values[corner] = f
            corner += 1
            if corner <= last:
                continue
        elif phase == _REFLECTION:
            reflected, mirror[:] = f, trial
            if f < values[0]:
                phase, reach = _EXPANSION, 3.0
                continue
            if not f < values[last - 1]:
                phase, reach = _CONTRACTION, 1.5 if f < values[last] else 0.5
                continue
            corners[last], values[last] = trial, f
        elif phase == _EXPANSION:
            corners[last], values[last] = (trial, f) if f < reflected else (mirror, reflected)
        elif f < min(reflected, values[last]):
            corners[last], values[last] = trial, f
        else:  # shrink towards the best corner
            for i in range(1, last + 1):
                corners[i] = 0.5 * (corners[0] + corners[i])
            phase, corner = _CORNER, 1
            continue
        _sort(corners, values)
        range_ = values[last] - values[0]
        if used >= most or range_ <= _LEVEL * flat or (range_ <= flat and _spread(corners) <= close):
            break
        phase, reach = _REFLECTION, 2.0
    point[:] = corners[0]
    return values[0], used


@compiled
def _sort(corners: Double, values: Double) -> None:
    """Sort the corners by value; equal ones keep their order."""
    for i in range(1, values.size):
        for j in range(i, 0, -1):
            if not values[j] < values[j - 1]:
                break
            values[j], values[j - 1] = values[j - 1], values[j]
            for k in range(corners.shape[1]):
                corners[j, k], corners[j - 1, k] = corners[j - 1, k], corners[j, k]


@compiled
def _spread(corners: Double) -> float:
    """Return the largest distance, along one axis, of a corner from the best one."""
    spread = 0.0
    for i in range(1, corners.shape[0]):
        for k in range(corners.shape[1]):
            spread = max(spread, abs(corners[i, k] - corners[0, k]))
    return spread


@compiled
def _between(corners: Double, share: float, out: Double) -> None:
    """Fill the point on the line from the worst corner (share 0) through the middle of the others (share 1)."""
    last = corners.shape[0] - 1
    for k in range(corners.shape[1]):
        middle = 0.0
        for i in range(last):
            middle += corners[i, k]
        out[k] = share * middle / last + (1 - share) * corners[last, k]
