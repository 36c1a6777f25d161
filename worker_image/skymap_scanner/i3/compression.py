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
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

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


class _Decompressor(Protocol):
    """One member of a compressed stream (as bz2 and lzma have it)."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def unused_data(self) -> bytes:
        """Input after the member's end."""

    @property
    def needs_input(self) -> bool:
        """Whether there is no output before more input."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Feed ``data`` and return at most ``max_length`` bytes."""


class _Gzip:
    """zlib with the interface of bz2 and lzma."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)


class _Zstd:
    """zstandard with the interface of bz2 and lzma; bounded by its small input."""

    needs_input: Final = True

    def __init__(self) -> None:
        self._object = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:  # noqa: ARG002 - the protocol's signature
        return self._object.decompress(data)


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)


#: The first bytes of a compressed stream, and what reads it.
_BY_CONTENT: Final[tuple[tuple[bytes, str, Callable[[], Any]], ...]] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
    (b"\xfd7zXZ\x00", "xz", _xz),
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
            taken = _Counted(_fed(_plain(stream, start)))
            return _bounded(_members(taken, name, make), taken, name)
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


class _Counted:
    """Pieces, and their total size so far."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        self.size += len(piece)
        return piece


def _bounded(pieces: Iterator[bytes], taken: _Counted, name: str) -> Iterator[bytes]:
    given = 0
    for piece in pieces:
        given += len(piece)
        if given > _FREE + _MOST_GROWTH * taken.size:
            raise I3Error(f"the {name} stream grows to more than {_MOST_GROWTH} times its size: it is not read further")
        yield piece


def _members(pieces: Iterator[bytes], name: str, make: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Decompress one member after the other: compressed files may be concatenated, and padded with zeros between."""
    data = next(pieces, b"")
    while data:
        member = make()
        while not member.eof:
            if not data and member.needs_input:
                data = next(pieces, b"")
                if not data:
                    raise I3Error(f"the {name} stream ends in the middle: the file is truncated")
            try:
                piece = member.decompress(data, _PIECE)
            except _DAMAGE as error:
                raise I3Error(f"the {name} stream is damaged: {error}") from error
            data = b""
            if piece:
                yield piece
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := next(pieces, b"")):
            data = more.lstrip(b"\0")


def _gzip_writer(stream: BinaryIO) -> BinaryIO:
    return gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0)  # type: ignore[return-value]


def _bz2_writer(stream: BinaryIO) -> BinaryIO:
    return bz2.BZ2File(stream, "wb", compresslevel=6)  # type: ignore[return-value]


def _zstd_writer(stream: BinaryIO) -> BinaryIO:
    compressor = zstandard.ZstdCompressor(level=11, write_checksum=True)
    return compressor.stream_writer(stream, closefd=False)


def _xz_writer(stream: BinaryIO) -> BinaryIO:
    return lzma.LZMAFile(stream, "wb", preset=6)  # type: ignore[return-value]


#: By suffix; the levels are IceTray's (which writes no xz). The same input gives the same bytes.
_BY_SUFFIX: Final[dict[str, Callable[[BinaryIO], BinaryIO] | None]] = {
    ".i3": None,
    ".gz": _gzip_writer,
    ".bz2": _bz2_writer,
    ".zst": _zstd_writer,
    ".xz": _xz_writer,
}


def compressor(path: Path) -> Callable[[BinaryIO], BinaryIO] | None:
    """Return the constructor of the compressing stream for this file name, None for a plain .i3; raises InputError."""
    suffixes = path.suffixes[-2:]
    last = path.suffix
    if last in _BY_SUFFIX and (last == ".i3" or suffixes[:1] == [".i3"]):
        return _BY_SUFFIX[last]
    raise InputError(
        f"{path}: the name must end in .i3, .i3.gz, .i3.bz2, .i3.zst or .i3.xz, which chooses the compression"
    )
