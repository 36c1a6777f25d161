"""Every file that real IceTray wrote, and every frame inside the recorded events: the same bytes, the same pulses."""

from __future__ import annotations

import base64
import csv
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skymap_scanner.i3 import (
    Frame,
    I3EventHeader,
    Opaque,
    Pulses,
    catalogue,
    omgeo_records,
    read_frames,
    resolve_pulses,
)
from skymap_scanner.i3.archive import Reader, Writer
from skymap_scanner.i3.enumerations import OnOff, Subdetector, TriggerSource, TriggerType, TrigMode
from skymap_scanner.i3.layouts.basic_layouts import OMKEY
from skymap_scanner.i3.layouts.detector_layouts import DOM_STATUS, TRIGGER_STATUS
from skymap_scanner.i3.layouts.keys import TRIGGER_KEY
from skymap_scanner.i3.layouts.primitives import Dictionary, Layout

FILES = [
    "138632_31747601.i3.zst",
    "event_HESE_2017-11-28.i3",
    "event_HESE_2017-11-28.i3.bz2",
    "event_HESE_2017-11-28.i3.gz",
    "event_HESE_2017-11-28.i3.zst",
    "hese_event_00.i3.zst",
    "ic86_geometry.i3.zst",
    "losses.i3",
    "objects.i3",
    "objects.i3.zst",
    "scan_like.i3",
]
EVENTS = ["138632_31747601", "event_HESE_2017-11-28", "hese_event_00", "hese_event_02"]


def event_frames(path: Path) -> list[Frame]:
    """Cut the frames out of the pickles of a recorded event: the bytes from the tag on, or those of a latin-1 text."""
    data = json.loads(path.read_text())["value"]["data"]
    frames = []
    for _, payload in data["frames"] if isinstance(data, dict) else data:
        pickled = zlib.decompress(base64.b64decode(payload))
        start = pickled.index(b"[i3]")
        raw = pickled[start:]
        if b"_codecs" in pickled:  # written by Python 3
            size = int.from_bytes(pickled[start - 4 : start], "little")
            raw = raw[:size].decode("utf-8").encode("latin-1")
        frames.append(Frame.read(Reader(raw)))
    return frames


def check_frame(frame: Frame) -> int:
    raw = frame.to_bytes()
    assert frame.reencoded().to_bytes() == raw
    for key in frame:
        value, blob = frame[key], frame.blob(key)
        if isinstance(value, Opaque):
            continue
        assert catalogue.encode(value) == blob
        assert frame.type_name(key) == catalogue.type_name(value)
    return len(raw)


@pytest.mark.parametrize("name", FILES)
def test_real_file_is_encoded_to_the_same_bytes(shared: Path, name: str) -> None:
    frames = list(read_frames(shared / "data" / "i3" / name))
    assert sum(check_frame(frame) for frame in frames) == sum(len(frame.to_bytes()) for frame in frames) > 900
    plain = shared / "data" / "i3" / name
    if name.endswith(".i3"):
        assert b"".join(frame.to_bytes() for frame in frames) == plain.read_bytes()


@pytest.mark.parametrize("name", EVENTS)
def test_event_frames_are_encoded_to_the_same_bytes(shared: Path, name: str) -> None:
    frames = event_frames(shared / "data" / "events" / f"{name}.json")
    assert "".join(frame.stop for frame in frames) == "GCDQP"
    for frame in frames:
        check_frame(frame)


def test_every_class_of_the_objects_file_is_described(shared: Path) -> None:
    for name in ("objects.i3", "losses.i3"):
        (frame,) = read_frames(shared / "data" / "i3" / name)
        assert not any(frame.is_opaque(key) for key in frame)


def members_of_difference(shared: Path, event: str, start: bytes, layout: Layout) -> dict[Any, Any]:
    """Read a map inside an I3DetectorStatusDiff, which is not public, from the bytes ``start`` on."""
    *_, frame = (frame for frame in read_frames(shared / "data" / "i3" / f"{event}.i3.zst") if frame.stop == "D")
    blob = frame.blob("I3DetectorStatusDiff")
    place = blob.index(start)
    reader = Reader(blob, place + len(start))
    reader.objects = [("before", Ellipsis)] * (int.from_bytes(start[-4:], "little") + 1)
    value: dict[Any, Any] = layout.read(reader)
    writer = Writer()
    writer.objects = int.from_bytes(start[-4:], "little") + 1
    layout.write(writer, value)
    assert blob[place + len(start) : reader.position] == bytes(writer.data)
    return value


