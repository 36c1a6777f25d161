"""Simulated events follow the photon model: the exact likelihood of this model recovers the truth."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import chi2

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ice_model
from skymap_scanner.event.preparation import in_ice, prepare
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel
from skymap_scanner.simulation import read_truth, simulate
from skymap_scanner.simulation.losses import Losses
from skymap_scanner.simulation.photoelectrons import draw_photoelectrons

BIN = 10.0  # ns
VERTEX = np.array([-180.0, 60.0, 300.0])
ENERGY = 5e4  # GeV
Array = NDArray[np.float64]


class Recovered(NamedTuple):
    """Best fit less truth (x, y, z in m, ns, ln of the energy), and 2 delta ln L of the truth."""

    shift: Array
    delta: float


def recover(dom: NDArray[np.intp], time: Array, charge: Array, truth: Array, along: Array) -> Recovered:
    """Fit one cascade with the Poisson likelihood in fixed bins of 10 ns: unbiased, unlike adaptive bins."""
    geometry = ic86()
    start = float(time.min()) - BIN
    cell, row = np.unique(np.stack([dom, ((time - start) // BIN).astype(np.intp)]), axis=1, return_inverse=True)
    binned = np.bincount(row.ravel(), charge)
    model = PhotonModel(geometry, ice_model())
    noise = geometry.noise[cell[0]] * 1e-9 * BIN

    def minus_log_likelihood(x: Array) -> float:
        expected = model.expected_charge(x[None, :3], along, np.array([math.exp(x[4])]))[0]
        edge = start + cell[1] * BIN - x[3]
        places = np.broadcast_to(x[:3], (len(edge), 3))
        share = model.arrived(places, along, cell[0], edge + BIN) - model.arrived(places, along, cell[0], edge)
        return float(expected.sum() - binned @ np.log(expected[cell[0]] * share + noise))

    simplex = truth + np.vstack([[4.0, -4.0, 4.0, 15.0, 0.1], np.diag([-8.0, 8.0, -8.0, 10.0, -0.1])])
    found = minimize(
        minus_log_likelihood, simplex[0], method="Nelder-Mead", options={"initial_simplex": simplex, "fatol": 0.01}
    )
    return Recovered(found.x - truth, 2 * (minus_log_likelihood(truth) - found.fun))


def test_light_is_drawn_from_its_own_likelihood() -> None:
    """2 delta ln L of the truth is chi-squared with 5 degrees of freedom for each cascade."""
    truth, deltas = np.array([*VERTEX, 0.0, math.log(ENERGY)]), []
    for seed in range(3):
        along = travel_direction(1.0 + 0.1 * seed, 2.0)
        losses = Losses(np.zeros(1), np.full(1, ENERGY))
        dom, time = draw_photoelectrons(np.random.default_rng(seed), losses, VERTEX, along, ic86(), ice_model())
        deltas.append(recover(dom, time, np.ones(len(dom)), truth, along).delta)
    low, high = chi2.ppf([0.001, 0.999], 5 * len(deltas))
    assert low < sum(deltas) < high


def test_exact_likelihood_recovers_vertex_time_and_energy() -> None:
    """With the readout, too, which merges what comes within 5 ns into one pulse: some ns late."""
    event = simulate("cascade", energy=ENERGY, seed=11, vertex=tuple(VERTEX.tolist()), ra=200.0, dec=30.0)
    truth, prepared = read_truth(event.frames["P"]), prepare(event)
    assert truth is not None
    pulses, dom = in_ice(prepared.pulses, ic86())
    at_truth = np.array([*truth.vertex, truth.time, math.log(truth.energy)])
    along = travel_direction(truth.zenith, truth.azimuth)
    shift, _ = recover(dom, pulses.time, pulses.charge, at_truth, along)
    assert np.abs(shift[:3]).max() < 2.0  # m
    assert abs(shift[3]) < 5.0  # ns
    assert abs(shift[4]) < 0.05
