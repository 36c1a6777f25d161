"""Compressed streams: recognised by their first bytes when read, chosen by the file's suffix when written.

Reading is bounded: no call returns more than requested or a fixed piece, whatever the compressed bytes claim. A damaged
stream raises an I3Error.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import zstandard

from skymap_scanner.errors import I3Error, InputError

_READ_SIZE: Final = 1 << 16
#: Maximum output of one step of a decompressor.
_PIECE: Final = 1 << 20
#: Input of one step. Little, because zstandard returns all that its input makes at once (at most 128 KiB for 4 bytes),
#: and because a step that meets damage returns nothing.
_FEED: Final = 1 << 8
_ZSTD_MAX_WINDOW: Final = 1 << 27
_XZ_MEMORY: Final = 1 << 28
#: A stream may grow to this many bytes in any case, and beyond to so many times its size. Files of events grow to 3 to
#: 10 times theirs; one that grows to 10,000 times is made to exhaust its reader.
_FREE: Final = 1 << 26
_MOST_GROWTH: Final = 100


class _Gzip:
    """zlib with the interface of ``bz2.BZ2Decompressor``."""

    eof, unused_data, needs_input = False, b"", True

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._object.decompress(self._object.unconsumed_tail + data, max_length)
        self.eof, self.unused_data = self._object.eof, self._object.unused_data
        self.needs_input = not self._object.unconsumed_tail
        return piece


class _Zstd:
    """zstandard with the interface of ``bz2.BZ2Decompressor``; bounded by its small input."""

    eof, unused_data, needs_input = False, b"", True

    def __init__(self) -> None:
        self._object = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj()

    def decompress(self, data: bytes, max_length: int) -> bytes:  # noqa: ARG002 - the signature of bz2
        piece = self._object.decompress(data)
        self.eof, self.unused_data = self._object.eof, self._object.unused_data
        return piece


#: The first bytes of a compressed stream, and what reads it.
_BY_CONTENT: Final[tuple[tuple[bytes, str, Callable[[], Any]], ...]] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
    (b"\xfd7zXZ\x00", "xz", partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY)),
)

#: Exceptions of the decompressors for damaged input.
_DAMAGE: Final = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, MemoryError)


def decompressed(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the stream's bytes, decompressed if its first bytes say so, in pieces of bounded size; raises I3Error."""
    start = b""
    while len(start) < 6 and (more := _read(stream, 6 - len(start))):
        start += more
    for magic, name, make in _BY_CONTENT:
        if start.startswith(magic):
            return _members(_fed(_plain(stream, start)), name, make)
    return _plain(stream, start)


def _read(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size) or b""
    except OSError as error:
        raise I3Error(f"cannot be read: {error}") from error


def _plain(stream: BinaryIO, start: bytes) -> Iterator[bytes]:
    while start:
        yield start
        start = _read(stream, _READ_SIZE)


def _fed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _FEED):
            yield piece[start : start + _FEED]


def _members(pieces: Iterator[bytes], name: str, make: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress one member after the other: compressed files may be concatenated, and padded with zeros between."""
    taken = given = 0

    def feed() -> bytes:
        nonlocal taken
        data = next(pieces, b"")
        taken += len(data)
        return data

    data = feed()
    while data:
        member = make()
        while not member.eof:
            if not data and member.needs_input:
                data = feed()
                if not data:
                    raise I3Error(f"the {name} stream ends in the middle: the file is truncated")
            try:
                piece = member.decompress(data, _PIECE)
            except _DAMAGE as error:
                raise I3Error(f"the {name} stream is damaged: {error}") from error
            data = b""
            given += len(piece)
            if given > _FREE + _MOST_GROWTH * taken:
                raise I3Error(
                    f"the {name} stream grows to more than {_MOST_GROWTH} times its size: it is not read further"
                )
            if piece:
                yield piece
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := feed()):
            data = more.lstrip(b"\0")


#: By suffix; the levels are IceTray's (which writes no xz). The same input gives the same bytes.
_BY_SUFFIX: Final[dict[str, Callable[[BinaryIO], Any] | None]] = {
    ".i3": None,
    ".gz": lambda stream: gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0),
    ".bz2": partial(bz2.BZ2File, mode="wb", compresslevel=6),
    ".zst": lambda stream: zstandard.ZstdCompressor(level=11, write_checksum=True).stream_writer(stream, closefd=False),
    ".xz": partial(lzma.LZMAFile, mode="wb", preset=6),
}


def compressor(path: Path) -> Callable[[BinaryIO], Any] | None:
    """Return the constructor of the compressing stream for this file name, None for a plain .i3; raises InputError."""
    last = path.suffix
    if last in _BY_SUFFIX and (last == ".i3" or path.suffixes[-2:-1] == [".i3"]):
        return _BY_SUFFIX[last]
    raise InputError(
        f"{path}: the name must end in .i3, .i3.gz, .i3.bz2, .i3.zst or .i3.xz, which chooses the compression"
    )
