"""Every class of the catalogue: round trips, cut everywhere, damaged anywhere."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skymap_scanner import i3
from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import BitMask, I3Geometry, I3SuperDSTTrigger, OMKey, catalogue, python_class, reference
from skymap_scanner.i3.archive import Reader, TruncatedError, UndescribedError, Writer, encode_text
from skymap_scanner.i3.catalogue import CATALOGUE
from skymap_scanner.i3.delta_compression import DeltaCompressed
from skymap_scanner.i3.layouts.basic_layouts import BASE, F64, PARTICLE, POSITION
from skymap_scanner.i3.layouts.containers import (
    COUNT,
    WAVEFORM,
    WAVEFORMS,
    CountedTree,
    FixedArray,
    FixedItems,
    LinkedTree,
    Node,
    Pointer,
    Versions,
)
from skymap_scanner.i3.layouts.primitives import (
    BYTES,
    FLAG,
    TEXT,
    Array,
    Class,
    Dictionary,
    Enumeration,
    Items,
    Layout,
    Member,
    Number,
    Optional,
    Plain,
    Records,
)
from skymap_scanner.i3.layouts.pulse_layouts import BIT_MASK, RECO_PULSE, TRIGGER_LIST, WIDTHS, Compact
from skymap_scanner.i3.layouts.record_arrays import RecordCodec

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
LAYOUTS = pytest.mark.parametrize("layout", CATALOGUE, ids=lambda layout: layout.name)

INTEGERS = {"b": 8, "h": 16, "i": 32, "q": 64}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def numbers(code: str) -> st.SearchStrategy[Any]:
    if code in "fd":
        return st.floats(width=32 if code == "f" else 64)
    bits = INTEGERS[code.lower()]
    return st.integers(0, 2**bits - 1) if code.isupper() else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def arrays(dtype: np.dtype[Any], size: int = 4) -> st.SearchStrategy[Any]:
    return st.binary(max_size=size * dtype.itemsize).map(
        lambda raw: (
            np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], "u1").astype(bool)
            if dtype.kind == "b"
            else np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
        )
    )


def masks() -> st.SearchStrategy[BitMask]:
    return st.builds(
        lambda raw, padding: BitMask(raw, min(padding, 8 * len(raw))), st.binary(max_size=4), st.integers(0, 7)
    )


def words(itemsize: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=600).map(lambda raw: raw[: len(raw) // itemsize * itemsize])


def waveforms() -> st.SearchStrategy[DeltaCompressed]:
    return st.builds(DeltaCompressed, arrays(np.dtype("<u4")), st.integers(0, 2**32 - 1))


def trees(item: Layout) -> st.SearchStrategy[tuple[Node, ...]]:
    return st.lists(st.tuples(st.integers(0, 3), values(item)), max_size=5).map(nodes)


def nodes(pairs: list[tuple[int, Any]]) -> tuple[Node, ...]:
    """Hang every item as deep as it wants, and as its predecessor allows."""
    result: list[Node] = []
    for depth, item in pairs:
        result.append(Node(min(depth, result[-1].depth + 1) if result else 0, item))
    return tuple(result)


SIZES = st.integers(0, 2**60 - 1) | st.integers(0, 600)
TRIGGERS = st.lists(st.builds(I3SuperDSTTrigger, st.integers(0, 15), SIZES, SIZES), max_size=5).map(tuple)


@singledispatch
def values(layout: Layout) -> st.SearchStrategy[Any]:
    """Anything that the layout can hold."""
    raise AssertionError(layout)


PLAIN = {
    FLAG: st.booleans(),
    TEXT: NAMES,
    BYTES: st.binary(max_size=20),
    BIT_MASK: masks(),
    TRIGGER_LIST: TRIGGERS,
    WIDTHS: st.tuples(*[words(1)] * 4),
    COUNT: st.integers(0, 2**64 - 1) | st.integers(0, 9),
    WAVEFORM: waveforms(),
    WAVEFORMS: st.lists(waveforms(), max_size=4).map(tuple),
}
values.register(Plain, PLAIN.__getitem__)
values.register(Number, lambda layout: numbers(layout.code))
values.register(Enumeration, lambda layout: st.sampled_from(list(layout.members.values())) | unnamed(layout))
values.register(Array, lambda layout: arrays(layout.dtype))
values.register(Compact, lambda layout: words(layout.itemsize))
values.register(Items, lambda layout: st.lists(values(layout.element), max_size=4).map(tuple))
values.register(Optional, lambda layout: st.none() | values(layout.element))
values.register(Pointer, lambda layout: st.none() | st.one_of([values(each) for each in layout.choices.values()]))
values.register(Versions, lambda layout: values(layout.layouts[0]))  # all of one object must have the same version
values.register(CountedTree, lambda layout: trees(layout.item))
values.register(LinkedTree, lambda layout: trees(layout.item))
values.register(FixedItems, lambda layout: st.tuples(*[values(layout.element)] * layout.size))
values.register(Records, lambda layout: st.lists(values(layout.element), max_size=4).map(layout.codec.rows))


@values.register
def _(layout: FixedArray) -> st.SearchStrategy[Any]:
    size = int(np.prod(layout.shape)) * layout.dtype.itemsize
    start = st.binary(max_size=min(size, 40))
    return start.map(lambda raw: np.frombuffer(raw.ljust(size, b"\1"), layout.dtype).reshape(layout.shape))


@values.register
def _(layout: Dictionary) -> st.SearchStrategy[Any]:
    if isinstance(layout.value, Plain) and layout.value not in PLAIN:
        return st.just({})  # its values are not described
    pairs = st.dictionaries(values(layout.key), values(layout.value), max_size=4)
    return pairs.map(lambda value: {key: value[key] for key in sorted(value, key=in_file_order)})


def in_file_order(key: Any) -> Any:
    if isinstance(key, str):
        return encode_text(key)
    return tuple((-1, 0) if number is None else (0, number) for number in key) if isinstance(key, tuple) else key


@values.register
def _(layout: Class) -> st.SearchStrategy[Any]:
    return st.builds(layout.make, **{member.name: values(member.layout) for member in layout.current if member.name})


def unnamed(layout: Enumeration) -> st.SearchStrategy[int]:
    return numbers("i").filter(lambda number: number not in layout.members)


OBJECTS = {layout.name: values(layout) for layout in CATALOGUE}


def same_bits(one: Any, other: Any) -> bool:
    """Compare as equality does, but NaN with NaN."""
    return repr(one) == repr(other)


@LAYOUTS
@FEW
@given(data=st.data())
def test_objects_round_trip(layout: Class, data: st.DataObject) -> None:
    value = data.draw(OBJECTS[layout.name])
    blob = catalogue.encode(value)
    read = catalogue.decode(blob)
    assert type(read) is type(value)
    assert same_bits(read, value)
    assert catalogue.encode(read) == blob


@pytest.mark.parametrize("name", ["I3RecoPulseSeriesMap", "I3OMGeoMap", "I3Geometry"])
@FEW
@given(data=st.data())
def test_arrays_read_at_once_equal_those_read_one_by_one(name: str, data: st.DataObject) -> None:
    blob = catalogue.encode(data.draw(OBJECTS[name]))
    at_once = catalogue.decode(blob)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordCodec, "read", lambda *_: None)
        assert same_bits(catalogue.decode(blob), at_once)


@LAYOUTS
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_truncation_at_any_byte_is_one_error(layout: Class, data: st.DataObject) -> None:
    blob = catalogue.encode(data.draw(OBJECTS[layout.name]))
    for end in range(0, len(blob), 1 + len(blob) // 1000):
        with pytest.raises(TruncatedError) as error:
            catalogue.decode(blob[:end])
        assert error.value.offset is not None
        assert error.value.offset <= end < error.value.needed
    with pytest.raises(I3Error, match="1 bytes are left over"):
        catalogue.decode(blob + b"\0")


@LAYOUTS
@FEW
@given(data=st.data())
def test_damaged_blob_is_an_object_or_one_error(layout: Class, data: st.DataObject) -> None:
    blob = bytearray(catalogue.encode(data.draw(OBJECTS[layout.name])))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(8, len(blob) - 1))] = data.draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF]))
    try:
        value = catalogue.decode(bytes(blob))
    except I3Error as error:
        assert error.offset is not None  # noqa: PT017 - both outcomes are fine
        return
    again = catalogue.encode(value)
    assert catalogue.encode(catalogue.decode(again)) == again


@LAYOUTS
def test_fields_stand_in_the_order_of_the_bytes(layout: Class) -> None:
    names = [member.name for member in layout.current if member.name]
    assert is_dataclass(layout.make)
    assert [field.name for field in fields(layout.make)] == names


def test_flags_other_than_0_and_1_are_rejected() -> None:
    blob = catalogue.encode(
        catalogue.decode(bytes.fromhex("0001020006000000 4933426f6f6c 010000000000 010001000000 01"))
    )
    with pytest.raises(I3Error, match="a flag must be 0 or 1, found 2") as error:
        catalogue.decode(blob[:-1] + b"\2")
    assert error.value.offset == 26


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", "'str' object has no attribute 'pos'|a str is no frame object"),
        (1.5, "a float is no frame object; use a class of skymap_scanner.i3"),
        (i3.I3Int(2**31), "this I3Int cannot be written"),
        (i3.I3Int("1"), "this I3Int cannot be written"),
        (i3.I3String(1), "this I3String cannot be written"),
        (i3.I3VectorDouble(np.zeros((2, 2))), "an array of one dimension is needed"),
        (i3.I3Particle(pos=(1, 2, 3)), "this I3Particle cannot be written"),
        (i3.I3SuperDSTTriggerSeries((I3SuperDSTTrigger(16, 0, 0),)), "key_index must be 0 to 15"),
        (i3.I3SuperDSTTriggerSeries((I3SuperDSTTrigger(1, 0, 2**64),)), "must fit into 64 bits"),
    ],
)
def test_invalid_value_is_rejected_on_writing(value: Any, message: str) -> None:
    with pytest.raises(I3Error, match=message):
        catalogue.encode(value)


# --- what real files may hold and ours never do: escapes, old versions, repeated objects ------------------------------


def test_lengths_and_versions_may_be_escaped() -> None:
    plain = catalogue.encode(i3.I3String("abc"))
    long_text = plain[:-7] + b"\xff\xff\xff\xff" + (3).to_bytes(8, "little") + b"abc"
    assert catalogue.decode(long_text).value == "abc"
    long_name = plain[:4] + b"\xff\xff\xff\xff" + (8).to_bytes(8, "little") + plain[8:]
    assert catalogue.decode(long_name).value == "abc"
    long_version = plain.replace(b"I3String\1\0", b"I3String\1\xff" + bytes(8))
    assert catalogue.decode(long_version).value == "abc"


def test_excessive_length_is_an_immediate_error() -> None:
    plain = catalogue.encode(i3.I3String("abc"))
    with pytest.raises(TruncatedError, match="18446744073709551615 bytes expected, only 3 are left"):
        catalogue.decode(plain[:-7] + b"\xff" * 12 + b"abc")
    vector = catalogue.encode(i3.I3VectorOMKey())
    with pytest.raises(TruncatedError):
        catalogue.decode(vector[:-4] + b"\xfe\xff\xff\xff")


def test_untracked_class_has_no_object_id() -> None:
    blob = catalogue.encode(i3.I3TimeWindow(1.0, 2.0)).replace(b"\1\0\1\0\0\0", b"\0\0")
    assert catalogue.decode(blob) == i3.I3TimeWindow(1.0, 2.0)


def test_repeated_object_refers_to_the_first() -> None:
    keys = i3.I3VectorOMKey((OMKey(1, 2), OMKey(3, 4)))
    blob = catalogue.encode(keys)
    repeated = blob[:-13] + (2).to_bytes(4, "little")  # the second key: the id of the first, and no data
    assert catalogue.decode(repeated).value == (OMKey(1, 2), OMKey(1, 2))
    with pytest.raises(I3Error, match="object id 1 is no earlier OMKey"):
        catalogue.decode(blob[:-13] + (1).to_bytes(4, "little"))
    with pytest.raises(I3Error, match="object id 9 found, at most 3 is possible"):
        catalogue.decode(blob[:-13] + (9).to_bytes(4, "little"))


def test_repeated_object_in_an_array_is_read() -> None:
    pulse = np.array([(1, 2, 3, 4), (5, 6, 7, 1)], i3.PULSE_DTYPE)
    blob = catalogue.encode(i3.I3RecoPulseSeriesMap({OMKey(1, 2): pulse}))
    repeated = blob[:-21] + (3).to_bytes(4, "little")
    assert catalogue.decode(repeated).value[OMKey(1, 2)].tolist() == [(1, 2, 3, 4), (1, 2, 3, 4)]


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
        value = tree(nodes([(depth, i3.I3Particle(number, 8)) for depth, number in zip((0, 1, 0), ids, strict=True)]))
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


def test_reference_names_every_class(capsys: pytest.CaptureFixture[str]) -> None:
    reference.main()
    names = set(re.findall(r"\w+", capsys.readouterr().out))
    assert {layout.make.__name__ for layout in CATALOGUE} <= names
    assert {"I3DOMCalibration", "I3Stochastic", "TriggerKey", "SPEChargeDistribution2", "raw_fadc"} <= names


def test_dtypes_are_what_the_layouts_make() -> None:
    assert RecordCodec(RECO_PULSE).dtype == i3.PULSE_DTYPE
    assert RecordCodec(POSITION).dtype == np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8")])
