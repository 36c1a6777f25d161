"""The limit on the elements of all collections in a frame, each of which becomes a Python object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from skymap_scanner import i3
from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import BitMask, DeltaCompressed, Frame, I3SuperDSTTrigger, Node, OMKey, archive
from skymap_scanner.i3.archive import Reader, Writer
from skymap_scanner.i3.layouts import containers
from skymap_scanner.i3.layouts.basic_layouts import F64, OMKEY, PARTICLE
from skymap_scanner.i3.layouts.containers import WAVEFORM, WAVEFORMS, CountedTree, LinkedTree
from skymap_scanner.i3.layouts.primitives import TEXT, Class, Dictionary, Items, Layout, Records
from skymap_scanner.i3.layouts.pulse_layouts import BIT_MASK, RECO_PULSE, TRIGGER_LIST

NODES = tuple(Node(depth, i3.I3Particle(depth, 8)) for depth in (0, 1, 1))
PULSES = np.array([(1, 2, 3, 4)] * 3, i3.PULSE_DTYPE)
#: Pulses as they were before version 3, with times of 32 bits: read one after the other.
OLD_PULSES = Records(
    Class(
        RECO_PULSE.name,
        RECO_PULSE.make,
        [replace(one, since=0, until=255) for one in RECO_PULSE.members if one.since <= 2],
        version=2,
    ),
    "pulses",
)

#: Layouts, and values with three elements.
COLLECTIONS: dict[str, tuple[Layout, Any]] = {
    "keys": (Items(OMKEY, "keys"), (OMKey(1, 2),) * 3),
    "texts": (Items(TEXT, "texts"), ("",) * 3),
    "masks": (Items(BIT_MASK, "masks"), (BitMask(),) * 3),
    "map": (Dictionary(OMKEY, F64, "map"), {OMKey(1, om): 1.0 for om in range(3)}),
    "counted tree": (CountedTree(PARTICLE), NODES),
    "linked tree": (LinkedTree(PARTICLE), NODES),
    "triggers": (TRIGGER_LIST, (I3SuperDSTTrigger(1, 2, 3),) * 3),
    "waveforms": (WAVEFORMS, (DeltaCompressed(),) * 3),
}


def written(layout: Layout, value: Any) -> bytes:
    writer = Writer()
    layout.write(writer, value)
    return bytes(writer.data)


@pytest.mark.parametrize("name", COLLECTIONS)
def test_elements_of_every_collection_are_limited(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, value = COLLECTIONS[name]
    data = written(layout, value)
    monkeypatch.setattr(archive, "MAX_ELEMENTS", 3)
    reader = Reader(data)
    assert len(layout.read(reader)) == reader.elements == 3
    with pytest.raises(I3Error, match="more than the 3 elements that the objects of a frame may have"):
        layout.read(Reader(data, elements=1))


def test_records_are_limited_where_they_are_no_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ELEMENTS", 2)
    current = Records(RECO_PULSE, "pulses")
    many = np.concatenate([PULSES] * 1000)
    assert len(current.read(Reader(written(current, many)))) == 3000
    with pytest.raises(I3Error, match="more than the 2 elements"):
        current.read(Reader(written(OLD_PULSES, PULSES)))


@pytest.mark.parametrize(("layout", "waveforms"), [(WAVEFORM, 1), (WAVEFORMS, 3)])
def test_samples_of_waveforms_are_limited(layout: Layout, waveforms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word of zeros holds up to 32 samples, so a launch of many is made from little."""

    def read(samples: int) -> Any:
        value = DeltaCompressed(np.zeros(samples // 32, "<u4"), samples)
        return layout.read(Reader(written(layout, value if layout is WAVEFORM else (value,) * waveforms)))

    read(65536)
    with pytest.raises(I3Error, match="a waveform of 10000000 samples: at most 65536 are read"):
        read(10_000_000)
    monkeypatch.setattr(containers, "MAX_OBJECT_SAMPLES", 100 * waveforms)
    read(100)
    with pytest.raises(I3Error, match=f"a waveform of 101 samples: .*and {100 * waveforms} of all waveforms"):
        read(101)


def test_elements_of_all_objects_of_a_frame_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = i3.I3VectorOMKey((OMKey(1, 2),) * 6)
    frame = Frame("P")
    frame["a"] = frame["b"] = frame["c"] = keys
    frame = Frame.from_bytes(frame.to_bytes())
    monkeypatch.setattr(archive, "MAX_ELEMENTS", 12)
    assert frame["a"] == frame["b"] == frame["a"] == keys  # each is decoded once
    for each in (frame, frame.copy()):
        with pytest.raises(I3Error, match=r"key 'c', .*: more than the 12 elements that the objects"):
            each["c"]
    assert Frame.from_bytes(frame.to_bytes())["c"] == keys
