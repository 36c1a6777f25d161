"""Files of frames: streamed reading with bounded memory, and atomic writing (format section 1)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from skymap_scanner.atomic_file import AtomicFile
from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.i3.archive import Reader, TruncatedError
from skymap_scanner.i3.compression import compressor, decompressed
from skymap_scanner.i3.frame import Frame

log = logging.getLogger(__name__)

#: No frame of IceCube comes near; a stream that claims more is damaged, or made to fill our memory.
MAX_FRAME_BYTES: Final = 1 << 28


def read_frames(
    source: Path | BinaryIO,
    *,
    recover: bool = False,
    on_damage: Callable[[I3Error], None] | None = None,
    max_frame_bytes: int = MAX_FRAME_BYTES,
) -> Iterator[Frame]:
    """Yield the frames of a file or an open stream, one after the other; compression is recognised by content.

    Parameters
    ----------
    source
        A path, or a binary stream, which needs no method but ``read``.
    recover
        Where the stream is damaged, end there instead of raising: the error goes to ``on_damage``, or, without that,
        to the log as a warning.
    max_frame_bytes
        A frame of more bytes (decompressed) is an error.

    Raises
    ------
    I3Error
        When the stream is damaged, with the file, frame and offset.
    InputError
        When the file cannot be opened.
    """
    name = str(source) if isinstance(source, Path) else getattr(source, "name", None)
    try:
        if isinstance(source, Path):
            with _open(source) as stream:
                yield from _frames(stream, name, max_frame_bytes)
        else:
            yield from _frames(source, name, max_frame_bytes)
    except I3Error as error:
        if not recover:
            raise
        if on_damage is not None:
            on_damage(error)
        else:
            log.warning("only the frames before the damage are used: %s", error)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error


def _frames(stream: BinaryIO, name: object, limit: int) -> Iterator[Frame]:
    file = name if isinstance(name, str) else None
    window = _Window(stream)
    index = 0
    try:
        while window.grow(1):
            frame = _next_frame(window, limit, file, index)
            if frame is not None:
                yield frame
                index += 1
    except I3Error as error:
        error.file, error.frame = file, index
        if error.offset is None:
            error.offset = window.offset + window.position
        raise


def _next_frame(window: _Window, limit: int, file: str | None, index: int) -> Frame | None:
    """Read the next frame and move on; None when the window had to grow first. Raises I3Error."""
    start = window.offset
    reader = Reader(window.data, window.position)
    try:
        frame = Frame.read(reader, file=file, index=index, offset=start)
        size = reader.position - window.position
        if size > limit:
            raise _too_long(size, limit, window.position)
    except TruncatedError as error:
        size = error.needed - window.position
        error.offset = start + (error.offset or 0)
        if size > limit:
            raise _too_long(size, limit, error.offset) from None
        if not window.grow(size):
            raise
        return None
    except I3Error as error:
        error.offset = start + (error.offset or 0)
        raise
    window.position = reader.position
    return frame


def _too_long(size: int, limit: int, offset: int) -> I3Error:
    return I3Error(f"a frame of {size} bytes or more, at most {limit} are read", offset=offset)


class _Window:
    """A piece of a stream: ``data``, which begins at ``offset`` in the stream, of which ``position`` is next."""

    def __init__(self, stream: BinaryIO) -> None:
        self._pieces = decompressed(stream)
        self._failure: I3Error | None = None
        self.data = b""
        self.offset = 0
        self.position = 0

    def grow(self, size: int) -> bool:
        """Hold ``size`` bytes at least from the position on; False where the stream ends before. Raises I3Error.

        Grows by half as much again, so that a frame that becomes known bit by bit is not read too often. Damage behind
        ``size`` is kept until it is reached.
        """
        held = len(self.data) - self.position
        if held >= size:
            return True
        parts = [self.data[self.position :]]
        wanted = max(size, held + held // 2)
        try:
            while held < wanted and self._failure is None and (piece := next(self._pieces, b"")):
                parts.append(piece)
                held += len(piece)
        except I3Error as error:
            self._failure = error
        self.offset += self.position
        self.position = 0
        self.data = b"".join(parts)
        if held < size and self._failure is not None:
            raise self._failure
        return held >= size


class FrameWriter:
    """Writes frames to a file that appears under its name only when it is complete.

    The suffix chooses the compression (.i3, .i3.gz, .i3.bz2, .i3.zst, .i3.xz); the same frames give the same bytes. The
    file takes its name when the ``with`` block ends without an error, and is removed otherwise (`AtomicFile`).
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.frames = 0
        make = compressor(self.path)
        self._file = AtomicFile(self.path)
        self._stream = self._file.stream if make is None else make(self._file.stream)

    def write(self, frame: Frame) -> None:
        """Append a frame; raises InputError when the file system refuses."""
        try:
            self._stream.write(frame.to_bytes())
        except OSError as error:
            raise self._file.error(error) from error
        self.frames += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._file.discard()
            return
        try:
            if self._stream is not self._file.stream:
                self._stream.close()
        except OSError as error:
            self._file.discard()
            raise self._file.error(error) from error
        self._file.commit()
