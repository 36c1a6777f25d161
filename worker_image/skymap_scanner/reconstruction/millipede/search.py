"""The search for the best transverse offsets and time of a track of fixed direction: starts, simplexes, stages.

The surface has many local minima, far ones for the time and near ones from the segments, and no useful gradient where a
segment's energy comes or goes, so the search is by Nelder-Mead simplexes from several starts: first on a coarse track, then
on a fine one with only the segments that matter. docs/likelihood.md says what was tried.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, Segments, Single, Track
from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.constants import C, CHERENKOV_DELAY
from skymap_scanner.reconstruction.millipede.energies import Solver, make_solver
from skymap_scanner.reconstruction.millipede.likelihood import calibrate, evaluate, make_segments

#: Distance between segments, m, in the coarse and fine stages.
COARSE, FINE = 30.0, 15.0
#: Starts this far to the sides of the seed, m.
ASIDE = 60.0
#: Start times: these quantiles, by charge, of (first pulse - its Cherenkov delay), of DOMs within reach of the track.
QUANTILES = (0.02, 0.1, 0.25)
REACHES = (150.0, 300.0, 1e9)
#: Enough charge within reach, as a share of all.
ENOUGH = 0.3
#: Gain below which a Newton step ends the energies' minimisation: at the starts, in a simplex, for the answer.
ROUGH, SEARCH, ANSWER = 5e-2, 1e-2, 1e-3
#: A segment may still matter when its gradient, in the energy counted in PE, is below this (0 at the solution, 1 unseen).
COARSE_GRADIENT, FINE_GRADIENT = 0.5, 0.3
#: Neighbours kept on both sides of a segment with energy.
NEIGHBOURS = 2


class Clues(NamedTuple):
    """What the starts come from: (n, 5) x, y, z (m), first pulse (ns after the reference), charge (PE); and the centre of all charge, m."""

    pulses: Double
    centre: Double


class Answer(NamedTuple):
    """Where a search ended: f, the point, the segments' places (m) and energies (GeV), and how often it evaluated f."""

    f: float
    point: Double
    s: Single
    energy: Single
    evaluations: int


@compiled
def simplex(
    event: EventArrays,
    track: Track,
    seg: Segments,
    solver: Solver,
    point: Double,
    value: float,
    step: tuple[float, float, float],
    most: int,
    close: float,
    flat: float,
) -> tuple[float, int]:
    """Improve ``point`` (in and out) by Nelder and Mead's method; return the best f and the number of evaluations.

    ``value``: f at ``point`` on these segments, inf when not known. The search ends after ``most`` evaluations, or when
    the corners are within ``close`` (m, ns) and their values within ``flat``.
    """
    corners, values = np.zeros((4, 3)), np.zeros(4)
    used = 0
    for i in range(4):
        corners[i] = point
        if i > 0:
            corners[i, i - 1] += step[i - 1]
        if i == 0 and value < np.inf:
            values[0] = value
        else:
            values[i] = evaluate(event, track, corners[i], seg, solver, False, SEARCH)
            used += 1
    trial, other = np.zeros(3), np.zeros(3)
    while used < most:
        _sort(corners, values)
        if values[3] - values[0] <= 0.2 * flat:
            break
        if values[3] - values[0] <= flat and _spread(corners) <= close:
            break
        _between(corners, 2.0, trial)
        reflected = evaluate(event, track, trial, seg, solver, False, SEARCH)
        used += 1
        if reflected < values[0]:
            _between(corners, 3.0, other)
            expanded = evaluate(event, track, other, seg, solver, False, SEARCH)
            used += 1
            if expanded < reflected:
                corners[3], values[3] = other, expanded
            else:
                corners[3], values[3] = trial, reflected
        elif reflected < values[2]:
            corners[3], values[3] = trial, reflected
        else:
            _between(corners, 1.5 if reflected < values[3] else 0.5, other)
            contracted = evaluate(event, track, other, seg, solver, False, SEARCH)
            used += 1
            if contracted < min(reflected, values[3]):
                corners[3], values[3] = other, contracted
            else:
                for i in range(1, 4):
                    corners[i] = 0.5 * (corners[0] + corners[i])
                    values[i] = evaluate(event, track, corners[i], seg, solver, False, SEARCH)
                    used += 1
    best = np.argmin(values)
    point[:] = corners[best]
    return values[best], used


