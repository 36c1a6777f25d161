"""Events that would fill the memory or keep a reader busy: each is one error, with 1 GiB and within a minute."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from skymap_scanner.errors import InputError
from skymap_scanner.event import i3live
from skymap_scanner.event.model import Event
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import (
    PULSE_DTYPE,
    BitMask,
    Frame,
    I3EventHeader,
    I3RecoPulseSeriesMap,
    I3RecoPulseSeriesMapMask,
    I3String,
    I3SuperDST,
    I3Time,
    I3VectorDouble,
    I3VectorOMKey,
    OMKey,
    catalogue,
)

#: Program that reads the given files with limited memory and prints the outcome of each.
READER = """
import resource, sys
from skymap_scanner.errors import InputError
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
import skymap_scanner.i3, numpy
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
with open("/proc/self/statm") as memory:
    held = int(memory.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 2**30, held + 2**30))
for path in sys.argv[1:]:
    try:
        prepare(read_event(path))
    except InputError as error:
        print(path.rpartition("/")[2], error, sep=": ")
"""

ZEROS = bytes(16 << 20)
#: A frame with one object of 250 MiB zeros.
CLAIMS = b"[i3]" + struct.pack("<I", 6) + b"\0\0P" + struct.pack("<II", 1, 1) + b"k" + struct.pack("<I", 1) + b"t"
CLAIMS += struct.pack("<I", 250 << 20)


def members(compress: Callable[[bytes], bytes], start: bytes = CLAIMS) -> bytes:
    """Compress some bytes followed by 512 MiB of zeros."""
    return compress(start) + compress(ZEROS) * 32


def frames_of(frame: bytes) -> bytes:
    """Write 1.6 GiB of valid frames without an event, 100 per member."""
    return zstandard.ZstdCompressor().compress(frame * 100) * 1000


def vector(claimed: int) -> bytes:
    """Write a frame with a vector of doubles that claims this length."""
    frame = Frame("P")
    frame["I3EventHeader"] = I3VectorDouble(np.zeros(2))
    blob = frame.blob("I3EventHeader")
    at = blob.index(struct.pack("<I", 2))
    frame.put_blob("I3EventHeader", frame.type_name("I3EventHeader"), blob[:at] + claims(claimed) + blob[at + 4 :])
    return frame.to_bytes()


def claims(count: int) -> bytes:
    return struct.pack("<I", count) if count < 2**32 - 1 else b"\xff" * 4 + struct.pack("<Q", count)


def packet(data: bytes) -> str:
    return json.dumps({"value": {"data": [["P", base64.b64encode(zlib.compress(data)).decode()]]}})


def names(leaf: int, levels: int) -> bytes:
    """Write a pickle that names a class by a tuple of tuples: 2**levels texts, if it were formatted."""
    text = b"X" + struct.pack("<I", leaf) + b"a" * leaf + b"q\0"
    return b"\x80\x04" + text + b"h\0\x86q\0" * levels + b"X\1\0\0\0x\x93."


def event(**objects: Any) -> bytes:
    """Write an event of one pulse and these objects, compressed."""
    frame = Frame("P")
    frame["I3EventHeader"] = I3EventHeader(run_id=1, event_id=2, start_time=I3Time(2024, 10**15))
    frame["SplitInIcePulses"] = I3RecoPulseSeriesMap({OMKey(1, 10): np.array([(1e4, 4.0, 8.0, 7)], PULSE_DTYPE)})
    for key, value in objects.items():
        if isinstance(value, bytes):
            frame.put_blob(key, "made", value)
        else:
            frame[key] = value
    return zstandard.ZstdCompressor(level=1).compress(frame.to_bytes())


def elements(make: Callable[[int], Any], count: int, *, tracked: bool = True) -> bytes:
    """Encode a collection of ``count`` equal elements, given how to make a small one; tracked elements are numbered."""
    one, two = (catalogue.encode(make(number)) for number in (1, 2))
    place = next(place for place, (left, right) in enumerate(zip(one, two, strict=False)) if left != right)
    last = two[len(one) :]
    rows = np.empty((count - 1, len(last)), np.uint8)
    rows[:] = np.frombuffer(last, np.uint8)
    if tracked:
        (number,) = struct.unpack_from("<I", last)
        rows[:, :4] = np.arange(number, number + count - 1, dtype="<u4").view(np.uint8).reshape(-1, 4)
    return two[:place] + struct.pack("<I", count) + one[place + 4 :] + rows.tobytes()


def keys(count: int) -> I3VectorOMKey:
    return I3VectorOMKey(tuple(OMKey(1000, 1000 + om) for om in range(count)))


def masks(count: int) -> I3RecoPulseSeriesMapMask:
    return I3RecoPulseSeriesMapMask("I3SuperDST", BitMask(), (BitMask(),) * count)


def doms(count: int) -> I3RecoPulseSeriesMap:
    return I3RecoPulseSeriesMap({OMKey(1000, 1000 + om): np.zeros(0, PULSE_DTYPE) for om in range(count)})


def many_pulses(count: int) -> I3SuperDST:
    """Make one readout of pulses, 1 ns after the other."""
    stamps = np.full(count, 1 << 8 | 1, "<u2")
    stamps[-1] |= 1 << 15
    length = [count >> bits & 0xF for bits in range(0, 32, 4)]
    widths = bytes(3 | part << 4 for part in length)
    return I3SuperDST(stamps.tobytes(), struct.pack("<H", 1 << 6), (widths, b"", b"", b""), b"")


@cache
def bombs() -> dict[str, tuple[bytes, str]]:
    zstd = zstandard.ZstdCompressor().compress
    grows = "grows to more than 100 times its size"
    big = b"[i3]" + struct.pack("<I", 6) + b"\0\0P"
    many = "more than the 524288 elements that the objects of a frame may have"
    return {
        "gzip.i3": (members(gzip.compress), grows),
        "bzip2.i3": (members(bz2.compress), grows),
        "zstd.i3": (members(zstd), grows),
        "xz.i3": (members(lzma.compress), grows),
        "gzip.json": (members(gzip.compress, b"{"), f"more than the {i3live.MAX_MESSAGE} allowed"),
        "frames.i3.zst": (frames_of(filler()), grows),
        "claims.i3": (CLAIMS, "262144000 bytes expected, only 0 are left"),
        "claims-more.i3": (CLAIMS[:-4] + b"\xff" * 4 + struct.pack("<Q", 2**63), "a frame of 9223372036854775"),
        "objects.i3": (big + struct.pack("<I", 2**32 - 1), "4294967295 objects in one frame, at most 65536 are read"),
        "vector.i3": (vector(2**32 - 2), "I3EventHeader"),
        "vector-64.i3": (vector(2**62), "I3EventHeader"),
        "superdst.i3.zst": (
            event(SplitInIcePulses=many_pulses(10_000_000)),
            "more than the 4194304 pulses that an event may have (10000000)",
        ),
        "keys.i3.zst": (event(BadDomsList=elements(keys, 6_000_000)), many),
        "masks.i3.zst": (event(SplitInIcePulses=elements(masks, 22_000_000, tracked=False)), many),
        "doms.i3.zst": (event(SplitInIcePulses=elements(doms, 4_000_000)), many),
        "lists.json": (gzip.compress(b'{"value": [' + b"[]," * 5_500_000 + b"[]]}"), "holds no frames"),
        "deep.json": (b'{"value": ' + b"[" * 1_000_000, "not JSON"),
        "number.json": (b'{"value": ' + b"1" * 1_000_000 + b"}", "not JSON"),
        "frame.json": (packet(bytes(64 << 20)).encode(), "all frames take more than the 33554432 bytes allowed"),
        "names.json": (packet(names(500, 18)).encode(), "names a class by something else than text"),
        "names.pkl": (b"\x80\x04}" + names(500, 30), "names a class by something else than text"),
        "calls.pkl": (encodings(), "the pickle makes values that are much larger than itself"),
        "lists.pkl": (b"\x80\x04(" + b"]" * 16_000_000 + b"l.", "a pickle of more than 100000 instructions"),
        "gzip.pkl": (members(gzip.compress, b"\x80\x04"), f"more than the {i3live.MAX_MESSAGE} allowed"),
        "claims.pkl": (b"\x80\x04\x8e" + b"\xff" * 8, "damaged pickle: 18446744073709551615 bytes expected at 11"),
        "pickle.json": (
            packet(b"\x80\x02" + b"(" * 1_000_000).encode(),
            "a pickle of more than 64 instructions is not an I3Frame",
        ),
    }


def encodings() -> bytes:
    """Write a pickle that makes bytes of the same 8 MiB of text a thousand times."""
    text = b"X" + struct.pack("<I", 8 << 20) + b"a" * (8 << 20)
    return b"\x80\x02(c_codecs\nencode\nq\0" + text + b"q\1X\6\0\0\0latin1q\2" + b"h\0h\1h\2\x86R" * 1000 + b"l."


def filler() -> bytes:
    frame = Frame("S")
    frame["Zeros"] = I3VectorDouble(np.zeros(2048))
    return frame.to_bytes()


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the outcome of each bomb in a reader with little memory and time."""
    folder = tmp_path_factory.mktemp("bombs")
    paths = []
    for name, (content, _) in bombs().items():
        (folder / name).write_bytes(content)
        paths.append(str(folder / name))
    done = subprocess.run([sys.executable, "-c", READER, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())  # type: ignore[misc]


def test_decompression_bombs_are_one_error(read: dict[str, str]) -> None:
    expected = {name: words for name, (_, words) in bombs().items()}
    assert {name: words for name, words in expected.items() if words not in read.get(name, "")} == {}
    assert read.keys() == expected.keys()  # every outcome is one line
    assert [outcome for name, outcome in read.items() if name not in outcome.split(",")[0].split(":")[0]] == []


def test_too_many_pulses_are_rejected(make_event: Callable[..., Event]) -> None:
    event = make_event({(1, 10): [(10_000.0, 4.0, 8.0, 7)]})
    pulses = np.zeros(10_000_000, PULSE_DTYPE)
    pulses["charge"] = 1.0
    event.frames["P"]["SplitInIcePulses"] = I3RecoPulseSeriesMap({OMKey(1, 10): pulses})
    with pytest.raises(InputError, match="10000000 pulses, more than the 4194304 that an event may have"):
        prepare(event)


@pytest.mark.parametrize(
    "name", ["run\x1b[2J", "../../x", "a\nb", "évt", "x" * 500, "\u202egnp.exe", "a;rm -rf", "a/b"]
)
def test_event_name_never_becomes_a_path(make_event: Callable[..., Event], tmp_path: Path, name: str) -> None:
    frames = make_event({(1, 10): [(10_000.0, 4.0, 8.0, 7)]}).frames
    frames["P"]["SCAN_EventName"] = I3String(name)
    (tmp_path / "event.i3").write_bytes(b"".join(frame.to_bytes() for frame in frames.values()))
    assert read_event(str(tmp_path / "event.i3")).name == "run00000001.evt000000000002"
