"""From the paths of photons to the numbers with which the kernels describe layered ice, cell by cell.

A cell is a node of `millipede.layers`: an angle to the vertical and a distance, below or above a DOM of some height.
Its six numbers follow from what photons do there:

1. The rates of scattering and absorption with which the photon table comes nearest to the delays of isotropic light.
2. With this scattering, the absorption and the two slopes for which the model of one shower, averaged over the
   directions of the shower, has the charge and the first moments (along the line to the DOM, and along the vertical)
   that the photons have.
3. With this scattering, the shape (`light.shaped`) for which light is seen when photons are seen. The angular
   acceptance counts: scattered light comes from elsewhere than direct light.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.ice import ORIGIN_DEPTH, Ice
from skymap_scanner.reconstruction.ice_tables.photon_walk import COSINES, DELAYS, ROOTS, Paths
from skymap_scanner.reconstruction.ice_tables.table_light import TableLight
from skymap_scanner.reconstruction.millipede.constants import COS_CHERENKOV, EMISSION_A, EMISSION_B
from skymap_scanner.reconstruction.millipede.layers import N_COSINE, N_DISTANCE, N_NUMBER, ROOT_STEP

Array = NDArray[np.float64]

#: Nearer cells than the first go over to the ice of the straight way; farther ones than the last deviate as it does.
FIRST, LAST = 3, 13
#: How well the ice of the straight way is known beforehand, of the logarithms: nearby, and elsewhere.
NEARBY, ELSEWHERE = 0.1, 0.3
#: A scatter every so many metres: what is counted once, roughly.
_SCATTER = 2.5
#: Photoelectrons of a typical DOM, and the relative error of its light: delays need not be fitted better.
_PHOTOELECTRONS, _ERROR = 200.0, 0.03
_SUB = 6
#: A cell with less than this share of the light that the table gives is dark: too few photons came by.
_LEAST = 0.05
_NO_LIGHT = 1e-100
#: Nearby, absorption has no hold on the charge, and stays near what the delays say: error of the charge over that of
#: the logarithm of the absorption, squared.
_PULL = 0.01
#: What the shape of the delays costs, and the least share of a delay that counts in full: where few photons came by.
_STIFF, _LEAST_PART = 1e-3, 2e-3
#: Directions of showers for the averages.
_DIRECTIONS = 128


def straight_means(ice: Ice, height: float) -> tuple[Array, Array]:
    """Return the logarithms of the mean rates (1/m) on the straight ways to a DOM, (cosines, distances)."""
    cosine = np.linspace(-1, 1, N_COSINE)[:, None]
    distance = (np.arange(N_DISTANCE) * ROOT_STEP)[None] ** 2
    depth = ORIGIN_DEPTH - height
    source = depth + cosine * distance
    edges = ice.depth_top + ice.thickness * np.arange(len(ice.absorption_length) + 1)
    means = []
    for length in (ice.effective_scattering_length, ice.absorption_length):
        integral = np.append(0.0, np.cumsum(ice.thickness / length))

        def up_to(place: Array, length: Array = length, integral: Array = integral) -> Array:
            # the outermost layers go on
            beyond = np.minimum(place - edges[0], 0.0) / length[0] + np.maximum(place - edges[-1], 0.0) / length[-1]
            return np.asarray(np.interp(place, edges, integral) + beyond)

        half = np.maximum(np.abs(source - depth), 1.0) / 2
        middle = (source + depth) / 2
        means.append(np.log((up_to(middle + half) - up_to(middle - half)) / (2 * half)))
    return means[0], means[1]


def fit(paths: Paths, photons: int, ice: Ice, height: float, light: TableLight) -> Array:
    """Return the numbers of `layers`, rates as logarithms of 1/m, (N_NUMBER, cosines, distances)."""
    start = np.array([*straight_means(ice, height), *np.zeros((N_NUMBER - 2, N_COSINE, N_DISTANCE))])
    found = start.copy()
    volume = 2 * math.pi / 3 * np.diff(COSINES)[:, None] * np.diff(ROOTS**6)[None]
    for k in range(FIRST, LAST + 1):
        root = ROOTS[k] + (ROOTS[k + 1] - ROOTS[k]) * (np.arange(_SUB) + 0.5) / _SUB
        distance, share = root**2, root**5 / (root**5).sum()
        width = NEARBY if k == FIRST else ELSEWHERE
        delay = paths.delay[:, k] / volume[:, k, None]
        counts = paths.delay[:, k] * photons / _SCATTER
        found[:2, :, k] = _fit_delays(delay, counts, start[:2, :, k], width, distance, share, light)
        seen = paths.seen[:, k]
        moments = np.array([seen.sum(axis=1), paths.upwards[:, k], paths.ahead[:, k]]) / volume[:, k]
        moments[1:] *= mean_cosine()
        found[1:4, :, k] = _fit_moments(moments, found[:2, :, k], distance, share, light)
        found[4:, :, k] = _fit_shape(seen, found[:2, :, k], distance, share, light)
    found[:, :, LAST + 1 :] = start[:, :, LAST + 1 :] + (found - start)[:, :, LAST : LAST + 1]
    for k in range(FIRST):
        found[:, :, k] = start[:, :, k] + (found - start)[:, :, FIRST] * (k / FIRST)
    return found


def mean_cosine() -> float:
    """Return the mean cosine between the axis of a shower and its light."""
    cosine = np.linspace(-1, 1, 200_001)
    weight = np.exp(-EMISSION_A * np.abs(cosine - COS_CHERENKOV) ** EMISSION_B)
    return float((weight * cosine).sum() / weight.sum())


def _fit_delays(
    seen: Array, counts: Array, start: Array, width: float, distance: Array, share: Array, light: TableLight
) -> Array:
    """Return the two logarithms (2, cosines) that describe the delays of isotropic light best, by Gauss and Newton."""
    rates = start.copy()

    def model(at: Array) -> Array:
        parts = [light.delayed(np.exp(at[0]), np.exp(at[1]), d, DELAYS) for d in distance]
        return np.asarray(np.tensordot(share, parts, 1))

    step = 0.02
    for _ in range(6):
        value = np.maximum(model(rates), 1e-300)
        part = value / value.sum(axis=1, keepdims=True)
        used = (part > 2e-3) & (seen > 0)
        weight = np.where(used, 1 / (1 / np.maximum(counts, 1e-3) + 1 / (_PHOTOELECTRONS * part + 1e-9) + _ERROR**2), 0)
        slopes = [
            (np.log(np.maximum(model(rates + step * one[:, None]), 1e-300)) - np.log(value)) / step for one in np.eye(2)
        ]
        missing = np.clip(np.log(np.maximum(seen, 1e-300)) - np.log(value), -2, 2)
        for_all = np.einsum("icj,kcj,cj->cik", slopes, slopes, weight) + np.eye(2) / width**2
        gradient = np.einsum("icj,cj,cj->ci", slopes, missing, weight) - (rates - start).T / width**2
        rates += np.clip(np.linalg.solve(for_all, gradient[..., None])[..., 0], -0.3, 0.3).T
    return rates


def _fit_moments(moments: Array, rates: Array, distance: Array, share: Array, light: TableLight) -> Array:
    """Return ln absorption rate and the two slopes (3, cosines) that give charge and first moments."""
    number = np.arange(_DIRECTIONS) + 0.5
    n_z, azimuth = 1 - 2 * number / _DIRECTIONS, math.pi * (1 + math.sqrt(5)) * number
    n_x = np.sqrt(1 - n_z**2) * np.cos(azimuth)
    cosine = np.linspace(-1, 1, N_COSINE)[:, None]
    psi = cosine * n_z + np.sqrt(1 - cosine**2) * n_x
    scatter, solved = np.exp(rates[0])[:, None], np.array([rates[1], np.zeros(N_COSINE), np.zeros(N_COSINE)])
    for _ in range(6):
        absorb = np.exp(solved[0])[:, None]
        each = [s * light.charge(scatter, absorb, d, psi, cosine, n_z) for s, d in zip(share, distance, strict=True)]
        tilted = np.exp(solved[1][:, None] * n_z + solved[2][:, None] * psi)
        value = sum(each) * tilted
        by_absorb = (
            -sum(e * d for e, d in zip(each, distance, strict=True)) * np.sqrt(3 * absorb * scatter) / 2 * tilted
        )
        tests = np.array([np.ones_like(psi), np.broadcast_to(n_z, psi.shape), psi])
        slopes = np.array([by_absorb, value * n_z, value * psi])
        matrix = np.einsum("icn,kcn->cik", tests, slopes) / _DIRECTIONS
        missing = moments - (tests * value).mean(axis=2)
        # where hardly any light comes, and along the vertical, where the two slopes are one, small steps are preferred
        scale = np.maximum(np.maximum(moments[0], value.mean(axis=1) * _LEAST), _NO_LIGHT)
        matrix, missing = matrix / scale[:, None, None], missing / scale
        square = np.einsum("cik,cil->ckl", matrix, matrix) + np.diag([_PULL, 1e-3, 1e-3])
        downhill = np.einsum("cik,ic->ck", matrix, missing)
        downhill[:, 0] -= _PULL * (solved[0] - rates[1])
        step = np.linalg.solve(square, downhill[..., None])[..., 0].T
        solved += np.clip(step, -0.5, 0.5)
    dark = moments[0] <= _LEAST * value.mean(axis=1)
    solved[:, dark] = np.array([rates[1][dark], *np.zeros((2, int(dark.sum())))])
    return solved


def _fit_shape(seen: Array, rates: Array, distance: Array, share: Array, light: TableLight) -> Array:
    """Return by how much sooner and how much wider light comes than in the photon table, (2, cosines).

    ``seen`` (cosines, delays): path of the photons that are seen.
    """
    parts = [light.delayed(np.exp(rates[0]), np.exp(rates[1]), d, DELAYS) for d in distance]
    value = np.tensordot(share, parts, 1)
    expected = value / np.maximum(value.sum(axis=1, keepdims=True), _NO_LIGHT)
    come = np.cumsum(expected, axis=1)
    both = come * (1 - come)
    slopes = [np.diff(change, prepend=0.0, axis=1) for change in (both, both * (1 - 2 * come))]
    total = np.maximum(seen.sum(axis=1, keepdims=True), _NO_LIGHT)
    missing, weight = seen / total - expected, 1 / np.maximum(expected, _LEAST_PART)
    matrix = np.einsum("icj,kcj,cj->cik", slopes, slopes, weight) + np.eye(2) * _STIFF
    found = np.linalg.solve(matrix, np.einsum("icj,cj,cj->ci", slopes, missing, weight)[..., None])[..., 0].T
    # the density must not fall below a tenth of the photon table's anywhere
    at = np.linspace(0, 1, 41)
    change = np.multiply.outer(found[0], 1 - 2 * at) + np.multiply.outer(found[1], 1 - 6 * at * (1 - at))
    return np.asarray(found * np.minimum(1, 0.9 / np.maximum(-change.min(axis=1), 1e-9)))
