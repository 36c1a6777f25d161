"""From losses to photoelectrons: how many each DOM sees, and when, in the photon model of the reconstruction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ice import Ice
from skymap_scanner.errors import InputError
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel
from skymap_scanner.simulation.losses import Losses
from skymap_scanner.simulation.variation import NOMINAL, Variation

#: More photoelectrons than this are not drawn one by one; real DOMs would be saturated long before.
MAX_PHOTOELECTRONS = 5e6


def draw_photoelectrons(
    random: np.random.Generator,
    losses: Losses,
    vertex: NDArray[np.float64],
    along: NDArray[np.float64],
    geometry: Geometry,
    ice: Ice,
    variation: Variation = NOMINAL,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw the photoelectrons of all losses: DOM (index) and time (ns after the particle was at the vertex), each (n,).

    ``vertex`` (m) and the unit vector ``along`` give the line of the losses. Raises InputError when there would be more
    than ``MAX_PHOTOELECTRONS``.
    """
    geometry, ice = variation.change_geometry(geometry), variation.change_ice(ice)
    model = PhotonModel(geometry, ice, acceptance=variation.acceptance)
    position = vertex + losses.s[:, None] * along
    expected = model.expected_charge(position, along, losses.energy)
    per_dom = expected.sum(axis=0)
    if per_dom.sum() > MAX_PHOTOELECTRONS:
        raise InputError(
            f"this event would give {per_dom.sum():.2g} photoelectrons, more than the {MAX_PHOTOELECTRONS:.0g} that "
            "are simulated. Give less energy, or a vertex farther from the strings"
        )
    count = random.poisson(per_dom)
    dom = np.repeat(np.arange(len(count)), count)
    source = _draw_sources(random, expected, count)
    emitted = losses.s[source] / SPEED_OF_LIGHT
    return dom, emitted + model.draw_times(random, position, along, source, dom)


def _draw_sources(
    random: np.random.Generator, expected: NDArray[np.float64], count: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Draw which loss each photoelectron comes from, DOM by DOM; ``expected`` (losses, DOMs), ``count`` (DOMs,)."""
    drawn = [np.zeros(0, np.intp)]
    for dom in np.flatnonzero(count):
        up_to = np.cumsum(expected[:, dom])
        drawn.append(np.searchsorted(up_to, random.random(count[dom]) * up_to[-1], "right"))
    return np.minimum(np.concatenate(drawn), len(expected) - 1)
