"""Nelder and Mead's simplex over the vertex and time of a track, all energies at their best."""

from __future__ import annotations

import numpy as np

from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, Segments, Track
from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.energies import Solver
from skymap_scanner.reconstruction.millipede.likelihood import evaluate

# What is evaluated next; _ACCEPTED: nothing, the worst corner is replaced. The machine of phases has one place that
# evaluates: the likelihood is compiled into it once.
_CORNER, _REFLECTION, _EXPANSION, _CONTRACTION, _ACCEPTED = 0, 1, 2, 3, 4
#: A simplex whose values differ by less than this share of ``flat`` is done, however large it is.
_LEVEL = 0.2


@compiled
def descend(
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

    ``value``: that of ``point`` on these segments, inf when not known; ``step``: to the other
    corners, one for each of the first coordinates, the others stay. The search ends after ``most`` evaluations, or when
    the corners are within ``close`` (m, ns) and their values within ``flat``.
    """
    corners, values, last = _corners_around(point, step), np.full(step.size + 1, value), step.size
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
        else:
            if phase == _REFLECTION:
                reflected, mirror[:] = f, trial
            phase, reach = _decide(phase, f, reflected, values)
            if phase == _CORNER:
                _shrink(corners)
                corner = 1
            if phase != _ACCEPTED:
                continue
            corners[last], values[last] = (trial, f) if f < reflected else (mirror, reflected)
        _sort(corners, values)
        if used >= most or _is_done(corners, values, close, flat):
            point[:] = corners[0]
            return values[0], used
        phase, reach = _REFLECTION, 2.0


@compiled
def _decide(phase: int, f: float, reflected: float, values: Double) -> tuple[int, float]:
    """Return what follows the value ``f`` of a trial, and how far to go (see `_between`); ``values`` are sorted.

    ``reflected``: the value at the reflection. A contraction that gains nothing is followed by new corners.
    """
    worst = values[values.size - 1]
    if phase == _REFLECTION:
        if f < values[0]:
            return _EXPANSION, 3.0
        if not f < values[values.size - 2]:
            return _CONTRACTION, 1.5 if f < worst else 0.5
    if phase == _CONTRACTION and not f < min(reflected, worst):
        return _CORNER, 0.0
    return _ACCEPTED, 0.0


@compiled
def _corners_around(point: Double, step: Double) -> Double:
    """Return ``point`` and the corners one ``step`` away from it, each along another coordinate."""
    corners = np.zeros((step.size + 1, point.size))
    for i in range(step.size + 1):
        corners[i] = point
        if i > 0:
            corners[i, i - 1] += step[i - 1]
    return corners


@compiled
def _shrink(corners: Double) -> None:
    """Move all corners half the way to the best one."""
    for i in range(1, corners.shape[0]):
        corners[i] = 0.5 * (corners[0] + corners[i])


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
def _is_done(corners: Double, values: Double, close: float, flat: float) -> bool:
    """Say whether a sorted simplex is flat and small, or so flat that its size does not matter."""
    height = values[values.size - 1] - values[0]
    return height <= _LEVEL * flat or (height <= flat and _spread(corners) <= close)


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
