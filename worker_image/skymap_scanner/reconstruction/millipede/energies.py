"""The energies of all segments at once: the inner minimisation of the likelihood.

With every segment's energy counted in expected PE, y >= 0, and the columns A scaled to match (their sums with what
falls outside the charged bins are 1), minus the logarithm of the Poisson likelihood is, up to a constant,

    f(y) = sum_j y_j - sum_r q_r ln mu_r,      mu = noise + A y.

It is convex. A few steps of expectation maximisation (they keep y > 0, and bring mu to the right size), then Newton's
method: each quadratic model is minimised exactly over y >= 0 by an active set (C. Lawson and R. Hanson, Solving Least
Squares Problems, 1974, ch. 23), with a line search. The support is small (about ten segments), so this is cheap.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.arrays import Double, Index, Single
from skymap_scanner.reconstruction.millipede.cholesky import factorise, solve_factorised
from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.light import ONE, ZERO, F

#: At most so many segments carry energy at once.
MAX_SUPPORT = 128
EM_STEPS = 4
NEWTON_STEPS = 30
#: A segment enters when the quadratic model promises at least this gain in f.
LEAST_GAIN = 1e-3
#: Segments that may enter together, and how near to the best one's gain they must be.
ENTER_TOGETHER, ENTER_SHARE = 6, 0.1


class Solver(NamedTuple):
    """Room for the solver; m = MAX_SUPPORT, rows, segments.

    ``support`` (m,): segments in the active set; ``kept`` (m,): places of those that stay in it; ``column`` (m, rows):
    their columns; ``gram``, ``factor`` (m, m).
    """

    support: Index
    kept: Index
    column: Single
    gram: Double
    factor: Double
    right: Double
    solution: Double
    weight: Single
    target: Single
    pull: Single
    curvature: Single
    gradient: Single
    trial: Single
    banned: NDArray[np.bool_]
    mu: Single
    mu_trial: Single
    mu_step: Single
    along: Single


def make_solver(rows: int, segments: int) -> Solver:
    """Return room for ``rows`` bins and ``segments`` segments."""
    m = MAX_SUPPORT
    return Solver(
        support=np.zeros(m, np.int64),
        kept=np.zeros(m, np.int64),
        column=np.zeros((m, rows), np.float32),
        gram=np.zeros((m, m)),
        factor=np.zeros((m, m)),
        right=np.zeros(m),
        solution=np.zeros(m),
        weight=np.zeros(rows, np.float32),
        target=np.zeros(rows, np.float32),
        pull=np.zeros(segments, np.float32),
        curvature=np.zeros(segments, np.float32),
        gradient=np.zeros(segments, np.float32),
        trial=np.zeros(segments, np.float32),
        banned=np.zeros(segments, np.bool_),
        mu=np.zeros(rows, np.float32),
        mu_trial=np.zeros(rows, np.float32),
        mu_step=np.zeros(rows, np.float32),
        along=np.zeros(rows, np.float32),
    )


@compiled
def fill(values: Single, value: np.float32) -> None:
    """Set all ``values`` to one (numba compiles a loop faster than an assignment to a slice)."""
    for j in range(values.size):
        values[j] = value


@compiled
def copy(values: Single, out: Single) -> None:
    """Copy ``values`` to ``out``."""
    for j in range(values.size):
        out[j] = values[j]


@compiled
def expect(matrix: Single, y: Single, noise: Single, mu: Single) -> None:
    """Fill ``mu`` = ``noise`` + ``matrix`` y."""
    for r in range(noise.size):
        total = ZERO
        for j in range(y.size):
            total += matrix[r, j] * y[j]
        mu[r] = noise[r] + total


@compiled
def correlate(matrix: Single, weight: Single, out: Single) -> None:
    """Fill ``out`` = transposed ``matrix`` times ``weight``."""
    fill(out, ZERO)
    for r in range(weight.size):
        w = weight[r]
        for j in range(out.size):
            out[j] += w * matrix[r, j]


@compiled
def objective(mu: Single, charge: Single, total: float) -> float:
    """Return total - sum q ln mu."""
    value = total
    for r in range(mu.size):
        value -= float(charge[r]) * float(np.log(mu[r]))
    return value


@compiled
def total_of(y: Single) -> float:
    """Return the sum of ``y`` in double precision."""
    total = 0.0
    for j in range(y.size):
        total += float(y[j])
    return total


@compiled
def _extend_gram(matrix: Single, solver: Solver, built: int, size: int) -> None:
    """Fill the rows built..size of the gram matrix of the support's columns, weighted."""
    weight = solver.weight
    for i in range(built, size):
        segment = solver.support[i]
        column = solver.column[i]
        for r in range(weight.size):
            column[r] = matrix[r, segment]
        for k in range(i + 1):
            value = _weighted_product(column, solver.column[k], weight)
            solver.gram[i, k] = value
        # as much as single precision rounds off: columns that are alike must not make it singular
        solver.gram[i, i] = solver.gram[i, i] * (1 + 1e-7) + 1e-12
        solver.right[i] = solver.pull[segment]


