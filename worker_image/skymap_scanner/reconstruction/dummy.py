"""A reconstruction that fits nothing: an analytic bowl, for tests of everything around the fits."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from skymap_scanner.detector.coordinates import equatorial_to_detector
from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction.protocol import Fit, FitStatus, Loss, Start


@dataclass(frozen=True)
class Dummy:
    """-ln L is a bowl with its minimum at (``ra``, ``dec``; degrees), ``width`` degrees wide where it has risen by 1/2.

    The farther the seed from the event's vertex, the higher: the first seed is the best. Each fit sleeps ``seconds``.
    """

    ra: float = 0.0
    dec: float = 0.0
    width: float = 5.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("ra", "dec", "width", "seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ReconstructionError(f"dummy: parameter {name} is {value!r}, not a number")
        if self.width <= 0 or self.seconds < 0:
            raise ReconstructionError("dummy: width must be above 0 and seconds not below")

    def set_up(self, event: PreparedEvent) -> _Bowl:
        """Turn the minimum into detector coordinates at the event's time."""
        zenith, azimuth = equatorial_to_detector(math.radians(self.ra), math.radians(self.dec), event.mjd)
        vertex = (float(event.vertex[0]), float(event.vertex[1]), float(event.vertex[2]))
        return _Bowl(self, float(zenith), float(azimuth), vertex)

    def compile(self) -> None:
        """Nothing here is compiled."""


@dataclass(frozen=True)
class _Bowl:
    settings: Dummy
    zenith: float
    azimuth: float
    vertex: tuple[float, float, float]

    def fit(self, start: Start) -> Fit:
        """Answer with the height of the bowl."""
        time.sleep(self.settings.seconds)
        cosine = math.cos(start.zenith) * math.cos(self.zenith) + math.sin(start.zenith) * math.sin(
            self.zenith
        ) * math.cos(start.azimuth - self.azimuth)
        distance = math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) / self.settings.width
        llh = 1000.0 + 0.5 * distance**2 + 1e-3 * math.dist(start.position, self.vertex)
        return Fit(
            status=FitStatus.OK,
            llh=llh,
            zenith=start.zenith,
            azimuth=start.azimuth,
            position=start.position,
            time=start.time,
            energy_in=1e5,
            energy_total=2e5,
            losses=(Loss(start.position, start.time, 2e5),),
            evaluations=1,
        )
