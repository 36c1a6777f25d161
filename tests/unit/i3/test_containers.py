"""Pointers, C arrays, trees and compressed waveforms: bytes by hand, and IceTray's algorithms written down again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skymap_scanner import i3
from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import DeltaCompressed, Node, OMKey, catalogue, python_class
from skymap_scanner.i3.archive import MAX_REPEATED, Reader, UndescribedError, Writer
from skymap_scanner.i3.layouts.basic_layouts import I32
from skymap_scanner.i3.layouts.containers import CountedTree, FixedArray, LinkedTree

LINKED, COUNTED = LinkedTree(I32), CountedTree(I32)


def write(layout: Any, value: Any) -> bytes:
    writer = Writer()
    layout.write(writer, value)
    return bytes(writer.data)


def read(layout: Any, data: bytes) -> Any:
    reader = Reader(data)
    value = layout.read(reader)
    assert reader.left == 0
    return value


# --- trees ------------------------------------------------------------------------------------------------------------


class Linked:
    """A node as TreeBase::TreeNode has it."""

    def __init__(self, number: int, parent: Linked | None) -> None:
        self.number = number
        self.parent = parent
        self.first_child: Linked | None = None
        self.next_sibling: Linked | None = None


def linked(nodes: Sequence[Node]) -> Linked | None:
    """Link the nodes, and return the first root."""
    path: list[Linked] = []
    head = None
    for node in nodes:
        previous = path[node.depth] if node.depth < len(path) else None
        parent = path[node.depth - 1] if node.depth else None
        new = Linked(node.item, parent)
        if previous is not None:
            previous.next_sibling = new
        elif parent is not None:
            parent.first_child = new
        path[node.depth :] = [new]
        head = head or new
    return head


def saved(head: Linked | None, chunk_size: int) -> bytes:
    """TreeBase::Tree::save, with its pointers."""
    data = b""
    if head is None:
        return bytes(4)
    node, before, first_child = head, None, True
    while True:
        bits: list[int] = []
        numbers: list[int] = []
        while len(bits) < chunk_size:
            if node is not None:
                bits.append(1)
                numbers.append(node.number)
                before, node, first_child = node, node.first_child, True
            elif first_child:
                first_child = False
                node = before.next_sibling
                bits.append(0)
            else:
                if before is None:
                    break
                node = before.parent
                if node is not None:
                    node = node.next_sibling
                before = before.parent
                bits.append(0)
        words = [
            sum(bit << place for place, bit in enumerate(bits[begin : begin + 64])) for begin in range(0, len(bits), 64)
        ]
        data += len(bits).to_bytes(4, "little") + len(words).to_bytes(4, "little")
        data += b"".join(word.to_bytes(8, "little") for word in words)
        data += b"".join(number.to_bytes(4, "little") for number in numbers)
        if len(bits) < chunk_size:
            return data


def hung(depths: Sequence[int]) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for number, depth in enumerate(depths):
        nodes.append(Node(min(depth, nodes[-1].depth + 1) if nodes else 0, number))
    return tuple(nodes)


TREES = st.lists(st.integers(0, 5), max_size=40).map(hung)


@given(TREES, st.integers(1, 9))
@example(hung([0]), 3)
@example(hung([0, 1, 1, 2, 0]), 11)
def test_linked_tree_is_written_as_icetray_writes_it(nodes: tuple[Node, ...], chunk_size: int) -> None:
    layout = LinkedTree(I32)
    for size in (LinkedTree.CHUNK, chunk_size):
        layout.CHUNK = size  # type: ignore[misc] # small chunks for small trees
        data = write(layout, nodes)
        assert data == saved(linked(nodes), size)
        assert read(layout, data) == nodes


def test_tree_of_exactly_one_chunk_has_an_empty_one_after_it() -> None:
    nodes = tuple(Node(0, number) for number in range(LinkedTree.CHUNK // 2))
    data = write(LINKED, nodes)
    assert data == saved(linked(nodes), LinkedTree.CHUNK)
    assert data.endswith(bytes(8))  # no bits, no words
    assert read(LINKED, data) == nodes


@given(TREES)
def test_counted_tree_has_the_number_of_children_of_each_node(nodes: tuple[Node, ...]) -> None:
    data = write(COUNTED, nodes)
    numbers = np.frombuffer(data, "<u4").tolist()
    assert numbers[0] == sum(node.depth == 0 for node in nodes)
    assert numbers[1::2] == list(range(len(nodes)))
    children = [
        sum(1 for other in nodes[place + 1 : end] if other.depth == node.depth + 1)
        for place, node in enumerate(nodes)
        for end in [next((i for i in range(place + 1, len(nodes)) if nodes[i].depth <= node.depth), len(nodes))]
    ]
    assert numbers[2::2] == children
    assert read(COUNTED, data) == nodes


@pytest.mark.parametrize("layout", [LINKED, COUNTED])
def test_node_without_a_parent_is_rejected(layout: Any) -> None:
    for nodes in ((Node(1, 0),), (Node(0, 0), Node(2, 1)), (Node(-1, 0),)):
        with pytest.raises(ValueError, match="cannot follow"):
            write(layout, nodes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("01000000 01000000 0000000000000000", "a tree that has bits has a root"),
        ("02000000 01000000 0100000000000000 05000000", "the bits of the tree end before it does"),
        ("04000000 01000000 0100000000000000 05000000", "the bits of the tree go on behind its end"),
        ("03000000 02000000 0100000000000000", "2 words for 3 bits"),
        ("00000100", "a chunk of 65536 bits, at most 65535 are possible"),
        ("ffff0000 ffffffff", "bytes expected"),
    ],
)
def test_damaged_linked_tree_is_one_error(data: str, message: str) -> None:
    with pytest.raises(I3Error, match=message):
        read(LINKED, bytes.fromhex(data))


def test_deep_tree_is_read_without_recursion() -> None:
    nodes = tuple(Node(depth, depth) for depth in range(20_000))
    assert read(LINKED, write(LINKED, nodes)) == nodes
    assert read(COUNTED, write(COUNTED, nodes)) == nodes


# --- pointers and versions --------------------------------------------------------------------------------------------

SPE, SPE2, SPE1 = (python_class(f"SPEChargeDistribution{version}") for version in ("", "2", "1"))
GAUSSIAN, EXPONENTIAL, RESIDUALS = (
    python_class(f"SPEChargeDistribution{part}") for part in ("Gaussian", "Exponential", "Residuals")
)
PMT_CAL, PMT_CALS = python_class("I3PMTCal"), python_class("I3PMTCalMap")


def charges(*pdfs: Any, residuals: Any = None) -> Any:
    return SPE(pdfs=pdfs, compensation_factor=1.0, fadc_charge_scale=1.5, residuals=residuals)


def test_pointers_have_the_numbers_of_their_classes() -> None:
    none = RESIDUALS(np.zeros(0), np.zeros(0))
    first = charges(EXPONENTIAL(0.5, 0.25), GAUSSIAN(1.0, 2.0, 3.0), EXPONENTIAL(4.0, 5.0), residuals=none)
    second = charges(GAUSSIAN(1.0, 2.0, 3.0))
    value = PMT_CALS({OMKey(1, 2): PMT_CAL(1.0, 2.0, first), OMKey(1, 3): PMT_CAL(1.0, 2.0, second)})
    blob = catalogue.encode(value)
    # 0 pointer, 1 base, 2 I3PMTCalMap, 3 map, 4 pair, 5 OMKey, 6 I3PMTCal, 7 SPEChargeDistribution, 8 vector,
    # 9 pointer to a PDF, 10 PDF, 11 Exponential, 12 Gaussian, 13 pointer to Residuals, 14 Residuals, 15 its vector
    exponential = b"\x0b\0" + (34).to_bytes(4, "little") + b"SPEChargeDistribution::Exponential\1\0"
    gaussian = b"\x0c\0" + (31).to_bytes(4, "little") + b"SPEChargeDistribution::Gaussian\1\0"
    assert b"\0\1" + exponential in blob
    assert gaussian in blob
    assert b"\x0b\0\x07\0\0\0" in blob  # the second Exponential: number and id
    assert b"\0\1\x0e\0\1\0\x08\0\0\0" + bytes(8) in blob  # the residuals, which have no name
    assert b"\x0c\0" + (12).to_bytes(4, "little") in blob  # the Gaussian of the second PMT
    assert blob.count(b"\xff\xff") == 1  # it has no residuals
    assert catalogue.decode(blob) == value
    assert catalogue.encode(catalogue.decode(blob)) == blob


def test_pointer_to_an_unknown_class_is_undescribed() -> None:
    blob = catalogue.encode(PMT_CALS({OMKey(1, 2): PMT_CAL(1.0, 2.0, charges(GAUSSIAN(1.0, 2.0, 3.0)))}))
    with pytest.raises(UndescribedError, match="a pointer to SPEChargeDistribution::Gaussia_, which is not described"):
        catalogue.decode(blob.replace(b"Gaussian", b"Gaussia_"))
    with pytest.raises(I3Error, match="class id 12 is not that of SPEChargeDistribution::Gaussian"):
        catalogue.decode(blob.replace(b"\x0b\0\x1f\0\0\0SPE", b"\x0c\0\x1f\0\0\0SPE"))
    with pytest.raises(I3Error, match="a float is none of SPEChargeDistribution::Gaussian"):
        catalogue.encode(PMT_CALS({OMKey(1, 2): PMT_CAL(1.0, 2.0, charges(1.5))}))


@pytest.mark.parametrize("old", [SPE2(*map(float, range(9))), SPE1(*map(float, range(5)))])
def test_old_charge_distribution_is_written_as_it_was(old: Any) -> None:
    value = PMT_CALS({OMKey(1, om): PMT_CAL(1.0, 2.0, old) for om in (1, 2)})
    blob = catalogue.encode(value)
    assert b"\1" + (b"\2" if isinstance(old, SPE2) else b"\1") + b"\4\0\0\0" in blob
    assert catalogue.decode(blob) == value
    mixed = PMT_CALS({**value.value, OMKey(1, 3): PMT_CAL(1.0, 2.0, charges())})
    with pytest.raises(I3Error, match="all SPEChargeDistribution of one object must be of the same version"):
        catalogue.encode(mixed)
    with pytest.raises(I3Error, match="a float is no SPEChargeDistribution"):
        catalogue.encode(PMT_CALS({OMKey(1, 3): PMT_CAL(1.0, 2.0, 1.5)}))


def test_version_3_of_a_charge_distribution_has_the_usual_upper_limit() -> None:
    blob = catalogue.encode(PMT_CALS({OMKey(1, 2): PMT_CAL(1.0, 2.0, charges())}))
    older = blob.replace(b"\1\4\4\0\0\0", b"\1\3\4\0\0\0")[:-8]
    assert catalogue.decode(older) == catalogue.decode(blob)
    assert catalogue.decode(older).value[OMKey(1, 2)].spe_charge_distribution.integral_ul == 10.0


def test_modules_of_a_tray_are_undescribed() -> None:
    tray = python_class("I3TrayInfo")({}, "", "", 0, (), (), {}, {})
    blob = catalogue.encode(tray)
    assert catalogue.decode(blob) == tray
    with pytest.raises(UndescribedError, match="I3Configuration is not described"):
        catalogue.decode(blob[:-8] + bytes.fromhex("01000000 0000 01000000 61"))
    with pytest.raises(I3Error, match="I3Configuration is not described"):
        catalogue.encode(replace(tray, module_configs={"a": 1}))


def test_old_detector_status_skips_the_triggers_of_amanda() -> None:
    status = python_class("I3DetectorStatus")(
        {}, {}, i3.I3Time(2007, 1), i3.I3Time(2007, 2), daq_configuration_name="sps"
    )
    blob = catalogue.encode(status)
    amanda = blob.replace(b"Status\1\4", b"Status\1\3")
    maps = amanda.index(bytes.fromhex("0000 00000000 0000 00000000"))
    amanda = amanda[: maps + 6] + bytes(6) + amanda[maps + 6 : maps + 12] + bytes(4) + amanda[maps + 12 :]
    assert catalogue.decode(amanda) == status
    without_name = amanda.replace(b"Status\1\3", b"Status\1\2")[:-7]
    assert catalogue.decode(without_name) == replace(status, daq_configuration_name="")


def test_unknown_python_class_is_an_error() -> None:
    with pytest.raises(I3Error, match="the class 'I3Nothing' is not described"):
        python_class("I3Nothing")
    assert python_class("I3ParticleVect") is python_class("I3VectorI3Particle") is i3.I3VectorI3Particle


def test_endless_repetition_of_an_object_is_an_error() -> None:
    """A reference takes 4 bytes, whatever it repeats; without a limit, a small file could mean any amount of memory."""
    inner = i3.I3MapStringDouble({f"{number:06}": 1.0 for number in range(20_000)})
    outer = python_class("I3MapStringStringDouble")({"": inner})
    blob = catalogue.encode(outer)
    count = blob.index(b"\1\0\0\0\0\0\0\0\0\0\1\0\2\0\0\0")  # the outer map's, then pair, key, and the inner map
    times = MAX_REPEATED // len(blob) + 2
    repeated = b"".join(
        len(key).to_bytes(4, "little") + key + b"\2\0\0\0" for key in (b"%05d" % i for i in range(times))
    )
    bomb = blob[:count] + (times + 1).to_bytes(4, "little") + blob[count + 4 :] + repeated
    with pytest.raises(I3Error, match="too many repeated objects"):
        catalogue.decode(bomb)


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_c_array_has_the_length_of_every_row() -> None:
    layout = FixedArray("<u1", 2, 3, 1)
    data = bytes.fromhex(
        "02000000 03000000 01000000 00 01000000 01 01000000 02 03000000 01000000 03 01000000 04 01000000 05"
    )
    assert read(layout, data).tolist() == [[[0], [1], [2]], [[3], [4], [5]]]
    assert write(layout, np.arange(6).reshape(2, 3, 1)) == data
    with pytest.raises(I3Error, match="an array of 3 elements expected"):
        read(layout, data.replace(b"\3\0\0\0\1", b"\4\0\0\0\1", 1))
    with pytest.raises(ValueError, match=r"an array of shape \(2, 3, 1\) is needed"):
        write(layout, np.zeros(6))


# --- compressed waveforms ---------------------------------------------------------------------------------------------

WIDTHS = [1, 2, 3, 6, 11, 20, 31]


def compressed(samples: Sequence[int]) -> list[int]:
    """DeltaCompressor::compress, as a string of bits."""
    bits, level, last = "", 2, 0
    for sample in samples:
        delta, last = sample - last, sample
        while abs(delta) >= 2 ** (WIDTHS[level] - 1):
            bits += f"{1 << (WIDTHS[level] - 1):0{WIDTHS[level]}b}"[::-1]
            level += 1
        bits += f"{delta % 2 ** WIDTHS[level]:0{WIDTHS[level]}b}"[::-1]
        if abs(delta) < 2 ** (WIDTHS[max(level - 1, 0)] - 1):
            level = max(level - 1, 0)
    return [int(bits[begin : begin + 32][::-1], 2) for begin in range(0, len(bits), 32)]


STEPS = st.one_of([st.integers(-(2**bits), 2**bits) for bits in (0, 1, 4, 9, 18)])


@given(st.lists(STEPS, max_size=80).map(lambda steps: np.cumsum(steps).tolist()))
@example([])
@example([0] * 100)
@example([2**30 - 1, 0, 1 - 2**30])
def test_waveform_round_trips_and_has_icetrays_words(samples: list[int]) -> None:
    waveform = DeltaCompressed.of(samples)
    assert waveform.words.tolist() == compressed(samples)
    assert waveform.to_array().tolist() == samples
    assert waveform == DeltaCompressed(waveform.words.copy(), len(samples))


def test_waveform_is_rejected_where_it_cannot_be() -> None:
    with pytest.raises(ValueError, match="cannot change by 1073741824"):
        DeltaCompressed.of([2**30])
    with pytest.raises(I3Error, match="a waveform of 4294967295 samples, but its words hold only 0"):
        DeltaCompressed(samples=2**32 - 1).to_array()
    flags = "".join("0" * (width - 1) + "1" for width in WIDTHS[2:])
    words = [int(flags[begin : begin + 32][::-1], 2) for begin in range(0, len(flags), 32)]
    with pytest.raises(I3Error, match="there is no wider difference"):
        DeltaCompressed(np.array(words, np.uint32), 1).to_array()


@given(st.binary(max_size=64), st.integers(0, 600))
def test_any_words_are_a_waveform_or_one_error(data: bytes, samples: int) -> None:
    words = np.frombuffer(data[: len(data) // 4 * 4], "<u4")
    try:
        array = DeltaCompressed(words, samples).to_array()
    except I3Error:
        return
    assert len(array) == samples <= 32 * len(words)
