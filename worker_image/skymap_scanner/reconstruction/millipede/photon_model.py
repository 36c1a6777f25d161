"""The light model in plain numpy and double precision: for the simulation, and to hold the kernels to.

    PE of a cascade of energy E in a DOM = E . PE_PER_GEV . efficiency . acceptance . fluence,
    fluence = table(r, cos psi) (25 m / le)^2 exp(-d (1/lp - 1/lp of the table's ice, scaled)),    r = d 25 m / le,

with le and la the effective lengths of the ice between cascade and DOM (`layers`) and lp = sqrt(le la / 3), and less or
more of it by the direction to the flow of the ice (`anisotropy`).
Light comes at d / c_ice + delay; delays scale like lengths, are smeared, and shaped by the layers. Every number comes
from the same `interpolants.LightTables` as the kernels', so that the two differ by rounding only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ice import FLOW_AZIMUTH, Ice, along_azimuth, layer_height
from skymap_scanner.reconstruction.millipede.acceptance import scattered, turned
from skymap_scanner.reconstruction.millipede.anisotropy import DELAYED, kappa, way
from skymap_scanner.reconstruction.millipede.constants import ACCEPTANCE, C_ICE, PE_PER_GEV, TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.interpolants import (
    KNEE_LENGTH,
    KNEE_RATE,
    KNEE_SHORT,
    N_LENGTH,
    N_RADIUS,
    N_TIME,
    N_TIME_ANGLE,
    N_TIME_RADIUS,
    ROOT_MIN,
    ROOT_STEP,
    TIME_ROOT_STEP,
    LightTables,
    make_tables,
)
from skymap_scanner.reconstruction.millipede.layers import (
    FARTHEST,
    N_COSINE,
    N_DISTANCE,
    N_NUMBER,
    column_of,
    layer_table,
)
from skymap_scanner.reconstruction.millipede.layers import ROOT_STEP as LAYER_ROOT_STEP
from skymap_scanner.reconstruction.millipede.table import PhotonTable, load

Array = NDArray[np.float64]

#: No DOM is nearer than this, m (the table begins there).
_NEAREST = 1.0
#: An index of a pair of nodes ends this much below their number.
_PAIR = 1.001

_Corner = tuple[NDArray[np.int64], NDArray[np.int64], Array]


class _Way(NamedTuple):
    """How delays of pairs of a cascade and a DOM (n,) are looked up.

    ``distance``, m; ``scale``: scaled ns per ns; ``kind``: class of the smear; ``corners``: nodes (radius, angle) with
    their weights; ``sooner``, ``wider``: what the layers do to the share that has come.
    """

    distance: Array
    scale: Array
    kind: NDArray[np.int64]
    corners: list[_Corner]
    sooner: Array
    wider: Array


class PhotonModel:
    """Light of cascades in all DOMs of a geometry.

    Positions in m (detector frame), energies in GeV, times in ns; ``direction`` is the unit vector along which the
    cascade develops, one for all of them. ``acceptance``: coefficients of the powers of cos eta. DOMs are indices of
    the geometry; dead ones see nothing.
    """

    def __init__(
        self,
        geometry: Geometry,
        ice: Ice,
        table: PhotonTable | None = None,
        acceptance: Array = np.array(ACCEPTANCE),  # noqa: B008 - never changed
    ) -> None:
        self._acceptance = acceptance
        self._tables = _shipped_tables() if table is None else make_tables(table)
        self._arrival = self._tables.arrival.reshape(-1, N_TIME_RADIUS, N_TIME_ANGLE, N_TIME).astype(np.float64)
        self._dom = geometry.position
        self._efficiency = np.where(geometry.dead, 0.0, geometry.efficiency) * PE_PER_GEV
        self._layers = layer_table(ice).reshape(-1, N_NUMBER).astype(np.float64)
        self._column = column_of(geometry.position)
        self._height, self._flow = layer_height(geometry.position), along_azimuth(geometry.position, FLOW_AZIMUTH)
        self._anisotropy = ice.anisotropy

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
        way = self._delays(position, direction, dom)
        late = np.maximum((time - way.distance / C_ICE) * way.scale + self._tables.shift[way.kind], 0.0)
        return shaped(self._come(way, late), way.sooner, way.wider)

    def draw_times(
        self,
        random: np.random.Generator,
        position: Array,
        direction: Array,
        source: NDArray[np.intp],
        dom: NDArray[np.intp],
    ) -> Array:
        """Draw, for each photon (source index, DOM), the time from its emission to its record (ns)."""
        where, time, left = np.asarray(position, np.float64)[source], np.empty(len(source)), np.arange(len(source))
        while len(left):  # the table's times are drawn, and kept as often as the layers ask for
            way = self._delays(where[left], direction, dom[left])
            late = self._draw_late(random, way)
            share = self._come(way, late)
            more = way.sooner * (1 - 2 * share) + way.wider * (1 - 6 * share * (1 - share))
            kept = random.random(len(left)) * (1 + np.abs(way.sooner) + np.abs(way.wider)) < 1 + more
            come = way.distance / C_ICE + (late - self._tables.shift[way.kind]) / way.scale
            time[left[kept]] = come[kept]
            left = left[~kept]
        return time

    def _come(self, way: _Way, late: Array) -> Array:
        """Return the share of the photon table's light that has come at scaled times after the first node."""
        place = np.minimum(late / (late + knee(way.distance * way.scale)) * (N_TIME - 1), N_TIME - _PAIR)
        node = place.astype(np.int64)
        part = place - node
        share = np.zeros(len(late))
        for i, j, weight in way.corners:
            low, high = self._arrival[way.kind, i, j, node], self._arrival[way.kind, i, j, node + 1]
            share += weight * (low + part * (high - low))
        return share

    def _draw_late(self, random: np.random.Generator, way: _Way) -> Array:
        """Draw scaled times after the first node from the photon table."""
        # Choosing a corner with its weight draws from the interpolated distribution.
        chosen = random.random(len(way.distance))
        i, j = way.corners[0][0].copy(), way.corners[0][1].copy()
        below = np.zeros(len(chosen))
        for corner_i, corner_j, weight in way.corners:
            here = (chosen >= below) & (weight > 0)
            i[here], j[here] = corner_i[here], corner_j[here]
            below = below + weight
        place = self._invert(way.kind, i, j, random.random(len(chosen)))
        return np.asarray(knee(way.distance * way.scale) * place / (1 - place))

    def _delays(self, position: Array, direction: Array, dom: NDArray[np.integer]) -> _Way:
        """Return where the delays of each pair of a cascade and a DOM (n,) are tabulated."""
        distance, cos_psi, _, kappa_there, (scatter, _, _, _, sooner, wider) = self._path(position, direction, dom)
        rate = scatter * (1 + DELAYED * kappa_there)
        kind, corners = self._time_corners(distance * TABLE_SCATTERING * rate, cos_psi, rate)
        return _Way(distance, TABLE_SCATTERING * rate, kind, corners, sooner, wider)

    def _path(
        self, position: Array, direction: Array, dom: NDArray[np.integer]
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Return distance, cos psi, cos eta, kappa (n,), and the numbers of the layers on the way (N_NUMBER, n)."""
        away = self._dom[dom] - position
        distance = np.maximum(np.sqrt((away**2).sum(axis=1)), _NEAREST)
        cos_eta = away[:, 2] / distance
        u = np.minimum(np.sqrt(distance) / LAYER_ROOT_STEP, N_DISTANCE - _PAIR)
        cos_layers = (self._height[dom] - layer_height(position)) / distance
        v = np.clip((cos_layers + 1) * (N_COSINE - 1) / 2, 0.0, N_COSINE - _PAIR)
        numbers = np.zeros((len(distance), N_NUMBER))
        for i, j, weight in _corners(u, v, N_COSINE - _PAIR):
            numbers += weight[:, None] * self._layers[self._column[dom] // N_NUMBER + j * N_DISTANCE + i]
        cos_flow = (self._flow[dom] - along_azimuth(position, FLOW_AZIMUTH)) / distance
        cos_psi = (away * direction).sum(axis=1) / distance
        return distance, cos_psi, cos_eta, kappa(cos_flow, self._anisotropy), numbers.T

    def _charge(self, position: Array, direction: Array, dom: NDArray[np.int64]) -> Array:
        """Return the expected PE per GeV of pairs of a cascade and a DOM (n,)."""
        distance, cos_psi, cos_eta, kappa_there, numbers = self._path(position, direction, dom)
        scatter, absorb, by_axis, by_psi, _, _ = numbers
        lengths, axis_z = distance * scatter, float(direction[2])
        seen = scattered(self._acceptance, turned(cos_eta, cos_psi, axis_z, lengths), lengths)
        more = by_axis * axis_z + by_psi * cos_psi - kappa_there * way(distance, scatter, absorb)
        light = fluence(self._tables, distance, cos_psi, scatter, absorb) * np.exp(more)
        return np.where(distance < FARTHEST, self._efficiency[dom] * light * seen, 0.0)  # the layers end there

    def _time_corners(self, radius: Array, cos_psi: Array, scatter: Array) -> tuple[NDArray[np.int64], list[_Corner]]:
        """Return the class of each pair, and the four nodes (radius, angle) around it with their weights."""
        tables = self._tables
        kind = tables.class_of[np.minimum(1 / scatter, N_LENGTH - 1).astype(np.int64)].astype(np.int64)
        u = np.clip((np.sqrt(radius) - ROOT_MIN) / TIME_ROOT_STEP, 0.0, N_TIME_RADIUS - _PAIR)
        v = (cos_psi - tables.time_angle_first) * float(tables.time_angle_density)
        return kind, _corners(u, np.clip(v, 0.0, N_TIME_ANGLE - _PAIR), N_TIME_ANGLE - _PAIR)

    def _invert(self, kind: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64], share: Array) -> Array:
        """Return the place on the axis of time, from 0 to 1, at which the distribution of a node reaches ``share``."""
        place = np.empty(len(share))
        axis = np.arange(N_TIME) / (N_TIME - 1)
        cell = (kind * N_TIME_RADIUS + i) * N_TIME_ANGLE + j
        order = np.argsort(cell, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
            if len(part):
                first = part[0]
                place[part] = np.interp(share[part], self._arrival[kind[first], i[first], j[first]], axis)
        return np.minimum(place, 1 - 1e-6)


def fluence(tables: LightTables, distance: Array | float, cos_psi: Array, scatter: Array, absorb: Array) -> Array:
    """Return the fluence of one photon, 1/m2, at ``distance`` (m) from a cascade, in ice of these rates (1/m).

    The arguments are broadcast against each other.
    """
    scale = TABLE_SCATTERING * scatter
    u = np.clip((np.sqrt(distance * scale) - ROOT_MIN) / ROOT_STEP, 0.0, N_RADIUS - _PAIR)
    v = (cos_psi - float(tables.angle_first)) * float(tables.angle_density)
    table = tables.log_fluence.reshape(N_RADIUS, -1)
    # angles beyond the outermost go on along the straight line
    corners = _corners(u, v, float(tables.angles) - _PAIR)
    logarithm = np.sum([weight * table[i, j] for i, j, weight in corners], axis=0)
    return np.asarray(np.exp(logarithm - steeper(tables, distance, scatter, absorb)) * scale**2)


def steeper(tables: LightTables, distance: Array | float, scatter: Array, absorb: Array) -> Array:
    """Return how much more light falls off on the way than in the ice of the photon table, of the logarithm."""
    reference = float(tables.reference_decay) * TABLE_SCATTERING * scatter
    return np.asarray(distance * (np.sqrt(3 * absorb * scatter) - reference))


def _corners(u: Array, v: Array, last: float) -> list[_Corner]:
    """Return the four nodes around (u, v), with their weights; the node in v ends at ``last``, the weight does not."""
    i, j = u.astype(np.int64), np.clip(v, 0.0, last).astype(np.int64)
    f, g = u - i, v - j
    return [
        (i, j, (1 - f) * (1 - g)),
        (i + 1, j, f * (1 - g)),
        (i, j + 1, (1 - f) * g),
        (i + 1, j + 1, f * g),
    ]


def knee(radius: Array) -> Array:
    """Return the knee of the axis of time at a scaled distance (scaled ns)."""
    return np.asarray(KNEE_SHORT + KNEE_RATE * radius * radius / (radius + KNEE_LENGTH))


def shaped(share: Array, sooner: Array, wider: Array) -> Array:
    """Return the share of the light that has come in layered ice, from that of the photon table."""
    return np.asarray(share + share * (1 - share) * (sooner + wider * (1 - 2 * share)))


@lru_cache(maxsize=1)
def _shipped_tables() -> LightTables:
    return make_tables(load())