@compiled
def _sort(corners: Double, values: Double) -> None:
    """Sort four corners by value, ties in place."""
    for i in range(1, 4):
        for j in range(i, 0, -1):
            if not values[j] < values[j - 1]:
                break
            values[j], values[j - 1] = values[j - 1], values[j]
            for k in range(3):
                corners[j, k], corners[j - 1, k] = corners[j - 1, k], corners[j, k]


@compiled
def _spread(corners: Double) -> float:
    """Return the largest distance, along one axis, of a corner from the best one."""
    spread = 0.0
    for i in range(1, 4):
        for k in range(3):
            spread = max(spread, abs(corners[i, k] - corners[0, k]))
    return spread


@compiled
def _between(corners: Double, share: float, out: Double) -> None:
    """Fill the point on the line from the worst corner (share 0) through the middle of the others (share 1)."""
    for k in range(3):
        middle = (corners[0, k] + corners[1, k] + corners[2, k]) / 3
        out[k] = share * middle + (1 - share) * corners[3, k]


@compiled
def start_times(clues: Double, vertex: Double, direction: Double, out: Double) -> None:
    """Fill the times (ns, at ``vertex``) at which the QUANTILES of the DOMs near the track would see direct light."""
    n = clues.shape[0]
    time, across = np.zeros(n), np.zeros(n)
    for k in range(n):
        along = square = 0.0
        for i in range(3):
            d = clues[k, i] - vertex[i]
            along += d * direction[i]
            square += d * d
        across[k] = math.sqrt(max(square - along * along, 0.0))
        time[k] = clues[k, 3] - (along + across[k] * CHERENKOV_DELAY) / C
    weight = np.zeros(n)
    near = 0.0
    for reach in REACHES:
        weight[:] = np.where(across < reach, clues[:, 4], 0.0)
        near = weight.sum()
        if near > ENOUGH * clues[:, 4].sum():
            break
    order = np.argsort(time, kind="mergesort")
    below, i = 0.0, 0
    for q in range(len(QUANTILES)):
        while i < n - 1 and below + weight[order[i]] < QUANTILES[q] * near:
            below += weight[order[i]]
            i += 1
        out[q] = time[order[i]]


@compiled
def closest_time(clues: Double, vertex: Double, direction: Double) -> float:
    """Return the time (ns, at ``vertex``) that the first pulse of the DOM closest to the track asks for."""
    best, time = np.inf, 0.0
    for k in range(clues.shape[0]):
        along = square = 0.0
        for i in range(3):
            d = clues[k, i] - vertex[i]
            along += d * direction[i]
            square += d * d
        across = math.sqrt(max(square - along * along, 0.0))
        if across < best:
            best, time = across, clues[k, 3] - (along + across * CHERENKOV_DELAY) / C
    return time


