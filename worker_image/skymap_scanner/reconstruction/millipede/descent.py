"""-ln L of one line on one set of segments, and the descent on it (Levenberg and Marquardt)."""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.arrays import Double, EventArrays, make_segments
from skymap_scanner.reconstruction.millipede.build_arrays import make_track
from skymap_scanner.reconstruction.millipede.cholesky import solve_cholesky
from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.energies import MAX_SUPPORT, make_solver
from skymap_scanner.reconstruction.millipede.far_grid import complete_field
from skymap_scanner.reconstruction.millipede.gradient import SIZE, gradient, make_room
from skymap_scanner.reconstruction.millipede.likelihood import calibrate, evaluate
from skymap_scanner.reconstruction.millipede.segments import Line

#: Longest step of a descent in each coordinate: m, m, ns, m, rad, rad.
TRUST = np.array([20.0, 20.0, 60.0, 20.0, 0.05, 0.05])
#: Damping: at first and at least. A step that gains what it promises eases it; one that does not help raises it, to at
#: least `FELT`, since less hardly changes a step.
FIRST, LEAST, EASED, RAISED, FELT = 1e-3, 1e-5, 0.2, 8.0, 0.5
#: A step that gains less than the first share of its promise raises the damping too, and beyond the second eases it.
POOR, GOOD = 0.25, 0.75
#: So often the damping is raised before a descent ends.
TRIES = 6
#: A descent is hopeless where steps that gain this many times what the next one promises would leave it above a limit.
HOPEFUL = 3.0
#: Fits up to this height above what was attained are exact; beyond it, a step must gain this share of the rest. Nearly
#: all such fits end within 1 % of their height; with three times this share, some end 15 % too high.
EXACT, SHARE = 300.0, 0.003


#: One thread at a time completes a far field.
_FILLING = threading.Lock()


class Descent(NamedTuple):
    """How to descend: which coordinates are ``free``, steps at most, the least ``gain`` worth a step, longest step.

    ``trust`` multiplies `TRUST`. A descent ends after two steps in a row that gain less than they must, or when the
    next promises less than a tenth of that; it does not begin where its first step promises more than ``far``.
    ``attained``: -ln L of a good fit of the event, inf where none is known.
    """

    free: tuple[bool, bool, bool, bool, bool, bool]
    most: int
    gain: float
    trust: float = 1.0
    far: float = math.inf
    attained: float = math.inf

    def least_gain(self, value: float) -> float:
        """Return the least gain worth a step at this -ln L: ``gain``, or more where it is far above ``attained``."""
        return max(self.gain, SHARE * (value - self.attained - EXACT))

    @property
    def turns(self) -> bool:
        """Whether the direction is free."""
        return self.free[4]


