"""The ice: how far light goes between two scatterings, and before it is absorbed, layer by layer.

The tables beside this module (``ice_NAME.txt``, with their sources) give, for horizontal layers of 10 m, the effective
scattering length and the absorption length at 400 nm, the wavelength that DOMs see best.

Layers are not flat: they rise and fall along the south-west (225 degrees), as dust loggers have measured
(arXiv:1301.5361). The shifts are every tenth row of the table with six places that public code draws the ice with. They
have not been compared with the table that IceCube distributes.

Light goes farther along the flow of the ice. As in SPICE Lea (arXiv:1309.7010), a direction is stretched by exp(kappa)
along three axes before a scatter, and back after it; formula and numbers from ppc (https://github.com/icecube/ppc:
pro.cxx, and a public cfg.txt). Later models explain it by birefringence (The Cryosphere 18 (2024) 75).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import InputError

#: Depth of the detector frame's origin below the surface, m: by IceCube's definition of the frame.
ORIGIN_DEPTH = 1948.07

ICE_MODELS = ("spice_mie", "spice_lea", "spice_ftp_v3m")

#: Azimuth along which the layers are tilted, degrees; places of the loggers along it, m.
TILT_AZIMUTH = 225.0
TILT_PLACES = (-531.419, -454.882, 0.0, 165.202, 445.477, 520.77)
#: Lowest height of the tilt's table and its step, m; how much higher than at 0 a layer lies, m, by place and height.
TILT_LOWEST, TILT_STEP = -500.4, 100.0
TILT = (
    (41.9, 33.0, 20.0, 6.2, -3.9, -3.9, -2.8, -5.0, -5.2, -12.0, -8.8, -4.2, -1.2),
    (39.4, 31.9, 20.2, 8.9, 0.0, -0.5, -0.6, -2.4, -2.6, -8.0, -6.3, -2.7, -0.3),
    (0.0,) * 13,
    (-18.4, -12.6, -5.6, -1.8, 1.7, 1.9, 2.7, 2.3, 2.1, 3.6, 5.3, 3.3, 1.6),
    (-13.2, -9.6, 0.7, 4.2, 8.5, 8.3, 9.2, 6.9, 5.9, 7.9, 12.4, 8.7, 5.3),
    (-1.3, -1.3, 8.9, 10.9, 14.6, 14.5, 14.3, 10.3, 9.0, 10.6, 16.6, 11.8, 7.1),
)
#: Logarithm of the stretch along the flow, across it, and along the vertical; the flow's azimuth, degrees (SPICE Lea).
ANISOTROPY = (-0.08, 0.04, 0.04)
FLOW_AZIMUTH = 126.0


@dataclass(frozen=True)
class Ice:
    """Horizontal layers of ice, from the top down; n = number of layers.

    ``depth_top`` (m) is the upper edge of the first layer, ``thickness`` (m) that of every layer;
    ``effective_scattering_length`` and ``absorption_length``: metres at 400 nm, float64 (n,), read-only.
    ``anisotropy`` multiplies `ANISOTROPY`: 0 for ice in which all directions are alike.
    """

    name: str
    depth_top: float
    thickness: float
    effective_scattering_length: NDArray[np.float64]
    absorption_length: NDArray[np.float64]
    anisotropy: float = 1.0

    def __post_init__(self) -> None:
        for array in (self.effective_scattering_length, self.absorption_length):
            array.setflags(write=False)


def layer_height(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the height (m), at the detector frame's axis, of the layer at each ``position`` (n, 3), m.

    The shift is linear in place and height, constant beyond the table.
    """
    place = along_azimuth(position, TILT_AZIMUTH)
    z, table = position[:, 2], np.array(TILT)
    heights = TILT_LOWEST + TILT_STEP * np.arange(table.shape[1])
    shift = np.array([np.interp(z, heights, row) for row in table])
    j = np.clip(np.searchsorted(TILT_PLACES, place, "right") - 1, 0, len(TILT_PLACES) - 2)
    low, high = np.array(TILT_PLACES)[j], np.array(TILT_PLACES)[j + 1]
    f, one = np.clip((place - low) / (high - low), 0.0, 1.0), np.arange(len(z))
    return np.asarray(z - (shift[j, one] + f * (shift[j + 1, one] - shift[j, one])))


def along_azimuth(position: NDArray[np.float64], azimuth: float) -> NDArray[np.float64]:
    """Return how far ``position`` (n, 3) is along an azimuth (degrees) of the horizontal."""
    angle = math.radians(azimuth)
    return np.asarray(position[:, 0] * math.cos(angle) + position[:, 1] * math.sin(angle))


def depth(z: NDArray[np.float64] | float) -> NDArray[np.float64] | float:
    """Return the depth (m below the surface) of a height ``z`` (m) in the detector frame."""
    return ORIGIN_DEPTH - z


@cache
def ice_model(name: str = "spice_mie") -> Ice:
    """Return the ice model of that name, one of ``ICE_MODELS``.

    Raises InputError when there is no model of that name.
    """
    if name not in ICE_MODELS:
        raise InputError(f"no ice model is called {name!r}; there are {', '.join(ICE_MODELS)}")
    columns: dict[str, list[float]] = {}
    depths: list[float] = []
    values: list[float] = []
    for line in files(__package__).joinpath(f"ice_{name}.txt").read_text("ascii").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.isidentifier():
            values = columns.setdefault(line, [])
        else:
            upper_edge, *lengths = (float(word) for word in line.split())
            depths.append(upper_edge)
            values.extend(lengths)
    return Ice(
        name=name,
        depth_top=depths[0],
        thickness=10.0,
        effective_scattering_length=np.array(columns["effective_scattering_length"]),
        absorption_length=np.array(columns["absorption_length"]),
    )
