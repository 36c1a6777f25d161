"""The search for the best transverse offsets and time of a track of fixed direction: starts, simplexes, stages.

-ln L has many local minima, far ones for the time and near ones from the segments, and no useful gradient where a
segment's energy comes or goes, so the search is by simplexes from several starts: first on a coarse track, then on a
fine one with only the segments that matter (docs/explanation/likelihood.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, Single, Track, make_segments
from skymap_scanner.reconstruction.millipede.constants import CHERENKOV_DELAY
from skymap_scanner.reconstruction.millipede.energies import make_solver
from skymap_scanner.reconstruction.millipede.likelihood import calibrate, evaluate
from skymap_scanner.reconstruction.millipede.simplex import descend

#: Distance between segments, m, in the coarse and fine stages.
COARSE, FINE = 30.0, 15.0
#: Starts this far to the sides of the seed, m.
ASIDE = 60.0
#: Start times: these quantiles, by charge, of (first pulse - its Cherenkov delay), of DOMs within reach of the track.
QUANTILES = (0.02, 0.1, 0.25)
REACHES = (150.0, 300.0, math.inf)
#: Enough charge within reach, as a share of all.
ENOUGH = 0.3
#: Gain below which a Newton step ends the energies' minimisation: at the starts, in a simplex, for the answer.
ROUGH, SEARCH, ANSWER = 5e-2, 1e-2, 1e-3
#: A segment may still matter when its gradient, in the energy counted in PE, is below this (0 at the solution, 1
#: unseen).
COARSE_GRADIENT, FINE_GRADIENT = 0.5, 0.3
#: Neighbours kept on both sides of a segment with energy.
NEIGHBOURS = 2


@dataclass(frozen=True)
class Clues:
    """What the starts come from: the DOMs with local coincidence (n,), and the centre of all charge.

    ``position`` (n, 3) in m, ``time`` of the first pulse (ns after the event's reference), ``charge`` in PE (capped);
    ``centre`` (3,) in m.
    """

    position: Double
    time: Double
    charge: Double
    centre: Double


@dataclass(frozen=True)
class Grid:
    """Segments at multiples of ``spacing`` (m): the first multiple, and how many there are."""

    spacing: float
    first: int
    count: int


class SearchResult(NamedTuple):
    """Where a search ended: f, the point, the segments' places (m) and energies (GeV), and how often it evaluated f."""

    f: float
    point: Double
    s: Single
    energy: Single
    evaluations: int


class Descent(NamedTuple):
    """How a simplex begins and ends.

    Steps to its corners (a, b in m, time in ns, and, where the segments' phase is searched too, along the track in m),
    most evaluations, extent (m, ns) and range of values at which it is done.
    """

    step: tuple[float, ...]
    most: int
    close: float = 1.0
    flat: float = 0.2


AT_SEED = Descent((30.0, 30.0, 75.0), 45)
ELSEWHERE = Descent((40.0, 40.0, 100.0), 45)
AGAIN = Descent((-20.0, 20.0, -40.0), 30)
FINER = Descent((-10.0, 10.0, -20.0, 5.0), 45)
FINEST = Descent((5.0, -5.0, 10.0, -4.0), 35, close=0.5, flat=0.05)


@dataclass
class TrackLikelihood:
    """-ln L of one track on one set of segments, and how often it was evaluated."""

    event: EventArrays
    track: Track
    grid: Grid
    keep: NDArray[np.bool_] | None = None
    evaluations: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        rows = self.event.bins.charge.size
        keep = np.ones(self.grid.count, np.bool_) if self.keep is None else self.keep
        self.seg = make_segments(rows, self.grid.spacing, self.grid.first, keep)
        self.solver = make_solver(rows, self.seg.energy.size)

    def value(self, point: Double, tolerance: float = SEARCH, *, exact: bool = False) -> float:
        """Return -ln L at ``point``; leaves energies, matrix and expectation in ``seg`` and ``solver``."""
        self.evaluations += 1
        return float(evaluate(self.event, self.track, point, self.seg, self.solver, exact, tolerance))

    def descend(self, point: Double, how: Descent, value: float = math.inf) -> tuple[float, Double]:
        """Return the best -ln L that a simplex finds from ``point``, and where; ``value``: at ``point``."""
        best = point.copy()
        step = np.array(how.step)
        limits = (how.most, how.close, how.flat)
        f, used = descend(self.event, self.track, self.seg, self.solver, best, value, step, *limits, False, SEARCH)
        self.evaluations += int(used)
        return float(f), best

    def calibrate(self, point: Double) -> None:
        """Make the far field exact near ``point``."""
        calibrate(self.event, self.track, point, self.seg)

    def matter(self, point: Double, gradient: float) -> NDArray[np.bool_]:
        """Say which segments matter near ``point``: with energy, next to one, or with a small gradient."""
        self.value(point)
        share = self.event.bins.charge / self.solver.mu
        keep = 1 - (share[:, None] * self.seg.matrix).sum(axis=0) < gradient
        for j in np.flatnonzero(self.seg.energy > 0):
            keep[max(j - NEIGHBOURS, 0) : j + NEIGHBOURS + 1] = True
        return np.asarray(keep)


def search(
    event: EventArrays, track: Track, clues: Clues, times: Double, coarse: Grid, fine: Grid, *, warm: bool
) -> SearchResult:
    """Fit offsets, time and energies.

    ``times`` (ns after the reference) to try at the seed; a warm fit starts from the first of them and is only refined.
    """
    likelihood = TrackLikelihood(event, track, fine)
    evaluations = 0
    if warm:
        point = np.array([0.0, 0.0, times[0], 0.0])
    else:
        point, evaluations = explore(event, track, clues, times, coarse)
    point, more = refine(likelihood, point)
    f = likelihood.value(point, ANSWER, exact=True)
    seg = likelihood.seg
    return SearchResult(f, point, seg.s[: seg.energy.size], seg.energy, evaluations + more + likelihood.evaluations)


def explore(event: EventArrays, track: Track, clues: Clues, times: Double, coarse: Grid) -> tuple[Double, int]:
    """Find a good point from nothing but the seed, on the coarse track; return it and the number of evaluations."""
    rough = TrackLikelihood(event, track, coarse)
    at_seed, elsewhere = choose_starts(rough, clues, times)
    found = [
        rough.descend(at_seed[1], AT_SEED, at_seed[0]),
        rough.descend(elsewhere[1], ELSEWHERE, elsewhere[0]),
    ]
    _, point = lowest(found)
    again = TrackLikelihood(event, track, coarse, rough.matter(point, COARSE_GRADIENT))
    _, point = again.descend(point, AGAIN)
    return point, rough.evaluations + again.evaluations


def refine(likelihood: TrackLikelihood, point: Double) -> tuple[Double, int]:
    """Improve a point on the segments that matter there, with an exact far field; return it and the evaluations."""
    evaluations = 0
    for how in (FINER, FINEST):
        some = TrackLikelihood(
            likelihood.event, likelihood.track, likelihood.grid, likelihood.matter(point, FINE_GRADIENT)
        )
        some.calibrate(point)
        _, point = some.descend(point, how)
        evaluations += some.evaluations
    return point, evaluations


def choose_starts(likelihood: TrackLikelihood, clues: Clues, times: Double) -> list[tuple[float, Double]]:
    """Return -ln L and place of the best start at the seed, where ``times`` are tried too, and elsewhere."""
    track = likelihood.track
    vertex, direction = track.vertex.astype(np.float64), track.direction.astype(np.float64)
    a, b = track.a.astype(np.float64), track.b.astype(np.float64)
    towards = clues.centre - vertex
    centre = (float((towards * a).sum()), float((towards * b).sum()))
    trials: list[list[tuple[float, Double]]] = []
    for places in ([(0.0, 0.0)], [centre, (ASIDE, 0.0), (-ASIDE, 0.0), (0.0, ASIDE), (0.0, -ASIDE)]):
        points = [
            np.array([*place, time, 0.0])
            for place in places
            for time in start_times(clues, vertex + place[0] * a + place[1] * b, direction)
        ]
        if not trials:
            points += [np.array([0.0, 0.0, time, 0.0]) for time in times]
        trials.append([(likelihood.value(point, ROUGH), point) for point in points])
    return [lowest(group) for group in trials]


def lowest(places: list[tuple[float, Double]]) -> tuple[float, Double]:
    """Return the place of lowest -ln L, the first of equals; a value that is not a number never wins."""
    return min(places, key=lambda place: (math.isnan(place[0]), place[0]))


def start_times(clues: Clues, vertex: Double, direction: Double) -> list[float]:
    """Return the times (ns, at ``vertex``) at which QUANTILES of the charge near the track would be direct light."""
    time, across = _cherenkov_times(clues, vertex, direction)
    weight = clues.charge
    for reach in REACHES:
        weight = np.where(across < reach, clues.charge, 0.0)
        if weight.sum() > ENOUGH * clues.charge.sum():
            break
    order = np.argsort(time, kind="stable")
    seen = np.cumsum(weight[order])
    which = np.minimum(np.searchsorted(seen, np.array(QUANTILES) * seen[-1]), len(order) - 1)
    return [float(t) for t in time[order[which]]]


def closest_time(clues: Clues, vertex: Double, direction: Double) -> float:
    """Return the time (ns, at ``vertex``) that the first pulse of the DOM closest to the track asks for."""
    time, across = _cherenkov_times(clues, vertex, direction)
    return float(time[np.argmin(across)])


def _cherenkov_times(clues: Clues, vertex: Double, direction: Double) -> tuple[Double, Double]:
    """Return the time at ``vertex`` if each DOM's first pulse is direct light, and its distance from the track (n,)."""
    away = clues.position - vertex
    along = (away * direction).sum(axis=1)
    across = np.sqrt(np.maximum((away * away).sum(axis=1) - along**2, 0.0))
    return clues.time - (along + across * CHERENKOV_DELAY) / SPEED_OF_LIGHT, across
