"""Arrays of equal records: thousands of pulses or DOMs, read and written at once.

A class that holds nothing but numbers has the same length every time, once the archive has met its classes: the ids of
its tracked objects, and its numbers. `RecordCodec` makes a numpy dtype of them. Records of another form (an
old version, a repeated object) are left to the layouts, which read one record after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.archive import Reader, Writer


class FixedLayout(Protocol):
    """A layout of nothing but numbers."""

    def columns(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield (path, struct code) of each number and (class, "") of each tracked object, in order."""

    def classes(self) -> dict[str, tuple[bool, int]]:
        """Return tracking flag and version of each class."""

    def build(self, numbers: Iterator[Any]) -> Any:
        """Make the value from its numbers, in the order of the bytes."""


class RecordCodec:
    """Reads and writes arrays of ``layout``, once its classes have been met.

    ``dtype`` holds the numbers, named by their paths; the ids between them are checked and left out.
    """

    def __init__(self, layout: FixedLayout) -> None:
        columns = list(layout.columns(""))
        places = [number for number, (_, code) in enumerate(columns) if not code]
        self._ids = [f"id {number}" for number in places]
        disk = [(path, f"<{code}") if code else (f"id {n}", "<u4") for n, (path, code) in enumerate(columns)]
        self._disk = np.dtype(disk)
        self._names = [path for path, code in columns if code]
        self.dtype = np.dtype([(name, kind) for name, kind in disk if name in self._names])
        self._get = attrgetter(*self._names)
        self._layout = layout
        self._classes = layout.classes()

    def rows(self, records: Sequence[Any]) -> NDArray[np.void]:
        """Return an array of the numbers of ``records``."""
        return np.array([self._get(record) for record in records], self.dtype)

    def record(self, row: np.void) -> Any:
        """Return the record of one row."""
        return self._layout.build(iter(row.item()))

    def read(self, reader: Reader, count: int) -> NDArray[np.void] | None:
        """Read ``count`` records; None, and nothing read, when they are not of the common form."""
        if any(reader.classes.get(name) != current for name, current in self._classes.items()):
            return None
        if count * self._disk.itemsize > reader.left:
            return None
        disk = np.frombuffer(reader.data, self._disk, count, reader.position)
        for name, numbers in zip(self._ids, self._numbers(len(reader.objects), count), strict=True):
            if not (disk[name] == numbers).all():
                return None
        reader.position += disk.nbytes
        reader.objects += [("an element of an array", Ellipsis)] * (len(self._ids) * count)
        return disk[self._names].astype(self.dtype)

    def write(self, writer: Writer, array: NDArray[np.void]) -> None:
        """Write the records of an array."""
        disk = np.empty(len(array), self._disk)
        for name, numbers in zip(self._ids, self._numbers(writer.objects, len(array)), strict=True):
            disk[name] = numbers
        disk[self._names] = array
        writer.data += disk.tobytes()
        writer.objects += len(self._ids) * len(array)

    def _numbers(self, first: int, count: int) -> NDArray[np.int64]:
        """Return the ids of ``count`` records, shape (ids of a record, count), from ``first`` on."""
        return np.arange(first, first + len(self._ids) * count).reshape(count, len(self._ids)).T
