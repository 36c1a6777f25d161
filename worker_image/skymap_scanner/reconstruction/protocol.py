"""The interface of reconstructions: set up once per event, then fit one direction from one start.

A reconstruction is found by the entry-point group ``skymap_scanner.reconstructions``; its class is called with the
parameters of the scan as keyword arguments and rejects unknown ones. Units: metres, nanoseconds, GeV,
radians, in the IceCube detector frame; the direction is where the neutrino comes *from* (zenith, azimuth).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.event.model import PreparedEvent, Topology
from skymap_scanner.i3 import FitStatus


@dataclass(frozen=True, slots=True)
class Start:
    """Where a fit starts: fixed direction, vertex position (m) and time (ns).

    ``warm``: the vertex comes from a fit nearby, so that only the fine stage is needed. ``number``: which re-simulation
    of the event is fitted; it means nothing for a fit of the event itself.
    """

    zenith: float
    azimuth: float
    position: tuple[float, float, float]
    time: float
    warm: bool = False
    number: int = 0


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

    ``topology`` is the hypothesis that won, where the reconstruction compares both; None: it does not say.
    ``likelihood`` is the identity of the likelihood, a line of printable ASCII, at most 200 characters: fits of one
    event whose likelihoods have the same identity can be compared, and what was calibrated for one holds for the other.
    It names everything that changes -ln L (model, version, table, ice, parameters). Empty: it has no calibration.
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
    topology: Topology | None = None
    likelihood: str = ""


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


@dataclass(frozen=True)
class Located:
    """The best fit with free direction.

    ``fit``: its zenith and azimuth are the fitted ones; it failed if its -ln L is NaN. ``covariance`` (2, 2; rad^2): of
    the fitted direction in the plane that touches the sky there, along (zenith, azimuth * sin(zenith)); the region
    2 delta ln L < t is, for a parabolic minimum, an ellipse of pi t sqrt(det covariance). NaN where it is unknown.
    """

    fit: Fit
    covariance: NDArray[np.float64]


@runtime_checkable
class Locator(EventFitter, Protocol):
    """An event fitter that can also fit the direction: a capability that not every reconstruction has."""

    def locate(self, start: Start) -> Located:
        """Fit the event from ``start`` with free direction: same start, same bits.

        It finds the minimum of -ln L that the start leads to, which need not be the lowest of the sky. A failed fit is
        an outcome (status, NaN, reason), not an exception.
        """


class Reconstruction(Protocol):
    """One way to fit."""

    @property
    def identity(self) -> str:
        """What decides the bits of its fits beside the event: its version, code and tables; printable ASCII."""

    def set_up(self, event: PreparedEvent) -> EventFitter:
        """Prepare what all fits of this event share.

        Raises ReconstructionError when this reconstruction cannot run here, or cannot fit this event.
        """

    def compile(self) -> None:
        """Fill the cache of compiled code, so that the first fit is as fast as the others."""
