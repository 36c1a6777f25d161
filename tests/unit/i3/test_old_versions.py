"""Objects that older versions of IceTray wrote: read, and written in the current version of their class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isnan, nan
from typing import Any

import numpy as np
import pytest

from skymap_scanner import i3
from skymap_scanner.i3 import BitMask, DeltaCompressed, I3Geometry, Node, OMKey, catalogue, python_class
from skymap_scanner.i3.archive import Reader, UndescribedError, Writer
from skymap_scanner.i3.enumerations import HitSource, WaveformStatus
from skymap_scanner.i3.layouts.basic_layouts import BASE, F64, PARTICLE
from skymap_scanner.i3.layouts.containers import CountedTree
from skymap_scanner.i3.layouts.primitives import Class, Entry, Member
from skymap_scanner.i3.layouts.readout_layouts import CALIBRATED_WAVEFORM, DOM_LAUNCH, MC_HIT, WAVEFORM_STATUS


def reread(layout: Class, version: int, value: Any, raw: Mapping[str, Any] = {}) -> Any:
    """Write a value as an older version of its class, ``raw`` in place of some members, and read it."""
    members = [replace(one, since=0, until=255) for one in layout.members if one.since <= version <= one.until]
    old = Class(layout.name, None, members, version=version)
    writer = Writer()
    old.write(writer, Values({one.name: raw.get(one.name, getattr(value, one.name, None)) for one in members}))
    return layout.read(Reader(bytes(writer.data)))


class Values:
    """Members by name, of the types of an old version."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.__dict__.update(members)


def test_older_header_has_default_values() -> None:
    header = i3.I3EventHeader(7, 0, 9, 20, 0, "", i3.I3Time(2010, 5), i3.I3Time(2010, 6))
    blob = catalogue.encode(header)
    place = blob.index(b"I3EventHeader\1\3") + 14
    oldest = blob[:place] + b"\0" + blob[place + 1 :]
    numbers = place + 1 + 4 + 6
    oldest = oldest[: numbers + 4] + blob[numbers + 8 : numbers + 12] + blob[numbers + 24 :]
    assert catalogue.decode(oldest) == header


def test_plain_frame_object_has_no_name() -> None:
    blob = bytes.fromhex("0001 0100 010000000000")
    assert catalogue.class_name(blob) == "I3FrameObject"
    assert catalogue.decode(blob) == i3.I3FrameObject()
    assert catalogue.encode(i3.I3FrameObject()) == blob


def test_older_keys_have_a_base_and_since_version_1_a_pmt() -> None:
    head = catalogue.encode(i3.I3VectorOMKey())[:-4] + bytes.fromhex("02000000")
    one = bytes.fromhex("0101 02000000 03000000 01000000 02000000 07  04000000 05000000 03000000 04000000 00")
    assert catalogue.decode(head + one).value == (OMKey(1, 2, 7), OMKey(3, 4, 0))
    zero = bytes.fromhex("0100 02000000 03000000 01000000 02000000  04000000 05000000 03000000 04000000")
    assert catalogue.decode(head + zero).value == (OMKey(1, 2, 0), OMKey(3, 4, 0))


def test_older_pulses_have_float_times() -> None:
    pulses = np.array([(1.5, 2, 3, 4), (2.5, 6, 7, 1)], i3.PULSE_DTYPE)
    blob = catalogue.encode(i3.I3RecoPulseSeriesMap({OMKey(1, 2): pulses}))
    start = blob.index(b"\1\3\3\0\0\0")
    old = blob[:start] + b"\1\2\3\0\0\0"
    for row, identifier in zip(pulses, (b"", (4).to_bytes(4, "little")), strict=True):
        old += identifier + np.float32(row["time"]).tobytes() + row.tobytes()[8:]
    assert catalogue.decode(old).value[OMKey(1, 2)].tolist() == pulses.tolist()


