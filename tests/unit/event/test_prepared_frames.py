from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.errors import InputError
from skymap_scanner.event import preparation
from skymap_scanner.event import prepared_frames as keys
from skymap_scanner.event.geometry_conversion import geometry_to_i3
from skymap_scanner.event.model import Event, PreparedEvent
from skymap_scanner.event.preparation import NO_BAD_DOMS, prepare
from skymap_scanner.event.prepared_frames import event_frames, prepared_from_frames
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import Frame, I3Double, I3String, I3TimeWindowSeriesMap, I3VectorOMKey, OMKey, Pulses

PULSES = {
    (1, 10): [(10_000.0, 4.0, 8.0, 7)],
    (2, 10): [(10_200.0, 5.0, 8.0, 7), (12_000.0, 1.0, 8.0, 4)],
    (2, 61): [(0.0, 1.0, 1.0, 7)],
}


def bits(value: Any) -> Any:
    """Return a value that compares equal only if all bits are equal."""
    match value:
        case np.ndarray():
            result: Any = (value.dtype.str, value.shape, value.tobytes())
        case float():
            result = value.hex()
        case Pulses():
            result = [bits(getattr(value, name)) for name in Pulses.__slots__]
        case Geometry():
            result = [bits(getattr(value, field.name)) for field in dataclasses.fields(value)]
        case dict():
            result = [(key, bits(item)) for key, item in value.items()]
        case tuple():
            result = [bits(item) for item in value]
        case _:
            result = value
    return result


def assert_same(one: PreparedEvent, other: PreparedEvent) -> None:
    for field in dataclasses.fields(PreparedEvent):
        assert bits(getattr(one, field.name)) == bits(getattr(other, field.name)), field.name


def through_bytes(event: Event, prepared: PreparedEvent) -> PreparedEvent:
    return prepared_from_frames([Frame.from_bytes(frame.to_bytes()) for frame in event_frames(event, prepared)])


@pytest.mark.parametrize(
    "path",
    [
        "events/138632_31747601.json",
        "events/event_HESE_2017-11-28.json",
        "events/hese_event_00.json",
        "events/hese_event_02.json",
        "i3/event_HESE_2017-11-28.i3.gz",
    ],
)
def test_real_event_round_trips_bit_for_bit(shared: Path, path: str) -> None:
    event = read_event(str(shared / "data" / path))
    prepared = prepare(event)
    frames = event_frames(event, prepared)
    assert [frame.stop for frame in frames] == ["G", "C", "D", "Q", "p"]
    assert_same(through_bytes(event, prepared), prepared)
    again = [frame.to_bytes() for frame in event_frames(read_event(str(shared / "data" / path)), prepared)]
    assert again == [frame.to_bytes() for frame in frames]


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(1, 86), st.integers(1, 64)),
        st.lists(
            st.tuples(
                st.floats(5000, 20_000), st.floats(0, 100, width=32), st.floats(0, 100, width=32), st.integers(0, 7)
            ),
            max_size=5,
        ),
        max_size=20,
    ),
    st.floats(1, 1e4),
)
def test_any_event_round_trips_bit_for_bit(
    make_event: Callable[..., Event], pulses: dict[tuple[int, int], list[tuple[float, float, float, int]]], delay: float
) -> None:
    event = make_event(pulses)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "LATE_DELAY", delay)
        try:
            prepared = prepare(event)
        except InputError:
            return
    assert_same(through_bytes(event, prepared), prepared)


def test_frames_record_the_preparation(make_event: Callable[..., Event]) -> None:
    event = make_event(PULSES)
    prepared = prepare(event)
    *_, physics = event_frames(event, prepared)
    assert physics[keys.NAME_KEY].value == event.name
    assert physics[keys.PULSE_SERIES_KEY].value == "SplitInIcePulses"
    window = physics[keys.READOUT_WINDOW_KEY]
    assert (window.start, window.stop) == prepared.window
    assert physics[keys.EXCLUDED_DOMS_KEY].value == tuple(sorted(prepared.excluded))
    ((key, windows),) = physics[keys.LATE_TIME_WINDOWS_KEY].value.items()
    assert key == OMKey(2, 10)
    assert [(window.start, window.stop) for window in windows.value] == [(11_700.0, inf)]
    position = physics[keys.VERTEX_KEY]
    assert [position.x, position.y, position.z] == prepared.vertex.tolist()
    assert physics[keys.VERTEX_TIME_KEY].value == prepared.vertex_time


