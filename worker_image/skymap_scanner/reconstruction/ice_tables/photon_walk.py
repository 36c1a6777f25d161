"""Photons walk backwards from a DOM through layered ice; where they come by says what the DOM sees from there.

Light takes every way in both directions, so a photon that leaves the DOM and passes a place with the direction u stands
for one that starts there along -u and reaches the DOM. Absorption is a weight, not an end. The fluence is the weighted
length of path per volume. Tilt and anisotropy of the ice are left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.ice import ORIGIN_DEPTH, Ice
from skymap_scanner.reconstruction.millipede.constants import ACCEPTANCE, C_ICE, LIU_SHARE, SCATTERING_G
from skymap_scanner.reconstruction.millipede.layers import FARTHEST, N_COSINE, N_DISTANCE, ROOT_STEP

Array = NDArray[np.float64]

#: A photon ends after this many absorption lengths, or at this multiple of the longest distance.
DEPTH_ENDS, FAR_ENDS = 9.0, 1.3
#: Edges of the delays after the straight way, ns; the last also takes all that is later.
DELAYS = np.array([0.0, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3000.0, 1e9])
#: Edges of the bins around the nodes of `layers`: cosine to the vertical, root of the distance.
COSINES = np.concatenate([[-1.0], (np.arange(N_COSINE - 1) + 0.5) * 2 / (N_COSINE - 1) - 1, [1.0]])
ROOTS = np.concatenate([[0.0], (np.arange(N_DISTANCE - 1) + 0.5) * ROOT_STEP, [math.sqrt(FARTHEST) + 0.5 * ROOT_STEP]])


class Paths(NamedTuple):
    """Weighted path of one photon, m, by (cosine, distance).

    The cosine is that of the line from the place to the DOM with the vertical, upwards. ``delay`` (.., delays): for a
    DOM that sees all directions alike. The others are weighted with the angular acceptance: ``seen`` (.., delays), and
    first moments in the direction at the place: ``ahead`` along the line to the DOM, ``upwards`` along the vertical.
    """

    delay: Array
    seen: Array
    ahead: Array
    upwards: Array


def walk(photons: int, seed: int, ice: Ice, height: float) -> Paths:
    """Follow ``photons`` photons from a DOM at ``height`` (m) and return their mean paths."""
    shape = (N_COSINE, N_DISTANCE)
    delays = (*shape, len(DELAYS) - 1)
    paths = Paths(np.zeros(delays), np.zeros(delays), np.zeros(shape), np.zeros(shape))
    scatter = 1 / (ice.effective_scattering_length * (1 - SCATTERING_G))
    first = (ORIGIN_DEPTH - height - ice.depth_top) / ice.thickness
    _walk(photons, seed, first, scatter, 1 / ice.absorption_length, ice.thickness, np.array(ACCEPTANCE), paths)
    return Paths(*(one / photons for one in paths))


@numba.njit(error_model="numpy", nogil=True)  # type: ignore[untyped-decorator]
def _walk(
    photons: int,
    seed: int,
    first: float,
    scatter: Array,
    absorb: Array,
    thickness: float,
    acceptance: Array,
    paths: Paths,
) -> None:
    """Add the paths of all photons. ``first``: the DOM's place in layers from the top; z points up from the DOM."""
    np.random.seed(seed)  # noqa: NPY002
    last, far2 = scatter.size - 1, (FAR_ENDS * FARTHEST) ** 2
    for _ in range(photons):
        uz = 2 * np.random.random() - 1  # noqa: NPY002
        ux, uy = math.sqrt(1 - uz * uz), 0.0
        seen = 0.0  # light that arrives goes the other way
        for k in range(acceptance.size - 1, -1, -1):
            seen = acceptance[k] - seen * uz
        seen = max(seen, 0.0)
        x = y = z = length = absorbed = 0.0
        while absorbed < DEPTH_ENDS and x * x + y * y + z * z < far2:
            left = -math.log(1 - np.random.random())  # noqa: NPY002
            while left > 0:
                place = first - z / thickness
                layer = math.floor(place)
                if uz > 0 and place - layer < 1e-9:  # on an edge: the layer ahead
                    layer -= 1
                elif uz < 0 and layer + 1 - place < 1e-9:
                    layer += 1
                edge = 1e9
                if abs(uz) > 1e-9:
                    edge = max((place - (layer if uz > 0 else layer + 1)) * thickness / uz, 1e-6)
                layer = min(max(layer, 0), last)
                stretch = min(left / scatter[layer], edge)
                f = np.random.random() * stretch  # noqa: NPY002
                weight = stretch * math.exp(-absorbed - f * absorb[layer])
                _count((x + f * ux, y + f * uy, z + f * uz), (ux, uy, uz), length + f, weight, seen, paths)
                x, y, z = x + stretch * ux, y + stretch * uy, z + stretch * uz
                length += stretch
                absorbed += stretch * absorb[layer]
                left = left - stretch * scatter[layer] if edge <= stretch else 0.0
            ux, uy, uz = _scattered(ux, uy, uz)


@numba.njit(error_model="numpy", nogil=True)  # type: ignore[untyped-decorator]
def _count(
    place: tuple[float, float, float],
    way: tuple[float, float, float],
    length: float,
    weight: float,
    seen: float,
    paths: Paths,
) -> None:
    """Add ``weight`` where a photon is after ``length`` m."""
    (x, y, z), (ux, uy, uz) = place, way
    r = max(math.sqrt(x * x + y * y + z * z), 1e-6)
    shell = int(math.sqrt(r) / ROOT_STEP + 0.5)
    if shell >= paths.seen.shape[1]:
        return
    angle = int((1 - z / r) * (paths.seen.shape[0] - 1) / 2 + 0.5)
    time = int(np.searchsorted(DELAYS, (length - r) / C_ICE, "right")) - 1
    time = min(max(time, 0), paths.delay.shape[2] - 1)
    paths.delay[angle, shell, time] += weight
    weight *= seen
    paths.seen[angle, shell, time] += weight
    # a photon from the place to the DOM starts along -u, and the line to the DOM is along -(x, y, z)
    paths.ahead[angle, shell] += weight * (ux * x + uy * y + uz * z) / r
    paths.upwards[angle, shell] -= weight * uz


@numba.njit(error_model="numpy", nogil=True)  # type: ignore[untyped-decorator]
def _scattered(ux: float, uy: float, uz: float) -> tuple[float, float, float]:
    """Return the direction after one scatter: simplified Liu or Henyey-Greenstein."""
    g = SCATTERING_G
    if np.random.random() < LIU_SHARE:  # noqa: NPY002
        cosine = 2 * np.random.random() ** ((1 - g) / (1 + g)) - 1  # noqa: NPY002
    else:
        f = (1 - g * g) / (1 + g * (2 * np.random.random() - 1))  # noqa: NPY002
        cosine = (1 + g * g - f * f) / (2 * g)
    cosine = min(1.0, max(-1.0, cosine))
    azimuth = 2 * math.pi * np.random.random()  # noqa: NPY002
    sine = math.sqrt(1 - cosine * cosine)
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    across = math.sqrt(ux * ux + uy * uy)
    if across < 1e-5:  # along the vertical: any azimuth is as good
        return a, b, cosine if uz > 0 else -cosine
    x = (ux * uz * a - uy * b) / across + ux * cosine
    y = (uy * uz * a + ux * b) / across + uy * cosine
    z = -a * across + uz * cosine
    norm = 1 / math.sqrt(x * x + y * y + z * z)
    return x * norm, y * norm, z * norm
