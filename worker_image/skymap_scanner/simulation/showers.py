"""Showers for the propagated light: their length, the hadrons that start a cascade, and bundles of muons.

The photon table knows point-like electromagnetic showers alone. Here a neutrino's cascade is an electromagnetic and a
hadronic shower at one place: electron and broken nucleon of a charged-current interaction. Hadrons give less light,
with fluctuations. The numbers of showers are those of the public code ppc (https://github.com/icecube/ppc, file
f2k.cxx), which follow L. Radel and C. Wiebusch, Astropart. Phys. 44 (2013) 102.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.simulation.losses import Losses, cascade_losses, muon_losses
from skymap_scanner.simulation.propagation import Sources

Array = NDArray[np.float64]

#: Radiation length in ice of 0.9216 g/cm3, m.
RADIATION_LENGTH = 0.39652 * 0.910 / 0.9216
#: Light begins along a shower as a gamma distribution: shape p + q ln(E / GeV), scale radiation length / b.
ELECTROMAGNETIC = (2.01849, 0.63176, 0.63207)
HADRONIC = (1.58357292, 0.41886807, 0.33833116)
#: Light of hadrons, as a share of that of an electron: F = 1 - (E / E0)^-m (1 - f0), which fluctuates by
#: F rms (ln E)^-gamma; a charged pion's.
E0, M, F0, RMS, GAMMA = 0.18791678, 0.16267529, 0.30974123, 0.95899551, 1.35589541
#: Mean share y of a neutrino's energy that goes to hadrons; the density of y is y^(l - 1). Both are our choice.
MEAN_INELASTICITY = 0.3
#: Muons of a bundle have energies with the density E^-2, from this share of the largest on, and distances from the
#: bundle's axis that fall off exponentially by this length, m. All of this is our choice, without a measurement behind.
BUNDLE_SOFTEST = 0.01
BUNDLE_WIDTH = 7.0
#: Most muons in one bundle.
MAX_MUONS = 100


@dataclass(frozen=True)
class Showers:
    """Losses, and how each of them develops; n as in ``losses``, whose energies are those of electrons of equal light.

    ``hadronic``: bool (n,). ``offset``: metres across the line, float64 (n, 2), along two unit vectors normal to it.
    """

    losses: Losses
    hadronic: NDArray[np.bool_]
    offset: Array

    def sources(self, vertex: Array, along: Array) -> Sources:
        """Return where the light comes from, for a particle at ``vertex`` (m) at time 0 along the unit vector."""
        log_energy = np.log(np.maximum(self.losses.energy, 1.0))
        shape, scale = (
            np.where(self.hadronic, had, em)
            for em, had in (
                (ELECTROMAGNETIC[0] + ELECTROMAGNETIC[1] * log_energy, HADRONIC[0] + HADRONIC[1] * log_energy),
                (RADIATION_LENGTH / ELECTROMAGNETIC[2], RADIATION_LENGTH / HADRONIC[2]),
            )
        )
        return Sources(
            position=vertex + self.losses.s[:, None] * along + self.offset @ _across(along),
            time=self.losses.s / SPEED_OF_LIGHT,
            energy=self.losses.energy,
            shape=shape,
            scale=scale,
            direction=along,
        )


def electron_shower(energy: float) -> Showers:
    """Return the one shower of an electron of ``energy`` (GeV)."""
    return Showers(cascade_losses(energy), np.zeros(1, bool), np.zeros((1, 2)))


def cascade_showers(random: np.random.Generator, energy: float) -> Showers:
    """Draw the showers of a neutrino's cascade of ``energy`` (GeV): an electron, and hadrons that give less light."""
    hadrons = energy * draw_inelasticity(random)
    losses = Losses(np.zeros(2), np.array([energy - hadrons, hadrons * draw_hadronic_light(random, hadrons)]))
    return Showers(losses, np.array([False, True]), np.zeros((2, 2)))


def bundle_showers(random: np.random.Generator, enter: float, leave: float, energy: float, muons: int) -> Showers:
    """Draw the losses of parallel muons that share ``energy`` (GeV) at ``enter``; one alone is on the axis."""
    if muons == 1:
        losses = muon_losses(random, enter, leave, energy)
        return Showers(losses, np.zeros(len(losses.s), bool), np.zeros((len(losses.s), 2)))
    weight = 1 / (BUNDLE_SOFTEST + (1 - BUNDLE_SOFTEST) * (1 - random.random(muons)))
    parts, offsets = [], []
    for own in (energy * weight / weight.sum()).tolist():
        azimuth, distance = 2 * math.pi * random.random(), random.exponential(BUNDLE_WIDTH)
        losses = muon_losses(random, enter, leave, own)
        parts.append(losses)
        offsets.append(np.tile([distance * math.cos(azimuth), distance * math.sin(azimuth)], (len(losses.s), 1)))
    place = np.concatenate([part.s for part in parts])
    order = np.argsort(place, kind="stable")
    losses = Losses(place[order], np.concatenate([part.energy for part in parts])[order])
    return Showers(losses, np.zeros(len(place), bool), np.concatenate(offsets)[order])


def draw_inelasticity(random: np.random.Generator) -> float:
    """Draw which share of a neutrino's energy hadrons get."""
    power = MEAN_INELASTICITY / (1 - MEAN_INELASTICITY)  # the mean of y^(l - 1) is l / (1 + l)
    return float((1 - random.random()) ** (1 / power))


def hadronic_light(energy: float) -> tuple[float, float]:
    """Return the mean and the spread of the light of hadrons of ``energy`` (GeV), as a share of an electron's."""
    e = max(energy, math.e)
    mean = 1 - (e / E0) ** -M * (1 - F0)
    return mean, mean * RMS * math.log(e) ** -GAMMA


def draw_hadronic_light(random: np.random.Generator, energy: float) -> float:
    """Draw the light of hadrons of ``energy`` (GeV), as a share of an electron's, between 0 and 1.1."""
    mean, spread = hadronic_light(energy)
    while True:
        share = mean + spread * float(random.standard_normal())
        if 0 <= share <= 1.1:
            return share


def _across(along: Array) -> Array:
    """Return two unit vectors normal to ``along`` and to each other, (2, 3)."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(along[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    first = np.cross(along, helper)
    first /= math.sqrt(float((first * first).sum()))
    return np.array([first, np.cross(along, first)])
