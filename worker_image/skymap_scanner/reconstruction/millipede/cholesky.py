"""Linear equations of small symmetric matrices, by Cholesky's factors."""

from __future__ import annotations

import math

from skymap_scanner.reconstruction.millipede.arrays import Double
from skymap_scanner.reconstruction.millipede.compiled import compiled


@compiled
def solve_cholesky(gram: Double, right: Double, size: int, factor: Double, out: Double) -> None:
    """Solve gram x = right for the first ``size`` rows; a pivot lost to rounding is kept positive."""
    factorise(gram, 0, size, factor)
    solve_factorised(factor, right, size, out)


@compiled
def factorise(gram: Double, first: int, size: int, factor: Double) -> None:
    """Fill the rows first..size of the lower triangular ``factor`` of ``gram``; those before are there already."""
    for i in range(first, size):
        for j in range(i + 1):
            value = gram[i, j]
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i == j:
                factor[i, i] = math.sqrt(max(value, 1e-10 * gram[i, i]) + 1e-300)
            else:
                factor[i, j] = value / factor[j, j]


@compiled
def solve_factorised(factor: Double, right: Double, size: int, out: Double) -> None:
    """Solve factor factor^T x = right for the first ``size`` rows."""
    for i in range(size):
        value = right[i]
        for k in range(i):
            value -= factor[i, k] * out[k]
        out[i] = value / factor[i, i]
    for i in range(size - 1, -1, -1):
        value = out[i]
        for k in range(i + 1, size):
            value -= factor[k, i] * out[k]
        out[i] = value / factor[i, i]
