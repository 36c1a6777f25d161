"""Blobs written by real IceTray (1.18): each is read and written to the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from skymap_scanner import i3
from skymap_scanner.i3 import catalogue
from skymap_scanner.i3.pulse_objects import PULSE_DTYPE

I3TIME = i3.I3Time(2023, 290057040932302199)

#: Name, and the bytes in hexadecimal.
BYTES = """\
bool
    0001020006000000 4933426f6f6c 010000000000 010001000000 01
double
    0001020008000000 4933446f75626c65 010000000000 010001000000 000000000000f83f
int
    0001020005000000 4933496e74 010000000000 010001000000 f9ffffff
string
    0001020008000000 4933537472696e67 010000000000 010001000000 06000000 68c3a96c6c6f
direction
    000102000b000000 4933446972656374696f6e 010000000000 010001000000 000000000000f03f 0000000000000040
header
    000102000d000000 49334576656e74486561646572 010300000000 010001000000 881d0200 02000000 116ee401
    1400000001000000 0a000000 496e49636553706c6974 010002000000 03000000 e7070000 77ed5e89577d0604 04000000
    05000000 e7070000 dd526189577d0604
particle
    000102000a000000 49335061727469636c65 010500000000 010001000000 01000000 47608d1f394ebc05 0d000000
    2800000000000000 010002000000 03000000 000000000000f03f 0000000000000040 0000000000000840 010004000000
    05000000000000000000e03f 000000000000d03f 0000000000002440 00000000006af840 0000000000005940
    4d97acb4cc2fd33f 14000000
map
    0001020011000000 49334d6170537472696e67446f75626c65 010000000000 010001000000 0000 02000000 0000 01000000
    61000000000000f03f 02000000 6262 0000000000000040
windows
    0001020012000000 493354696d6557696e646f77536572696573 010100000000 010001000000 0000 02000000
    01010200000003000000 000000000000f03f 0000000000000040 04000000 05000000 0000000000001440 0000000000001840
keys
    000102000d000000 4933566563746f724f4d4b6579 010000000000 010001000000 0000 03000000 010202000000
    0100000002000000 00 03000000 56000000 3c000000 00 04000000 57000000 01000000 0f
ints
    000102000b000000 4933566563746f72496e74 010000000000 010001000000 02000000 01000000 02000000
pulses
    0001020014000000 49335265636f50756c73655365726965734d6170 010000000000 010001000000 0000 02000000
    0000010202000000 15000000 1e000000 00 0000 02000000 010303000000 000000000088c340 0000a03f 00000041 07
    04000000000000000092c340 0000003f 00000040 07 05000000 16000000 05000000 00 01000000 06000000
    0000000000bac3400000403f 00000041 04
mask
    0001020018000000 49335265636f50756c73655365726965734d61704d61736b 010200000000 010001000000 03000000
    70736d0000 0100 06 03 0000 02000000 0100 06 01 0100 07 01
superdst
    000102000a000000 49335375706572445354 010100000000 010001000000 0000 0000 04 ff59112114ca648f 0000 02
    5de584050000 01 13 02 1311 00 00 00
null
    0001ffff
"""

VALUES: dict[str, Any] = {
    "bool": i3.I3Bool(True),
    "double": i3.I3Double(1.5),
    "int": i3.I3Int(-7),
    "string": i3.I3String("héllo"),
    "direction": i3.I3Direction(1.0, 2.0),
    "header": i3.I3EventHeader(138632, 2, 31747601, 20, 1, "InIceSplit", I3TIME, i3.I3Time(2023, 290057040932459229)),
    "particle": i3.I3Particle(
        minor_id=1,
        major_id=413291273060704327,
        pdg_encoding=i3.ParticleType.MuMinus,
        shape=i3.ParticleShape.InfiniteTrack,
        fit_status=i3.FitStatus.OK,
        pos=i3.I3Position(1.0, 2.0, 3.0),
        dir=i3.I3Direction(0.5, 0.25),
        time=10.0,
        energy=1e5,
        length=100.0,
        speed=0.2997924579998326,
        location_type=i3.LocationType.InIce,
    ),
    "map": i3.I3MapStringDouble({"a": 1.0, "bb": 2.0}),
    "windows": i3.I3TimeWindowSeries((i3.I3TimeWindow(1.0, 2.0), i3.I3TimeWindow(5.0, 6.0))),
    "keys": i3.I3VectorOMKey((i3.OMKey(1, 2), i3.OMKey(86, 60), i3.OMKey(87, 1, 15))),
    "ints": i3.I3VectorInt(np.array([1, 2], np.int32)),
    "pulses": i3.I3RecoPulseSeriesMap(
        {
            i3.OMKey(21, 30): np.array([(1e4, 1.25, 8, 7), (10020, 0.5, 2, 7)], PULSE_DTYPE),
            i3.OMKey(22, 5): np.array([(10100, 0.75, 8, 4)], PULSE_DTYPE),
        }
    ),
    "mask": i3.I3RecoPulseSeriesMapMask("psm", i3.BitMask(b"\3", 6), (i3.BitMask(b"\1", 6), i3.BitMask(b"\1", 7))),
    "superdst": i3.I3SuperDST(
        bytes.fromhex("ff59112114ca648f"), bytes.fromhex("5de58405"), (b"\x13", b"\x13\x11", b"", b""), b""
    ),
    "null": None,
}
VECTORS = {
    name: (bytes.fromhex("".join(words)), VALUES[name])
    for name, *words in (block.split() for block in BYTES.replace("\n    ", " ").splitlines())
}


@pytest.mark.parametrize("name", VECTORS)
def test_bytes_of_icetray_round_trip(name: str) -> None:
    blob, value = VECTORS[name]
    assert catalogue.decode(blob) == value
    assert catalogue.encode(value) == blob


def test_enumerations_have_names_and_unknown_numbers_stay() -> None:
    blob = VECTORS["particle"][0]
    particle = catalogue.decode(blob)
    assert particle.shape is i3.ParticleShape.InfiniteTrack
    place = blob.index((13).to_bytes(4, "little") + (40).to_bytes(4, "little"))
    strange = blob[:place] + (2212).to_bytes(4, "little") + (41).to_bytes(4, "little") + blob[place + 8 :]
    read = catalogue.decode(strange)
    assert (read.pdg_encoding, read.shape) == (2212, 41)
    assert catalogue.encode(read) == strange


def test_unknown_class_is_kept() -> None:
    blob = bytes.fromhex("000102000a000000") + b"I3MCTree_2" + b"\1\0\0\0\0\0anything"
    value = catalogue.decode(blob)
    assert value == i3.Opaque("I3MCTree_2", blob)
    assert catalogue.encode(value) == blob


def test_text_that_is_not_utf8_is_kept() -> None:
    blob = catalogue.encode(i3.I3String("abc")).replace(b"abc", b"\xff\xfe\x80")
    value = catalogue.decode(blob)
    assert catalogue.encode(value) == blob
