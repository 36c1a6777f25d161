"""Re-simulations of one event: the event of its best fit, in other ice each time, and how well each is fitted.

A re-simulation is a pure function of the event, the reconstruction, the start of its task and its number:

1. The event is fitted at the start, the best pixel of its map. The losses of this fit are the hypothesis.
2. The hypothesis is simulated with physics that is drawn anew (`draw_variation`).
3. The simulated event is fitted at the true direction and with free direction. The difference of both -ln L tells how
   far a contour must reach to hold the truth.

Fits with free direction start from the truth and from directions around it, where the event's own region of 99 % ends.
They do not search the rest of the sky: a lower minimum far away is not found, and the difference is then too small.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from skymap_scanner.detector.coordinates import detector_to_equatorial, travel_direction
from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.preparation import prepare
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.locate import as_locator, locate
from skymap_scanner.reconstruction.protocol import Fit, Located, Locator, Reconstruction, Start, failed_fit
from skymap_scanner.simulation.losses import Losses
from skymap_scanner.simulation.simulate import resimulate
from skymap_scanner.simulation.truth import Truth
from skymap_scanner.simulation.variation import draw_variation

#: Events that do not trigger are drawn again, at most so often.
ATTEMPTS = 20
#: Starts around the truth, and how many of them, the best ones, are fitted with free direction.
AROUND, CANDIDATES = 6, 2
#: How far from the truth they are, in standard deviations of two degrees of freedom: where a region of 99 % ends.
REACH = math.sqrt(-2 * math.log(0.01))
#: Bounds of that distance (rad): nearer starts hardly differ, and a fit's parabola says little about larger regions.
NEAREST, FARTHEST = math.radians(0.5), math.radians(20)


@dataclass(frozen=True)
class _Hypothesis:
    """What is simulated: the truth without its physics, and the directions (zenith, azimuth; rad) around it."""

    truth: Truth
    around: tuple[tuple[float, float], ...]


class Resimulations:
    """Fits re-simulations of an event: an event fitter whose `Start.number` says which one.

    ``name``: that of the reconstruction. Raises ReconstructionError if it cannot fit a direction, or cannot be set up.
    """

    def __init__(self, reconstruction: Reconstruction, name: str, event: PreparedEvent) -> None:
        self._reconstruction = reconstruction
        self._name = name
        self._event = event
        self._fitter = as_locator(reconstruction.set_up(event), name)
        self._hypothesis = lru_cache(maxsize=1)(self._fit_hypothesis)

    def fit(self, start: Start) -> Fit:
        """Simulate and fit a re-simulation of the fit at ``start``.

        The result's -ln L is that at the true direction above that of the best fit, at least 0. Its direction and
        vertex are those of the start, its energies and topology those of the best fit; it has no losses. A
        re-simulation that cannot be made or fitted is a failed fit with the reason. Raises ReconstructionError if the
        reconstruction cannot run on this machine: another one may succeed.
        """
        try:
            hypothesis = self._hypothesis(replace(start, number=0))
            event = draw_event(hypothesis.truth, self._event, _seed_of(self._event, start), start.number)
            fitter = self._set_up(event)
            truth = hypothesis.truth
            located, at_truth = locate(fitter, event, (truth.zenith, truth.azimuth), hypothesis.around, CANDIDATES)
        except InputError as error:
            return failed_fit(start, FitStatus.GeneralFailure, f"re-simulation: {error}")
        best = located.fit
        if math.isnan(best.llh) or math.isnan(at_truth.llh):
            reason = best.reason or at_truth.reason or "the fit gave no number"
            return failed_fit(start, FitStatus.GeneralFailure, f"re-simulation: {reason}", best.evaluations)
        return replace(
            best,
            llh=max(0.0, at_truth.llh - best.llh),
            zenith=start.zenith,
            azimuth=start.azimuth,
            position=start.position,
            time=start.time,
            losses=(),
        )

    def _set_up(self, event: PreparedEvent) -> Locator:
        """Return what fits a simulated event; raises InputError if it cannot be fitted."""
        try:
            return as_locator(self._reconstruction.set_up(event), self._name)
        except ReconstructionError as error:  # for this event alone: the original one was set up on this machine
            raise InputError(str(error)) from error

    def _fit_hypothesis(self, start: Start) -> _Hypothesis:
        fit = self._fitter.fit(start)
        if math.isnan(fit.llh):
            raise InputError(f"the event cannot be fitted at its best direction: {fit.reason}")
        located = self._fitter.locate(Start(fit.zenith, fit.azimuth, fit.position, fit.time, warm=True))
        return _Hypothesis(truth_of(fit, self._event.mjd), tuple(directions_around(located, fit)))


def truth_of(fit: Fit, mjd: float) -> Truth:
    """Return what a fit says about an event at ``mjd`` (UTC, days) as the truth of a simulated one, in nominal physics.

    Raises InputError if it has no losses.
    """
    along = travel_direction(fit.zenith, fit.azimuth)
    places = [
        (
            math.fsum((p - v) * a for p, v, a in zip(loss.position, fit.position, along.tolist(), strict=True)),
            loss.energy,
        )
        for loss in fit.losses
        if loss.energy > 0
    ]
    if not places:
        raise InputError("the best fit of the event has no energy losses, so there is nothing to simulate again")
    s, energy = zip(*sorted(places), strict=True)
    ra, dec = detector_to_equatorial(fit.zenith, fit.azimuth, mjd)
    return Truth(
        topology=fit.topology or "track",
        ra=math.degrees(float(ra)),
        dec=math.degrees(float(dec)),
        zenith=fit.zenith,
        azimuth=fit.azimuth,
        energy=math.fsum(energy),
        vertex=fit.position,
        time=0.0,
        losses=Losses(np.array(s), np.array(energy)),
        ice="spice_mie",
    )


def directions_around(located: Located, centre: Fit) -> Iterator[tuple[float, float]]:
    """Yield `AROUND` directions (zenith, azimuth; rad) on the ellipse where the region of 99 % ends, about ``centre``.

    The ellipse is that of the covariance; a circle of `NEAREST` where it is unknown.
    """
    (zz, za), (_, aa) = located.covariance.tolist()
    if not (zz > 0 and aa > 0 and zz * aa > za * za):
        zz, za, aa = (NEAREST / REACH) ** 2, 0.0, (NEAREST / REACH) ** 2
    first = math.sqrt(zz)
    second, third = za / first, math.sqrt(max(aa - za * za / zz, 0.0))
    for step in range(AROUND):
        x, y = (function(2 * math.pi * step / AROUND) for function in (math.cos, math.sin))
        south, east = REACH * first * x, REACH * (second * x + third * y)
        length = math.hypot(south, east)
        stretch = min(max(length, NEAREST), FARTHEST) / length
        yield turned(centre.zenith, centre.azimuth, stretch * south, stretch * east)


def turned(zenith: float, azimuth: float, south: float, east: float) -> tuple[float, float]:
    """Return the direction (rad) at the end of an arc from another one.

    The arc begins along (zenith, azimuth * sin zenith) with these components; its length is theirs.
    """
    length = math.hypot(south, east)
    if not length:
        return zenith, azimuth
    c, s = math.cos(length), math.sin(length) / length
    radial = (math.sin(zenith), 0.0, math.cos(zenith))  # with the azimuth turned to 0
    x = c * radial[0] + s * south * math.cos(zenith)
    y = s * east
    z = c * radial[2] - s * south * math.sin(zenith)
    return math.acos(max(-1.0, min(1.0, z))), (azimuth + math.atan2(y, x)) % (2 * math.pi)


def draw_event(truth: Truth, original: PreparedEvent, digest: int, number: int) -> PreparedEvent:
    """Simulate the truth in physics that ``digest`` and ``number`` decide, until it triggers; prepare it.

    DOMs that are excluded from the original event take no part here either. Raises InputError if all of `ATTEMPTS`
    events do not trigger, or have too much light to simulate.
    """
    for attempt in range(ATTEMPTS):
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([digest, number, attempt])))
        physics = draw_variation(random)
        varied = replace(truth, ice=physics.ice, variation=physics.variation)
        try:
            event = prepare(resimulate(varied, int(random.integers(2**32)), original.geometry, original.mjd))
        except InputError as error:
            reason = error
        else:
            return replace(event, excluded=event.excluded | original.excluded)
    raise InputError(f"none of {ATTEMPTS} simulated events can be fitted; the last one: {reason}")


def _seed_of(event: PreparedEvent, start: Start) -> int:
    """Return a digest of the event and of the fit that is simulated: equal for all re-simulations of a scan."""
    text = repr((event.name, event.header.run_id, event.header.event_id, start.zenith, start.azimuth))
    text += repr((start.position, start.time))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
