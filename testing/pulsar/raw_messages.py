"""Messages that no client of Pulsar would send, but anybody with a token may."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping

import zstandard

from skymap_api.protobuf import number, read_fields, text
from skymap_scanner.broker.access import split_url

CONNECT, CONNECTED, PRODUCER, SEND, SEND_RECEIPT, PRODUCER_SUCCESS = 2, 3, 5, 6, 7, 17

#: Fields of a message's metadata.
COMPRESSION, UNCOMPRESSED_SIZE, BATCH, ENCRYPTION, CHUNKS = 8, 9, 11, 13, 27

#: Size of the classic bomb when it is decompressed (bytes); compressed it has some 60 kB.
BOMB = 1900 << 20

LZ4, ZSTD = 1, 3


def bomb(size: int = BOMB) -> bytes:
    """Return so many zeros, compressed with ZSTD."""
    compressor, block = zstandard.ZstdCompressor().compressobj(size=size), bytes(1 << 20)
    pieces = [compressor.compress(block[: min(len(block), size - at)]) for at in range(0, size, len(block))]
    return b"".join([*pieces, compressor.flush()])


def publish(url: str, topic: str, payload: bytes, metadata: Mapping[int, int | bytes]) -> None:
    """Publish a payload as it is, with fields of its metadata, at the broker that has the topic."""
    host, port, encrypted = split_url(url)
    assert not encrypted
    name = f"raw-{time.time_ns()}".encode()
    head = text(1, name) + number(2, 0) + number(3, time.time_ns() // 1_000_000)
    head += b"".join(
        number(field, value) if isinstance(value, int) else text(field, value) for field, value in metadata.items()
    )
    with socket.create_connection((host, port), timeout=30) as connection:
        _exchange(connection, CONNECT, text(1, b"test") + number(4, 19), CONNECTED)
        wanted = text(1, topic.encode()) + number(2, 1) + number(3, 1) + text(4, name)
        _exchange(connection, PRODUCER, wanted, PRODUCER_SUCCESS)
        message = struct.pack(">I", len(head)) + head + payload
        _exchange(connection, SEND, number(1, 1) + number(2, 0), SEND_RECEIPT, message)


def _exchange(connection: socket.socket, kind: int, content: bytes, wanted: int, more: bytes = b"") -> None:
    """Send a command and wait for its answer."""
    command = number(1, kind) + text(kind, content)
    connection.sendall(struct.pack(">II", len(command) + 4 + len(more), len(command)) + command + more)
    with connection.makefile("rb") as answers:
        while True:
            total, size = struct.unpack(">II", answers.read(8))
            answer = read_fields(answers.read(size))
            answers.read(total - size - 4)
            if answer[1] == wanted:
                return
            assert answer[1] == 18, f"the broker answers {answer}"  # a ping
