"""Protocol buffers, as far as Pulsar's binary protocol needs them: fields by number, without a schema.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

#: Longest varint (bytes): 64 bits.
_LONGEST_VARINT = 10


def read_fields(message: bytes) -> dict[int, int | bytes]:
    """Return the readable fields of a message: numbers and byte strings, the last of each number.

    What follows a truncated or an unknown field is left out.
    """
    fields: dict[int, int | bytes] = {}
    at = 0
    try:
        while at < len(message):
            tag, at = _varint(message, at)
            value, at = _varint(message, at)
            if tag & 7 == 2:
                if value > len(message) - at:
                    break
                fields[tag >> 3] = message[at : at + value]
                at += value
            elif tag & 7 == 0:
                fields[tag >> 3] = value
            else:
                break
    except ValueError:
        pass  # use what has been read
    return fields


def number(field: int, value: int) -> bytes:
    """Encode a number; a negative one as the 64 bits of its two's complement."""
    return _written(field << 3) + _written(value % (1 << 64))


def text(field: int, value: bytes) -> bytes:
    """Encode a byte string, or a message inside another one."""
    return _written(field << 3 | 2) + _written(len(value)) + value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a truncated or too long number")


def _written(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