@compiled
def _weighted_product(a: Single, b: Single, weight: Single) -> np.float32:
    """Return sum a b weight."""
    value = ZERO
    for r in range(weight.size):
        value += a[r] * b[r] * weight[r]
    return value


@compiled
def _drop(solver: Solver, size: int) -> tuple[int, int]:
    """Take the segments without energy out of the support; return its size, and how many rows stay where they were."""
    kept, same = 0, size
    for i in range(size):
        if solver.trial[solver.support[i]] <= ZERO:
            same = min(same, i)
            continue
        solver.kept[kept] = i
        if kept < i:
            solver.support[kept] = solver.support[i]
            copy(solver.column[i], solver.column[kept])
            solver.right[kept] = solver.right[i]
        kept += 1
    for i in range(same, kept):
        for k in range(i + 1):
            solver.gram[i, k] = solver.gram[solver.kept[i], solver.kept[k]]
    return kept, same


@compiled
def _enter(solver: Solver, size: int, several: bool) -> int:
    """Add the segments that promise most to the support (local maxima of the gain); return the new size."""
    g, h, z = solver.gradient, solver.curvature, solver.trial
    n = g.size
    gain = solver.gradient  # a gain takes the place of its gradient
    best, where = ZERO, -1
    for j in range(n):
        falls = g[j] < ZERO and z[j] == ZERO and h[j] > ZERO and not solver.banned[j]
        gain[j] = g[j] * g[j] / (F(2) * h[j]) if falls else ZERO
        if gain[j] > best:
            best, where = gain[j], j
    if best < LEAST_GAIN or size >= MAX_SUPPORT:
        return size
    if not several:
        solver.support[size] = where
        return size + 1
    added = 0
    for j in range(n):
        before = gain[j - 1] if j > 0 else ZERO
        after = gain[j + 1] if j < n - 1 else ZERO
        peak = gain[j] >= before and gain[j] > after and gain[j] > ENTER_SHARE * best
        if peak and added < ENTER_TOGETHER and size + added < MAX_SUPPORT:
            solver.support[size + added] = j
            added += 1
    return size + added


@compiled
def minimise_model(matrix: Single, solver: Solver, size: int) -> int:
    """Minimise the quadratic model over z >= 0, starting from the first ``size`` segments of the support.

    Leaves z in ``trial`` and its support in ``support``; returns the size of the support.

    As long as the minimum falls, several segments enter at once, and all that turn negative leave at once. Then one
    enters at a time, and z moves no further than to the boundary, so that the method ends.
    """
    z, support, solution = solver.trial, solver.support, solver.solution
    fill(z, ZERO)
    for j in range(z.size):
        solver.banned[j] = False
    several, lowest, built, same, entered_alone = True, math.inf, 0, 0, -1
    for _ in range(4 * MAX_SUPPORT):  # each segment enters and leaves a few times at most, but for rounding
        _extend_gram(matrix, solver, built, size)
        factorise(solver.gram, same, size, solver.factor)
        solve_factorised(solver.factor, solver.right, size, solution)
        share = _share_to_boundary(solver, size)
        if share == 1.0 or several:
            for i in range(size):
                z[support[i]] = F(max(solution[i], 0.0))
        else:
            _go_to_boundary(solver, size, share, entered_alone)
        if share < 1.0:
            built, same = _drop(solver, size)
            if built == size:
                break
            size = built
            continue
        value = _model_value(solver, size)
        several = several and value < lowest
        lowest = min(lowest, value)
        _model_gradient(matrix, solver, size)
        grown = _enter(solver, size, several)
        if grown == size:
            break
        entered_alone = support[size] if grown == size + 1 and not several else -1
        built, same, size = size, size, grown
    return size


@compiled
def _model_value(solver: Solver, size: int) -> float:
    """Return the quadratic model at the support's solution, from its value at 0."""
    value = 0.0
    for i in range(size):
        value -= 0.5 * solver.right[i] * solver.solution[i]
    return value


