"""Positions and sensitivities of the DOMs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """The in-ice DOMs (string 1-86, om 1-60), one entry a DOM, sorted by (string, om); n = number of DOMs.

    ``string``, ``om``: int16 (n,); ``position``: float64 (n, 3), metres, detector frame; ``efficiency``: relative to a
    standard DOM (high quantum efficiency: 1.35), float64 (n,); ``noise``: dark rate, Hz, float64 (n,). A dead DOM has
    efficiency 0 or noise 0. The arrays are read-only: a geometry is shared.
    """

    string: NDArray[np.int16]
    om: NDArray[np.int16]
    position: NDArray[np.float64]
    efficiency: NDArray[np.float64]
    noise: NDArray[np.float64]

    def __post_init__(self) -> None:
        for array in (self.string, self.om, self.position, self.efficiency, self.noise):
            array.setflags(write=False)

    @property
    def dead(self) -> NDArray[np.bool_]:
        """DOMs that see nothing or whose dark rate is not known; bool (n,)."""
        return np.logical_or(self.efficiency <= 0, self.noise <= 0)
