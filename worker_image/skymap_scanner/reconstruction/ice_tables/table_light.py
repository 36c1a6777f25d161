"""The light of the photon table in ice of given rates: averaged over the shower's directions, or for many of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.acceptance import scattered, turned
from skymap_scanner.reconstruction.millipede.constants import ACCEPTANCE, TABLE_SCATTERING
from skymap_scanner.reconstruction.millipede.interpolants import (
    N_LENGTH,
    N_RADIUS,
    N_TIME,
    N_TIME_ANGLE,
    N_TIME_RADIUS,
    ROOT_MIN,
    ROOT_STEP,
    TIME_ROOT_STEP,
    make_tables,
)
from skymap_scanner.reconstruction.millipede.photon_model import fluence, knee, steeper
from skymap_scanner.reconstruction.millipede.table import load

Array = NDArray[np.float64]
_PAIR = 1.001


class TableLight:
    """Fluence of one photon, 1/m2, as the kernels look it up; rates in 1/m, ``distance`` in m."""

    def __init__(self) -> None:
        self._tables = make_tables(load(), smear=0.0)  # photons come when they come
        self._log_fluence = self._tables.log_fluence.reshape(N_RADIUS, -1).astype(np.float64)
        self._arrival = self._tables.arrival.reshape(-1, N_TIME_RADIUS, N_TIME_ANGLE, N_TIME).astype(np.float64)
        self._isotropic = np.log(np.exp(self._log_fluence).mean(axis=1))  # the angles are even in their cosine
        self._angle_weight = self._weigh_angles()

    def delayed(self, scatter: Array, absorb: Array, distance: float, edges: Array) -> Array:
        """Return the fluence (n, edges - 1) of isotropic light between delays (ns); the first holds all earlier."""
        scale = TABLE_SCATTERING * scatter
        i, f = _node(np.sqrt(distance * scale), ROOT_STEP, N_RADIUS)
        isotropic = self._isotropic[i] * (1 - f) + self._isotropic[i + 1] * f
        kind = self._tables.class_of[np.minimum(1 / scatter, N_LENGTH - 1).astype(np.int64)].astype(np.int64)
        j, g = _node(np.sqrt(distance * scale), TIME_ROOT_STEP, N_TIME_RADIUS)
        weight = self._angle_weight[j] * (1 - g)[:, None] + self._angle_weight[j + 1] * g[:, None]
        come = np.zeros((len(scatter), len(edges)))
        for k, edge in enumerate(edges[1:], start=1):
            late = np.maximum(edge * scale + self._tables.shift[kind], 0.0)
            place = np.minimum(late / (late + knee(distance * scale)) * (N_TIME - 1), N_TIME - _PAIR)
            node = place.astype(np.int64)
            part = (place - node)[:, None]
            for radius, share in ((j, 1 - g), (j + 1, g)):
                here = (
                    self._arrival[kind, radius, :, node] * (1 - part) + self._arrival[kind, radius, :, node + 1] * part
                )
                come[:, k] += share * (here * weight).sum(axis=1)
        come[:, -1] = 1
        charge = np.exp(isotropic - steeper(self._tables, distance, scatter, absorb)) * scale**2
        return np.asarray(charge[:, None] * np.diff(come))

    def charge(
        self, scatter: Array, absorb: Array, distance: float, cos_psi: Array, cos_eta: Array, axis_z: Array
    ) -> Array:
        """Return fluence times angular acceptance for showers at ``cos_psi`` (cells, showers)."""
        lengths = np.broadcast_to(distance * scatter, cos_psi.shape)
        seen = scattered(np.array(ACCEPTANCE), turned(cos_eta, cos_psi, axis_z, lengths), lengths)
        return np.asarray(fluence(self._tables, distance, cos_psi, scatter, absorb) * seen)

    def _weigh_angles(self) -> Array:
        """Return the share of the light at each angle of the arrival times, (distances, angles)."""
        tables, rows = self._tables, []
        cosine = float(tables.angle_first) + np.arange(self._log_fluence.shape[1]) / float(tables.angle_density)
        at = float(tables.time_angle_first) + np.arange(N_TIME_ANGLE) / float(tables.time_angle_density)
        for n in range(N_TIME_RADIUS):
            i, f = _node(np.array([ROOT_MIN + n * TIME_ROOT_STEP]), ROOT_STEP, N_RADIUS)
            row = np.interp(
                at, cosine, np.exp(self._log_fluence[i] * (1 - f)[:, None] + self._log_fluence[i + 1] * f[:, None])[0]
            )
            row[[0, -1]] /= 2
            rows.append(row / math.fsum(row.tolist()))
        return np.array(rows)


def _node(root: Array, step: float, count: int) -> tuple[NDArray[np.int64], Array]:
    """Return the node before the root of a scaled distance, and the fraction of a step beyond it."""
    u = np.clip((root - ROOT_MIN) / step, 0.0, count - _PAIR)
    return u.astype(np.int64), u - u.astype(np.int64)