@compiled
def _share_to_boundary(solver: Solver, size: int) -> float:
    """Return how far z may go towards the solution, as a share of the way, before a segment's energy is 0."""
    share = 1.0
    for i in range(size):
        if solver.solution[i] <= 0:
            old = float(solver.trial[solver.support[i]])
            share = min(share, old / (old - solver.solution[i]) if old > 0 else 0.0)
    return share


@compiled
def _go_to_boundary(solver: Solver, size: int, share: float, entered_alone: int) -> None:
    """Go this share of the way; a segment that is in and out at once, by rounding, is banned."""
    for i in range(size):
        j = solver.support[i]
        solver.trial[j] += F(share * (solver.solution[i] - float(solver.trial[j])))
        if solver.trial[j] <= F(1e-6):  # PE: what rounding leaves of 0
            solver.trial[j] = ZERO
            if j == entered_alone:
                solver.banned[j] = True


@compiled
def _model_gradient(matrix: Single, solver: Solver, size: int) -> None:
    """Fill the gradient of the quadratic model at the support's solution."""
    along = solver.along
    fill(along, ZERO)
    for i in range(size):
        z = F(solver.solution[i])
        column = solver.column[i]
        for r in range(along.size):
            along[r] += z * column[r]
    for r in range(along.size):
        along[r] *= solver.weight[r]
    correlate(matrix, along, solver.gradient)
    for j in range(solver.gradient.size):
        solver.gradient[j] -= solver.pull[j]


@compiled
def _make_model(matrix: Single, charge: Single, noise: Single, solver: Solver) -> None:
    """Set up the quadratic model of f at mu: weights q/mu2, the linear term, the diagonal of the second derivative."""
    mu, weight, target = solver.mu, solver.weight, solver.target
    for r in range(mu.size):
        share = charge[r] / mu[r]
        weight[r] = share / mu[r]
        target[r] = share + weight[r] * (mu[r] - noise[r])
    fill(solver.pull, ZERO)
    fill(solver.curvature, ZERO)
    for r in range(mu.size):
        _add_row(matrix[r], target[r], weight[r], solver.pull, solver.curvature)
    for j in range(solver.pull.size):
        solver.pull[j] -= ONE


@compiled
def _add_row(row: Single, target: np.float32, weight: np.float32, pull: Single, curvature: Single) -> None:
    """Add one bin to the linear term and the diagonal."""
    for j in range(row.size):
        pull[j] += row[j] * target
        curvature[j] += row[j] * row[j] * weight


@compiled
def start_energies(matrix: Single, charge: Single, noise: Single, y: Single, solver: Solver) -> None:
    """Fill ``y`` from nothing: equal shares, then steps of expectation maximisation."""
    fill(y, F(total_of(charge) / y.size))
    for _ in range(EM_STEPS):
        expect(matrix, y, noise, solver.mu)
        for r in range(charge.size):
            solver.weight[r] = charge[r] / solver.mu[r]
        correlate(matrix, solver.weight, solver.gradient)
        for j in range(y.size):
            y[j] *= solver.gradient[j]


@compiled
def minimise(
    matrix: Single, charge: Single, noise: Single, y: Single, warm: bool, tolerance: float, solver: Solver
) -> float:
    """Minimise f from ``y`` (in and out), until a step gains less than ``tolerance``; return f.

    ``warm``: ``y`` is near the solution, so the first model begins with the segments that have energy.

    ``solver.mu`` is left at the expectation of the solution.
    """
    mu, mu_trial, mu_step, z = solver.mu, solver.mu_trial, solver.mu_step, solver.trial
    expect(matrix, y, noise, mu)
    total = total_of(y)
    f = objective(mu, charge, total)
    support = 0  # each model's active set starts from that of the one before
    if warm:
        for j in range(y.size):
            if y[j] > ZERO and support < MAX_SUPPORT:
                solver.support[support] = j
                support += 1
    for _ in range(NEWTON_STEPS):
        _make_model(matrix, charge, noise, solver)
        support = minimise_model(matrix, solver, support)
        expect(matrix, z, noise, mu_step)
        trial_total = total_of(z)
        length, gain = 1.0, 0.0
        for _halving in range(25):  # beyond, single precision cannot tell the steps apart
            for r in range(mu.size):
                mu_trial[r] = mu[r] + F(length) * (mu_step[r] - mu[r])
            gain = f - objective(mu_trial, charge, total + length * (trial_total - total))
            if gain > 0:
                break
            length *= 0.5
        if not gain > 0:
            break
        f -= gain
        total += length * (trial_total - total)
        copy(mu_trial, mu)
        for j in range(y.size):
            y[j] = z[j] if length == 1.0 else y[j] + F(length) * (z[j] - y[j])
        if length == 1.0 and gain < tolerance:
            break
    return f
