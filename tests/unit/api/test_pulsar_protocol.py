"""Pulsar's binary protocol: frames against bytes of the documentation, and arbitrary bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_api.protobuf import number, read_fields, text
from skymap_api.pulsar_protocol import (
    EARLIEST,
    EntryId,
    Kind,
    RawMessage,
    close_consumer,
    connect,
    flow,
    get_last_message_id,
    lookup,
    pong,
    read_command,
    read_message,
    subscribe,
)

METADATA = text(1, b"saver") + number(2, 7) + number(3, 1_767_225_600_000)


def stored(payload: bytes, metadata: bytes = METADATA, checksum: bool = True, broker: bytes | None = None) -> bytes:
    """Return what follows the command of a message."""
    before = b"" if broker is None else b"\x0e\x02" + struct.pack(">I", len(broker)) + broker
    check = b"\x0e\x01\x12\x34\x56\x78" if checksum else b""
    return before + check + struct.pack(">I", len(metadata)) + metadata + payload


def content(frame: bytes) -> tuple[int, dict[int, int | bytes]]:
    """Return type and fields of a frame whose two sizes are right."""
    total, size = struct.unpack_from(">II", frame)
    assert (total, len(frame)) == (size + 4, size + 8)
    command = read_command(frame[8:])
    return command.kind, dict(command.fields)


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, b"\x00"), (1, b"\x01"), (150, b"\x96\x01"), (-1, b"\xff" * 9 + b"\x01")]
)
def test_numbers_are_encoded_as_documented(value: int, encoded: bytes) -> None:
    """150 is the example of the documentation of protocol buffers."""
    assert number(1, value) == b"\x08" + encoded
    assert read_fields(number(1, value)) == {1: value % 2**64}


def test_frames_have_the_fields_of_the_protocol() -> None:
    connected = {1: b"skymap-operator", 3: b"jwt", 4: 19, 5: b"token"}
    assert content(connect("token", b"jwt", None)) == (Kind.CONNECT, connected)
    assert content(connect("token", b"jwt", "b:6650")) == (Kind.CONNECT, connected | {6: b"b:6650"})
    assert content(lookup(3, "t", authoritative=True)) == (Kind.LOOKUP, {1: b"t", 2: 3, 3: 1})
    place = number(1, 5) + number(2, 8)
    fields = {1: b"t", 2: b"n", 3: 0, 4: 2, 5: 1, 8: 0, 9: place, 13: 1, 15: 0}
    assert content(subscribe(1, 2, "t", "n", EntryId(5, 8))) == (Kind.SUBSCRIBE, fields)
    before = dict(content(subscribe(1, 2, "t", "n", EARLIEST))[1])[9]
    assert before == number(1, -1) + number(2, -1)
    assert content(get_last_message_id(4, 2)) == (Kind.GET_LAST_MESSAGE_ID, {1: 2, 2: 4})
    assert content(flow(2)) == (Kind.FLOW, {1: 2, 2: 1})
    assert content(close_consumer(5, 2)) == (Kind.CLOSE_CONSUMER, {1: 2, 2: 5})
    assert content(pong()) == (Kind.PONG, {})


def test_message_ids_are_signed() -> None:
    """The last id of an empty topic has the entry -1."""
    answer = number(1, Kind.LAST_MESSAGE_ID) + text(Kind.LAST_MESSAGE_ID, text(1, number(1, 7) + number(2, -1)))
    assert read_command(answer).entry_id(1) == EntryId(7, -1)
    assert read_command(number(1, Kind.LAST_MESSAGE_ID)).entry_id(1) == EARLIEST


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("broker", [None, b"", b"from the broker"])
def test_message_is_read_with_its_metadata(checksum: bool, broker: bytes | None) -> None:
    compressed = METADATA + number(8, 3) + number(9, 5000)
    found = read_message(stored(b"payload", compressed, checksum=checksum, broker=broker))
    assert found == RawMessage(b"payload", 3, 5000, 1_767_225_600_000)
    assert read_message(stored(b"", checksum=checksum, broker=broker)) == RawMessage(b"", 0, 0, 1_767_225_600_000)


@pytest.mark.parametrize(
    ("more", "unusual"),
    [
        (number(11, 1), "a batch of messages"),
        (number(27, 2), "a part of a message"),
        (number(27, 1), ""),
        (text(13, b"key"), "encrypted"),
    ],
)
def test_unusual_messages_are_named(more: bytes, unusual: str) -> None:
    assert read_message(stored(b"payload", METADATA + more)).unusual == unusual


@given(st.binary(max_size=200), st.integers(0, 200))
def test_arbitrary_bytes_are_read_or_rejected(data: bytes, cut: int) -> None:
    for one in (data, stored(data)[:cut], stored(b"x", data), b"\x08\x09" + data, b"\x0e\x02" + data):
        assert isinstance(read_fields(one), dict)
        for read in (read_command, read_message):
            try:
                read(one)
            except ValueError:
                continue


def test_number_of_any_length_costs_nothing() -> None:
    """Otherwise 64 kB of it would be one number of half a million bits."""
    assert read_fields(b"\x08" + b"\xff" * 1_000_000) == {}
    assert read_fields(number(3, 1) + text(2, b"x")[:-1]) == {3: 1}