def test_mask_version_2_has_a_time_reference() -> None:
    mask = i3.I3RecoPulseSeriesMapMask("psm", BitMask(b"\1", 7), (BitMask(b"\1", 7),))
    blob = catalogue.encode(mask)
    old = blob.replace(b"Mask\1\2", b"Mask\1\1").replace(b"psm", b"psm" + bytes(4))
    assert catalogue.decode(old) == mask


def test_unknown_class_version_is_reported() -> None:
    blob = catalogue.encode(i3.I3Particle())
    for version, message in ((6, "version 6, the newest described is 5"), (0, "version 0, the oldest described is 1")):
        with pytest.raises(UndescribedError, match=message):
            catalogue.decode(blob.replace(b"I3Particle\1\5", b"I3Particle\1" + bytes([version])))


#: Old codes of particles, as IceTray's two tables have them.
RDMC = {
    1: "Gamma",
    4: "Nu",
    6: "MuMinus",
    41: "Monopole",
    202: "NuMu",
    1004: "NuclInt",
    2201: "YAGLaser",
    34: "TauMinus",
}
RDMC |= {3002: "He4Nucleus", 3018: "Ar40Nucleus", 3026: "Fe56Nucleus", -100: "unknown", 10: "unknown", 3001: "unknown"}
CORSIKA = {0: "unknown", 6: "MuMinus", 68: "NuMu", 134: "NuTauBar", -4: "Nu", -1004: "NuclInt", -9501: "SMPMinus"}
CORSIKA |= {402: "He4Nucleus", 4018: "Ar40Nucleus", 5626: "Fe56Nucleus", 9900: "CherenkovPhoton", 4: "unknown"}
CORSIKA |= {9999: "unknown", -7: "unknown", 44: "Z0"}


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_older_particle_is_written_with_its_pdg_code(version: int) -> None:
    members = [replace(one, since=0) for one in PARTICLE.members if one.since <= version <= one.until]
    members = [replace(one, name="energy") if one.layout is F64 and not one.name else one for one in members]
    layout = Class("I3Particle", None, [replace(one, until=255) for one in members], version=version)
    for code, name in (RDMC if version < 3 else CORSIKA).items():
        particle = i3.I3Particle(7, 8, i3.ParticleType[name], energy=5.0, location_type=i3.LocationType.InIce)
        writer = Writer()
        layout.write(writer, replace(particle, pdg_encoding=code))
        expected = particle if version > 1 else replace(particle, major_id=0)
        assert repr(PARTICLE.read(Reader(bytes(writer.data)))) == repr(expected)


def test_older_tree_counts_children() -> None:
    layout = Class("I3MCTree", None, [BASE, Member("value", CountedTree(PARTICLE))])
    tree = python_class("I3MCTree")
    for ids in ((1, 2, 3), (1, 2, 1)):
        value = tree(tuple(Node(depth, i3.I3Particle(number, 8)) for depth, number in zip((0, 1, 0), ids, strict=True)))
        writer = Writer()
        layout.write(writer, value)
        old = catalogue.encode(tree(()))[:16] + bytes(writer.data)
        if len(set(ids)) == 3:
            assert repr(catalogue.decode(old)) == repr(value)
            assert catalogue.encode(catalogue.decode(old)) == catalogue.encode(value)
        else:
            with pytest.raises(UndescribedError, match="two particles of an I3MCTree of version 0 have the same id"):
                catalogue.decode(old)


OLD_POSITION = "010003000000 04000000 000000000000f03f 0000000000000040 0000000000000840"


