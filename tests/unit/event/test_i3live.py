from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import pickle
import struct
import sys
import types
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skymap_scanner.errors import InputError
from skymap_scanner.event import i3live
from skymap_scanner.event.i3live import decode_message, frame_bytes

FRAME = b"[i3]\x06\x00\x00\x00 and more \xff\x80"


def python2_pickle(data: bytes, module: bytes = b"icecube.icetray") -> bytes:
    header = b"\x80\x02c" + module + b"\nI3Frame\nq\x01)Rq\x02}q\x03T"
    return header + struct.pack("<i", len(data)) + data + b"\x86b."


class I3Frame:
    """Pickled by Python itself, it has the same bytes as IceTray's class."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return I3Frame, (), ({}, self.data)


I3Frame.__module__ = "icecube._icetray"


def python3_pickle(data: bytes, protocol: int) -> bytes:
    modules = {"icecube": types.ModuleType("icecube"), "icecube._icetray": types.ModuleType("icecube._icetray")}
    modules["icecube._icetray"].I3Frame = I3Frame  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        return pickle.dumps(I3Frame(data), protocol=protocol)


def packet(stop: str = "P", pickled: bytes | None = None) -> list[str]:
    pickled = python2_pickle(FRAME) if pickled is None else pickled
    return [stop, base64.b64encode(zlib.compress(pickled)).decode()]


def message(data: object, **more: object) -> bytes:
    return json.dumps({"value": {"data": data, **more}, "varname": "heseEvent16Data"}).encode()


def test_python_2_pickle_is_read() -> None:
    assert frame_bytes(python2_pickle(FRAME)) == FRAME


@pytest.mark.parametrize("protocol", range(6))
@given(data=st.binary())
@example(data=FRAME)
@example(data=b"")
@example(data=bytes(range(256)))
def test_python_3_pickle_is_read(protocol: int, data: bytes) -> None:
    assert frame_bytes(python3_pickle(data, protocol)) == data


def python2_repr(data: bytes) -> bytes:
    """Quote bytes as Python 2's ``repr(str)`` does."""
    return repr(data)[1:].encode("ascii")


@given(data=st.binary())
@example(data=FRAME)
@example(data=bytes(range(256)))
@example(data=b"it's")
def test_python_2_pickles_of_protocols_0_and_1_are_read(data: bytes) -> None:
    text = b"cicecube.icetray\nI3Frame\np0\n(tRp1\n((dp2\nS" + python2_repr(data) + b"\np3\ntp4\nb."
    assert frame_bytes(text) == data
    binary = b"cicecube.icetray\nI3Frame\nq\x00)Rq\x01(}q\x02T" + struct.pack("<i", len(data)) + data + b"tq\x03b."
    assert frame_bytes(binary) == data


def test_both_message_formats_keep_the_order_of_frames() -> None:
    packets = [packet(stop) for stop in "GCDQP"]
    for data in (packets, {"frames": packets, "run_id": 1}):
        decoded = decode_message(message(data))
        assert decoded.frames == tuple((stop, FRAME) for stop in "GCDQP")


@pytest.mark.parametrize(
    ("content", "alert"),
    [
        ({"varname": "heseEvent"}, "HESE"),
        ({"varname": "eheEvent16Data"}, "EHE"),
        ({"varname": "realtimeEventData"}, None),
        ({"varname": 7}, None),
        ({}, None),
    ],
)
def test_alert_is_read_from_the_variable_name(content: dict[str, object], alert: str | None) -> None:
    assert decode_message(json.dumps({**content, "value": {"data": [packet()]}}).encode()).alert == alert


def test_alert_is_read_from_the_streams() -> None:
    assert decode_message(message([packet()], streams=["neutrino", "other"])).alert == "neutrino"
    assert decode_message(message([packet()], streams=[3])).alert == "HESE"


def python2(value: object) -> bytes:
    """Pickle as Python 2 does in protocol 2: text as bytes without a kind."""
    match value:
        case str():
            return b"T" + struct.pack("<i", len(value)) + value.encode("latin-1")
        case list():
            return b"](" + b"".join(map(python2, value)) + b"e"
        case dict():
            return b"}(" + b"".join(python2(key) + python2(item) for key, item in value.items()) + b"u"
    return pickle.dumps(value, 2)[2:-1]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("as_bytes", [False, True])