class TrackLikelihood:
    """-ln L of one line with segments at the multiples ``numbers`` of ``spacing`` (m) after its vertex.

    ``evaluations`` counts how often it was computed. A point is (a, b, time, along) as in `likelihood.evaluate`.
    """

    def __init__(self, event: EventArrays, line: Line, spacing: float, numbers: NDArray[np.int64]) -> None:
        self.event, self.line, self.spacing, self.numbers = event, line, spacing, numbers
        self.track = make_track(event.hit, line)
        rows = event.bins.charge.size
        keep = np.zeros(int(numbers[-1] - numbers[0]) + 1, np.bool_)
        keep[numbers - numbers[0]] = True
        self.seg = make_segments(rows, spacing, int(numbers[0]), keep)
        self.solver = make_solver(rows, numbers.size)
        self.evaluations = 0

    def value(self, point: Double, tolerance: float, *, exact: bool = False, warm: bool = False) -> float:
        """Return -ln L at ``point``; leaves energies, matrix and expectation in ``seg`` and ``solver``."""
        self.evaluations += 1
        self.complete(point)
        return float(evaluate(self.event, self.track, point, self.seg, self.solver, exact, warm, tolerance))

    def losses(self) -> tuple[Double, Double]:
        """Return where the segments with energy are, m after the vertex, and their energies (GeV)."""
        lit = self.seg.energy > 0
        return self.seg.s[: self.numbers.size][lit].astype(np.float64), self.seg.energy[lit].astype(np.float64)

    def put(self, places: Double, energy: Double) -> None:
        """Give the segments at ``places`` (multiples of the spacing, m after the vertex) these energies (GeV)."""
        for number, one in zip(np.rint(places / self.spacing).astype(np.int64).tolist(), energy.tolist(), strict=True):
            self.seg.energy[self.numbers == number] = one

    def only_near(self, neighbours: int) -> TrackLikelihood:
        """Return the likelihood of the segments with energy and so many beside each, with their energies."""
        lit = self.numbers[self.seg.energy > 0]
        near = (np.abs(self.numbers[:, None] - lit[None, :]) <= neighbours).any(axis=1)
        if not near.any():
            near[:] = True
        some = TrackLikelihood(self.event, self.line, self.spacing, self.numbers[near])
        some.seg.energy[:] = self.seg.energy[near]
        return some

    def calibrate(self, point: Double) -> None:
        """Make the far field exact near ``point``."""
        self.complete(point)
        calibrate(self.event, self.track, point, self.seg)

    def complete(self, point: Double) -> None:
        """Let the far field be known around ``point``."""
        with _FILLING:
            complete_field(self.event, self.track, point, self.seg)

    def descend(
        self, point: Double, value: float, how: Descent, tolerance: float, limit: float = math.inf
    ) -> tuple[float, Double]:
        """Return the lowest -ln L found from ``point``, and where; ``value`` is that of ``point``, just computed.

        Where the first step promises more than ``how.far``, nothing is tried: that is ``value`` less the promise, and
        ``point``. Turns the line, and moves its vertex to the point, where the direction is free. Ends where it is
        hopeless to come below ``limit``, see `HOPEFUL`.
        """
        free, trust = np.array(how.free), TRUST * how.trust
        room = make_room(self.event.bins.charge.size, self.numbers.size, MAX_SUPPORT)
        g, h, step = np.zeros(SIZE), np.zeros((SIZE, SIZE)), np.zeros(SIZE)
        damping, small = FIRST, 0
        for left in range(how.most, 0, -1):
            energy = self.seg.energy.copy()
            gradient(self.event, self.track, point, self.seg, self.solver, room, how.turns, g, h)
            line, track, least = self.line, self.track, how.least_gain(value)
            for tries in range(TRIES):
                promise = damped_step(g, h, free, damping, trust, step)
                if left == how.most and tries == 0 and promise > how.far:
                    return value - promise, point
                if promise < 0.1 * least or value - HOPEFUL * left * promise > limit:
                    self.line, self.track = line, track
                    self.seg.energy[:] = energy
                    return value, point
                trial = point + step[:4]
                if how.turns:
                    self.line = line.moved(trial[0], trial[1], trial[3]).turned(step[4], step[5])
                    self.track = make_track(self.event.hit, self.line)
                    trial[0] = trial[1] = trial[3] = 0.0
                self.seg.energy[:] = energy
                f = self.value(trial, tolerance, warm=True)
                if f < value:
                    break
                damping = max(damping * RAISED, FELT)
            else:
                self.line, self.track = line, track
                self.seg.energy[:] = energy
                break
            gain, value, point = value - f, f, trial
            if gain > GOOD * promise:
                damping = max(damping * EASED, LEAST)
            elif gain < POOR * promise:
                damping = max(damping, FELT)
            small = small + 1 if gain < least else 0
            if small == 2 or gain < 0.1 * least:
                break
        return value, point

    def covariance(self, point: Double, how: Descent) -> Double:
        """Return the covariance (2, 2) of the turns (rad^2) at ``point``, where -ln L was just computed."""
        room = make_room(self.event.bins.charge.size, self.numbers.size, MAX_SUPPORT)
        g, h, out = np.zeros(SIZE), np.zeros((SIZE, SIZE)), np.zeros((2, 2))
        gradient(self.event, self.track, point, self.seg, self.solver, room, True, g, h)
        invert_turns(h, np.array(how.free), out)
        return out


@compiled
def damped_step(g: Double, h: Double, free: NDArray[np.bool_], damping: float, trust: Double, step: Double) -> float:
    """Fill the step of the free coordinates: -(h + damping diag h)^-1 g, shortened to stay within ``trust``.

    Returns by how much the parabola falls.
    """
    size = 0
    which = np.zeros(free.size, np.int64)
    for i in range(free.size):
        step[i] = 0.0
        if free[i]:
            which[size] = i
            size += 1
    matrix, factor = np.zeros((size, size)), np.zeros((size, size))
    right, solution = np.zeros(size), np.zeros(size)
    for i in range(size):
        right[i] = -g[which[i]]
        for k in range(size):
            matrix[i, k] = h[which[i], which[k]]
        matrix[i, i] += damping * max(matrix[i, i], 1e-6) + 1e-9
    solve_cholesky(matrix, right, size, factor, solution)
    share = 1.0
    for i in range(size):
        share = min(share, trust[which[i]] / max(abs(solution[i]), 1e-12))
    for i in range(size):
        step[which[i]] = share * solution[i]
    promise = 0.0
    for i in range(size):
        promise -= g[which[i]] * step[which[i]]
        for k in range(size):
            promise -= 0.5 * h[which[i], which[k]] * step[which[i]] * step[which[k]]
    return promise


@compiled
def invert_turns(h: Double, free: NDArray[np.bool_], out: Double) -> None:
    """Fill ``out`` (2, 2): the last two rows and columns of the inverse of the free part of ``h``."""
    size = 0
    which = np.zeros(free.size, np.int64)
    for i in range(free.size):
        if free[i]:
            which[size] = i
            size += 1
    matrix, factor = np.zeros((size, size)), np.zeros((size, size))
    right, solution = np.zeros(size), np.zeros(size)
    for i in range(size):
        for k in range(size):
            matrix[i, k] = h[which[i], which[k]]
        matrix[i, i] += 1e-9
    for c in range(2):
        for i in range(size):
            right[i] = 1.0 if which[i] == 4 + c else 0.0
        solve_cholesky(matrix, right, size, factor, solution)
        out[0, c], out[1, c] = solution[size - 2], solution[size - 1]
