"""All that reads .i3 bytes: the first byte of an input chooses what reads the rest.

It is a frame, a frame with the right checksum, an object, a compressed stream, or pulses. What is read must also be
written, read again, and be the same.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
from typing import Any

import numpy as np
import zstandard

from skymap_scanner import i3
from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import Frame, catalogue, omgeo_records, read_frames, resolve_pulses
from skymap_scanner.i3.archive import U32
from skymap_scanner.i3.frame import checksum
from skymap_scanner.i3.text import to_plain, to_text
from testing.fuzz.target import Target, require

HEAD = b"[i3]\6\0\0\0\0\0"
FRAME_LIMIT = 1 << 20


def check_frame(raw: bytes) -> None:
    """Read a frame and all its objects."""
    frame = Frame.from_bytes(raw)
    require(frame.to_bytes() == raw)
    again = Frame.from_bytes(frame.copy("Q").to_bytes())
    require({key: again.blob(key) for key in again} == {key: frame.blob(key) for key in frame})
    for key in frame:
        check_object(frame.blob(key))
    frame.reencoded()


def check_body(raw: bytes) -> None:
    """Read what the checksum covers as a frame with the right checksum."""
    check_frame(HEAD + raw + U32.pack(checksum(raw)))


def check_object(blob: bytes) -> None:
    """Read an object; what was read must be written and read the same."""
    value = catalogue.decode(blob)
    again = catalogue.encode(value)
    require(catalogue.encode(catalogue.decode(again)) == again)
    for _ in to_text(to_plain(value)):
        pass


def check_stream(raw: bytes) -> None:
    """Read a stream of frames, compressed or not; recovery gives the frames before the damage, without an error."""
    recovered = list(read_frames(io.BytesIO(raw), recover=True, on_damage=lambda _: None, max_frame_bytes=FRAME_LIMIT))
    good: list[bytes] = []
    try:
        good.extend(frame.to_bytes() for frame in read_frames(io.BytesIO(raw), max_frame_bytes=FRAME_LIMIT))
    finally:
        require([frame.to_bytes() for frame in recovered] == good)


def check_pulses(raw: bytes) -> None:
    """Read two objects (the first's length comes first) as pulses and a mask of them."""
    size = int.from_bytes(raw[:2], "little")
    frame = Frame("P")
    frame.put_blob("Pulses", "", raw[2 : 2 + size] or b"\0")
    frame.put_blob("Mask", "", raw[2 + size :] or b"\0")
    pulses = resolve_pulses("Mask", frame)
    require(sum(where.stop - where.start for _, where in pulses.doms()) == len(pulses))


_CHECKS = (check_frame, check_body, check_object, check_stream, check_pulses)


def check(data: bytes) -> None:
    """Give an input to what its first byte chooses."""
    if data:
        _CHECKS[data[0] % len(_CHECKS)](data[1:])


def small_objects() -> list[Any]:
    """Make a small object of every class."""
    key, pulses = i3.OMKey(21, 30), np.array([(1e4, 1.25, 8, 7), (10020, 0.5, 2, 7), (10030, 1, 2, 7)], i3.PULSE_DTYPE)
    doms = omgeo_records([(1, om, 0, 1.0, 2.0, 3.0, 1.0, 0.0, 0.0, 0.0, 20, 0.0444, 0) for om in (1, 2, 3)])
    windows = i3.I3TimeWindowSeries((i3.I3TimeWindow(1.0, 2.0), i3.I3TimeWindow(3.0, 4.0)))
    tank = i3.I3TankGeo(i3.I3Position(1.0, 2.0, 3.0), 0.0, 1.0, 1.0, 1.0, i3.I3VectorOMKey((i3.OMKey(1, 61),)))
    stations = i3.I3StationGeoMap({1: i3.I3StationGeo((tank, tank))})
    mask = i3.I3RecoPulseSeriesMapMask("Pulses", i3.BitMask(b"\1", 7), (i3.BitMask(b"\5", 5),))
    chosen = [
        i3.I3RecoPulseSeriesMap({key: pulses}),
        mask,
        i3.I3SuperDST(*SUPER_DST),
        i3.I3SuperDSTTriggerSeries((i3.I3SuperDSTTrigger(3, 5000, 10000), i3.I3SuperDSTTrigger(4, 1, 1))),
        i3.I3Int(1),
        i3.I3Double(1.0),
        i3.I3Bool(True),
        i3.I3String("text"),
        i3.I3TimeWindow(1.0, 2.0),
        windows,
        i3.I3TimeWindowSeriesMap({key: windows}),
        i3.I3OMGeoMap(doms),
        stations,
        i3.I3Geometry(i3.I3OMGeoMap(doms), stations),
        i3.I3VectorDouble([1.0, 2.0]),
        i3.I3VectorBool([True, False]),
        i3.I3MapStringDouble({"a": 1.0, "b": 2.0}),
        i3.I3MapStringBool({"a": True}),
        i3.I3VectorI3Particle((i3.I3Particle(), i3.I3Particle())),
        i3.I3VectorOMKey((key, key)),
        i3.I3VectorString(("a", "bb")),
        i3.I3VectorChar(b"raw"),
        i3.Opaque("Any", b"\0\1\2\0\3\0\0\0Any"),
    ]
    made = {type(value) for value in chosen}
    others = (_smallest(layout.make) for layout in catalogue.CATALOGUE if layout.make not in made)
    return chosen + [value for value in others if value is not None]


def _smallest(make: Any) -> Any:
    """Make an object of a class without content, or of a number or text; None if it needs more."""
    for content in ((), ([],), (0,), ("",)):
        with contextlib.suppress(TypeError, ValueError, AttributeError, I3Error):
            value = make(*content)
            catalogue.encode(value)
            return value
    return None


#: Streams of an I3SuperDST: stamps, headers, the four streams of widths, extra bytes.
SUPER_DST = (bytes.fromhex("ff59112114ca648f"), bytes.fromhex("5de58405"), (b"\x13", b"\x13\x11", b"", b""), b"")


def inputs() -> list[bytes]:
    """Make inputs of each kind."""
    objects = small_objects()
    frames = []
    for value in objects:
        frame = Frame("P")
        frame["x"] = value
        frames.append(frame.to_bytes())
    stream = b"".join(frames[:4])
    pulses, mask, packed = (catalogue.encode(value) for value in objects[:3])
    return [
        *(b"\0" + raw for raw in frames),
        *(b"\1" + raw[len(HEAD) : -4] for raw in frames),
        *(b"\2" + catalogue.encode(value) for value in objects),
        *(b"\3" + compress(stream) for compress in (bytes, gzip.compress, bz2.compress, lzma.compress, zstd)),
        *(b"\4" + len(source).to_bytes(2, "little") + source + mask for source in (pulses, packed)),
    ]


def zstd(data: bytes) -> bytes:
    """Compress."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


TARGETS = (Target("i3", check, inputs, (I3Error,)),)
