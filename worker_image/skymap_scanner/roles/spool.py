"""Frames kept on disk until the file is written in order, so that memory does not grow with the map."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skymap_scanner.broker.protocol import Closing
from skymap_scanner.errors import InputError
from skymap_scanner.scan.pixels import Pixel


class Spool(Closing):
    """An anonymous temporary file in ``folder``, which the operating system removes at the end of the process.

    Raises
    ------
    InputError
        If it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._explained():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._places: dict[Pixel, tuple[int, int]] = {}
        self._end = 0

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # its content is no longer needed
            self._file.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"cannot write in {self._folder}: {error.strerror}") from error

    def write(self, pixel: Pixel, payload: bytes) -> None:
        """Keep ``payload`` for ``pixel``."""
        with self._explained():
            self._file.seek(self._end)
            self._file.write(payload)
        self._places[pixel] = (self._end, len(payload))
        self._end += len(payload)

    def read(self, pixel: Pixel) -> bytes:
        """Return the payload of ``pixel``."""
        offset, size = self._places[pixel]
        with self._explained():  # seeking writes the buffered data
            self._file.seek(offset)
        return self._file.read(size)
