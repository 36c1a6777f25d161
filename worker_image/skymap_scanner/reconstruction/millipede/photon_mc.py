"""Photons in homogeneous ice: where and when the light of a cascade arrives.

A Monte Carlo with a track-length estimator. Each photon leaves the origin with the angular profile of an
electromagnetic cascade along +z and walks through the ice. Absorption is a weight exp(-path / absorption length), not
an end. The fluence at a place is the weighted length of path per volume there (one photon crossing a small sphere
deposits on average its fluence times the volume).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.reconstruction.millipede.compiled import compiled
from skymap_scanner.reconstruction.millipede.constants import (
    C_ICE,
    COS_CHERENKOV,
    EMISSION_A,
    EMISSION_B,
    LIU_SHARE,
    SCATTERING_G,
    TABLE_ABSORPTION,
    TABLE_SCATTERING,
)

#: Longest step between two samples of the path, m.
STEP = 1.5
#: A photon ends after this many absorption lengths, or at this multiple of the outermost shell.
PATH_ENDS = 14.0
FAR_ENDS = 1.35


@dataclass(frozen=True)
class Binning:
    """Bins of the table.

    ``radii`` logarithmic shells from ``r_min`` to ``r_max`` (m), ``angles`` equal bins of cos psi, ``times`` bins of
    the delay after the direct light, the first from 0 to 1 ns, the others logarithmic up to ``t_max`` (ns; the last
    also takes all that is later).
    """

    radii: int = 48
    r_min: float = 1.2
    r_max: float = 500.0
    angles: int = 20
    times: int = 60
    t_max: float = 8000.0

    @property
    def log_step(self) -> float:
        """Width of a shell in ln r."""
        return math.log(self.r_max / self.r_min) / self.radii

    @property
    def time_step(self) -> float:
        """Width of a time bin in ln t, beyond 1 ns."""
        return math.log(self.t_max) / (self.times - 1)


def simulate(photons: int, seed: int, binning: Binning) -> NDArray[np.float64]:
    """Follow ``photons`` photons of the table's ice; return the weighted path (m) per bin, (radii, angles, times)."""
    path = np.zeros((binning.radii, binning.angles, binning.times))
    _walk(photons, seed, math.log(binning.r_min), binning.log_step, binning.r_max, binning.time_step, path)
    return path


@compiled
def _emission_cosine() -> float:
    """Draw cos psi from the profile of a cascade, by rejection."""
    while True:
        # numba seeds and draws a generator of its own by this name
        cosine: float = 2 * np.random.random() - 1  # noqa: NPY002
        if np.random.random() < math.exp(-EMISSION_A * abs(cosine - COS_CHERENKOV) ** EMISSION_B):  # noqa: NPY002
            return cosine


@compiled
def _scattering_cosine() -> float:
    """Draw the cosine of one scatter: simplified Liu or Henyey-Greenstein, both of mean SCATTERING_G."""
    g = SCATTERING_G
    if np.random.random() < LIU_SHARE:  # noqa: NPY002
        cosine: float = 2 * np.random.random() ** ((1 - g) / (1 + g)) - 1  # noqa: NPY002
    else:
        f = (1 - g * g) / (1 + g * (2 * np.random.random() - 1))  # noqa: NPY002
        cosine = (1 + g * g - f * f) / (2 * g)
    return min(1.0, max(-1.0, cosine))


@compiled
def _turn(ux: float, uy: float, uz: float, cosine: float) -> tuple[float, float, float]:
    """Turn a unit vector by acos(cosine) about a random azimuth."""
    sine = math.sqrt(max(0.0, 1 - cosine * cosine))
    azimuth = 2 * math.pi * np.random.random()  # noqa: NPY002
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    across = math.sqrt(ux * ux + uy * uy)
    if across < 1e-5:  # along the axis: any azimuth is as good
        return a, b, math.copysign(cosine, uz)
    x = (ux * uz * a - uy * b) / across + ux * cosine
    y = (uy * uz * a + ux * b) / across + uy * cosine
    z = -a * across + uz * cosine
    norm = 1 / math.sqrt(x * x + y * y + z * z)
    return x * norm, y * norm, z * norm


@compiled
def _walk(
    photons: int,
    seed: int,
    log_r_min: float,
    log_step: float,
    r_max: float,
    time_step: float,
    path: NDArray[np.float64],
) -> None:
    """Add the weighted path of ``photons`` photons to ``path``."""
    np.random.seed(seed)  # noqa: NPY002
    radii, angles, times = path.shape
    scatter = TABLE_SCATTERING * (1 - SCATTERING_G)
    far2 = (FAR_ENDS * r_max) ** 2
    for _ in range(photons):
        uz = _emission_cosine()
        ux, uy = math.sqrt(1 - uz * uz), 0.0  # the table is symmetric about the axis
        x = y = z = length = 0.0
        while length < PATH_ENDS * TABLE_ABSORPTION and x * x + y * y + z * z < far2:
            stretch = -math.log(1 - np.random.random()) * scatter  # noqa: NPY002
            samples = int(stretch / STEP) + 1
            step = stretch / samples
            for k in range(samples):
                f = (k + np.random.random()) * step  # noqa: NPY002
                px, py, pz = x + f * ux, y + f * uy, z + f * uz
                r = math.sqrt(px * px + py * py + pz * pz)
                shell = math.floor((math.log(r) - log_r_min) / log_step)
                if shell < 0 or shell >= radii:
                    continue
                angle = min(int((pz / r + 1) * 0.5 * angles), angles - 1)
                delay = (length + f - r) / C_ICE
                time = min(int(math.log(delay) / time_step) + 1, times - 1) if delay > 1 else 0
                path[shell, angle, time] += step * math.exp(-(length + f) / TABLE_ABSORPTION)
            x, y, z, length = x + stretch * ux, y + stretch * uy, z + stretch * uz, length + stretch
            ux, uy, uz = _turn(ux, uy, uz, _scattering_cosine())