def old_geometry(version: int) -> bytes:
    """Write by hand an I3Geometry of version 0 or 1: a DOM of I3OMGeo version 0 (looking down), no tanks, two times."""
    own_id = "" if version == 0 else "010002000000 03000000"  # I3OMGeoMap and its base, since version 1
    start = 2 if version == 0 else 4
    ids = [start.to_bytes(4, "little").hex()]
    dom = (
        f"0000 01000000 0000 0102{ids[0]} 01000000 02000000 00"  # map, pair, OMKey
        f"0100{(start + 1).to_bytes(4, 'little').hex()} 0100{(start + 2).to_bytes(4, 'little').hex()}"
        f"{(start + 3).to_bytes(4, 'little').hex()} 000000000000f03f 0000000000000040 0000000000000840"
        "ffffffff 14000000 000000000000e03f 0000000000001040"
    )
    free = start + 4
    stations = "0000 00000000"
    if version == 1:
        stations = f"0100{free.to_bytes(4, 'little').hex()} {(free + 1).to_bytes(4, 'little').hex()} 0000 00000000"
        free += 2
    times = f"0100{free.to_bytes(4, 'little').hex()} {(free + 1).to_bytes(4, 'little').hex()} da070000 0500000000000000"
    times += (
        f"{(free + 2).to_bytes(4, 'little').hex()} {(free + 3).to_bytes(4, 'little').hex()} da070000 0600000000000000"
    )
    head = f"000102000a000000 493347656f6d65747279 01{version:02x}00000000 010001000000"
    return bytes.fromhex(head + own_id + dom + stations + times)


@pytest.mark.parametrize("version", [0, 1])
def test_old_geometry_is_written_in_the_current_version(version: int) -> None:
    geometry = catalogue.decode(old_geometry(version))
    assert isinstance(geometry, I3Geometry)
    row = geometry.omgeo.value[0].item()
    assert row == (1, 2, 0, 1.0, 2.0, 3.0, 1.0, 0.0, 0.0, 0.0, 20, 0.5, 0)
    assert geometry.start_time == i3.I3Time(2010, 5)
    new = catalogue.encode(geometry)
    assert b"I3Geometry\1\3" in new
    assert catalogue.decode(new) == geometry


# --- readout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 4])
def test_older_launch_has_a_vector_as_charge_stamp(version: int) -> None:
    waveform = DeltaCompressed.of([100, 103, 99])
    launch = DOM_LAUNCH.make(
        5.0, 2, 4, 1, (waveform,) * 4, waveform, True, np.array([1, 2, 3], np.int32), False, 7,
        raw_atwd_charge_stamp=8, which_atwd_charge_stamp=9,
    )  # fmt: skip
    read = reread(DOM_LAUNCH, version, launch, {"raw_charge_stamp": i3.I3VectorInt(launch.raw_charge_stamp)})
    assert read == (launch if version == 4 else replace(launch, raw_atwd_charge_stamp=0, which_atwd_charge_stamp=0))


@pytest.mark.parametrize(
    ("old", "new"), [(0, WaveformStatus.VIRGINAL), (10, WaveformStatus.COMBINED), (20, WaveformStatus.SATURATED)]
)
def test_older_waveform_status_has_its_new_name(old: int, new: WaveformStatus) -> None:
    status = WAVEFORM_STATUS.make(Entry(3, 5), new)
    for version in (0, 1, 2):
        read = reread(WAVEFORM_STATUS, version, status, {"status": old})
        assert (read.interval, read.status, read.channel) == (Entry(3, 5), new, -1)


def test_older_waveform_has_the_number_of_its_digitiser() -> None:
    waveform = CALIBRATED_WAVEFORM.make(1.0, 3.3, np.array([0.5, 1.5]), 5)
    for version, old in ((0, 50), (2, 50)):
        assert reread(CALIBRATED_WAVEFORM, version, waveform, {"source": old}) == waveform


@pytest.mark.parametrize(("weight", "npe"), [(3.7, 3), (nan, 0), (-1.0, 0), (1e300, 0)])
def test_older_hit_has_a_weight(weight: float, npe: int) -> None:
    hit = MC_HIT.make(1.0, 2, npe, 4, 6.0, particle_major_id=5, hit_source=HitSource.SPE)
    for version in (0, 1, 2):
        read = reread(MC_HIT, version, hit, {"npe": weight})
        assert isnan(read.charge)
        assert (read.npe, read.particle_minor_id, read.cherenkov_distance) == (npe, 4, 6.0)
        assert (read.particle_major_id, read.hit_source) == (5 * (version > 0), HitSource.SPE * (version > 1))
