"""Validates fits: whether a message holds the fit of a task of this scan.

A worker may run another version, be broken, or work for another scan, and anyone with access to a topic may write
anything to it. A fit is valid if every name of the task in it matches the scan, if its values are plausible, and if it
was made by the reconstruction and likelihood of the fits before it. All roles validate the best fits in the same way,
so they use the same ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from functools import lru_cache

from skymap_api.text import bounded_line
from skymap_scanner.broker.protocol import Message
from skymap_scanner.detector.coordinates import equatorial_to_detector
from skymap_scanner.errors import BrokerError, SoftwareMismatchError
from skymap_scanner.healpix import pixel_count
from skymap_scanner.roles.task_frames import (
    MAX_FIT_BYTES,
    MAX_REASON,
    DecodedFit,
    PixelFit,
    Provenance,
    decode_fits,
    implausible,
    task_identifier,
)
from skymap_scanner.roles.tasks import task_properties
from skymap_scanner.roles.topics import SEED_PROPERTY
from skymap_scanner.roles.work import decode_work
from skymap_scanner.scan.pixels import Pixel, centres, is_resimulation
from skymap_scanner.scan.plan_entries import ScanEntry
from skymap_scanner.scan.seeds import Round

#: Largest angle between a fit's direction and the pixel's centre (rad): rounding on another machine.
_ANGLE = 1e-6

#: Pixels whose direction is cached: the fits of one pixel arrive close together.
_CACHED = 4096

#: A pixel and one of its seeds; None: any seed.
TaskName = tuple[Pixel, int | None]


class RejectedFitError(BrokerError):
    """A fit was rejected; ``tasks`` are those that it may belong to."""

    def __init__(self, reason: str, tasks: Collection[TaskName] = ()) -> None:
        super().__init__(bounded_line(reason, MAX_REASON))
        self.tasks = tasks


class FitValidator:
    """Decodes and validates the fits and best fits of one scan.

    ``provenance``: that of the first valid fit or best fit; None before it. All others must have the same, except
    failed ones, which are no part of a map: those of tasks that are given up name the reconstruction of the plan.
    """

    def __init__(self, scan: ScanEntry) -> None:
        self.scan = scan
        self.provenance: Provenance | None = None
        self._properties = task_properties(scan)
        self._seeding = scan.seeding
        self._first_nside = scan.parsed_levels()[0].nside
        self._nsides = {level.nside for level in scan.parsed_levels()}
        self._direction = lru_cache(_CACHED)(self._centre)

    def fit(self, message: Message) -> PixelFit:
        """Return the fit in a worker's message; raises RejectedFitError if it is not a valid fit of this scan."""
        envelope = _envelope(message)
        if len(message.payload) > MAX_FIT_BYTES:
            reason = f"a message has {len(message.payload)} bytes, and a fit at most {MAX_FIT_BYTES}"
            raise RejectedFitError(reason, envelope)
        try:
            decoded, *more = decode_fits(message.payload)
        except BrokerError as error:
            raise RejectedFitError(str(error), envelope) from error
        fit = decoded.fit
        named: list[TaskName] = [(fit.pixel, fit.seed)]
        if reason := self._mismatch(decoded):
            raise RejectedFitError(reason, envelope)
        name = f"the fit of pixel {fit.pixel.key}, seed {fit.seed}"
        if more:
            raise RejectedFitError(f"{name} is followed by other frames", named)
        for pixel, seed in envelope:
            if pixel != fit.pixel or seed not in (fit.seed, None):
                reason = f"{name} was sent as the fit of pixel {pixel.key}, seed {seed}"
                raise RejectedFitError(reason, envelope + named)
        for key, value in self._properties.items():
            if message.properties.get(key, value) != value:
                raise RejectedFitError(f"{name} has a different {key}", named)
        if reason := implausible(fit):
            raise RejectedFitError(f"{name} has {reason}", named)
        if not self._of_the_same_provenance(decoded):
            work = decode_work(message.properties)
            worker = work.worker if work else "without a name"
            raise RejectedFitError(
                f"the worker {worker} fits by {decoded.provenance}, the fits before by {self.provenance}, and one map "
                "must not be made by both: stop this worker, and start all workers of a "
                f"scan with the same --reconstruction or --fake-scan, or without both ({name})",
                named,
            )
        return fit

    def best_fit(self, message: Message) -> PixelFit:
        """Return the best fit in a collector's message.

        Raises BrokerError if it is not a valid best fit of this scan; SoftwareMismatchError if it was made by another
        reconstruction or likelihood than those before it, which nothing can mend, since its round is done.
        """
        most = MAX_FIT_BYTES * self._seeding.fits
        if len(message.payload) > most:
            raise BrokerError(f"a message has {len(message.payload)} bytes, and best fits at most {most}")
        best, *others = decode_fits(message.payload)
        for decoded in (best, *others):
            if decoded.fit.pixel != best.fit.pixel:
                raise BrokerError("a message holds the fits of two pixels")
            if self._seeding.round_of(decoded.fit.seed) != self._seeding.round_of(best.fit.seed):
                raise BrokerError("a message holds the fits of two rounds")
            if reason := self._mismatch(decoded) or implausible(decoded.fit):
                raise BrokerError(f"the best fit of pixel {best.fit.pixel.key}: {reason}")
        for decoded in (best, *others):
            if not self._of_the_same_provenance(decoded):
                raise SoftwareMismatchError(
                    f"the best fit of pixel {best.fit.pixel.key} is by {decoded.provenance}, those before by "
                    f"{self.provenance}, and one map must not be made by both: scan again under another name, and "
                    "start all workers with the same --reconstruction or --fake-scan, or without both"
                )
        return best.fit

    def _of_the_same_provenance(self, decoded: DecodedFit) -> bool:
        if math.isnan(decoded.fit.llh):
            return True
        if self.provenance is None:
            self.provenance = decoded.provenance
        return decoded.provenance == self.provenance

    def _mismatch(self, decoded: DecodedFit) -> str:
        """Return why a fit does not belong to a task of this scan; empty if it does."""
        fit, event = decoded.fit, self.scan.event
        pixel = fit.pixel
        if is_resimulation(pixel):
            if not 0 <= pixel.index < self.scan.calibrate:
                return f"the scan has no re-simulation {pixel.index}"
        elif pixel.nside not in self._nsides or not 0 <= pixel.index < pixel_count(pixel.nside):
            return f"the scan has no pixel {pixel.index} of nside {pixel.nside}"
        if fit.seed not in self._seeding.seeds_of(Round(pixel, self._seeding.round_of(fit.seed))):
            return f"the scan has no seed {fit.seed} at nside {pixel.nside}"
        if (decoded.event, decoded.run, decoded.number) != (event.name, event.run, event.event):
            return f"the fit is of the event {decoded.event[:100]!r} ({decoded.run}/{decoded.number})"
        name = f"the fit of pixel {pixel.key}, seed {fit.seed}"
        # Only the plan knows the direction of re-simulations; here the fit's must be that of its own start.
        centre = decoded.directions[0] if is_resimulation(pixel) else self._direction(pixel)
        warm = pixel.nside != self._first_nside or fit.seed == self._seeding.neighbour_seed
        identifiers = {task_identifier(event.name, pixel, fit.seed)}
        mismatches = {
            "has the identifiers of another task": decoded.identifiers != identifiers
            or decoded.sub_event != pixel.index,
            "has a different start than its task": decoded.warm != warm,
            "has a different direction than the pixel": any(
                not _angle(direction, centre) < _ANGLE for direction in decoded.directions
            ),
        }
        return next((f"{name} {reason}" for reason, differs in mismatches.items() if differs), "")

    def _centre(self, pixel: Pixel) -> tuple[float, float]:
        ra, dec = centres([pixel])
        zenith, azimuth = equatorial_to_detector(ra, dec, self.scan.event.mjd)
        return float(zenith[0]), float(azimuth[0])


def _envelope(message: Message) -> list[TaskName]:
    """Return the task that the message's key and property name, whatever its payload; empty if they name none."""
    pixel, seed = pixel_of_key(message.key), message.properties.get(SEED_PROPERTY, "")
    return [] if pixel is None else [(pixel, int(seed) if re.fullmatch("[0-9]{1,9}", seed) else None)]


def pixel_of_key(key: str | None) -> Pixel | None:
    """Return the pixel that a message key names, or None."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,9})", key or "")
    return None if match is None else Pixel(int(match[1]), int(match[2]))


def _angle(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the angle between two directions (zenith, azimuth; rad), by the haversine, exact for small angles."""
    half = math.sin((a[0] - b[0]) / 2) ** 2 + math.sin(a[0]) * math.sin(b[0]) * math.sin((a[1] - b[1]) / 2) ** 2
    return 2 * math.asin(math.sqrt(min(1.0, max(0.0, half)))) if math.isfinite(half) else math.inf
