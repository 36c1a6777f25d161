from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from skymap_scanner.reconstruction.millipede.energies import make_solver, minimise, start_energies


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a scaled matrix (bins, segments), charges and noise of a track with a few losses."""
    random = np.random.default_rng(seed)
    bins, segments = int(random.integers(20, 200)), int(random.integers(5, 70))
    centre, place = random.uniform(0, 1, (bins, 1)), np.linspace(0, 1, segments)
    matrix = np.exp(-(((centre - place) / random.uniform(0.02, 0.3)) ** 2)) * random.uniform(0.2, 1, (bins, 1))
    matrix /= matrix.sum(axis=0) * random.uniform(1.1, 4, segments)
    truth = np.where(random.random(segments) < 0.15, random.exponential(200, segments), 0)
    truth[random.integers(segments)] += 100
    noise = random.uniform(1e-5, 1e-2, bins)
    charge = np.maximum(random.poisson(matrix @ truth + noise), 0.3)
    return matrix.astype(np.float32), charge.astype(np.float32), noise.astype(np.float32)


def value(y: np.ndarray, matrix: np.ndarray, charge: np.ndarray, noise: np.ndarray) -> tuple[float, np.ndarray]:
    mu = noise.astype(float) + matrix.astype(float) @ y
    return float(y.sum() - charge @ np.log(mu)), 1 - matrix.T.astype(float) @ (charge / mu)


@pytest.mark.parametrize("seed", range(25))
def test_optimum_agrees_with_a_general_optimiser_and_kkt_conditions(seed: int) -> None:
    matrix, charge, noise = problem(seed)
    y = np.zeros(matrix.shape[1], np.float32)
    solver = make_solver(*matrix.shape)
    start_energies(matrix, charge, noise, y, solver)
    f = minimise(matrix, charge, noise, y, False, 1e-3, solver)
    reference = minimize(
        value,
        np.full(matrix.shape[1], charge.sum() / matrix.shape[1]),
        args=(matrix, charge, noise),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * matrix.shape[1],
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-13, "gtol": 1e-8},
    )
    assert f == pytest.approx(value(y.astype(float), matrix, charge, noise)[0], abs=0.01)
    assert f <= reference.fun + 0.06
    assert (y >= 0).all()
    _, gradient = value(y.astype(float), matrix, charge, noise)
    assert np.abs(gradient[y > 1]).max(initial=0) < 0.02  # stationary where there is energy
    assert gradient[y == 0].min(initial=0) > -0.1  # and nothing to gain where there is none


def test_segments_without_charge_in_reach_have_no_energy() -> None:
    matrix = np.zeros((3, 4), np.float32)
    charge, noise = np.ones(3, np.float32), np.full(3, 1e-3, np.float32)
    y = np.zeros(4, np.float32)
    solver = make_solver(3, 4)
    start_energies(matrix, charge, noise, y, solver)
    f = minimise(matrix, charge, noise, y, False, 1e-3, solver)
    assert f == pytest.approx(-3 * np.log(1e-3), rel=1e-5)
    assert (y == 0).all()
