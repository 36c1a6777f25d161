"""What a fit must say to be an answer to a task of this scan.

A worker may be of another version, broken, or at work for another scan, and whoever may write to a topic may write
anything. A fit is believed where it names the task in every way that a task is named, and where its figures can be
those of a fit. The same holds for whoever reads a pixel's best, so that all roles believe the same ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from functools import lru_cache

from skymap_scanner.broker.protocol import Message
from skymap_scanner.detector.coordinates import equatorial_to_detector
from skymap_scanner.errors import BrokerError
from skymap_scanner.roles.task_frames import DecodedFit, PixelFit, decode_fits, implausible, task_identifier
from skymap_scanner.roles.tasks import task_properties
from skymap_scanner.roles.topics import SEED_PROPERTY
from skymap_scanner.scan.pixels import Pixel, centres, pixel_count
from skymap_scanner.scan.plan import ScanEntry

#: How far a fit's direction may lie from the pixel's centre (rad): it is computed on another machine.
_ANGLE = 1e-6

#: Pixels whose direction is remembered: their seeds come one soon after the other.
_REMEMBERED = 4096


#: A pixel and one of its seeds; None: whichever.
TaskName = tuple[Pixel, int | None]


class RejectedFitError(BrokerError):
    """A fit that is not believed; ``tasks`` are those that it may have been the answer to."""

    def __init__(self, why: str, tasks: Collection[TaskName] = ()) -> None:
        super().__init__(why)
        self.tasks = tasks


class FitValidator:
    """Reads the fits and bests of one scan."""

    def __init__(self, scan: ScanEntry) -> None:
        self.scan = scan
        self._properties = task_properties(scan)
        self._first_nside = scan.parsed_levels()[0].nside
        self._nsides = {level.nside for level in scan.parsed_levels()}
        self._direction = lru_cache(_REMEMBERED)(self._centre)

    def fit(self, message: Message) -> PixelFit:
        """Read a fit.

        Raises
        ------
        RefusedFitError
            If it is none of this scan, or nonsense.
        """
        envelope = _envelope(message)
        try:
            answer, *more = decode_fits(message.payload)
        except BrokerError as error:
            raise RejectedFitError(str(error), envelope) from error
        best = answer.best
        named: list[TaskName] = [(best.pixel, best.seed)]
        why = self._foreign(answer)
        if why:
            raise RejectedFitError(why, envelope)
        name = f"the fit of pixel {best.pixel.key}, seed {best.seed}"
        if more:
            raise RejectedFitError(f"{name} came with more behind it", named)
        for pixel, seed in envelope:
            if pixel != best.pixel or seed not in (best.seed, None):
                raise RejectedFitError(f"{name} came as that of pixel {pixel.key}, seed {seed}", envelope + named)
        for key, value in self._properties.items():
            if message.properties.get(key, value) != value:
                raise RejectedFitError(f"{name} has another {key}", named)
        if why := implausible(best):
            raise RejectedFitError(f"{name} has {why}", named)
        return best

    def best(self, message: Message) -> PixelFit:
        """Read a pixel's best.

        Raises
        ------
        BrokerError
            If it is none of this scan, or nonsense.
        """
        answers = decode_fits(message.payload)
        for answer in answers:
            if answer.best.pixel != answers[0].best.pixel:
                raise BrokerError("a message holds the fits of two pixels")
            if why := self._foreign(answer) or implausible(answer.best):
                raise BrokerError(f"the best of pixel {answer.best.pixel.key}: {why}")
        return answers[0].best

    def _foreign(self, answer: DecodedFit) -> str:
        """Say in which way a fit is of no task of this scan; nothing where it is of one."""
        best, event = answer.best, self.scan.event
        pixel = best.pixel
        if pixel.nside not in self._nsides or not 0 <= pixel.index < pixel_count(pixel.nside):
            return f"the scan has no pixel {pixel.index} of nside {pixel.nside}"
        if not 0 <= best.seed < self.scan.seeds:
            return f"the scan has no seed {best.seed}"
        if (answer.event, answer.run, answer.number) != (event.name, event.run, event.event):
            return f"the fit is of the event {answer.event[:100]!r} ({answer.run}/{answer.number})"
        name = f"the fit of pixel {pixel.key}, seed {best.seed}"
        identifiers = {task_identifier(event.name, pixel, best.seed)}
        wrong = {
            "has the identifiers of another task": answer.identifiers != identifiers or answer.sub_event != pixel.index,
            "did not begin as its task does": answer.warm != (pixel.nside != self._first_nside),
            "has another direction than the pixel": any(
                not _angle(direction, self._direction(pixel)) < _ANGLE for direction in answer.directions
            ),
        }
        return next((f"{name} {what}" for what, is_wrong in wrong.items() if is_wrong), "")

    def _centre(self, pixel: Pixel) -> tuple[float, float]:
        ra, dec = centres([pixel])
        zenith, azimuth = equatorial_to_detector(ra, dec, self.scan.event.mjd)
        return float(zenith[0]), float(azimuth[0])


def _envelope(message: Message) -> list[TaskName]:
    """Return the task that a message is of by its key and property, whatever it holds; empty: not said."""
    pixel, seed = pixel_of_key(message.key), message.properties.get(SEED_PROPERTY, "")
    return [] if pixel is None else [(pixel, int(seed) if re.fullmatch("[0-9]{1,9}", seed) else None)]


def pixel_of_key(key: str | None) -> Pixel | None:
    """Return the pixel whose key this is; None if it is none."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,9})", key or "")
    return None if match is None else Pixel(int(match[1]), int(match[2]))


def _angle(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the angle between two directions (zenith, azimuth; rad); the haversine stays exact where it is small."""
    half = math.sin((a[0] - b[0]) / 2) ** 2 + math.sin(a[0]) * math.sin(b[0]) * math.sin((a[1] - b[1]) / 2) ** 2
    return 2 * math.asin(math.sqrt(min(1.0, max(0.0, half)))) if math.isfinite(half) else math.inf
