"""IceTray's portable binary archive: a cursor that reads, a buffer that writes, and the bookkeeping both share.

Everything is little-endian and packed. An archive remembers which classes it has met (each writes its tracking flag
and version once) and counts the tracked objects (each carries the running number as its id). A reader works on a
complete byte string: it trusts a size only as far as bytes follow, and reads no more than ``MAX_ELEMENTS`` elements,
which take 10 to 35 times the memory of their bytes. Any damage raises an I3Error with the offset.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from struct import Struct
from typing import Any, Final

from skymap_scanner.errors import I3Error

U8: Final = Struct("<B")
I16: Final = Struct("<h")
U16: Final = Struct("<H")
U32: Final = Struct("<I")
U64: Final = Struct("<Q")

#: A string length or collection size that does not fit into 32 bits is written as this mark and a u64.
COUNT_ESCAPE: Final = 0xFFFFFFFF
#: A class version that does not fit into a byte is written as this mark and a u64.
VERSION_ESCAPE: Final = 0xFF
#: Most bytes of repeated objects in one archive: their number times the archive's length. IceTray repeats none in any
#: known file; without a limit, a small archive could mean an object of any size.
MAX_REPEATED: Final = 1 << 28
#: Most elements of vectors, maps and trees in a frame, except those of arrays: they become Python objects, of 0.2 to
#: 1.3 KiB each. Launches and waveforms of the brightest events are some 100,000.
MAX_ELEMENTS: Final = 1 << 19


class UndescribedError(I3Error):
    """The bytes are valid, but their layout is not described here: they can be kept, not decoded."""


class TruncatedError(I3Error):
    """The bytes end too early: the reader needs them up to position ``needed`` to go on."""

    needed: int = 0


def decode_text(raw: bytes) -> str:
    """Decode UTF-8; invalid bytes are kept as surrogates, so that encoding restores them."""
    return raw.decode("utf-8", "surrogateescape")


def encode_text(text: str) -> bytes:
    """Encode text from ``decode_text`` to the same bytes."""
    return text.encode("utf-8", "surrogateescape")


class Reader:
    """A cursor over one archive held in ``data``.

    ``classes`` maps each class met to its (tracking, version); ``objects`` holds every tracked object so far as
    (class, value), by its id; ``numbers`` has the ids of the classes that pointers led to. ``elements`` counts the
    elements read, from those of the frame's other archives on, ``samples`` those of compressed waveforms.
    """

    __slots__ = ("classes", "data", "elements", "numbers", "objects", "position", "repeated", "samples")

    def __init__(self, data: bytes, position: int = 0, elements: int = 0) -> None:
        self.data = data
        self.position = position
        self.classes: dict[Hashable, tuple[bool, int]] = {}
        self.objects: list[tuple[Hashable, Any]] = []
        self.numbers: dict[Hashable, int] = {}
        self.repeated = 0
        self.elements = elements
        self.samples = 0

    def error(self, message: str, offset: int | None = None) -> I3Error:
        """Return an error with its offset, by default the current position."""
        return I3Error(message, offset=self.position if offset is None else offset)

    def truncated(self, needed: int) -> TruncatedError:
        """Return the error for bytes that end before ``needed``."""
        message = f"{needed - self.position} bytes expected, only {len(self.data) - self.position} are left"
        error = TruncatedError(message, offset=self.position)
        error.needed = needed
        return error

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        start = self.position
        end = start + size
        if end > len(self.data):
            raise self.truncated(end)
        self.position = end
        return self.data[start:end]

    def number(self, layout: Struct) -> Any:
        """Return the one number of ``layout``."""
        start = self.position
        end = start + layout.size
        if end > len(self.data):
            raise self.truncated(end)
        self.position = end
        return layout.unpack_from(self.data, start)[0]

    def count(self) -> int:
        """Read a string length or collection size."""
        count: int = self.number(U32)
        return self.number(U64) if count == COUNT_ESCAPE else count

    def allow(self, elements: int) -> int:
        """Count elements that will be read, and return their number; raises I3Error when the limit is exceeded."""
        self.elements += elements
        if self.elements > MAX_ELEMENTS:
            raise self.error(f"more than the {MAX_ELEMENTS} elements that the objects of a frame may have")
        return elements

    def string(self) -> bytes:
        """Read a string as bytes."""
        return self.take(self.count())

    def text(self) -> str:
        """Read a string."""
        return decode_text(self.string())

    def flag(self) -> bool:
        """Read a byte that must be 0 or 1."""
        value = self.number(U8)
        if value > 1:
            raise self.error(f"a flag must be 0 or 1, found {value}", self.position - 1)
        return bool(value)

    def preamble(self, name: Hashable, newest: int) -> tuple[bool, int]:
        """Return (tracking, version) of the class ``name``, read where the class is met for the first time."""
        known = self.classes.get(name)
        if known is not None:
            return known
        start = self.position
        tracked = self.flag()
        version = self.number(U8)
        if version == VERSION_ESCAPE:
            version = self.number(U64)
        if version > newest:
            raise UndescribedError(f"{name} is of version {version}, the newest described is {newest}", offset=start)
        self.classes[name] = tracked, version
        return tracked, version

    def object_id(self, name: Hashable) -> int | None:
        """Read the id of a tracked object; None for a new one, else the id of an object read before."""
        identifier: int = self.number(U32)
        expected = len(self.objects)
        if identifier == expected:
            self.objects.append((name, Ellipsis))
            return None
        if identifier > expected:
            raise self.error(f"object id {identifier} found, at most {expected} is possible here", self.position - 4)
        return identifier

    def earlier(self, identifier: int, name: Hashable) -> Any:
        """Return the object of class ``name`` that has this id already."""
        owner, value = self.objects[identifier]
        if owner != name or value is Ellipsis:
            raise self.error(f"object id {identifier} is no earlier {name}", self.position - 4)
        self.repeated += len(self.data)
        if self.repeated > MAX_REPEATED:
            raise self.error("too many repeated objects", self.position - 4)
        return value

    def class_number(self, name: Hashable) -> int:
        """Return the id of a class that a pointer leads to, the next free one where it is new."""
        return _class_number(self.numbers, self.classes, name)


class Writer:
    """The archive being written: ``data``, the classes met with their versions, and the number of tracked objects.

    ``numbers`` has the ids of the classes that pointers led to.
    """

    __slots__ = ("classes", "data", "numbers", "objects")

    def __init__(self) -> None:
        self.data = bytearray()
        self.classes: dict[Hashable, int] = {}
        self.numbers: dict[Hashable, int] = {}
        self.objects = 0

    def count(self, count: int) -> None:
        """Write a string length or collection size."""
        if count < COUNT_ESCAPE:
            self.data += U32.pack(count)
        else:
            self.data += U32.pack(COUNT_ESCAPE) + U64.pack(count)

    def string(self, raw: bytes) -> None:
        """Write a string of bytes."""
        self.count(len(raw))
        self.data += raw

    def text(self, text: str) -> None:
        """Write a string."""
        self.string(encode_text(text))

    def flag(self, value: object) -> None:
        """Write a byte, 0 or 1."""
        self.data.append(bool(value))

    def preamble(self, name: Hashable, tracked: bool, version: int) -> None:
        """Write tracking flag and version where the class ``name`` is met for the first time."""
        if name not in self.classes:
            self.classes[name] = version
            self.data += bytes((tracked, version))

    def object_id(self) -> None:
        """Write the number of the next tracked object."""
        self.data += U32.pack(self.objects)
        self.objects += 1

    def class_number(self, name: Hashable) -> int:
        """Return the id of a class that a pointer leads to, the next free one where it is new."""
        return _class_number(self.numbers, self.classes, name)


def _class_number(numbers: dict[Hashable, int], classes: Collection[Hashable], name: Hashable) -> int:
    """Return a class's id as boost counts: the pointer to the object is 0, then each class gets the next."""
    number = numbers.get(name)
    if number is None:
        number = numbers[name] = 1 + len(classes) + sum(other not in classes for other in numbers)
    return number
