"""Standard streams that are closed, full or gone: none of these is a bug of the command.

- *Closed* (``>&-``, some daemons): the stream becomes ``/dev/null``. No file that is opened later gets its number, so
  nothing is printed into that file.
- *Standard output gone* (``| head``): the reader has what it wants; the command ends with exit code 0.
- *Standard output full*: the command ends with an error and exit code 1.
- *Standard error full or gone*: the text is lost. A scan goes on without its log.
- *Not made for all text*, such as ``LC_ALL=C`` or names of files that are not UTF-8: what the stream has no characters
  for becomes escapes.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from skymap_api.exit_codes import ExitCode


class OutputError(BaseException):
    """Standard output cannot be written, so the command ends."""


class ReaderGoneError(OutputError):
    """Nobody reads standard output any more."""


class _Output(io.FileIO):
    """Standard output. After an error, it writes to ``/dev/null``, so that the end of the process is quiet."""

    def write(self, data: object) -> int | None:  # type: ignore[override]
        left = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = left.nbytes
        try:
            while left.nbytes:
                written = super().write(left)
                if written is None:  # a pipe that another process has made non-blocking is full
                    select.select([], [self], [])
                else:
                    left = left[written:]
        except OSError as error:
            _discard(self.fileno())
            if isinstance(error, BrokenPipeError):
                raise ReaderGoneError from error
            raise OutputError(f"standard output cannot be written: {error.strerror}") from error
        return size


class _Log(io.FileIO):
    """Standard error; what cannot be written is lost."""

    def write(self, data: object) -> int | None:  # type: ignore[override]
        with suppress(OSError):
            written = super().write(data)  # type: ignore[arg-type]
            if written is not None:  # None: a full pipe that another process has made non-blocking
                return written
        return memoryview(data).nbytes  # type: ignore[arg-type]


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Run a command with standard streams that behave as this module describes."""
    _open_closed_streams()
    # A stream that somebody has replaced, such as a test, is left alone, and so is /dev/null.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(sys.stdout, _Output)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.stderr, _Log)
    try:
        try:
            yield
        except SystemExit as end:
            with suppress(*[OutputError] if end.code else []):  # the command's own failure counts
                sys.stdout.flush()
            raise
        sys.stdout.flush()
    except ReaderGoneError:
        sys.exit(ExitCode.DONE)
    except OutputError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(ExitCode.ERROR)


def _open_closed_streams() -> None:
    """Connect the standard streams that were closed when Python started with ``/dev/null``."""
    closed = [(number, name) for number, name in enumerate(("stdin", "stdout", "stderr")) if getattr(sys, name) is None]
    for number, _ in closed:
        if not _is_open(number):  # else taken by a file that was opened since
            _discard(number)
    for _, name in closed:
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="replace"))  # noqa: SIM115, PTH123 - until the process ends


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _discard(number: int) -> None:
    """Make a file descriptor one of ``/dev/null``, which children inherit."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(null, True)
    else:
        os.dup2(null, number)
        os.close(null)


def _guarded(stream: object, kind: type[io.FileIO]) -> TextIO:
    """Return a text stream to the same file descriptor, with the same encoding and buffering."""
    assert isinstance(stream, io.TextIOWrapper)  # noqa: S101 - Python's own
    stream.flush()
    raw = kind(stream.fileno(), "w", closefd=False)
    unbuffered = isinstance(stream.buffer, io.RawIOBase)  # python -u
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
