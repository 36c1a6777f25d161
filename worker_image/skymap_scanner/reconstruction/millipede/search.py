"""The search for the best vertex, time and losses of a direction, and for the best direction.

-ln L has many local minima far from its lowest, so a search that starts from nothing but a seed tries several places
and times with arrival times smeared out (an annealed surface, on which the minima are wide), descends from the best of
them, and refines the winner. A warm search is only refined. Descents are Levenberg's and Marquardt's, with the energies
eliminated (`gradient`). docs/explanation/likelihood.md has the whole story.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays
from skymap_scanner.reconstruction.millipede.constants import CHERENKOV_DELAY
from skymap_scanner.reconstruction.millipede.descent import Descent, TrackLikelihood
from skymap_scanner.reconstruction.millipede.segments import Line, grid_in_span, span_in_cube

#: Distance between segments, m: on the annealed surface, on the way, and of the answer.
COARSE, MIDDLE, FINE = 30.0, 15.0, 5.0
#: Starts this far to the sides of the seed, m.
ASIDE = 60.0
#: Start times: these quantiles, by charge, of (first pulse - its Cherenkov delay), of DOMs within reach of the track.
QUANTILES = (0.02, 0.1, 0.25)
REACHES = (150.0, 300.0, math.inf)
#: Enough charge within reach, as a share of all.
ENOUGH = 0.3
#: Gain below which a Newton step ends the energies' minimisation: at the starts, on the way, for the answer.
ROUGH, SEARCH, ANSWER = 5e-2, 1e-2, 1e-3
#: Fine segments stand within this of one with energy, m.
AROUND = 45.0
#: Neighbours kept on both sides of a fine segment with energy in a descent.
NEIGHBOURS = 1
#: A cascade this far above a track is not refined.
HOPELESS = 100.0
#: A warm start from which a track gains less than this in ln L is near the minimum; else the track is fitted anew.
SETTLED = 3.0
#: What the hypothesis of a track costs beside that of one cascade, in ln L: its losses adapt to fluctuations, and to
#: DOMs whose expected charge is wrong by this share.
FLUCTUATIONS, WRONG_CHARGE = 8.0, 0.3

FROM_START = Descent(free=(True, True, True, False, False, False), most=15, gain=1.0, trust=2.0)
# The offset along a track is free too: it sets the phase of the segments, without which minima are many.
OF_TRACK = Descent(free=(True, True, True, True, False, False), most=10, gain=0.03)
ON_THE_WAY = OF_TRACK._replace(gain=0.3)
OF_CASCADE = Descent(free=(True, True, True, True, False, False), most=20, gain=0.01)
TURNING_TRACK = Descent(free=(True, True, True, True, True, True), most=15, gain=0.01)
TURNING_CASCADE = Descent(free=(True, True, True, True, True, True), most=25, gain=0.01)


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


class Attained(NamedTuple):
    """-ln L of a good fit of the event, on the surface as it is and on the annealed one; inf where none is known."""

    event: float = math.inf
    smeared: float = math.inf


NOTHING = Attained()


@dataclass(frozen=True)
class Surfaces:
    """The likelihood of an event, as it is and with arrival times smeared out, and what a first fit attained."""

    event: EventArrays
    smeared: EventArrays
    clues: Clues
    attained: Attained = NOTHING


class Solution(NamedTuple):
    """The best of one hypothesis: -ln L, the line with its vertex, its time there (ns), losses, and evaluations.

    ``s`` (m after the vertex) and ``energy`` (GeV) of the losses; ``cascade``: whether they are one cascade.
    ``covariance`` (2, 2) of the turns towards the line's a and b (rad^2), where the direction was free.
    """

    f: float
    line: Line
    time: float
    s: Double
    energy: Double
    cascade: bool
    evaluations: int
    covariance: Double | None = None


class Refined(NamedTuple):
    """The end of a track's descent: the line, the time at its vertex (ns), losses as in `Solution`, gain in ln L."""

    line: Line
    time: float
    s: Double
    energy: Double
    gain: float
    evaluations: int


