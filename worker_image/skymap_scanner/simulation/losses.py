"""Energy losses of a particle: cascades along its line, each a point source of light.

A muon loses 0.26 GeV a metre, as light the same wherever it is, and stochastically a share of its energy: b E per metre
water equivalent, b = 3.6e-4 (dE/dx = a + b E: Chirkin and Rhode, hep-ph/0407075). How b is divided, at the energies of
alerts (Groom, Mokhov and Striganov, At. Data Nucl. Data Tables 78 (2001) 183): about half to bremsstrahlung and
photonuclear losses, half to electron pairs. Their spectra in v, the share of the muon's energy that is lost, are kept
simple:

- bremsstrahlung, as between nuclei that are completely screened: dN/dv ~ (4/3 (1/v - 1) + v), v < 1;
- pairs, mostly soft: dN/dv ~ v^-2.5 between ``V_PAIR`` and 1.

Losses below v = ``V_CUT`` are not drawn: they are part of the continuous light. Neither spectrum depends on the energy,
so the losses along a line are a Poisson process of constant rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: Continuous loss, GeV/m.
IONISATION = 0.26
#: Stochastic loss per metre water equivalent, and the density of the ice, m w.e. per m.
B = 3.6e-4
ICE_DENSITY = 0.924
#: Share of b that has the spectrum of bremsstrahlung; pairs have the rest.
BREMSSTRAHLUNG_SHARE = 0.5
#: Smallest share of the energy that one pair takes, and the smallest that is drawn.
V_PAIR = 1e-4
V_CUT = 1e-3
_PAIR_POWER = 2.5
#: Distance between the cascades that stand for the continuous light, m.
STEP = 5.0


@dataclass(frozen=True)
class Losses:
    """Cascades along a line, n of them: place ``s`` (m after the vertex) and ``energy`` (GeV), float64 (n,), sorted."""

    s: NDArray[np.float64]
    energy: NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """What of b is drawn: ``rate`` of losses per metre, of which ``hard`` is the part of the bremsstrahlung.

    ``continuous`` (1/m): what is left of b, of losses too small to be drawn.
    """

    rate: float
    hard: float
    continuous: float


def _spectrum() -> Spectrum:
    """Integrate both spectra above the cut; each is normalised to its share of b."""
    hard_b, soft_b = B * ICE_DENSITY * BREMSSTRAHLUNG_SHARE, B * ICE_DENSITY * (1 - BREMSSTRAHLUNG_SHARE)
    # the integral of v dN/dv over 0 < v < 1 is 1 for the spectrum as it is written above
    hard_count = 4 / 3 * (-math.log(V_CUT) - (1 - V_CUT)) + (1 - V_CUT**2) / 2
    hard_below = 4 / 3 * (V_CUT - V_CUT**2 / 2) + V_CUT**3 / 3
    norm = 1 / (2 * (V_PAIR**-0.5 - 1))
    soft_count = norm * (V_CUT**-1.5 - 1) / 1.5
    soft_above = norm * 2 * (V_CUT**-0.5 - 1)
    rate = hard_b * hard_count + soft_b * soft_count
    return Spectrum(rate, hard_b * hard_count / rate, hard_b * hard_below + soft_b * (1 - soft_above))


SPECTRUM = _spectrum()


def cascade_losses(energy: float) -> Losses:
    """Return the one loss of a cascade: everything, at the vertex."""
    return Losses(np.zeros(1), np.array([energy]))


def muon_losses(random: np.random.Generator, enter: float, leave: float, energy: float) -> Losses:
    """Draw the losses of a muon of ``energy`` (GeV) at ``enter``, followed to ``leave`` (both m after the vertex).

    The continuous light of each ``STEP`` stands in its middle. A muon that has lost everything stops.
    """
    count = int(random.poisson(SPECTRUM.rate * (leave - enter)))
    places = np.sort(random.uniform(enter, leave, count)).tolist()
    shares = draw_shares(random, count).tolist()
    steps = max(1, math.ceil((leave - enter) / STEP))
    edges = np.linspace(enter, leave, steps + 1).tolist()
    s, lost = [], []
    next_loss = 0
    for begin, end in pairwise(edges):
        at, continuous = begin, 0.0
        while next_loss < count and places[next_loss] < end:
            before, energy = energy, continuous_loss(energy, places[next_loss] - at)
            continuous += before - energy
            at = places[next_loss]
            s.append(at)
            lost.append(shares[next_loss] * energy)
            energy -= lost[-1]
            next_loss += 1
        before, energy = energy, continuous_loss(energy, end - at)
        s.append((begin + end) / 2)
        lost.append(continuous + before - energy)
        if energy <= 0:
            break
    order = np.argsort(s, kind="stable")
    positive = order[np.array(lost)[order] > 0]
    return Losses(np.array(s)[positive], np.array(lost)[positive])


def continuous_loss(energy: float, distance: float) -> float:
    """Return the energy (GeV) that a muon has left after ``distance`` (m) without a drawn loss; 0: it stopped."""
    b = SPECTRUM.continuous
    return max(0.0, (energy + IONISATION / b) * math.exp(-b * distance) - IONISATION / b)


def draw_shares(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw which share of its energy a muon loses, ``count`` times, between ``V_CUT`` and 1."""
    is_hard = random.random(count) < SPECTRUM.hard
    power = _PAIR_POWER - 1
    soft = (V_CUT**-power - random.random(count) * (V_CUT**-power - 1)) ** (-1 / power)
    return np.where(is_hard, _draw_hard(random, count), soft)


def _draw_hard(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw from 1/v, and keep what falls below the spectrum: v dN/dv ~ 1 - v + 3/4 v^2, at most 1."""
    shares = np.empty(0)
    while len(shares) < count:
        v = V_CUT ** random.random(count)
        shares = np.concatenate([shares, v[random.random(count) < 1 - v + 0.75 * v * v]])
    return shares[:count]
