"""Photoelectrons from propagated photons: how many are followed, how large DOMs are, and what their crossings mean.

A cascade of 100 TeV emits 10^9 photons. Few of them are followed, to DOMs that are larger than they are. With N photons
followed and a radius of reception R, a crossing stands for

    E . PE_PER_GEV . efficiency . acceptance(direction) / (N pi R^2)

photoelectrons, so that the expectation is that of real DOMs. R is 20 DOM radii, 3.3 m, or a fifth of the distance of
the nearest source where that is smaller: there, light would come from the side. N is chosen so that no crossing at
3.3 m stands for more than one photoelectron, up to ``MAX_PHOTONS``. Then charges are Poisson distributed. Where a
crossing stands for more, near the sources and in the brightest events, the statistics of the sample add to that of the
light, and the copies of one photon spread their delay, so as not to come at once.

What the size blurs: all light within 3.3 m is the same. Direct light is early by R^2 / 4d on average (0.14 m at 20 m),
its angle of emission is smeared by up to R / d (at most 0.2), and so are the edges of dusty layers, by 3.3 m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.errors import InputError
from skymap_scanner.reconstruction.millipede.constants import DOM_RADIUS, PE_PER_GEV
from skymap_scanner.simulation.medium import Medium
from skymap_scanner.simulation.propagation import Crossings, Receivers, Sources, propagate, receivers
from skymap_scanner.simulation.variation import Variation

Array = NDArray[np.float64]

#: Largest radius of reception, m, and the largest as a share of the distance of the nearest source.
LARGEST = 20 * DOM_RADIUS
NEAR_SHARE = 0.2
#: Photons followed: at least and at most. One takes about 4 microseconds.
MIN_PHOTONS, MAX_PHOTONS = 200_000, 20_000_000
#: Spread of the delay of a photon's copies, of its logarithm.
COPY_SPREAD = 0.2
#: More photoelectrons than this are not simulated; real DOMs would be saturated long before.
MAX_PHOTOELECTRONS = 5e6


def draw_propagated(
    random: np.random.Generator, sources: Sources, geometry: Geometry, medium: Medium, variation: Variation
) -> tuple[NDArray[np.intp], Array]:
    """Draw the photoelectrons of all sources: DOM (index) and time (ns after the particle was at the vertex), (n,).

    Of the variation, efficiency and hole ice apply here; ``medium`` is the varied ice. Raises InputError when there
    would be more than ``MAX_PHOTOELECTRONS``.
    """
    geometry = variation.change_geometry(geometry)
    live = np.flatnonzero(~geometry.dead)
    radius = reception_radius(geometry.position[live], sources.position)
    doms = receivers(geometry.position[live], radius, geometry.string[live].astype(np.int64))
    most = float(geometry.efficiency[live].max()) * acceptance_maximum(variation.acceptance)
    photons = photon_count(float(sources.energy.sum()), most)

    def follow(number: int) -> tuple[Crossings, Array]:
        crossings = propagate(random, number, sources, medium, doms)
        mean = crossing_charge(crossings, sources, number, doms, variation.acceptance)
        return crossings, mean * geometry.efficiency[live][crossings.dom]

    if photons == MAX_PHOTONS:  # a minute of work: first see whether the event is too bright
        _check_brightness(float(follow(MIN_PHOTONS)[1].sum()) / 1.5)
    crossings, mean = follow(photons)
    _check_brightness(float(mean.sum()))
    chosen, time = realise(random, crossings, mean)
    return live[crossings.dom[chosen]], time


def _check_brightness(photoelectrons: float) -> None:
    if photoelectrons > MAX_PHOTOELECTRONS:
        raise InputError(
            f"this event would give {photoelectrons:.2g} photoelectrons, more than the {MAX_PHOTOELECTRONS:.0g} that "
            "are simulated. Give less energy, or a vertex farther from the strings"
        )


def reception_radius(position: Array, sources: Array) -> Array:
    """Return the radius of reception, m, of DOMs at ``position`` (n, 3) for light from ``sources`` (m, 3)."""
    nearest = np.full(len(position), np.inf)
    for source in sources:
        np.minimum(nearest, ((position - source) ** 2).sum(axis=1), out=nearest)
    return np.asarray(np.clip(NEAR_SHARE * np.sqrt(nearest), DOM_RADIUS, LARGEST))


def photon_count(energy: float, most: float) -> int:
    """Return how many photons to follow for ``energy`` (GeV), where efficiency times acceptance is at most ``most``."""
    enough = energy * PE_PER_GEV * most / (np.pi * LARGEST**2)
    return int(np.clip(enough, MIN_PHOTONS, MAX_PHOTONS))


def acceptance_maximum(acceptance: Array) -> float:
    """Return the largest angular acceptance."""
    return float(np.polynomial.polynomial.polyval(np.linspace(-1, 1, 201), acceptance).max())


def crossing_charge(crossings: Crossings, sources: Sources, photons: int, doms: Receivers, acceptance: Array) -> Array:
    """Return how many photoelectrons each crossing stands for in a DOM of efficiency 1, (n,)."""
    area = photons * np.pi * doms.radius[crossings.dom] ** 2
    # hole ice models are polynomials that may fall below 0 by some per cent
    seen = np.maximum(np.polynomial.polynomial.polyval(crossings.cosine, acceptance), 0.0)
    return np.asarray(float(sources.energy.sum()) * PE_PER_GEV * seen / area)


def realise(random: np.random.Generator, crossings: Crossings, mean: Array) -> tuple[NDArray[np.intp], Array]:
    """Draw photoelectrons from crossings that stand for ``mean`` (n,) each: which crossing, and when (ns).

    At most one, if a crossing stands for less: the photons followed are then a Poisson sample already.
    """
    number = np.where(mean <= 1, random.random(len(mean)) < mean, random.poisson(mean))
    chosen = np.repeat(np.arange(len(mean)), number)
    time, delay = crossings.time[chosen], crossings.delay[chosen]
    copied = number[chosen] > 1
    spread = np.exp(COPY_SPREAD * random.standard_normal(int(copied.sum())) - COPY_SPREAD**2 / 2)
    time[copied] += delay[copied] * (spread - 1)
    return chosen, time