def test_preparation_leaves_the_event_unchanged(make_event: Callable[..., Event]) -> None:
    event = make_event(PULSES)
    before = {stop: frame.to_bytes() for stop, frame in event.frames.items()}
    event_frames(event, prepare(event))
    assert {stop: frame.to_bytes() for stop, frame in event.frames.items()} == before


def test_caution_is_kept_until_the_list_is_known(make_event: Callable[..., Event]) -> None:
    event = make_event(PULSES)
    prepared = prepare(event)
    frames = event_frames(event, prepared)
    assert frames[-1].expect("SCAN_EventCaution", I3String).value == prepared.caution == NO_BAD_DOMS
    assert through_bytes(event, prepared).caution == NO_BAD_DOMS
    detector = Frame("D")
    detector["BadDomsList"] = I3VectorOMKey(())
    again = Event(event.name, {**event.frames, "D": detector, "P": frames[-1].copy("P")})
    assert "SCAN_EventCaution" not in event_frames(again, prepare(again))[-1]


def test_geometry_is_added_only_if_missing(make_event: Callable[..., Event], shared: Path) -> None:
    event = make_event(PULSES)
    prepared = prepare(event)
    geometry_frame, *_ = event_frames(event, prepared)
    assert geometry_frame.stop == "G"
    assert geometry_frame["I3Geometry"] == geometry_to_i3(ic86())

    real = read_event(str(shared / "data/events/138632_31747601.json"))
    geometry_frame, *_ = event_frames(real, prepare(real))
    assert list(geometry_frame) == ["I3Geometry", "I3GeometryDiff"]
    assert geometry_frame.blob("I3GeometryDiff") == real.frames["G"].blob("I3GeometryDiff")

    own = Event(event.name, {"G": geometry_frame, **event.frames})
    assert event_frames(own, prepared)[0] is geometry_frame


def test_event_can_be_prepared_again_from_its_frames(make_event: Callable[..., Event]) -> None:
    event = make_event(PULSES)
    prepared = prepare(event)
    stored = {frame.stop: frame for frame in event_frames(event, prepared)}
    assert_same(prepare(Event(event.name, {**stored, "P": stored["p"]})), prepared)


def drop(key: str) -> Callable[[Frame], None]:
    return lambda frame: frame.__delitem__(key)


def put(key: str, value: object) -> Callable[[Frame], None]:
    return lambda frame: frame.__setitem__(key, value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        *(
            (drop(key), f"key '{key}'.*no such object")
            for key in (keys.NAME_KEY, keys.EXCLUDED_DOMS_KEY, keys.VERTEX_KEY)
        ),
        (drop("SplitInIcePulses"), "key 'SplitInIcePulses'"),
        (drop("I3EventHeader"), "key 'I3EventHeader'"),
        (put(keys.VERTEX_KEY, I3Double(1)), f"key '{keys.VERTEX_KEY}'.*expected I3Position, found I3Double"),
        (put(keys.PULSE_SERIES_KEY, I3String("Other")), "key 'Other'"),
        (put(keys.LATE_TIME_WINDOWS_KEY, I3Double(1)), "expected I3TimeWindowSeriesMap"),
    ],
)
def test_damaged_frames_are_rejected_with_the_key(
    make_event: Callable[..., Event], damage: Callable[[Frame], None], words: str
) -> None:
    event = make_event(PULSES)
    frames = event_frames(event, prepare(event))
    damage(frames[-1])
    with pytest.raises(InputError, match=words):
        prepared_from_frames(frames)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_missing_frames_are_rejected(make_event: Callable[..., Event], kept: int) -> None:
    event = make_event(PULSES)
    with pytest.raises(InputError, match="lack the p frame"):
        prepared_from_frames(event_frames(event, prepare(event))[:kept])


def test_dom_without_windows_has_no_late_pulses(make_event: Callable[..., Event]) -> None:
    event = make_event(PULSES)
    frames = event_frames(event, prepare(event))
    frames[-1][keys.LATE_TIME_WINDOWS_KEY] = I3TimeWindowSeriesMap({})
    assert prepared_from_frames(frames).late == {}
