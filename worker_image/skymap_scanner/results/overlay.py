"""What users may draw on the pictures: the sources of a catalogue, and a circle, such as an online direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skymap_scanner.errors import InputError
from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.healpix import Floats
from skymap_scanner.results.catalogue import Catalogue
from skymap_scanner.results.directions import local_frame, vector_to_radec


@dataclass(frozen=True)
class Overlay:
    """``circle``: right ascension, declination and radius (deg). Raises InputError for an impossible one.

    ``online`` is the direction of the online reconstruction, which every picture has if the result has it.
    """

    catalogue: Catalogue | None = None
    circle: tuple[float, float, float] | None = None
    online: OnlineDirection | None = None

    def __post_init__(self) -> None:
        if self.circle is not None:
            ra, dec, radius = self.circle
            if not (-360 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 180):
                raise InputError(f"circle {ra:g},{dec:g},{radius:g}: expected RA, DEC and RADIUS in deg")


def circle_line(ra: float, dec: float, radius: float) -> Floats:
    """Return the closed line (k, 2) of a circle; all in deg."""
    east, north, center = local_frame(ra, dec)
    turn = np.linspace(0, 2 * np.pi, 361)[:, None]
    around = np.cos(turn) * east + np.sin(turn) * north
    angle = math.radians(radius)
    return np.stack(vector_to_radec(math.cos(angle) * center + math.sin(angle) * around), axis=1)
