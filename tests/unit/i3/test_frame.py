"""Frames: the mapping, the order of keys, the bytes, old versions, and what damage says."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import Frame, I3Double, I3Int, I3String, Opaque
from skymap_scanner.i3.archive import TruncatedError, UndescribedError
from skymap_scanner.i3.frame import checksum


def text(raw: bytes) -> bytes:
    return struct.pack("<I", len(raw)) + raw


def objects(*entries: tuple[bytes, bytes, bytes]) -> bytes:
    return struct.pack("<I", len(entries)) + b"".join(text(part) for entry in entries for part in entry)


INT = Frame("P")
INT["n"] = I3Int(5)
ENTRY = (b"n", b"I3PODHolder<int>", INT.blob("n"))


def frame_bytes(body: bytes, version: int = 6, check: Callable[[bytes], int] = checksum) -> bytes:
    return b"[i3]" + struct.pack("<I", version) + b"\0\0" + body + struct.pack("<I", check(body))


def sample() -> Frame:
    frame = Frame("P")
    frame["b"] = I3Int(1)
    frame["a"] = I3String("x")
    frame["B"] = I3Double(2.5)
    return frame


def test_checksum_is_crc32c_without_inversion() -> None:
    assert checksum(b"") == 0
    assert checksum(b"123456789") == 0x58E3FA20
    bitwise = 0
    for byte in b"123456789":
        bitwise ^= byte
        for _ in range(8):
            bitwise = bitwise >> 1 ^ (0x82F63B78 if bitwise & 1 else 0)
    assert checksum(b"123456789") == bitwise


def test_frame_is_a_mapping() -> None:
    frame = sample()
    assert list(frame) == ["B", "a", "b"]
    assert frame["a"] == I3String("x")
    assert "a" in frame
    assert "c" not in frame
    assert len(frame) == 3
    del frame["a"]
    assert list(frame) == ["B", "b"]
    assert frame.type_name("b") == "I3PODHolder<int>"
    assert frame.class_name("b") == "I3Int"
    with pytest.raises(KeyError):
        frame["a"]
    assert repr(frame) == "<Frame P: B, b>"


def test_frame_bytes_equal_hand_written_ones() -> None:
    assert INT.to_bytes() == frame_bytes(b"P" + objects(ENTRY))


def test_stop_of_a_frame_cannot_change() -> None:
    with pytest.raises(AttributeError):
        sample().stop = "Q"  # type: ignore[misc] # which is what is tested


def test_frame_is_decoded_once_and_written_unchanged() -> None:
    raw = sample().to_bytes()
    frame = Frame.from_bytes(raw)
    assert frame["a"] is frame["a"]
    assert frame.to_bytes() == raw


def test_order_is_kept_until_a_key_is_added() -> None:
    other = (b"a", b"I3PODHolder<int>", INT.blob("n"))
    raw = frame_bytes(b"P" + objects(ENTRY, other))
    frame = Frame.from_bytes(raw)
    assert list(frame) == ["n", "a"]
    frame["n"] = I3Int(6)
    assert list(Frame.from_bytes(frame.to_bytes())) == ["n", "a"]
    frame["m"] = I3Int(7)
    assert list(Frame.from_bytes(frame.to_bytes())) == ["a", "m", "n"]


def test_keys_are_sorted_by_their_bytes() -> None:
    frame = Frame("P")
    for key in ("é", "z", "Z", "\udcff", "￰"):
        frame[key] = I3Int(0)
    assert list(frame) == sorted(frame, key=lambda key: key.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("key", ["", "a b", "a\n", "\ud800"])
def test_keys_that_icetray_rejects_are_rejected(key: str) -> None:
    with pytest.raises(I3Error, match="a key"):
        sample()[key] = I3Int(1)


def test_copied_frame_shares_blobs_and_changes_independently() -> None:
    frame = Frame.from_bytes(sample().to_bytes())
    other = frame.copy("p")
    other["c"] = I3Int(9)
    assert (frame.stop, other.stop) == ("P", "p")
    assert "c" not in frame
    assert other.blob("a") is frame.blob("a")
    assert Frame.from_bytes(frame.copy("Q").to_bytes()).stop == "Q"
    assert frame.copy().to_bytes() == frame.to_bytes()


def test_expect_reports_the_class_it_found() -> None:
    frame = sample()
    assert frame.expect("b", I3Int).value == 1
    with pytest.raises(I3Error, match=r"key 'c': the P frame has no such object; it has 'B', 'a', 'b'"):
        frame.expect("c", I3Int)
    with pytest.raises(I3Error, match=r"key 'a': expected I3Int, found I3String"):
        frame.expect("a", I3Int)


def test_objects_may_be_put_as_bytes() -> None:
    frame = sample()
    frame.put_blob("raw", "Anything<int>", frame.blob("b"))
    assert frame["raw"] == I3Int(1)
    assert frame.type_name("raw") == "Anything<int>"
    with pytest.raises(I3Error, match="cannot be of 0 bytes"):
        frame.put_blob("none", "I3Int", b"")
    frame["copy"] = Opaque("I3Int", frame.blob("b"), "I3PODHolder<int>")
    assert Frame.from_bytes(frame.to_bytes())["copy"] == I3Int(1)


def test_null_pointer_is_read_as_none_and_kept() -> None:
    raw = frame_bytes(b"P" + objects((b"n", b"(null)", b"\0\1\xff\xff")))
    frame = Frame.from_bytes(raw)
    assert frame["n"] is None
    assert frame.class_name("n") is None
    assert frame.reencoded().to_bytes() == raw
    with pytest.raises(I3Error, match="a NoneType is no frame object"):
        frame["m"] = None


@pytest.mark.parametrize("stop", ["", "PP", "é", "\n"])
def test_stop_is_one_printable_character(stop: str) -> None:
    with pytest.raises(I3Error, match="one printable ASCII character"):
        Frame(stop)


# --- versions ---------------------------------------------------------------------------------------------------------


def test_version_5_has_another_checksum() -> None:
    raw = frame_bytes(b"P" + objects(ENTRY), 5, lambda body: binascii.crc_hqx(body, 0xFFFF))
    frame = Frame.from_bytes(raw)
    assert frame["n"] == I3Int(5)
    assert frame.to_bytes() == raw
    assert frame.reencoded().to_bytes() == INT.to_bytes()
    with pytest.raises(I3Error, match="the frame is damaged"):
        Frame.from_bytes(frame_bytes(b"P" + objects(ENTRY), 5))


HISTORY = (
    b"\0\0"
    + struct.pack("<I", 2)
    + b"\0\0"
    + b"".join(text(module) + b"p" + text(b"key") + text(b"type") + text(b"") for module in (b"one", b"two"))
)
EMPTY_HISTORY = b"\0\0\0\0\0\0"


@pytest.mark.parametrize("history", [HISTORY, EMPTY_HISTORY])
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_frames_written_before_2010_are_read(version: int, history: bytes) -> None:
    head = {
        1: struct.pack("<I", 1),
        2: struct.pack("<I", 2) + history,
        3: struct.pack("<I", 3) + history,
        4: b"[i3]" + struct.pack("<IQI", 4, 99, 77),
    }[version]
    middle = history if version == 4 else b""
    tail = struct.pack("<QI", 1, 2) if version == 3 else b""
    raw = head + b"\0\0P" + middle + objects(ENTRY) + tail
    frame = Frame.from_bytes(raw)
    assert frame["n"] == I3Int(5)
    assert frame.to_bytes() == raw
    assert frame.reencoded().to_bytes() == INT.to_bytes()
    for end in range(len(raw)):
        with pytest.raises(TruncatedError):
            Frame.from_bytes(raw[:end])


def test_escaped_length_is_not_part_of_the_checksum() -> None:
    plain = b"P" + objects(ENTRY)
    escaped = plain.replace(text(b"n"), b"\xff\xff\xff\xff" + struct.pack("<Q", 1) + b"n")
    raw = b"[i3]" + struct.pack("<I", 6) + b"\0\0" + escaped + struct.pack("<I", checksum(plain))
    frame = Frame.from_bytes(raw)
    assert frame["n"] == I3Int(5)
    assert frame.to_bytes() == raw


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{json", r"offset 0: a frame begins with \[i3\], found b'{jso': is this an .i3 file\?"),
        (b"[i3]" + struct.pack("<I", 7), r"offset 4: frame version 7, only 0 to 6 are known"),
        (
            frame_bytes(b"\0" + objects(ENTRY)),
            r"offset 10: a frame's stop is a printable ASCII character, found byte 0x00",
        ),
        (INT.to_bytes().replace(b"\6\0\0\0\0\0P", b"\6\0\0\0\0\1P"), r"offset 8: tracking flag and version"),
        (INT.to_bytes() + b"x", "offset 77: 1 bytes are left over"),
        (frame_bytes(b"P" + objects(ENTRY, ENTRY)), r"key 'n', offset \d+: the key occurs twice"),
        (frame_bytes(b"P" + objects((b"n", b"t", b""))), r"key 'n', offset \d+: an object of 0 bytes"),
        (frame_bytes(b"P" + struct.pack("<I", 2**32 - 1)), "4294967295 objects in one frame, at most 65536 are read"),
        (
            b"[i3]" + struct.pack("<I", 6) + b"\0\0P\1\0\0\0\xfe\xff\xff\xff",
            "4294967294 bytes expected, only 0 are left",
        ),
    ],
)
def test_damaged_frame_is_rejected_with_a_reason(raw: bytes, message: str) -> None:
    with pytest.raises(I3Error, match=message):
        Frame.from_bytes(raw)


def test_invalid_object_is_named_with_its_place() -> None:
    raw = frame_bytes(b"P" + objects((b"ok", b"t", INT.blob("n")), (b"bad", b"t", INT.blob("n")[:-1])))
    frame = Frame.from_bytes(raw)
    assert frame["ok"] == I3Int(5)
    with pytest.raises(I3Error, match=r"key 'bad', offset \d+: 4 bytes expected, only 3 are left") as error:
        frame["bad"]
    assert error.value.offset == len(raw) - 4 - 3
    with pytest.raises(I3Error, match="key 'bad'"):
        frame.reencoded()


def test_opaque_objects_are_copied_unchanged() -> None:
    blob = INT.blob("n").replace(b"I3Int\1\0", b"I3Int\1\1")
    raw = frame_bytes(b"P" + objects((b"n", b"t", blob)))
    frame = Frame.from_bytes(raw)
    assert frame.is_opaque("n")
    with pytest.raises(UndescribedError, match="I3Int is of version 1, the newest described is 0"):
        frame["n"]
    assert frame.reencoded().to_bytes() == raw


def test_truncation_at_any_byte_is_detected() -> None:
    raw = sample().to_bytes()
    for end in range(len(raw)):
        with pytest.raises(TruncatedError) as error:
            Frame.from_bytes(raw[:end])
        assert end < error.value.needed <= len(raw)


def test_every_flipped_bit_is_found() -> None:
    raw = sample().to_bytes()
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(I3Error):
            Frame.from_bytes(damaged)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_one_error(raw: bytes) -> None:
    for start in (b"", b"[i3]\6\0\0\0\0\0", b"[i3]\4\0\0\0", b"\3\0\0\0\0\0"):
        try:
            frame = Frame.from_bytes(start + raw)
        except I3Error:
            continue
        assert frame.to_bytes() == start + raw


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=10), st.binary(min_size=1, max_size=10), max_size=10))
def test_any_keys_and_blobs_round_trip(entries: dict[str, bytes]) -> None:
    frame = Frame("P")
    for key, blob in entries.items():
        frame.put_blob(key, key, blob)
    again = Frame.from_bytes(frame.to_bytes())
    assert {key: again.blob(key) for key in again} == entries
    assert list(again) == list(frame)
