"""Prepare an event for a reconstruction: pulses, readout window, exclusions, vertex.

``docs/explanation/event-preparation.md`` describes the decisions and their sources. Nothing here depends on the scan,
so it is done once; ``event/prepared_frames.py`` carries the answer to the workers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ic86 import DEEPCORE
from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event.cleaning import bright_doms, late_pulses
from skymap_scanner.event.geometry_conversion import event_geometry, omkeys
from skymap_scanner.event.lookup import find, find_one, nearest_first
from skymap_scanner.event.model import Event, PreparedEvent
from skymap_scanner.event.online import online_direction
from skymap_scanner.event.vertex import find_vertex
from skymap_scanner.i3 import (
    Frame,
    I3EventHeader,
    I3TimeWindow,
    I3TimeWindowSeriesMap,
    I3VectorOMKey,
    OMKey,
    Pulses,
    resolve_pulses,
)
from skymap_scanner.i3.pulse_objects import LOCAL_COINCIDENCE

log = logging.getLogger(__name__)

#: The pulses of the one physics event, where several came close together: since 2023, and before.
PULSE_SERIES = ("SplitInIcePulses", "SplitUncleanedInIcePulses")

#: Windows of badly calibrated waveforms, as after much light: pulses from a DOM's first window on are excluded.
_ERRATA = "CalibrationErrata"
#: Windows in which a DOM was saturated: the DOM is excluded.
_SATURATED = "SaturationWindows"
#: DOMs that did not work properly during the run: they are excluded.
_BAD_DOMS = ("BadDomsList", "BadDomsListSLC")
#: What the result of an event without the first of these lists says. No known message of I3Live has a list.
NO_BAD_DOMS = (
    "the event has no BadDomsList, so the DOMs that did not work in its run are not known, and count as DOMs that saw "
    "no light"
)

_PULSE_CLASSES = {
    "I3RecoPulseSeriesMap",
    "I3RecoPulseSeriesMapApplySPECorrection",
    "I3RecoPulseSeriesMapCombineByModule",
    "I3RecoPulseSeriesMapMask",
    "I3RecoPulseSeriesMapUnion",
    "I3SuperDST",
}
_OM_RANGE = 2**16
_LATEST = 1e9  # ns: no pulse is a second away from the trigger
_FARTHEST = 1e6  # ns: nor a millisecond from the event; readouts are shorter than a tenth of that
_LARGEST = 1e9  # pe: more than any DOM records


#: Pulses this long (ns) after the median of their DOM are late (the scanner of 2020 used 3000).
LATE_DELAY = 1500.0
#: DOMs with more than this times the mean charge of the hit DOMs are bright.
BRIGHT_FACTOR = 10.0


def prepare(event: Event, pulse_series: str | None = None) -> PreparedEvent:
    """Choose the pulses and DOMs for a reconstruction, and where its seeds start.

    ``pulse_series`` is the key of the pulses; None: the first of ``PULSE_SERIES`` that the event has.
    Raises InputError when the event has no header, no such pulses, or no charge in the ice; the message lists what it
    has.
    """
    try:
        return _prepare(event, pulse_series)
    except I3Error as error:
        error.file = error.file or event.name
        raise
    except InputError as error:
        raise InputError(f"{event.name}: {error}") from error


def _prepare(event: Event, pulse_series: str | None) -> PreparedEvent:
    frames = event.frames
    header = find_one(frames, "I3EventHeader", I3EventHeader)
    series = choose_series(frames, pulse_series)
    geometry = event_geometry(frames)
    pulses, dom = in_ice(resolve_pulses(series, nearest_first(frames)), geometry)
    sound = _sound(pulses)
    if not pulses.charge[sound].any():
        raise InputError(f"the pulses {series} hold no charge in the ice, so there is nothing to fit")
    damaged = set(dom[~sound].tolist())
    caution = "" if find(frames, _BAD_DOMS[0], I3VectorOMKey) else NO_BAD_DOMS
    if caution:
        log.warning("%s: %s", event.name, caution)
    if damaged:
        log.warning("%s: %d DOMs have impossible pulses in %s and take no part", event.name, len(damaged), series)

    usable, hit = pulses.select(sound), dom[sound]
    window = _readout_window(frames, series, usable)
    time, charge = usable.time, usable.charge.astype(np.float64)
    keys = omkeys(geometry)
    hit_keys = {keys[index] for index in set(hit.tolist())}
    late = {keys[index]: start for index, start in late_pulses(time, charge, hit, LATE_DELAY).items()}
    bright = {keys[index] for index in bright_doms(charge, hit, BRIGHT_FACTOR)}
    errata = _errata(frames)
    excluded = {keys[index] for index in damaged} | _untrusted_doms(frames, geometry, keys)
    excluded |= {key for key, start in errata.items() if key not in hit_keys or not start > window[0]}
    if hit_keys <= excluded:
        reasons = "dead, bad, saturated, badly calibrated, in DeepCore or with impossible pulses"
        raise InputError(f"all DOMs with pulses in {series} are excluded ({reasons}), so there is nothing to fit")
    vertex, vertex_time = _vertex(usable, hit, geometry)
    mjd = event_mjd(header)
    return PreparedEvent(
        name=event.name,
        header=header,
        mjd=mjd,
        pulse_series=series,
        pulses=pulses,
        window=window,
        errata={key: start for key, start in sorted(errata.items()) if key not in excluded},
        late={key: start for key, start in sorted(late.items()) if key not in excluded and start > window[0]},
        excluded=frozenset(excluded.intersection(keys)),
        bright=frozenset(bright - excluded),
        vertex=vertex,
        vertex_time=vertex_time,
        geometry=geometry,
        choice=event.choice,
        caution=caution,
        online=online_direction(frames, mjd),
    )


def choose_series(frames: Mapping[str, Frame], wanted: str | None = None) -> str:
    """Return the key of the pulses to use: ``wanted``, or the first of ``PULSE_SERIES`` in the event.

    Raises InputError when the event has no such pulses; lists the pulses that it has.
    """
    name = find_series(frames, wanted)
    if name is not None:
        return name
    there = sorted({key for frame in frames.values() for key in frame if _is_pulses(frame, key)})
    names = " or ".join(PULSE_SERIES) if wanted is None else wanted
    raise InputError(f"the event has no pulses {names}; it has {', '.join(there) or 'no pulses at all'}")


def find_series(frames: Mapping[str, Frame], wanted: str | None = None) -> str | None:
    """Return the key of the pulses to use, as `choose_series`; None when the event has no such pulses."""
    names = PULSE_SERIES if wanted is None else (wanted,)
    return next((name for name in names if any(name in frame for frame in frames.values())), None)


def light_in_ice(frames: Mapping[str, Frame], series: str) -> float:
    """Return the charge (pe) of the plausible pulses under a key, in the DOMs of the event's geometry.

    Raises I3Error when the pulses or the geometry are damaged.
    """
    pulses, _ = in_ice(resolve_pulses(series, nearest_first(frames)), event_geometry(frames))
    return float(pulses.charge[_sound(pulses)].sum(dtype=np.float64))


def _is_pulses(frame: Frame, key: str) -> bool:
    try:
        return frame.class_name(key) in _PULSE_CLASSES
    except I3Error:
        return False  # a damaged object under another key


def in_ice(pulses: Pulses, geometry: Geometry) -> tuple[Pulses, NDArray[np.intp]]:
    """Return the pulses in DOMs of the geometry, and for each the index of its DOM there; shape (n,)."""
    address = geometry.string.astype(np.intp) * _OM_RANGE + geometry.om  # ascending: a geometry is sorted
    wanted = pulses.string.astype(np.intp) * _OM_RANGE + pulses.om
    index = np.minimum(np.searchsorted(address, wanted), len(address) - 1)
    known = (address[index] == wanted) & (pulses.pmt == 0)
    return pulses.select(known), index[known]


def event_mjd(header: I3EventHeader) -> float:
    """Return the time of an event (UTC, days), where its readout begins.

    Raises I3Error when the header's time is in no calendar.
    """
    try:
        return header.start_time.mjd
    except I3Error as error:
        raise I3Error(f"starts at an impossible time: {error}", key="I3EventHeader") from error


def _sound(pulses: Pulses) -> NDArray[np.bool_]:
    """Return which pulses are plausible: finite, no negative charge or width, and a time near that of the others."""
    sound: NDArray[np.bool_] = (
        (np.abs(pulses.time) < _LATEST)  # False for NaN, as all below
        & (pulses.charge >= 0)
        & (pulses.charge < _LARGEST)
        & (pulses.width >= 0)
        & (pulses.width < _FARTHEST)
    )
    if sound.any():
        time = np.sort(pulses.time[sound])
        middle = time[len(time) // 2]  # the time of a pulse, so that not all are distant
        sound &= np.abs(pulses.time - middle) < _FARTHEST
    return sound


def _vertex(pulses: Pulses, dom: NDArray[np.intp], geometry: Geometry) -> tuple[NDArray[np.float64], float]:
    """Return the vertex (m, ns) of the pulses with a local coincidence, or of all where those have no charge."""
    chosen = (pulses.flags & LOCAL_COINCIDENCE) != 0
    if not pulses.charge[chosen].any():
        chosen = np.ones(len(pulses), bool)
    charge = pulses.charge[chosen].astype(np.float64)
    return find_vertex(pulses.time[chosen], charge, dom[chosen], geometry.position)


def _untrusted_doms(frames: Mapping[str, Frame], geometry: Geometry, keys: Sequence[OMKey]) -> set[OMKey]:
    """Return the DOMs that are excluded regardless of their pulses: dead, in DeepCore, saturated or bad ones."""
    unfit = geometry.dead | np.isin(geometry.string, DEEPCORE)
    doms = {keys[index] for index in np.flatnonzero(unfit).tolist()}
    saturated = find(frames, _SATURATED, I3TimeWindowSeriesMap)
    doms.update(saturated.value if saturated else ())
    for key in _BAD_DOMS:
        bad = find(frames, key, I3VectorOMKey)
        doms.update(bad.value if bad else ())
    return doms


def _errata(frames: Mapping[str, Frame]) -> dict[OMKey, float]:
    """Return the start (ns) of the first window that the calibration marks, for each DOM that has one."""
    errata = find(frames, _ERRATA, I3TimeWindowSeriesMap)
    windows = errata.value.items() if errata else ()
    return {key: min(window.start for window in series.value) for key, series in windows if series.value}


def _readout_window(frames: Mapping[str, Frame], series: str, pulses: Pulses) -> tuple[float, float]:
    """Return the readout window: the one stored with the pulses, else from their first to the end of their last.

    One that reaches farther than ``_FARTHEST`` from them is not taken.
    """
    key = f"{series}TimeRange"
    stored = find(frames, key, I3TimeWindow)
    start, stop = float(pulses.time.min()), float((pulses.time + pulses.width).max())
    if stored is not None and start - _FARTHEST < stored.start < stored.stop < stop + _FARTHEST:
        return stored.start, stored.stop
    reason = "is missing" if stored is None else f"is impossible ({stored.start} to {stored.stop} ns)"
    log.warning("the readout window %s %s; taken from the pulses: %.0f to %.0f ns", key, reason, start, stop)
    return start, max(stop, start + 1.0)
