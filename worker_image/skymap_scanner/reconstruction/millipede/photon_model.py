"""The photon model in plain numpy and double precision: for the simulation, and to hold the kernels to.

    PE of a cascade of energy E in a DOM = E . PE_PER_GEV . efficiency . acceptance . fluence,
    fluence = table(r, cos psi) (25 m / le)^2 exp(-d (1/lp - 1/lp of the table's ice, scaled)),    r = d 25 m / le,

with le and la the ice's mean lengths between cascade and DOM (means of 1/length over depth) and lp = sqrt(le la / 3).
Light comes at d / c_ice + delay, delays scaled like lengths, smeared as in `constants.TIME_SMEAR`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ice import ORIGIN_DEPTH, Ice
from skymap_scanner.reconstruction.millipede.constants import (
    ACCEPTANCE,
    ACCEPTANCE_MEAN,
    C_ICE,
    PE_PER_GEV,
    TABLE_SCATTERING,
    TIME_SMEAR,
)
from skymap_scanner.reconstruction.millipede.interpolants import SMEAR_SHARES, decay
from skymap_scanner.reconstruction.millipede.table import PhotonTable, load

Array = NDArray[np.float64]

#: No DOM is nearer than this, m (the table begins there).
_NEAREST = 1.0


class PhotonModel:
    """Light of cascades in all DOMs of a geometry.

    Positions in m (detector frame), energies in GeV, times in ns; ``direction`` is the unit vector along which the
    cascade develops, one for all of them. DOMs are indices of the geometry; dead ones see nothing.
    """

    def __init__(self, geometry: Geometry, ice: Ice, table: PhotonTable | None = None) -> None:
        self._table = load() if table is None else table
        self._dom = geometry.position
        self._efficiency = np.where(geometry.dead, 0.0, geometry.efficiency) * PE_PER_GEV
        self._depth = ice.depth_top + ice.thickness * np.arange(len(ice.absorption_length) + 1)
        self._scatter = np.append(0.0, np.cumsum(ice.thickness / ice.effective_scattering_length))
        self._absorb = np.append(0.0, np.cumsum(ice.thickness / ice.absorption_length))

    def expected_charge(self, position: Array, direction: Array, energy: Array) -> Array:
        """Return the expected PE, (n, doms), of cascades at ``position`` (n, 3) with ``energy`` (n,)."""
        dom = np.arange(len(self._dom))
        rows = [
            self._charge(np.broadcast_to(x, (len(dom), 3)), direction, dom) * e
            for x, e in zip(np.atleast_2d(position), np.atleast_1d(energy), strict=True)
        ]
        return np.array(rows).reshape(-1, len(dom))

    def arrived(self, position: Array, direction: Array, dom: NDArray[np.int64], time: Array) -> Array:
        """Return the share of the light of ``position`` (n, 3) that is at ``dom`` (n,) ``time`` (n,) after emission."""
        distance, cos_psi, _, scatter, _ = self._path(position, direction, dom)
        scale = TABLE_SCATTERING * scatter
        corners = self._corners(distance * scale, cos_psi)
        share = np.zeros(len(distance))
        for offset, part in zip(_smear_offsets(), SMEAR_SHARES, strict=True):
            delay = (time - distance / C_ICE - offset) * scale
            for i, j, weight in corners:
                share += part * weight * self._cdf(i, j, delay)
        return share

    def draw_times(
        self,
        random: np.random.Generator,
        position: Array,
        direction: Array,
        source: NDArray[np.intp],
        dom: NDArray[np.intp],
    ) -> Array:
        """Draw, for each photon (source index, DOM), the time from its emission to its record (ns)."""
        where = np.asarray(position, np.float64)[source]
        distance, cos_psi, _, scatter, _ = self._path(where, direction, dom)
        scale = TABLE_SCATTERING * scatter
        # Choosing a corner with its weight draws from the interpolated distribution.
        corners = self._corners(distance * scale, cos_psi)
        chosen = random.random(len(distance))
        i, j = corners[0][0].copy(), corners[0][1].copy()
        below = np.zeros(len(distance))
        for corner_i, corner_j, weight in corners:
            here = (chosen >= below) & (weight > 0)
            i[here], j[here] = corner_i[here], corner_j[here]
            below = below + weight
        delay = self._invert(i, j, random.random(len(distance))) / scale
        smear = random.choice(_smear_offsets(), len(distance), p=SMEAR_SHARES)
        return np.asarray(distance / C_ICE + delay + smear)

    def _path(
        self, position: Array, direction: Array, dom: NDArray[np.integer]
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Return distance, cos psi, cos eta, and the mean rates of scattering and absorption on the way (n,)."""
        away = self._dom[dom] - position
        distance = np.maximum(np.sqrt((away**2).sum(axis=1)), _NEAREST)
        dz = away[:, 2]
        here, there = ORIGIN_DEPTH - position[:, 2], ORIGIN_DEPTH - self._dom[dom, 2]
        rates = []
        for integral in (self._scatter, self._absorb):
            layer = np.clip(np.searchsorted(self._depth, there, "right") - 1, 0, len(integral) - 2)
            local = (integral[layer + 1] - integral[layer]) / (self._depth[1] - self._depth[0])
            difference = self._integral(integral, here) - self._integral(integral, there)
            # the mean; between equal heights, where it is 0 / 0, the local rate
            rates.append((difference * dz + local) / (dz * dz + 1))
        return distance, (away * direction).sum(axis=1) / distance, dz / distance, rates[0], rates[1]

    def _integral(self, integral: Array, depth: Array) -> Array:
        """Return the integral of a rate down to ``depth``; the outermost layers go on."""
        thickness = self._depth[1] - self._depth[0]
        place = (depth - self._depth[0]) / thickness
        layer = np.clip(place.astype(np.int64), 0, len(integral) - 2)
        return np.asarray(integral[layer] + (place - layer) * (integral[layer + 1] - integral[layer]))

    def _charge(self, position: Array, direction: Array, dom: NDArray[np.int64]) -> Array:
        """Return the expected PE per GeV of pairs of a cascade and a DOM (n,)."""
        distance, cos_psi, cos_eta, scatter, absorb = self._path(position, direction, dom)
        scale = TABLE_SCATTERING * scatter
        fall = decay(self._table.scattering, self._table.absorption)
        level = np.log(self._table.fluence) + fall * self._table.radius[:, None]
        radius = distance * scale
        log_fluence = -fall * radius
        # angles beyond the outermost go on along the straight line
        for i, j, weight in self._corners(radius, cos_psi, beyond=True):
            log_fluence = log_fluence + weight * level[i, j]
        log_fluence -= distance * (np.sqrt(3 * absorb * scatter) - fall * scale)
        memory = 1 / (1 + np.sinh(np.minimum(distance * scatter, 80.0)))
        acceptance = (
            ACCEPTANCE_MEAN + (np.polynomial.polynomial.polyval(cos_eta, ACCEPTANCE) - ACCEPTANCE_MEAN) * memory
        )
        return np.asarray(self._efficiency[dom] * np.exp(log_fluence) * scale**2 * acceptance)

    def _corners(
        self, radius: Array, cos_psi: Array, *, beyond: bool = False
    ) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Array]]:
        """Return the four table cells (radius, angle) around each place, with their weights."""
        table = self._table
        u = np.log(radius / table.radius[0]) / math.log(table.radius[1] / table.radius[0])
        u = np.clip(u, 0, len(table.radius) - 1)
        v = (cos_psi - table.cos_psi[0]) / (table.cos_psi[1] - table.cos_psi[0])
        within = np.clip(v, 0, len(table.cos_psi) - 1)
        v = v if beyond else within
        i = np.minimum(u.astype(np.int64), len(table.radius) - 2)
        j = np.minimum(within.astype(np.int64), len(table.cos_psi) - 2)
        f, g = u - i, v - j
        return [
            (i, j, (1 - f) * (1 - g)),
            (i + 1, j, f * (1 - g)),
            (i, j + 1, (1 - f) * g),
            (i + 1, j + 1, f * g),
        ]

    def _cdf(self, i: NDArray[np.int64], j: NDArray[np.int64], delay: Array) -> Array:
        """Return the distribution of cell (i, j) at a scaled delay: linear up to the first node, then in ln t."""
        table = self._table
        last = len(table.delay) - 1
        place = np.log(np.maximum(delay, table.delay[0])) / math.log(table.delay[-1]) * last
        node = np.minimum(place.astype(np.int64), last - 1)
        part = np.minimum(place - node, 1.0)
        value = table.cdf[i, j, node] * (1 - part) + table.cdf[i, j, node + 1] * part
        return np.asarray(value * np.clip(delay / table.delay[0], 0.0, 1.0))

    def _invert(self, i: NDArray[np.int64], j: NDArray[np.int64], share: Array) -> Array:
        """Return the scaled delay at which the distribution of cell (i, j) reaches ``share``."""
        table = self._table
        log_delay = np.log(table.delay)
        cell = i * len(table.cos_psi) + j
        delay = np.empty(len(share))
        for number in np.unique(cell):
            here = cell == number
            cdf = table.cdf[number // len(table.cos_psi), number % len(table.cos_psi)]
            early = share[here] / cdf[0] if cdf[0] > 0 else np.full(int(here.sum()), np.inf)
            later = np.exp(np.interp(share[here], cdf, log_delay))
            delay[here] = np.where(early < 1, early * table.delay[0], later)
        return delay


def _smear_offsets() -> Array:
    """Return the times (ns) that go with SMEAR_SHARES."""
    return TIME_SMEAR * np.linspace(-1.0, 1.0, len(SMEAR_SHARES))
