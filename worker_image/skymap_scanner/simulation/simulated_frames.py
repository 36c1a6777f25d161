"""The frames of a simulated event: those of a real one, under the same keys, that the scanner or a viewer needs.

====  =================================================================================================================
G     ``I3Geometry``: IceCube-86
C     nothing: the pulses are calibrated
D     ``BadDomsList``: the DOMs that gave nothing
Q     ``QI3EventHeader``; ``InIcePulses``: an I3RecoPulseSeriesMap
P     ``I3EventHeader``; ``SplitInIcePulses``, which chooses all of them, and ``SplitInIcePulsesTimeRange``;
      ``SCAN_EventName``; the truth (``truth.py``)
====  =================================================================================================================
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.event.geometry_conversion import KEY as GEOMETRY_KEY
from skymap_scanner.event.geometry_conversion import geometry_to_i3, omkeys
from skymap_scanner.event.model import Event, event_label
from skymap_scanner.event.sources import NAME_KEY
from skymap_scanner.i3 import (
    BitMask,
    Frame,
    I3EventHeader,
    I3RecoPulseSeriesMap,
    I3RecoPulseSeriesMapMask,
    I3String,
    I3Time,
    I3TimeWindow,
    I3VectorOMKey,
)
from skymap_scanner.simulation.truth import Truth, put_truth

#: Run number of every simulated event; real ones are far higher.
RUN = 1
#: Third part of the name of a simulated event, which marks it as simulated for a scan.
KIND = "simulation"
#: As IceCube calls the part of the readout that is one event in the ice.
STREAM = "InIceSplit"

PULSES = "InIcePulses"
SPLIT_PULSES = "SplitInIcePulses"


def event_header(event_id: int, mjd: float, window: tuple[float, float]) -> I3EventHeader:
    """Return the header of an event whose time 0 is ``mjd`` (UTC, days), read out until ``window[1]`` (ns)."""
    start = I3Time.from_mjd(mjd)
    end = start.later(round(window[1] * 10))  # ticks of 0.1 ns
    return I3EventHeader(run_id=RUN, event_id=event_id, sub_event_stream=STREAM, start_time=start, end_time=end)


def simulated_event(
    header: I3EventHeader,
    window: tuple[float, float],
    pulses: I3RecoPulseSeriesMap,
    truth: Truth,
    geometry: Geometry,
) -> Event:
    """Lay a simulated event out in frames."""
    name = f"{event_label(header.run_id, header.event_id)}.{KIND}"
    frames = {stop: Frame(stop) for stop in "GCDQP"}
    frames["G"][GEOMETRY_KEY] = geometry_to_i3(geometry)
    keys = omkeys(geometry)
    frames["D"]["BadDomsList"] = I3VectorOMKey(tuple(keys[index] for index in np.flatnonzero(geometry.dead)))
    frames["Q"]["QI3EventHeader"] = replace(header, sub_event_stream="")
    frames["Q"][PULSES] = pulses
    physics = frames["P"]
    physics["I3EventHeader"] = header
    physics[SPLIT_PULSES] = I3RecoPulseSeriesMapMask(
        PULSES,
        BitMask.of(np.ones(len(pulses.value), bool)),
        tuple(BitMask.of(np.ones(len(pulses.value[key]), bool)) for key in sorted(pulses.value)),
    )
    physics[f"{SPLIT_PULSES}TimeRange"] = I3TimeWindow(*window)
    physics[NAME_KEY] = I3String(name)
    put_truth(physics, truth)
    return Event(name, frames)
