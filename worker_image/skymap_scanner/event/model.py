"""An event as the scanner sees it: the frames as they came, and the same event prepared for a reconstruction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.i3 import Frame, I3EventHeader, OMKey, Pulses

#: What gave the light: a muon that loses energy along its line, or one shower.
Topology = Literal["track", "cascade"]


def event_label(run: int, event: int, sub_event: int = 0) -> str:
    """Return how names of events and files begin: ``run00138632.evt000031747601``, with ``-1`` for sub-event 1.

    Sub-event 0, the only one of most events, is left out.
    """
    return f"run{run:08d}.evt{event:012d}{f'-{sub_event}' if sub_event else ''}"


@dataclass(frozen=True)
class Event:
    """An event as it was read: its ``name`` (see ``event/sources.py``) and its frames by stop, G C D Q P.

    Only P is always there; it may come from a ``p`` frame. ``choice`` says which other events of its file could have
    been meant, in one line of at most 1000 characters; it is empty where there is no doubt.
    """

    name: str
    frames: Mapping[str, Frame]
    choice: str = ""


@dataclass(frozen=True)
class OnlineDirection:
    """What the online reconstruction found: right ascension and declination (deg, ICRS).

    ``name`` is its key in the event's frames. ``error`` is the standard deviation along one axis of the sky (deg), by
    the bound of Cramér and Rao, which is statistical alone; None where the event does not state it.
    """

    name: str
    ra: float
    dec: float
    error: float | None = None

    @property
    def radius_90(self) -> float | None:
        """Radius (deg) that holds it in 90 % of all cases, as far as the errors are Gaussian."""
        return None if self.error is None else self.error * math.sqrt(-2 * math.log(0.1))


@dataclass(frozen=True)
class PreparedEvent:
    """An event ready to be fitted (see ``event/preparation.py``).

    ``pulses`` are the pulses of the chosen series in the DOMs of ``geometry``, as they were read; ``window`` is the
    readout window (start, stop; ns). DOMs in ``excluded`` are left out of the likelihood, hit or not. ``errata`` gives,
    for a hit DOM, the time (ns, after the window's start) from which the calibration does not trust its pulses.

    ``bright`` (DOMs with an outstanding charge) and ``late`` (start of a DOM's late pulses, ns) are what Millipede in
    IceTray leaves out as well. The built-in likelihood uses both, since cuts on the pulses bias it. ``vertex`` (m;
    shape (3,)) and ``vertex_time`` (ns) are where the seeds start. ``mjd`` is the time of the event (UTC, days).
    ``choice`` is that of the `Event`. ``caution`` says what the preparation had to do without, in one line; empty:
    nothing. ``online`` is the online direction; None where the event has none.
    """

    name: str
    header: I3EventHeader
    mjd: float
    pulse_series: str
    pulses: Pulses
    window: tuple[float, float]
    errata: Mapping[OMKey, float]
    late: Mapping[OMKey, float]
    excluded: frozenset[OMKey]
    bright: frozenset[OMKey]
    vertex: NDArray[np.float64]
    vertex_time: float
    geometry: Geometry
    choice: str = ""
    caution: str = ""
    online: OnlineDirection | None = None
