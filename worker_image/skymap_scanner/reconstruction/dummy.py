"""The reconstruction ``dummy``: a bowl in place of a likelihood, to try a scan without waiting for fits."""

from __future__ import annotations

import math
import time

import numpy as np

from skymap_scanner.detector.coordinates import equatorial_to_detector, travel_direction
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Loss, Start, failed_fit

#: -ln L at the bottom of the bowl.
_BOTTOM = 1000.0
#: Width of the bowl: -ln L rises by 1/2 at one degree from the centre, and by 1/2 for a vertex 10 m off.
_DEGREE = math.degrees(1.0)
_METRES = 10.0
_ENERGY = 1000.0  # GeV, of the one loss


class Dummy:
    """A bowl around one direction, deepest for the seed at the event's vertex.

    Parameters
    ----------
    ra, dec
        The bottom, degrees (ICRS). Not given: a direction that the event's number chooses.
    seconds
        How long every fit takes.

    Raises
    ------
    InputError
        When a parameter has no possible value.
    """

    def __init__(self, *, ra: float | None = None, dec: float | None = None, seconds: float = 0.0) -> None:
        if (ra is None) != (dec is None):
            raise InputError("dummy: give ra and dec, or neither")
        if ra is not None and not (math.isfinite(ra) and dec is not None and abs(dec) <= 90):
            raise InputError(f"dummy: ra {ra}, dec {dec} is no direction; dec goes from -90 to 90 degrees")
        if not 0 <= seconds < 3600:
            raise InputError(f"dummy: seconds {seconds}: choose from 0 to 3600")
        self._direction = None if ra is None or dec is None else (math.radians(ra), math.radians(dec))
        self._seconds = seconds

    @property
    def identity(self) -> str:
        """Its name alone; its code has the package's version."""
        return "dummy"

    def set_up(self, event: PreparedEvent) -> EventFitter:
        """Find the bottom in the detector frame."""
        ra, dec = self._direction or _direction_of_event(event)
        zenith, azimuth = equatorial_to_detector(ra, dec, event.mjd)
        return _Bowl(float(zenith), float(azimuth), event, self._seconds)

    def compile(self) -> None:
        """Do nothing: there is nothing to compile."""


class _Bowl:
    """The bowl of one event."""

    def __init__(self, zenith: float, azimuth: float, event: PreparedEvent, seconds: float) -> None:
        self._bottom = travel_direction(zenith, azimuth)
        self._vertex = np.asarray(event.vertex, np.float64)
        self._seconds = seconds

    def fit(self, start: Start) -> Fit:
        """Return the height of the bowl at the start; a direction or a vertex that is not finite fails."""
        if self._seconds:
            time.sleep(self._seconds)
        if not all(math.isfinite(x) for x in (start.zenith, start.azimuth, *start.position)):
            return failed_fit(start, FitStatus.MissingSeed, "the start holds a number that is not finite")
        cosine = float((travel_direction(start.zenith, start.azimuth) * self._bottom).sum())
        degrees = math.acos(min(1.0, max(-1.0, cosine))) * _DEGREE
        metres = math.sqrt(float(((np.array(start.position) - self._vertex) ** 2).sum()))
        return Fit(
            status=FitStatus.OK,
            llh=_BOTTOM + degrees**2 / 2 + (metres / _METRES) ** 2 / 2,
            zenith=start.zenith,
            azimuth=start.azimuth,
            position=start.position,
            time=start.time,
            energy_in=_ENERGY,
            energy_total=_ENERGY,
            losses=(Loss(start.position, start.time, _ENERGY),),
            evaluations=1,
        )


def _direction_of_event(event: PreparedEvent) -> tuple[float, float]:
    """Spread events evenly over the sky by their number (the golden ratio's multiples are even)."""
    number = event.header.event_id
    turn = (number * 0.6180339887498949) % 1.0
    height = (number * 0.7548776662466927) % 1.0
    return 2 * math.pi * turn, math.asin(2 * height - 1)
