"""Pulsar's binary protocol, as far as reading single messages needs it: frames as values, without I/O.

The admin interface and Pulsar's clients decompress a message before anybody sees how large it becomes. Here its
metadata are read first, and the payload stays as it was stored.

Source: https://pulsar.apache.org/docs/developing-binary-protocol, and PulsarApi.proto for the numbers below.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from skymap_api.protobuf import number, read_fields, text

#: Version of the protocol that we speak.
PROTOCOL_VERSION = 19

#: What precedes a message's checksum, and the metadata that a broker may add to it.
_CHECKSUM, _BROKER_METADATA = b"\x0e\x01", b"\x0e\x02"


class Kind(IntEnum):
    """Types of commands; the content of a command is the field of the same number."""

    CONNECT = 2
    CONNECTED = 3
    SUBSCRIBE = 4
    MESSAGE = 9
    FLOW = 11
    SUCCESS = 13
    ERROR = 14
    CLOSE_CONSUMER = 16
    PING = 18
    PONG = 19
    LOOKUP = 23
    LOOKUP_RESPONSE = 24
    GET_LAST_MESSAGE_ID = 29
    LAST_MESSAGE_ID = 30


class ServerError(IntEnum):
    """Errors that a reader distinguishes."""

    AUTHENTICATION = 3
    AUTHORIZATION = 4
    TOPIC_NOT_FOUND = 11


class Compression(IntEnum):
    """How a payload is compressed."""

    NONE = 0
    LZ4 = 1
    ZLIB = 2
    ZSTD = 3
    SNAPPY = 4


@dataclass(frozen=True, slots=True)
class EntryId:
    """The place of a message in its topic. `EARLIEST` is before the first one; so is the last id of an empty topic."""

    ledger: int
    entry: int


EARLIEST = EntryId(-1, -1)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the broker: its type, and the fields of its content by number."""

    kind: int
    fields: Mapping[int, int | bytes]

    def number(self, field: int) -> int:
        """Return a number; 0 if there is none."""
        found = self.fields.get(field, 0)
        return found if isinstance(found, int) else 0

    def text(self, field: int) -> str:
        """Return a text; empty if there is none."""
        found = self.fields.get(field, b"")
        return found.decode(errors="replace") if isinstance(found, bytes) else ""

    def entry_id(self, field: int) -> EntryId:
        """Return a message id; that before the first message if there is none."""
        found = self.fields.get(field)
        if not isinstance(found, bytes):
            return EARLIEST
        inner = Command(0, read_fields(found))
        return EntryId(_signed(inner.number(1)), _signed(inner.number(2)))


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it is stored, with what its metadata say of it.

    ``size``: of the payload when it is decompressed (bytes). ``published``: ms since 1970, by the producer's clock.
    ``unusual``: why the payload is not one whole message; empty if it is.
    """

    payload: bytes
    compression: int
    size: int
    published: int
    unusual: str = ""


def connect(method: str, data: bytes, broker: str | None) -> bytes:
    """Return the first frame of a connection: our credentials; ``broker``: to which a proxy shall lead."""
    proxied = b"" if broker is None else text(6, broker.encode())
    content = text(1, b"skymap-operator") + text(3, data) + number(4, PROTOCOL_VERSION) + text(5, method.encode())
    return _frame(Kind.CONNECT, content + proxied)


def lookup(request: int, topic: str, *, authoritative: bool) -> bytes:
    """Ask which broker has a topic."""
    return _frame(Kind.LOOKUP, text(1, topic.encode()) + number(2, request) + number(3, authoritative))


def subscribe(request: int, consumer: int, topic: str, name: str, start: EntryId) -> bytes:
    """Open a consumer from the message ``start`` on; it leaves no trace, and does not create the topic."""
    place = number(1, start.ledger) + number(2, start.entry)
    content = text(1, topic.encode()) + text(2, name.encode()) + number(3, 0)  # exclusive
    content += number(4, consumer) + number(5, request) + number(8, 0) + text(9, place)  # not durable
    return _frame(Kind.SUBSCRIBE, content + number(13, 1) + number(15, 0))


def get_last_message_id(request: int, consumer: int) -> bytes:
    """Ask for the id of the last message."""
    return _frame(Kind.GET_LAST_MESSAGE_ID, number(1, consumer) + number(2, request))


def flow(consumer: int) -> bytes:
    """Let the broker send one message."""
    return _frame(Kind.FLOW, number(1, consumer) + number(2, 1))


def close_consumer(request: int, consumer: int) -> bytes:
    """Close a consumer."""
    return _frame(Kind.CLOSE_CONSUMER, number(1, consumer) + number(2, request))


def pong() -> bytes:
    """Answer a ping."""
    return _frame(Kind.PONG, b"")


def read_command(command: bytes) -> Command:
    """Read a command, without the sizes before it. Raises ValueError if it is none."""
    fields = read_fields(command)
    kind = fields.get(1)
    if not isinstance(kind, int):
        raise ValueError("no command of Pulsar's protocol")  # noqa: TRY004 - of bytes, not of a type
    content = fields.get(kind, b"")
    return Command(kind, read_fields(content) if isinstance(content, bytes) else {})


def read_message(rest: bytes) -> RawMessage:
    """Read what follows the command of a message: metadata and payload. Raises ValueError if it is not that."""
    if rest.startswith(_BROKER_METADATA):
        rest = _after(rest[2:])
    if rest.startswith(_CHECKSUM):
        rest = rest[6:]
    metadata = Command(0, read_fields(_sized(rest)))
    unusual = ""
    if 11 in metadata.fields:
        unusual = "a batch of messages"
    elif metadata.number(27) > 1:
        unusual = "a part of a message"
    elif 13 in metadata.fields:
        unusual = "encrypted"
    return RawMessage(_after(rest), metadata.number(8), metadata.number(9), metadata.number(3), unusual)


def _sized(data: bytes) -> bytes:
    """Return the bytes whose number precedes them."""
    if len(data) < 4:
        raise ValueError("a truncated message")
    (size,) = struct.unpack_from(">I", data)
    if size > len(data) - 4:
        raise ValueError("a truncated message")
    return data[4 : 4 + size]


def _after(data: bytes) -> bytes:
    """Return what follows them."""
    return data[4 + len(_sized(data)) :]


def _frame(kind: Kind, content: bytes) -> bytes:
    command = number(1, kind) + text(kind, content)
    return struct.pack(">II", len(command) + 4, len(command)) + command


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
