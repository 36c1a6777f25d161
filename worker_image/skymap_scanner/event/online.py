"""The online direction: that of the reconstruction at the South Pole, which the first notice of an alert gives."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from skymap_scanner.detector.coordinates import detector_to_equatorial
from skymap_scanner.errors import I3Error
from skymap_scanner.event.lookup import find
from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.i3 import FitStatus, Frame, I3Double, I3Particle

log = logging.getLogger(__name__)

#: Its keys in the order in which they are looked for: since 2021, and before.
ONLINE_KEYS = ("l2_online_SplineMPE", "OnlineL2_SplineMPE")
#: The standard deviations (rad) of zenith and azimuth by the bound of Cramér and Rao, after its key.
_ZENITH_ERROR, _AZIMUTH_ERROR = "_CramerRao_cr_zenith", "_CramerRao_cr_azimuth"
#: A larger error (rad) than that of no direction at all is none.
_LARGEST = math.pi


def online_direction(frames: Mapping[str, Frame], mjd: float) -> OnlineDirection | None:
    """Return the online direction of an event, at its time (UTC, days); None if its frames have none.

    Nothing depends on it, so a damaged one is logged and left out.
    """
    for key in ONLINE_KEYS:
        try:
            particle = find(frames, key, I3Particle)
            if particle is None or particle.fit_status != FitStatus.OK:
                continue
            zenith, azimuth = particle.dir.zenith, particle.dir.azimuth
            if not (0 <= zenith <= math.pi and math.isfinite(azimuth)):
                continue
            ra, dec = detector_to_equatorial(zenith, azimuth, mjd)
            error = _error(frames, key, zenith)
        except I3Error as failure:
            log.warning("the online direction is left out: %s", failure)
            continue
        return OnlineDirection(key, math.degrees(float(ra)), math.degrees(float(dec)), error)
    return None


def _error(frames: Mapping[str, Frame], key: str, zenith: float) -> float | None:
    """Return the standard deviation along one axis of the sky (deg), the mean of both; None if it is not there."""
    errors = [find(frames, key + name, I3Double) for name in (_ZENITH_ERROR, _AZIMUTH_ERROR)]
    if errors[0] is None or errors[1] is None:
        return None
    mean = math.hypot(errors[0].value, errors[1].value * math.sin(zenith)) / math.sqrt(2)
    return math.degrees(mean) if 0 < mean < _LARGEST else None