def test_pickled_message_is_that_of_its_json(protocol: int, as_bytes: bool) -> None:
    packets = [packet(stop) for stop in "GCDQP"]
    for data in (packets, {"frames": packets, "run_id": 1, "eventtime": 57000.5}):
        expected = decode_message(message(data, streams=["neutrino"]))
        content = json.loads(message(data, streams=["neutrino"]))
        content["value"]["received"] = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
        if as_bytes:
            content["value"]["data"] = {"frames": [(stop, payload.encode()) for stop, payload in packets]}
            content["value"]["streams"] = (b"neutrino",)
        for pickled in (pickle.dumps(content, protocol), pickle.dumps(OrderedDict(content), protocol)):
            assert i3live.is_message(pickled)
            assert decode_message(pickled) == expected


def test_message_pickled_by_python_2_is_read() -> None:
    content = {"varname": "heseEvent16Data", "value": {"data": [packet(stop) for stop in "GCDQP"], "n": 1.5}}
    decoded = decode_message(b"\x80\x02" + python2(content) + b".")
    assert decoded == decode_message(json.dumps(content).encode())
    assert decoded.alert == "HESE"


@pytest.mark.parametrize("protocol", range(6))
def test_real_messages_are_the_same_when_pickled(shared: Path, protocol: int) -> None:
    paths = sorted((shared / "data/events").glob("*.json"))
    assert paths
    for path in paths:
        content = json.loads(path.read_bytes())
        assert decode_message(pickle.dumps(content, protocol)) == decode_message(path.read_bytes())


def test_hostile_pickled_message_is_rejected() -> None:
    for pickled, words in {
        pickle.dumps({"value": Harm()}): "I3Live message: the pickle asks for 'sys.exit', which a message of I3Live",
        b"\x80\x04" + b"N" * 200_000: "I3Live message: a pickle of more than 100000 instructions",
        b"}.": "holds no frames",
        pickle.dumps(["value"]): "not a dictionary",
        pickle.dumps({"value": {"data": [("P", dt.UTC)]}}): "frame 0 is not a pair",
    }.items():
        with pytest.raises(InputError, match=words):
            decode_message(pickled)


def test_real_messages_of_both_kinds_are_read(shared: Path) -> None:
    found = {path.stem: decode_message(path.read_bytes()) for path in sorted((shared / "data/events").glob("*.json"))}
    assert {name: decoded.alert for name, decoded in found.items()} == {
        "138632_31747601": "neutrino",
        "event_HESE_2017-11-28": "HESE",
        "hese_event_00": "HESE",
        "hese_event_02": "HESE",
    }
    for decoded in found.values():
        assert [stop for stop, _ in decoded.frames] == list("GCDQP")
        assert all(frame.startswith(b"[i3]") for _, frame in decoded.frames)


