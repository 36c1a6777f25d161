"""The frames of a prepared event, as sent to the workers and written at the head of a scan's output.

They are the event's own G, C, D and Q frames, and a ``p`` frame: the event's P frame with the decisions of the
preparation under keys of our own. A worker repeats none of these decisions, and the file shows the input of the fits.

=========================  =======================  ==================================================================
key in p                   class                    what
=========================  =======================  ==================================================================
``SCAN_EventName``         I3String                 name of the event
``SCAN_EventChoice``       I3String                 other events that could be meant, if there are any
``SCAN_EventCaution``      I3String                 what the preparation had to do without, if anything
``SCAN_PulseSeries``       I3String                 key of the pulses that are fitted
``SCAN_ReadoutWindow``     I3TimeWindow             when the detector was read out (ns)
``SCAN_ExcludedDOMs``      I3VectorOMKey            excluded DOMs, sorted
``SCAN_BrightDOMs``        I3VectorOMKey            bright DOMs, sorted
``SCAN_Errata``            I3TimeWindowSeriesMap    for badly calibrated DOMs: the window to leave out, without end
``SCAN_LateTimeWindows``   I3TimeWindowSeriesMap    for DOMs with late pulses: their window, without end
``SCAN_Vertex``            I3Position               where the seeds start (m)
``SCAN_VertexTime``        I3Double                 when (ns)
=========================  =======================  ==================================================================

Where the event's G frame has no ``I3Geometry`` (realtime events hold only the difference to a baseline), one of all
in-ice DOMs is added under that key, so that viewers can draw the event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import numpy as np

from skymap_scanner.errors import InputError
from skymap_scanner.event.geometry_conversion import KEY as GEOMETRY_KEY
from skymap_scanner.event.geometry_conversion import event_geometry, geometry_to_i3
from skymap_scanner.event.lookup import STOPS, find_one, nearest_first
from skymap_scanner.event.model import Event, PreparedEvent
from skymap_scanner.event.online import online_direction
from skymap_scanner.event.preparation import event_mjd, in_ice
from skymap_scanner.event.sources import CHOICE_KEY, NAME_KEY
from skymap_scanner.i3 import (
    Frame,
    I3Double,
    I3EventHeader,
    I3Position,
    I3String,
    I3TimeWindow,
    I3TimeWindowSeries,
    I3TimeWindowSeriesMap,
    I3VectorOMKey,
    OMKey,
    resolve_pulses,
)

PHYSICS_STOP = "p"

CAUTION_KEY = "SCAN_EventCaution"
PULSE_SERIES_KEY = "SCAN_PulseSeries"
READOUT_WINDOW_KEY = "SCAN_ReadoutWindow"
EXCLUDED_DOMS_KEY = "SCAN_ExcludedDOMs"
BRIGHT_DOMS_KEY = "SCAN_BrightDOMs"
ERRATA_KEY = "SCAN_Errata"
LATE_TIME_WINDOWS_KEY = "SCAN_LateTimeWindows"
VERTEX_KEY = "SCAN_Vertex"
VERTEX_TIME_KEY = "SCAN_VertexTime"


def event_frames(event: Event, prepared: PreparedEvent) -> list[Frame]:
    """Return the frames that a worker needs: G, those of C, D, Q that there are, and p; the event is not changed."""
    frames = {stop: event.frames[stop] for stop in STOPS[:-1] if stop in event.frames}
    if not any(GEOMETRY_KEY in frame for frame in event.frames.values()):
        frames["G"] = frames["G"].copy() if "G" in frames else Frame("G")
        frames["G"][GEOMETRY_KEY] = geometry_to_i3(prepared.geometry)
    physics = event.frames["P"].copy(PHYSICS_STOP)
    physics[NAME_KEY] = I3String(prepared.name)
    if prepared.choice:
        physics[CHOICE_KEY] = I3String(prepared.choice)
    if prepared.caution:
        physics[CAUTION_KEY] = I3String(prepared.caution)
    elif CAUTION_KEY in physics:  # of an earlier scan of this event
        del physics[CAUTION_KEY]
    physics[PULSE_SERIES_KEY] = I3String(prepared.pulse_series)
    physics[READOUT_WINDOW_KEY] = I3TimeWindow(*prepared.window)
    physics[EXCLUDED_DOMS_KEY] = I3VectorOMKey(tuple(sorted(prepared.excluded)))
    physics[BRIGHT_DOMS_KEY] = I3VectorOMKey(tuple(sorted(prepared.bright)))
    physics[ERRATA_KEY] = _windows_from(prepared.errata)
    physics[LATE_TIME_WINDOWS_KEY] = _windows_from(prepared.late)
    physics[VERTEX_KEY] = I3Position(*prepared.vertex.tolist())
    physics[VERTEX_TIME_KEY] = I3Double(prepared.vertex_time)
    return [frames[stop] for stop in STOPS[:-1] if stop in frames] + [physics]


def prepared_from_frames(frames: Sequence[Frame]) -> PreparedEvent:
    """Return the prepared event that ``event_frames`` encoded, equal to the last bit.

    Raises InputError when a frame or an object is missing or damaged; names it.
    """
    by_stop = {frame.stop: frame for frame in frames}
    if PHYSICS_STOP not in by_stop:
        raise InputError(f"the event's frames {' '.join(by_stop) or '(none)'} lack the {PHYSICS_STOP} frame")
    physics = by_stop["P"] = by_stop.pop(PHYSICS_STOP)
    geometry = event_geometry(by_stop)
    series = physics.expect(PULSE_SERIES_KEY, I3String).value
    pulses, _ = in_ice(resolve_pulses(series, nearest_first(by_stop)), geometry)
    window = physics.expect(READOUT_WINDOW_KEY, I3TimeWindow)
    vertex = physics.expect(VERTEX_KEY, I3Position)
    header = find_one(by_stop, "I3EventHeader", I3EventHeader)
    mjd = event_mjd(header)
    return PreparedEvent(
        name=physics.expect(NAME_KEY, I3String).value,
        header=header,
        mjd=mjd,
        pulse_series=series,
        pulses=pulses,
        window=(window.start, window.stop),
        errata=_starts(physics, ERRATA_KEY),
        late=_starts(physics, LATE_TIME_WINDOWS_KEY),
        excluded=frozenset(physics.expect(EXCLUDED_DOMS_KEY, I3VectorOMKey).value),
        bright=frozenset(physics.expect(BRIGHT_DOMS_KEY, I3VectorOMKey).value),
        vertex=np.array([vertex.x, vertex.y, vertex.z]),
        vertex_time=physics.expect(VERTEX_TIME_KEY, I3Double).value,
        geometry=geometry,
        choice=physics.expect(CHOICE_KEY, I3String).value if CHOICE_KEY in physics else "",
        caution=physics.expect(CAUTION_KEY, I3String).value if CAUTION_KEY in physics else "",
        online=online_direction(by_stop, mjd),
    )


def _windows_from(starts: Mapping[OMKey, float]) -> I3TimeWindowSeriesMap:
    """Return, for each DOM, one window without end from its start (ns)."""
    return I3TimeWindowSeriesMap(
        {key: I3TimeWindowSeries((I3TimeWindow(start, inf),)) for key, start in sorted(starts.items())}
    )


def _starts(physics: Frame, key: str) -> dict[OMKey, float]:
    """Return the start (ns) of each DOM's window."""
    series = physics.expect(key, I3TimeWindowSeriesMap).value
    return {dom: windows.value[0].start for dom, windows in series.items() if windows.value}
