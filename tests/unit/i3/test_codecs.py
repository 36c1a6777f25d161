"""Every class of the catalogue: round trips, cut everywhere, damaged anywhere."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skymap_scanner import i3
from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import BitMask, I3SuperDSTTrigger, OMKey, catalogue, reference
from skymap_scanner.i3.archive import TruncatedError, encode_text
from skymap_scanner.i3.catalogue import CATALOGUE
from skymap_scanner.i3.delta_compression import MAX_SAMPLES, DeltaCompressed
from skymap_scanner.i3.layouts.basic_layouts import POSITION
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
    return st.builds(DeltaCompressed, arrays(np.dtype("<u4")), st.integers(0, MAX_SAMPLES))


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
    vector = catalogue.encode(i3.I3VectorInt(np.zeros(0)))
    with pytest.raises(TruncatedError):
        catalogue.decode(vector[:-4] + b"\xfe\xff\xff\xff")
    keys = catalogue.encode(i3.I3VectorOMKey())
    with pytest.raises(I3Error, match="more than the 524288 elements that the objects of a frame may have"):
        catalogue.decode(keys[:-4] + b"\xfe\xff\xff\xff")


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


def test_reference_names_every_class(capsys: pytest.CaptureFixture[str]) -> None:
    reference.main()
    names = set(re.findall(r"\w+", capsys.readouterr().out))
    assert {layout.make.__name__ for layout in CATALOGUE} <= names
    assert {"I3DOMCalibration", "I3Stochastic", "TriggerKey", "SPEChargeDistribution2", "raw_fadc"} <= names


def test_dtypes_are_what_the_layouts_make() -> None:
    assert RecordCodec(RECO_PULSE).dtype == i3.PULSE_DTYPE
    assert RecordCodec(POSITION).dtype == np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8")])