def test_dom_statuses_of_real_events_are_read(shared: Path) -> None:
    layout = Dictionary(OMKEY, DOM_STATUS, "std::map<OMKey, I3DOMStatus>")
    for event in ("event_HESE_2017-11-28", "hese_event_00"):
        found = members_of_difference(shared, event, bytes.fromhex("0100 06000000"), layout)
        assert len(found) in (4, 5)
        for status in found.values():
            assert status.trig_mode is TrigMode.SPE
            assert {type(status.status_atwd_a), type(status.status_fadc), type(status.delta_compress)} == {OnOff}
            assert (status.fb_state, status.fb_mask) == (OnOff.Unknown, 2**31 - 1)
            assert 1000e-9 < status.pmt_hv < 1500e-9  # I3Units: GV
            assert 500 < status.spe_threshold < 600
            assert status.lc_window_pre == status.lc_window_post in (1000.0, 1600.0)


def test_trigger_statuses_of_a_real_event_are_read(shared: Path) -> None:
    layout = Dictionary(TRIGGER_KEY, TRIGGER_STATUS, "std::map<TriggerKey, I3TriggerStatus>")
    found = members_of_difference(shared, "138632_31747601", bytes.fromhex("0100 07000000"), layout)
    ((key, status),) = found.items()
    assert (key.source, key.type, key.config_id) == (TriggerSource.IN_ICE, TriggerType.FAINT_PARTICLE, 33001)
    assert status.trigger_name == "FaintParticleTrigger"
    assert status.trigger_settings["time_window"] == "2500"
    assert {name: window.readout_time_plus for name, window in status.readout_settings.items()} == {
        Subdetector.ICETOP: 10000.0,
        Subdetector.INICE: 6000.0,
    }


@pytest.mark.parametrize(
    ("event", "key", "count"),
    [
        ("138632_31747601", "SplitInIcePulses", 948),
        ("event_HESE_2017-11-28", "SplitUncleanedInIcePulses", 3292),
        ("hese_event_00", "SplitUncleanedInIcePulses", 635),
    ],
)
def test_pulses_agree_with_icetray(shared: Path, event: str, key: str, count: int) -> None:
    (file,) = (shared / "data" / "i3").glob(f"{event}.i3.zst")
    pulses = resolve_pulses(key, {frame.stop: frame for frame in read_frames(file)})
    with (shared / "data" / "pulses" / f"{event}.{key}.csv").open() as rows:
        table = list(csv.DictReader(rows))
    assert len(pulses) == len(table) == count
    names = {"time": "time_ns", "charge": "charge_pe", "width": "width_ns"}
    for column in ("string", "om", "pmt", "time", "charge", "width", "flags"):
        ours = getattr(pulses, column)
        theirs = np.array([float(row[names.get(column, column)]) for row in table]).astype(ours.dtype)
        assert np.array_equal(ours, theirs), column
    assert sum(where.stop - where.start for _, where in pulses.doms()) == count


def test_whole_detector_is_read_as_columns(shared: Path) -> None:
    (frame,) = read_frames(shared / "data" / "i3" / "ic86_geometry.i3.zst")
    doms = frame["I3Geometry"].omgeo
    in_ice = (doms.om <= 60) & (doms.string <= 86) & (doms.string >= 1)
    assert in_ice.sum() == 5160
    first = in_ice & (doms.string == 1) & (doms.om == 1)
    assert np.allclose(doms.position[first], [[-256.14, -521.08, 496.03]], atol=0.02)
    again = omgeo_records(doms.value.tolist())
    assert again.tobytes() == doms.value.tobytes()


def test_header_identifies_the_event(shared: Path) -> None:
    *_, physics = read_frames(shared / "data" / "i3" / "138632_31747601.i3.zst")
    header = physics.expect("I3EventHeader", I3EventHeader)
    assert (header.run_id, header.event_id, header.sub_event_stream) == (138632, 31747601, "InIceSplit")
    assert header.start_time.isoformat() == "2023-12-02T17:08:24.0932302199Z"


def test_select_keeps_columns_together(shared: Path) -> None:
    frames = list(read_frames(shared / "data" / "i3" / "hese_event_00.i3.zst"))
    pulses = resolve_pulses("SplitUncleanedInIcePulses", frames[::-1])
    bright = pulses.select(pulses.charge > 10)
    assert isinstance(bright, Pulses)
    assert 0 < len(bright) < len(pulses)
    assert (bright.charge > 10).all()
    assert len(bright.string) == len(bright.width) == len(bright)
