"""The lowest minimum of -ln L near some directions, and the fit at a given one: what a calibration compares.

As a scan does: cold fits of fixed directions, then fits with free direction from the best of them. The given direction,
that of a simulated event, is one of the starts, since the fine pixels of a scan would not miss a minimum there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction import load
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Located, Locator, Start
from skymap_scanner.scan.seeds import seed_positions

#: Seeds of the fit at the given direction, as of a scan that asks for all of them.
SEEDS = 7


def as_locator(fitter: EventFitter, name: str) -> Locator:
    """Return the fitter of the reconstruction ``name`` if it can fit a direction; raises ReconstructionError if not."""
    if not isinstance(fitter, Locator):
        raise ReconstructionError(
            f"reconstruction {name!r} cannot fit a direction: a calibration needs one that can, such as millipede"
        )
    return fitter


def check_can_locate(name: str, parameters: Mapping[str, Any], event: PreparedEvent) -> None:
    """Check that a reconstruction can fit the direction of this event, before any fit is started.

    Raises ReconstructionError if it cannot, or cannot be set up; InputError if a parameter has no possible value.
    """
    as_locator(load(name, parameters).set_up(event), name)


def locate(
    fitter: Locator,
    event: PreparedEvent,
    direction: tuple[float, float],
    around: Iterable[tuple[float, float]],
    candidates: int,
) -> tuple[Located, Fit]:
    """Return the best fit with free direction, and the best fit at ``direction``.

    Directions are (zenith, azimuth), rad. Fits with free direction start from ``direction`` and from the best
    ``candidates`` of the directions ``around``. Both fits failed if the one at ``direction`` and all others did.
    """
    vertex, time = event.vertex.tolist(), float(event.vertex_time)
    fixed = fit_direction(fitter, direction, vertex, time, SEEDS)
    others = sorted((fit_direction(fitter, other, vertex, time, 1) for other in around), key=lowest_llh)
    found = [_turned(fitter, fit) for fit in (*others[:candidates], fixed) if not math.isnan(fit.llh)]
    if not found:
        return Located(fixed, np.full((2, 2), math.nan)), fixed
    best = min(found, key=_located_llh)
    again = fit_direction(fitter, direction, best.fit.position, best.fit.time, SEEDS, warm=True)
    fixed = min(fixed, again, key=lowest_llh)
    if fixed.llh < best.fit.llh:  # the fits with free direction have missed what a fine pixel would find
        best = min(best, _turned(fitter, fixed), key=_located_llh)
    return best, fixed


def fit_direction(
    fitter: EventFitter,
    direction: tuple[float, float],
    vertex: Sequence[float],
    time: float,
    seeds: int,
    *,
    warm: bool = False,
) -> Fit:
    """Return the best fit of one direction (zenith, azimuth; rad) from several seeds around a vertex (m), time (ns)."""
    positions = seed_positions(vertex, seeds)
    return min((fitter.fit(Start(*direction, position, time, warm)) for position in positions), key=lowest_llh)


def lowest_llh(fit: Fit) -> float:
    """Return -ln L of a fit, infinite if it failed: the key of the best one."""
    return math.inf if math.isnan(fit.llh) else fit.llh


def _located_llh(located: Located) -> float:
    return lowest_llh(located.fit)


def _turned(fitter: Locator, fit: Fit) -> Located:
    """Fit the direction too, starting from a fit."""
    return fitter.locate(Start(fit.zenith, fit.azimuth, fit.position, fit.time, warm=True))
