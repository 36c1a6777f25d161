"""The ice: how far light goes between two scatterings, and before it is absorbed, layer by layer.

The tables beside this module (``ice_NAME.txt``, with their sources) give, for horizontal layers of 10 m, the effective
scattering length and the absorption length at 400 nm, the wavelength that DOMs see best. Tilt and anisotropy of the
ice are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import InputError

#: Depth of the detector frame's origin below the surface, m: by IceCube's definition of the frame.
ORIGIN_DEPTH = 1948.07

ICE_MODELS = ("spice_mie", "spice_lea", "spice_ftp_v3m")


@dataclass(frozen=True)
class Ice:
    """Horizontal layers of ice, from the top down; n = number of layers.

    ``depth_top`` (m) is the upper edge of the first layer, ``thickness`` (m) that of every layer;
    ``effective_scattering_length`` and ``absorption_length``: metres at 400 nm, float64 (n,), read-only.
    """

    name: str
    depth_top: float
    thickness: float
    effective_scattering_length: NDArray[np.float64]
    absorption_length: NDArray[np.float64]

    def __post_init__(self) -> None:
        for array in (self.effective_scattering_length, self.absorption_length):
            array.setflags(write=False)


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
