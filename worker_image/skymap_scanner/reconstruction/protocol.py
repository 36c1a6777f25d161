"""The interface of reconstructions: set up once per event, then fit one direction from one start.

A reconstruction is found by the entry-point group ``skymap_scanner.reconstructions``; its class is called with the
parameters of the scan as keyword arguments and rejects unknown ones. Units: metres, nanoseconds, GeV,
radians, in the IceCube detector frame; the direction is where the neutrino comes *from* (zenith, azimuth).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus


@dataclass(frozen=True, slots=True)
class Start:
    """Where a fit starts: fixed direction, vertex position (m) and time (ns).

    ``warm``: the vertex comes from a fit nearby, so that only the fine stage is needed.
    """

    zenith: float
    azimuth: float
    position: tuple[float, float, float]
    time: float
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """One energy loss along the track: position (m), time (ns), energy (GeV)."""

    position: tuple[float, float, float]
    time: float
    energy: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The result of one fit.

    ``llh`` is -ln L (NaN when the fit failed), ``position``/``time`` the fitted vertex, ``energy_in`` the losses
    between 60 m before entering and 60 m after leaving the instrumented volume, ``energy_total`` all losses (GeV);
    ``reason`` explains a failed fit; ``evaluations`` counts calls of the likelihood.
    """

    status: FitStatus
    llh: float
    zenith: float
    azimuth: float
    position: tuple[float, float, float]
    time: float
    energy_in: float
    energy_total: float
    losses: Sequence[Loss]
    evaluations: int = 0
    reason: str = ""


def failed_fit(start: Start, status: FitStatus, reason: str, evaluations: int = 0) -> Fit:
    """Return a failed fit: where it started, -ln L and energies NaN, and the reason."""
    return Fit(
        status=status,
        llh=math.nan,
        zenith=start.zenith,
        azimuth=start.azimuth,
        position=start.position,
        time=start.time,
        energy_in=math.nan,
        energy_total=math.nan,
        losses=(),
        evaluations=evaluations,
        reason=reason,
    )


class EventFitter(Protocol):
    """A reconstruction set up for one event. ``fit`` is deterministic: same start, same bits."""

    def fit(self, start: Start) -> Fit:
        """Fit the event from ``start``. A failed fit is an outcome (status, NaN, reason), not an exception."""


class Reconstruction(Protocol):
    """One way to fit."""

    def set_up(self, event: PreparedEvent) -> EventFitter:
        """Prepare what all fits of this event share.

        Raises ReconstructionError when this reconstruction cannot run here, or cannot fit this event.
        """

    def compile(self) -> None:
        """Fill the cache of compiled code, so that the first fit is as fast as the others."""
