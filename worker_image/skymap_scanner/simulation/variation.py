"""Physics that differs from the fit's: factors on the ice, the DOMs and the hole ice, to simulate an event again.

The fit assumes one ice. The true ice is known to some per cent, so contours are calibrated with events whose physics
was drawn from what is possible. The nominal variation changes nothing: the event has the same bits as without one.

Hole ice: the water of the drilled holes froze with bubbles, which take light that comes straight up from a DOM and give
it light from the sides. It is described by the angular acceptance. ``hole_ice`` goes from the fit's "h2-50cm" (0) to
the curve of the public ice model SPICE FTP v3m (1; file as.dat of https://github.com/icecube/ppc), which is
0.34 (1 + 1.5 x - x^3/2) + 0.35 x (x^2 - 1)^3, x = cos eta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ice import ICE_MODELS, Ice
from skymap_scanner.errors import InputError
from skymap_scanner.reconstruction.millipede.constants import ACCEPTANCE

#: The acceptance at ``hole_ice`` 1: polynomial in cos eta, rising powers; +1 is light going up.
FLASHER_ACCEPTANCE = (0.34, 0.16, 0.0, 0.88, 0.0, -1.05, 0.0, 0.35)

#: What a factor may be. Ice beyond a factor of two is not the ice of the South Pole.
LIMITS: Mapping[str, tuple[float, float]] = {
    "scattering": (0.5, 2.0),
    "absorption": (0.5, 2.0),
    "efficiency": (0.5, 2.0),
    "hole_ice": (0.0, 1.0),
    "anisotropy": (0.0, 2.0),
}

#: How calibration varies the lengths of the ice: a Gaussian of this width, cut at twice of it. This is our choice, for
#: an error that all layers share. The ice models differ by 7 to 16 % in the median layer, and are drawn beside it.
LENGTH_WIDTH = 0.05
#: Largest difference of the DOMs' efficiency, our choice.
EFFICIENCY_RANGE = 0.1
#: How calibration varies the anisotropy: a Gaussian of this width, cut at twice of it. Our choice.
ANISOTROPY_WIDTH = 0.2


@dataclass(frozen=True)
class Variation:
    """How the simulated physics differs from the nominal one, within ``LIMITS``.

    ``scattering`` and ``absorption`` multiply the two lengths of the ice at all depths, ``efficiency`` the sensitivity
    of all DOMs; ``hole_ice`` goes from the fit's angular acceptance (0) to the other one (1); ``anisotropy`` multiplies
    the ice's. Raises InputError beyond the limits.
    """

    scattering: float = 1.0
    absorption: float = 1.0
    efficiency: float = 1.0
    hole_ice: float = 0.0
    anisotropy: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} {value} is not between {low:g} and {high:g}")

    @property
    def is_nominal(self) -> bool:
        """Whether nothing differs."""
        return self == NOMINAL

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)

    def change_ice(self, ice: Ice) -> Ice:
        """Return the ice with its lengths and its anisotropy multiplied."""
        if self.scattering == self.absorption == self.anisotropy == 1:
            return ice
        return replace(
            ice,
            effective_scattering_length=ice.effective_scattering_length * self.scattering,
            absorption_length=ice.absorption_length * self.absorption,
            anisotropy=ice.anisotropy * self.anisotropy,
        )

    def change_geometry(self, geometry: Geometry) -> Geometry:
        """Return the DOMs with their efficiency multiplied; dead ones stay dead."""
        if self.efficiency == 1:
            return geometry
        return replace(geometry, efficiency=geometry.efficiency * self.efficiency)

    @property
    def acceptance(self) -> NDArray[np.float64]:
        """The angular acceptance: coefficients of cos eta, rising powers."""
        nominal, other = np.array(ACCEPTANCE), np.zeros(len(ACCEPTANCE))
        other[: len(FLASHER_ACCEPTANCE)] = FLASHER_ACCEPTANCE
        return np.asarray(nominal + self.hole_ice * (other - nominal))


NOMINAL = Variation()
NAMES = tuple(field.name for field in fields(Variation))


class VariedPhysics(NamedTuple):
    """Arguments of ``simulate``: the name of an ice model, and what differs from it."""

    ice: str
    variation: Variation


def draw_variation(random: np.random.Generator) -> VariedPhysics:
    """Draw the physics of one event for calibration.

    The ice is one of ``ICE_MODELS``, each as likely; scattering and absorption differ by ``LENGTH_WIDTH`` (cut at twice
    of it), independently; the efficiency evenly within ``EFFICIENCY_RANGE``; the hole ice evenly between its two
    curves; the anisotropy by ``ANISOTROPY_WIDTH`` (cut likewise). Equal generators give equal physics.
    """
    ice = ICE_MODELS[int(random.integers(len(ICE_MODELS)))]
    return VariedPhysics(
        ice,
        Variation(
            scattering=1 + LENGTH_WIDTH * _draw_within_two_sigma(random),
            absorption=1 + LENGTH_WIDTH * _draw_within_two_sigma(random),
            efficiency=random.uniform(1 - EFFICIENCY_RANGE, 1 + EFFICIENCY_RANGE),
            hole_ice=random.random(),
            anisotropy=1 + ANISOTROPY_WIDTH * _draw_within_two_sigma(random),
        ),
    )


def _draw_within_two_sigma(random: np.random.Generator) -> float:
    """Draw from a standard normal distribution that is cut at +-2."""
    while True:
        value = float(random.standard_normal())
        if abs(value) <= 2:
            return value