class Harm:
    """Pickles that an attacker could send."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, ("harm was done",)


HOSTILE = {
    "calls a function": (pickle.dumps(Harm(), 2), "asks for 'sys.exit', which an I3Frame does not need"),
    "calls a function, protocol 4": (pickle.dumps(Harm(), 4), "asks for 'sys.exit', which an I3Frame does not need"),
    "encodes to something else": (
        b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0hex\x86R.",
        "calls encode with something else",
    ),
    "calls a frame with arguments": (
        b"\x80\x02cicecube.icetray\nI3Frame\n}\x85R.",
        r"calls icecube\.icetray\.I3Frame with arguments",
    ),
    "is a list": (pickle.dumps([1, 2], 2), "not an I3Frame"),
    "is only bytes": (b"\x80\x04C\x03abc\x94.", "not an I3Frame"),
    "is a frame without content": (b"\x80\x02cicecube.icetray\nI3Frame\n)R.", "not an I3Frame"),
    "builds bytes": (b"\x80\x04C\x03abc}b.", "gives a state to something that has none"),
    "asks for much memory": (b"\x80\x02}r\xff\xff\xff\x7f.", "not an I3Frame"),
    "announces more than there is": (b"\x80\x02T\xff\xff\xff\x7fabc", "damaged pickle"),
    "gets what was not put": (b"\x80\x02h\x05.", "misses its operands"),
    "has an empty stack": (b"\x80\x02R.", "misses its operands"),
    "never stops": (b"\x80\x02" + b"})" * 1000, "more than 64 instructions"),
    "is cut": (python2_pickle(FRAME)[:-1], "damaged pickle"),
    "is empty": (b"", "damaged pickle"),
    "is no pickle": (b"\xff\xfe", "the instruction .* at byte 0, which an I3Frame does not need"),
    "fills a dictionary": (pickle.dumps({"a": "b"}, 0), "not an I3Frame"),
    "is a frame with attributes": (
        python2_pickle(FRAME).replace(b"}q\x03", b"}q\x03U\x01aU\x01bs"),
        "the pickle is not an I3Frame",
    ),
    "marks nothing": (b"t.", "misses its operands"),
    "names no memo": (b"(px\n.", "damaged pickle: invalid literal"),
    "has a string without quotes": (b"Sabc\n.", "a string without quotes"),
    "has an unknown escape": (b"S'\\q'\n.", "a string with the escape"),
    "has a string that ends in a backslash": (b"S'\\'\n.", "a string with the escape"),
    "has a line without end": (b"cicecube.icetray", "does not end"),
    "names a class by nested tuples": (
        b"\x80\x04)" + b"q\0h\0\x86" * 17 + b"q\0h\0\x93.",
        "by something else than text",
    ),
    "has text that is not Latin-1": (
        b"\x80\x02c_codecs\nencode\nX\x03\0\0\0\xe2\x82\xacX\x06\0\0\0latin1\x86R.",
        "calls _codecs.encode with something that it does not take",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickle_is_rejected(case: str) -> None:
    pickled, words = HOSTILE[case]
    with pytest.raises(InputError, match=words):
        frame_bytes(pickled)
    with pytest.raises(InputError, match=r"frame 1 \(Q\)"):
        decode_message(message([packet("D"), packet("Q", pickled)]))


@given(st.binary(max_size=200))
@example(b"S'\\q'\n.")
@example(b"V\\u\n.")
def test_any_bytes_raise_only_the_documented_error(data: bytes) -> None:
    for pickled in (data, python2_pickle(FRAME)[: len(data)] + data):
        with contextlib.suppress(InputError):
            frame_bytes(pickled)


DAMAGED = {
    "no JSON": (b"{", "not JSON"),
    "no text": (b"\xff\xff\xff", "not JSON"),
    "deep JSON": (b"[" * 200_000, "not JSON"),
    "a list": (b"[]", "not an object"),
    "no value": (b"{}", "holds no frames"),
    "a value that is a number": (b'{"value": 3}', "holds no frames"),
    "no data": (b'{"value": {}}', "holds no frames"),
    "no frames": (b'{"value": {"data": []}}', "0 frames"),
    "many frames": (message([packet()] * 9), "9 frames, expected 1 to 8"),
    "a frame that is a number": (message([3]), "frame 0 is not a pair"),
    "a stop of two letters": (message([["GC", ""]]), "frame 0 is not a pair"),
    "no base64": (message([["P", "?"]]), r"frame 0 \(P\): damaged base64"),
    "text beyond ASCII": (message([["P", "ä"]]), r"frame 0 \(P\): damaged base64"),
    "no zlib": (message([["P", "AAAA"]]), r"frame 0 \(P\): damaged zlib"),
    "nothing": (message([["P", ""]]), r"frame 0 \(P\): truncated zlib"),
    "cut zlib": (message([["P", packet()[1][:16]]]), r"frame 0 \(P\): truncated zlib"),
    "a bomb": (
        message([["P", base64.b64encode(zlib.compress(bytes(i3live.MAX_FRAMES_BYTES + 1))).decode()]]),
        r"frame 0 \(P\): with it, all frames take more than the 33554432 bytes allowed",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_message_is_rejected_with_the_place(case: str) -> None:
    content, words = DAMAGED[case]
    with pytest.raises(InputError, match=words):
        decode_message(content)


def test_frames_are_limited_in_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(zlib.decompress(base64.b64decode(packet()[1])))
    monkeypatch.setattr(i3live, "MAX_FRAMES_BYTES", 3 * size)
    assert len(decode_message(message([packet()] * 3)).frames) == 3
    with pytest.raises(InputError, match=r"frame 3 \(P\): with it, all frames take more than"):
        decode_message(message([packet()] * 4))


def test_oversized_message_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i3live, "MAX_MESSAGE", 100)
    with pytest.raises(InputError, match="more than the 100 allowed"):
        decode_message(b"{" * 101)
