"""Files by real IceTray that differ from what the scanner writes, and the values that IceTray reads from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.i3.xml_values import differences

from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import (
    I3FrameObject,
    I3Quaternion,
    I3VectorOMKey,
    OMKey,
    ParticleShape,
    ParticleType,
    catalogue,
    read_frames,
    resolve_pulses,
)
from skymap_scanner.i3.text import object_to_plain


@pytest.fixture
def cases(shared: Path) -> Path:
    folder = shared / "cases" / "icetray"
    if not folder.is_dir():
        pytest.skip("needs files that IceTray wrote, in ../shared/cases/icetray, which is not part of the repository")
    return folder


def read(path: Path, key: str = "Object") -> Any:
    (frame,) = read_frames(path)
    return frame[key]


OMKEY_V1 = [
    "I3OMGeoMap",
    "I3RecoPulseSeriesMap",
    "I3StationGeo_I3TankGeo_v0",
    "I3StationGeo_I3TankGeo_v1",
    "I3StationGeo_I3TankGeo_v2",
    "I3TimeWindowSeriesMap",
    "I3VectorOMKey",
]


@pytest.mark.parametrize("name", OMKEY_V1)
def test_values_with_omkeys_of_version_1_equal_those_of_icetray(cases: Path, name: str) -> None:
    file = cases / "omkey_v1" / f"{name}_OMKey_v1.i3"
    value = read(file)
    assert differences(value, file.with_name(f"{file.name}.xml")) == []
    assert repr(catalogue.decode(catalogue.encode(value))) == repr(value)


def test_omkeys_of_version_1_have_a_pmt(cases: Path) -> None:
    keys = I3VectorOMKey((OMKey(21, 30, 0), OMKey(22, 5, 7), OMKey(86, 60, 15)))
    assert read(cases / "omkey_v1" / "I3VectorOMKey_OMKey_v1.i3") == keys


def test_plain_frame_object_is_a_mark(cases: Path) -> None:
    (frame,) = read_frames(cases / "i3frameobject.i3")
    assert frame["Object"] == I3FrameObject()
    assert frame.reencoded().to_bytes() == (cases / "i3frameobject.i3").read_bytes()


def test_unspecified_orientation_of_version_0_is_no_rotation(cases: Path) -> None:
    rows = read(cases / "I3OMGeoMap_I3OMGeo_v0.i3").value
    found = {tuple(float(row[f"value.orientation.rot.{axis}"]) for axis in "xyzw") for row in rows}
    assert (0.0, 0.0, 0.0, 0.0) in found
    assert found <= {(0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)}
    assert I3Quaternion() == I3Quaternion(0.0, 0.0, 0.0, 1.0)  # what a new one is


@pytest.mark.parametrize("version", [0, 1])
def test_snow_height_of_old_tanks_is_not_known(cases: Path, version: int) -> None:
    tanks = read(cases / f"I3StationGeo_I3TankGeo_v{version}.i3").value
    assert tanks
    assert all(np.isnan(tank.snowheight) for tank in tanks)


def test_leap_seconds_of_the_last_century_are_counted(cases: Path) -> None:
    (frame,) = read_frames(cases / "times.i3")
    assert frame["T1997"].isoformat() == "1997-09-20T10:41:31.5116549061Z"
    assert frame["Leap1998"].isoformat() == "1998-12-31T23:59:60.5000000000Z"


def test_segments_of_tracks_have_names(cases: Path) -> None:
    (frame,) = read_frames(cases / "shapes.i3")
    assert frame["Seg"].shape is ParticleShape.MCTrackSegment
    assert frame["Slow"].shape is ParticleShape.MCTrackSegmentSlow
    assert frame["Slow"].pdg_encoding is ParticleType.NuMu


@pytest.mark.parametrize("detector", ["scint", "antenna", "iceact"])
def test_geometry_with_another_detector_is_read(cases: Path, detector: str) -> None:
    file = cases / f"geometry_{detector}.i3"
    (frame,) = read_frames(file)
    (geometry,) = (frame[key] for key in frame)
    assert len(getattr(geometry, f"{detector}geo").value) > 0
    assert frame.reencoded().to_bytes() == file.read_bytes()


def test_event_in_a_geometry_with_scintillators_is_prepared(cases: Path) -> None:
    event = read_event(str(cases / "event_scint.i3.zst"))
    prepared = prepare(event)
    assert len(prepared.pulses) > 1000


def test_union_has_the_pulses_that_icetray_finds(cases: Path) -> None:
    frames = {frame.stop: frame for frame in read_frames(cases / "event_union.i3.zst")}
    pulses = resolve_pulses("SplitInIcePulses", frames)
    assert len(pulses) == 3153
    assert len(list(pulses.doms())) == 291
    assert len(prepare(read_event(str(cases / "event_union.i3.zst"))).pulses) > 1000


def test_tied_pulses_keep_the_order_of_the_stream(cases: Path) -> None:
    """IceTray's unstable sort swaps the first two, and its mask chooses the other one."""
    (frame,) = read_frames(cases / "superdst_ties.i3")
    pulses = resolve_pulses("I3SuperDST", frame)
    assert len(pulses) == 17
    assert pulses.charge[:2].tolist() == pytest.approx([0.125, 0.225])
    assert resolve_pulses("Mask", frame).charge.tolist() == [0.125]


def test_empty_maps_are_lists_where_their_keys_are_no_text(cases: Path) -> None:
    (frame,) = read_frames(cases / "empty_maps.i3")
    plain = {key: object_to_plain(frame, key)["value"] for key in frame}
    assert plain.pop("I3MapStringDouble") == {}
    assert set(map(repr, plain.values())) == {"[]"}


def test_event_of_a_new_year_ends_in_it(cases: Path) -> None:
    *_, physics = read_frames(cases / "yearend.i3.zst")
    header = physics["I3EventHeader"]  # written by a scanner that let the year go on
    assert header.end_time.utc_year == 2017
    moved = header.start_time.later(header.end_time.utc_daq_time - header.start_time.utc_daq_time)
    assert moved.utc_year == 2018
    assert abs(moved.utc_daq_time - 122420) < 10  # IceTray adds whole nanoseconds