@compiled
def choose_starts(
    event: EventArrays, track: Track, clues: Clues, times: Double, seg: Segments, solver: Solver, starts: Double
) -> tuple[float, float, int]:
    """Fill ``starts`` (3, 3): best at the seed, best elsewhere, better of the given ``times`` at the seed.

    Returns f of the first two, and the number of evaluations.
    """
    vertex, direction = track.vertex.astype(np.float64), track.direction.astype(np.float64)
    a_axis, b_axis = track.a.astype(np.float64), track.b.astype(np.float64)
    towards = clues.centre - vertex
    count = len(QUANTILES)
    trial_times = np.zeros(count + times.size)
    best = np.full(3, np.inf)
    point = np.zeros(3)
    used = 0
    for place in range(6):
        point[:] = 0.0
        if place == 1:
            point[0], point[1] = (towards * a_axis).sum(), (towards * b_axis).sum()
        elif place > 1:
            point[(place - 2) // 2] = ASIDE if place % 2 == 0 else -ASIDE
        start_times(clues.pulses, vertex + point[0] * a_axis + point[1] * b_axis, direction, trial_times)
        trial_times[count:] = times
        for k in range(count + (times.size if place == 0 else 0)):
            point[2] = trial_times[k]
            f = evaluate(event, track, point, seg, solver, False, ROUGH)
            used += 1
            if place == 0 and k >= count and f < best[2]:
                best[2], starts[2] = f, point
            group = 0 if place == 0 else 1
            if f < best[group]:
                best[group], starts[group] = f, point
    return best[0], best[1], used


@compiled
def matter(
    event: EventArrays, track: Track, point: Double, seg: Segments, solver: Solver, gradient: float
) -> NDArray[np.bool_]:
    """Say which segments of the full grid matter near ``point``: those with energy, neighbours, a small gradient."""
    seg.ratio[:] = np.float32(0)
    evaluate(event, track, point, seg, solver, False, SEARCH)
    n = seg.s.size
    slope = np.ones(n)
    for r in range(solver.mu.size):
        share = event.bins.charge[r] / solver.mu[r]
        for j in range(n):
            slope[j] -= share * seg.matrix[r, j]
    keep = slope < gradient
    for j in range(n):
        if seg.energy[j] > 0:
            keep[max(j - NEIGHBOURS, 0) : j + NEIGHBOURS + 1] = True
    return keep


@compiled
def refine(event: EventArrays, track: Track, point: Double, first: int, seg: Segments, solver: Solver) -> int:
    """Improve ``point`` on the fine track, with the segments that matter; return the number of evaluations."""
    rows = event.bins.charge.size
    used = 0
    for stage in range(2):
        keep = matter(event, track, point, seg, solver, FINE_GRADIENT)
        some = make_segments(rows, first, keep, FINE)
        some_solver = make_solver(rows, some.s.size)
        calibrate(event, track, point, some)
        if stage == 0:
            _, more = simplex(event, track, some, some_solver, point, np.inf, (-10.0, 10.0, -20.0), 40, 1.0, 0.2)
        else:
            _, more = simplex(event, track, some, some_solver, point, np.inf, (5.0, -5.0, 10.0), 20, 0.5, 0.05)
        used += more + 1
    return used


@compiled
def explore(
    event: EventArrays, track: Track, clues: Clues, times: Double, coarse_first: int, coarse: int, first: int,
    seg: Segments, solver: Solver, point: Double,
) -> int:  # fmt: skip
    """Find a good ``point`` from nothing but the seed; return the number of evaluations.

    ``coarse_first``, ``coarse``: first multiple of COARSE and number of coarse segments; ``first``, ``seg``: the fine ones.
    """
    rows = event.bins.charge.size
    rough = make_segments(rows, coarse_first, np.ones(coarse, np.bool_), COARSE)
    rough_solver = make_solver(rows, coarse)
    starts = np.zeros((3, 3))
    at_seed, elsewhere, used = choose_starts(event, track, clues, times, rough, rough_solver, starts)
    best, more = simplex(event, track, rough, rough_solver, starts[0], at_seed, (30.0, 30.0, 75.0), 45, 1.0, 0.2)
    used += more
    point[:] = starts[0]
    f, more = simplex(event, track, rough, rough_solver, starts[1], elsewhere, (40.0, 40.0, 100.0), 45, 1.0, 0.2)
    used += more
    if f < best:
        best, point[:] = f, starts[1]
    f, more = simplex(event, track, seg, solver, starts[2], np.inf, (20.0, 20.0, 50.0), 45, 1.0, 0.2)
    used += more
    if f < best:
        best, point[:] = f, starts[2]
    keep = matter(event, track, point, rough, rough_solver, COARSE_GRADIENT)
    some = make_segments(rows, coarse_first, keep, COARSE)
    some_solver = make_solver(rows, some.s.size)
    _, more = simplex(event, track, some, some_solver, point, np.inf, (-20.0, 20.0, -40.0), 30, 1.0, 0.2)
    return used + more + 1


@compiled
def search(
    event: EventArrays, track: Track, clues: Clues, times: Double, coarse_first: int, coarse: int, first: int, fine: int,
    warm: bool,
) -> Answer:  # fmt: skip
    """Fit offsets, time and energies; ``times`` (ns) to try at the seed, the first of them is where a warm fit starts."""
    rows = event.bins.charge.size
    seg = make_segments(rows, first, np.ones(fine, np.bool_), FINE)
    solver = make_solver(rows, fine)
    point = np.zeros(3)
    point[2] = times[0]
    used = 0
    if not warm:
        used += explore(event, track, clues, times, coarse_first, coarse, first, seg, solver, point)
    used += refine(event, track, point, first, seg, solver)
    f = evaluate(event, track, point, seg, solver, True, ANSWER)
    return Answer(f, point, seg.s, seg.energy, used + 1)