def search(surfaces: Surfaces, line: Line, times: Double, *, warm: bool, free: bool = False) -> Solution | None:
    """Fit vertex, time and losses for a direction, None where its line does not cross the cube.

    ``times`` (ns after the reference) to try at the seed; a warm search starts from the first of them and is only
    refined. ``free``: fit the direction too, from there.
    """
    if span_in_cube(line.vertex, line.direction) is None:
        return None
    event, attained, point, evaluations = surfaces.event, surfaces.attained, at_time(times[0]), 0
    cost = cost_of_losses(event)
    if not warm:
        point, evaluations = explore(surfaces, line, times)
        line = line.moved(point[0], point[1], point[3])
    track = fit_track(event, line, float(point[2]), OF_TRACK._replace(attained=attained.event - cost), warm=warm)
    if track is None:
        return None
    limit = track.f + cost
    # a warm start may be the end of a cascade's fit
    starts = [(track.line, track.time), (line, float(point[2]))] if warm else [(track.line, track.time)]
    cascade = fit_cascade(event, starts, OF_CASCADE._replace(attained=attained.event), limit)
    if free:
        turned = fit_track(event, track.line, track.time, TURNING_TRACK)
        track = turned if turned is not None else track
        limit = track.f + cost
        cascade = fit_cascade(event, [(cascade.line, cascade.time)], TURNING_CASCADE, limit)
    evaluations += track.evaluations + cascade.evaluations
    return better(track, cascade, limit)._replace(evaluations=evaluations)


def better(track: Solution, cascade: Solution, limit: float) -> Solution:
    """Return the better hypothesis, a track at its ``limit``: -ln L with the cost of its losses."""
    return cascade if cascade.f <= limit or math.isnan(limit) else track._replace(f=limit)


def cost_of_losses(event: EventArrays) -> float:
    """Return by how much, in ln L, a track must fit better than a cascade.

    Expectations that are wrong by a share e raise -ln L by e^2 / 2 for each photoelectron. Charges are weighted, as in
    the likelihood.
    """
    return FLUCTUATIONS + WRONG_CHARGE**2 / 2 * math.fsum(event.bins.charge.tolist())


def explore(surfaces: Surfaces, line: Line, times: Double) -> tuple[Double, int]:
    """Find a good point from nothing but the seed; return it and the number of evaluations."""
    rough = TrackLikelihood(surfaces.smeared, line, COARSE, every_segment(line, COARSE))
    starts = choose_starts(rough, surfaces.clues, times)
    how = FROM_START._replace(attained=surfaces.attained.smeared)
    found = []
    for _, point in starts:
        value = rough.value(point, SEARCH)
        found.append(rough.descend(point, value, how, SEARCH))
    return lowest(found)[1], rough.evaluations


def fit_track(event: EventArrays, line: Line, time: float, how: Descent, *, warm: bool = False) -> Solution | None:
    """Refine a line and time (ns); None where the line leaves the cube.

    First with losses every `MIDDLE` metres anywhere in the cube, then every `FINE` metres near those. A ``warm`` start
    that proves to be near the minimum goes without the former.
    """
    if every_segment(line, MIDDLE).size == 0:
        return None
    evaluations, refined = 0, None
    if warm:
        refined = refine(event, line, time, every_segment(line, FINE), how._replace(far=SETTLED))
        evaluations = refined.evaluations
    if refined is None or refined.gain > SETTLED:
        middle = TrackLikelihood(event, line, MIDDLE, every_segment(line, MIDDLE))
        middle.value(at_time(time), ROUGH)
        near = descended(middle.only_near(1), time, ON_THE_WAY._replace(attained=how.attained))
        numbers = segments_near(near.line, FINE, near.s, AROUND)
        if numbers.size == 0:
            return None
        refined = refine(event, near.line, near.time, numbers, how)
        evaluations += middle.evaluations + near.evaluations + refined.evaluations

    line, time, s, energy = refined.line, refined.time, refined.s, refined.energy
    numbers = np.rint(s / FINE).astype(np.int64) if s.size else every_segment(line, FINE)
    if numbers.size == 0:
        return None
    last = TrackLikelihood(event, line, FINE, numbers)
    last.put(s, energy)
    f = last.value(at_time(time), ANSWER, exact=True, warm=True)
    covariance = last.covariance(at_time(time), how) if how.turns else None
    return Solution(f, line, time, *last.losses(), False, evaluations + last.evaluations, covariance)


def refine(event: EventArrays, line: Line, time: float, numbers: NDArray[np.int64], how: Descent) -> Refined:
    """Find losses among segments every `FINE` metres at these ``numbers``, and descend with those."""
    fine = TrackLikelihood(event, line, FINE, numbers)
    fine.value(at_time(time), ROUGH)
    refined = descended(fine.only_near(NEIGHBOURS), time, how)
    return refined._replace(evaluations=fine.evaluations + refined.evaluations)


