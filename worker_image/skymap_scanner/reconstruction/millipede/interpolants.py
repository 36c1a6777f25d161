"""The photon table resampled for the kernels: single precision, even axes, the time smear folded in.

Scaled units: a length times ``TABLE_SCATTERING`` / (effective scattering length), a time likewise; in them all ice
looks like the table's. Everything here is made with plain sums, products and the C library's log, exp and sqrt, so
that the bits do not depend on which vector instructions numpy finds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.constants import TABLE_SCATTERING, TIME_SMEAR
from skymap_scanner.reconstruction.millipede.table import PhotonTable

# Distance: even steps of the square root of the scaled distance (fine where light changes fast), m.
N_RADIUS = 128
ROOT_MIN = math.sqrt(1.2)
ROOT_MAX = math.sqrt(460.0)
ROOT_STEP = (ROOT_MAX - ROOT_MIN) / (N_RADIUS - 1)

# Arrival times. Their axis stretches with the distance r, even steps of t / (t + knee(r)) with a knee that goes like
# the median delay, so that the distribution hardly changes along r and psi and few nodes do: the table fits into a
# core's cache, which halves the time of a fit. The last node is t = inf: all light comes.
N_TIME_RADIUS = 20
TIME_ROOT_STEP = (ROOT_MAX - ROOT_MIN) / (N_TIME_RADIUS - 1)
N_TIME_ANGLE = 12
N_TIME = 48
KNEE_SHORT, KNEE_RATE, KNEE_LENGTH = 40.0, 3.5, 50.0  # scaled ns, ns/m, m

# The smear is a constant in ns, so in scaled time it depends on the ice: one table for each class of scattering length.
N_CLASS = 18
CLASS_FIRST = 5.0  # m
CLASS_RATIO = 1.2
#: Longest effective scattering length that is told apart, m.
N_LENGTH = 120

#: Smear of the surface on which a search begins, ns: its minima are wide.
ANNEALED_SMEAR = 90.0

#: The smear: shares of the light at even steps from TIME_SMEAR early to TIME_SMEAR late (standard deviation 6.4 ns).
SMEAR_SHARES = tuple(math.comb(8, n) / 2**8 for n in range(9))


class LightTables(NamedTuple):
    """What the kernels look up; flat arrays, the last axis fastest.

    ``log_fluence``: ln(fluence of one photon, 1/m2 at TABLE_SCATTERING) by (distance, angle), float32.
    ``arrival``: share of the light that has come, by (class, distance, angle, time), float32.
    ``shift`` (class,): scaled time of the first node is minus this. ``class_of`` (N_LENGTH,): class by whole metres of
    the effective scattering length, int32. ``angles``: number of angles; they begin at ``angle_first`` and there are
    ``angle_density`` of them per unit of cos psi; ``time_angle_...`` likewise for the arrival times.
    ``reference_decay``: 1/propagation length of the table's ice, 1/m.
    """

    log_fluence: NDArray[np.float32]
    arrival: NDArray[np.float32]
    shift: NDArray[np.float32]
    class_of: NDArray[np.int32]
    angles: np.float32
    angle_first: np.float32
    angle_density: np.float32
    reference_decay: np.float32
    time_angle_first: np.float32
    time_angle_density: np.float32


def decay(scattering: float, absorption: float) -> float:
    """Return 1/propagation length (1/m) of ice with these lengths (m): how fast far light falls."""
    return math.sqrt(3 / (scattering * absorption))


def class_length(index: int) -> float:
    """Return the effective scattering length (m) that class ``index`` stands for."""
    return CLASS_FIRST * CLASS_RATIO**index


def make_tables(table: PhotonTable, smear: float = TIME_SMEAR) -> LightTables:
    """Resample a photon table for the kernels, times smeared within +-``smear`` ns."""
    first, last = float(table.cos_psi[0]), float(table.cos_psi[-1])
    shift = np.array([smear * TABLE_SCATTERING / class_length(i) for i in range(N_CLASS)])
    arrival = np.empty((N_CLASS, N_TIME_RADIUS, N_TIME_ANGLE, N_TIME), np.float32)
    _resample_arrival(table.radius, table.cos_psi, table.delay, table.cdf, shift, arrival)
    return LightTables(
        log_fluence=_resample_fluence(table).astype(np.float32).ravel(),
        arrival=arrival.ravel(),
        shift=shift.astype(np.float32),
        class_of=np.array([_nearest_class(i + 0.5) for i in range(N_LENGTH)], np.int32),
        angles=np.float32(len(table.cos_psi)),
        angle_first=np.float32(first),
        angle_density=np.float32((len(table.cos_psi) - 1) / (last - first)),
        # The reference of the scaling is the simulated ice's own decay, exactly as scaled lengths would have it.
        reference_decay=np.float32(decay(table.scattering, table.absorption)),
        time_angle_first=np.float32(first),
        time_angle_density=np.float32((N_TIME_ANGLE - 1) / (last - first)),
    )


def _nearest_class(length: float) -> int:
    """Return the class nearest in the logarithm to an effective scattering length (m)."""
    return min(range(N_CLASS), key=lambda i: abs(math.log(max(length, 1.0) / class_length(i))))


def _resample_fluence(table: PhotonTable) -> NDArray[np.float64]:
    """Return ln fluence at the nodes of the distance axis, (N_RADIUS, angles).

    The exponential fall is taken out before interpolating in ln r, and put back: what is left is nearly straight.
    """
    fall = decay(table.scattering, table.absorption)
    known = np.array([[math.log(value) for value in row] for row in table.fluence]) + fall * table.radius[:, None]
    log_radius = [math.log(r) for r in table.radius]
    nodes = [(ROOT_MIN + i * ROOT_STEP) ** 2 for i in range(N_RADIUS)]
    log_nodes = [math.log(r) for r in nodes]
    columns = [np.interp(log_nodes, log_radius, column) for column in known.T]
    return np.stack(columns, axis=1) - fall * np.array(nodes)[:, None]


@compiled
def _resample_arrival(
    radius: NDArray[np.float64],
    cos_psi: NDArray[np.float64],
    delay: NDArray[np.float64],
    cdf: NDArray[np.float64],
    shift: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Fill ``out`` (class, distance, angle, time) with the smeared distribution of arrival times."""
    for i in range(out.shape[1]):
        r = (ROOT_MIN + i * TIME_ROOT_STEP) ** 2
        knee = KNEE_SHORT + KNEE_RATE * r * r / (r + KNEE_LENGTH)
        u = math.log(r / radius[0]) / math.log(radius[1] / radius[0])
        u = min(max(u, 0.0), radius.size - 1.0)
        for m in range(out.shape[2]):
            v = m / (out.shape[2] - 1) * (cos_psi.size - 1)
            for c in range(out.shape[0]):
                for k in range(out.shape[3]):
                    if k == out.shape[3] - 1:
                        out[c, i, m, k] = 1.0
                        break
                    axis = k / (out.shape[3] - 1)
                    time = knee * axis / (1 - axis)
                    value = 0.0
                    for n in range(len(SMEAR_SHARES)):
                        late = 2 * shift[c] * n / (len(SMEAR_SHARES) - 1)
                        value += SMEAR_SHARES[n] * _arrived(cdf, delay, u, v, time - late)
                    out[c, i, m, k] = value


@compiled
def _arrived(cdf: NDArray[np.float64], delay: NDArray[np.float64], u: float, v: float, time: float) -> float:
    """Return the distribution of arrival times between the nodes of the table: ``u`` of radius, ``v`` of angle."""
    if time <= 0:
        return 0.0
    i, j = min(int(u), cdf.shape[0] - 2), min(int(v), cdf.shape[1] - 2)
    f, g = u - i, v - j
    # the delay axis is logarithmic beyond its first node; before it, the share grows from 0 like the time
    last = delay.size - 1
    place = max(math.log(time / delay[0]) / math.log(delay[last] / delay[0]), 0.0) * last
    k = min(int(place), last - 1)
    h = min(place - k, 1.0)
    share: float = 0.0
    for a in range(2):
        for b in range(2):
            weight = (f if a else 1 - f) * (g if b else 1 - g)
            share += weight * float(cdf[i + a, j + b, k] * (1 - h) + cdf[i + a, j + b, k + 1] * h)
    return share * min(time / float(delay[0]), 1.0)