def descended(likelihood: TrackLikelihood, time: float, how: Descent) -> Refined:
    """Descend from a time (ns), and put the vertex into the centre of the light, about which a turn moves least."""
    point = at_time(time)
    likelihood.calibrate(point)
    value = likelihood.value(point, SEARCH, warm=True)
    f, point = likelihood.descend(point, value, how, SEARCH)
    seg = likelihood.seg
    total = weighted = 0.0
    for s, energy, light in zip(seg.s.tolist(), seg.energy.tolist(), seg.total.tolist(), strict=False):
        total += energy * light
        weighted += energy * light * s
    # whole steps, so that the segments stay where they are
    step = likelihood.spacing
    centre = round(weighted / total / step) * step if total > 0 else 0.0
    line = likelihood.line.moved(point[0], point[1], point[3] + centre)
    places, energies = likelihood.losses()
    time = float(point[2]) + centre / SPEED_OF_LIGHT
    return Refined(line, time, places - centre, energies, value - f, likelihood.evaluations)


def fit_cascade(event: EventArrays, starts: list[tuple[Line, float]], how: Descent, limit: float) -> Solution:
    """Fit one cascade from the best of some vertices, each that of a line, and times (ns); the first of equals.

    One that stays far above the ``limit`` is not refined.
    """
    trials = [(*one_cascade(event, line, time), time) for line, time in starts]
    one, f, time = min(trials, key=lambda trial: (math.isnan(trial[1]), trial[1]))
    evaluations, covariance = len(trials) - 1, None
    for exact in (False, True):
        f, point = one.descend(at_time(time), f, how, ANSWER, limit + HOPELESS)
        evaluations += one.evaluations
        line, time = one.line.moved(point[0], point[1], point[3]), float(point[2])
        if f > limit + HOPELESS:
            break
        one, f = one_cascade(event, line, time, exact=exact)
    else:
        evaluations += one.evaluations
        covariance = one.covariance(at_time(time), how) if how.turns else None
    energy = one.seg.energy.astype(np.float64)
    return Solution(f, line, time, np.zeros(1), energy, True, evaluations, covariance)


def one_cascade(event: EventArrays, line: Line, time: float, *, exact: bool = False) -> tuple[TrackLikelihood, float]:
    """Return the likelihood of one cascade at the vertex of a line, and -ln L at a time (ns)."""
    one = TrackLikelihood(event, line, FINE, np.zeros(1, np.int64))
    one.calibrate(at_time(time))
    return one, one.value(at_time(time), ANSWER, exact=exact)


def at_time(time: float) -> Double:
    """Return the point at the vertex of a line, at ``time`` (ns)."""
    return np.array([0.0, 0.0, time, 0.0])


def segments_near(line: Line, spacing: float, places: Double, reach: float) -> NDArray[np.int64]:
    """Return the multiples of ``spacing`` in the cube within ``reach`` of one of ``places`` (m); all, if none is."""
    numbers = every_segment(line, spacing)
    near = (np.abs(numbers[:, None] * spacing - places[None, :]) <= reach).any(axis=1)
    return numbers[near] if near.any() else numbers


def every_segment(line: Line, spacing: float) -> NDArray[np.int64]:
    """Return the multiples of ``spacing`` (m) at which the line is inside the cube."""
    span = span_in_cube(line.vertex, line.direction)
    ends = span and grid_in_span(*span, spacing)
    return np.arange(ends[0], ends[1] + 1) if ends else np.zeros(0, np.int64)


def choose_starts(likelihood: TrackLikelihood, clues: Clues, times: Double) -> list[tuple[float, Double]]:
    """Return -ln L and place of the best start at the seed, where ``times`` are tried too, and elsewhere."""
    line = likelihood.line
    towards = clues.centre - line.vertex
    centre = (float((towards * line.a).sum()), float((towards * line.b).sum()))
    trials: list[list[tuple[float, Double]]] = []
    for places in ([(0.0, 0.0)], [centre, (ASIDE, 0.0), (-ASIDE, 0.0), (0.0, ASIDE), (0.0, -ASIDE)]):
        points = [
            np.array([*place, time, 0.0])
            for place in places
            for time in start_times(clues, line.vertex + place[0] * line.a + place[1] * line.b, line.direction)
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
