"""Layouts: how C++ types lie in an archive. A layout is named once; reading, writing and the fast paths share it.

Each layout has ``read`` and ``write`` after the rules of boost-serialization as IceTray has them: a class writes its
tracking flag and version where it is met first, a tracked object its id, then come its members. Where nothing but
numbers and strings can occur, ``sketch`` walks the layout once on paper (`flat.py` makes the fast paths of that).

Two layouts are the same C++ type when they have the same ``name``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.archive import Reader, Writer, encode_text
from skymap_scanner.i3.flat import NotFlatError, RecordCodec, Sketch


class Layout(Protocol):
    """How one C++ type lies in an archive."""

    def read(self, reader: Reader) -> Any:
        """Read one value; raises I3Error."""

    def write(self, writer: Writer, value: Any) -> None:
        """Write one value."""

    def sketch(self, sketch: Sketch, path: str) -> None:
        """Draw what would be written; raises NotFlatError where that depends on the value."""


class Varying:
    """The base of layouts that have no sketch: their bytes depend on more than numbers and strings."""

    def sketch(self, sketch: Sketch, path: str) -> None:  # noqa: ARG002 - the protocol's signature
        """Refuse: raises NotFlatError."""
        raise NotFlatError


class Number:
    """A fundamental type, by its ``struct`` code."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._struct = Struct("<" + code)

    def read(self, reader: Reader) -> Any:
        """Read one value; raises I3Error."""
        return reader.number(self._struct)

    def write(self, writer: Writer, value: Any) -> None:
        """Write one value."""
        writer.data += self._struct.pack(value)

    def sketch(self, sketch: Sketch, path: str) -> None:
        """Draw one number."""
        sketch.number(self.code, path)


class Flag(Varying):
    """A ``bool``: one byte, 0 or 1."""

    def read(self, reader: Reader) -> bool:
        """Read one value; raises I3Error."""
        return reader.flag()

    def write(self, writer: Writer, value: Any) -> None:
        """Write one value."""
        writer.data.append(bool(value))


class Enumeration:
    """An ``enum``: i32. A value without a name stays a plain int."""

    def __init__(self, members: type[IntEnum]) -> None:
        self.members: dict[int, int] = {int(member): member for member in members}
        self._struct = Struct("<i")

    def read(self, reader: Reader) -> int:
        """Read one value; raises I3Error."""
        value: int = reader.number(self._struct)
        return self.members.get(value, value)

    def write(self, writer: Writer, value: int) -> None:
        """Write one value."""
        writer.data += self._struct.pack(value)

    def sketch(self, sketch: Sketch, path: str) -> None:
        """Draw one number with names."""
        sketch.number("i", path, self.members)


class Text:
    """A ``std::string``; text that is not UTF-8 is kept (see ``decode_text``)."""

    def read(self, reader: Reader) -> str:
        """Read one value; raises I3Error."""
        return reader.text()

    def write(self, writer: Writer, value: str) -> None:
        """Write one value."""
        writer.text(value)

    def sketch(self, sketch: Sketch, path: str) -> None:
        """Draw one string."""
        sketch.text(path)


class Array(Varying):
    """A ``std::vector`` of a fundamental type: a count and the plain array; a read-only numpy array here."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)

    def read(self, reader: Reader) -> NDArray[Any]:
        """Read one value; raises I3Error."""
        start = reader.position
        array = np.frombuffer(reader.take(reader.count() * self.dtype.itemsize), self.dtype)
        if self.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
            raise reader.error("a flag must be 0 or 1", start)
        return array

    def write(self, writer: Writer, value: Any) -> None:
        """Write one value."""
        array = np.ascontiguousarray(value, self.dtype)
        if array.ndim != 1:
            raise ValueError(f"an array of one dimension is needed, not {array.ndim}")
        writer.count(len(array))
        writer.data += array.tobytes()


class Bytes(Varying):
    """A ``std::vector<char>``: bytes."""

    def read(self, reader: Reader) -> bytes:
        """Read one value; raises I3Error."""
        return reader.take(reader.count())

    def write(self, writer: Writer, value: bytes) -> None:
        """Write one value."""
        writer.count(len(value))
        writer.data += value


@dataclass(frozen=True)
class Member:
    """One member of a class, in the versions ``since`` to ``until`` of it.

    A member without a name takes part in the bytes and is not kept (the base class; a map that is always empty).
    ``upgrade`` turns the value of an old version into today's.
    """

    name: str
    layout: Layout
    since: int = 0
    until: int = 255
    upgrade: Callable[[Any], Any] | None = None


class Class:
    """A C++ class: preamble where it is met first, id if tracked, then the members of its version.

    ``make`` is called with the named members as keywords; those that an old version lacks keep their defaults.
    ``oldest`` is the oldest version whose members are described.
    """

    def __init__(
        self,
        name: str,
        make: Callable[..., Any] | None,
        members: Sequence[Member],
        *,
        version: int = 0,
        oldest: int = 0,
        tracked: bool = True,
    ) -> None:
        self.name = name
        self.version = version
        self.make = make
        self.members = tuple(members)
        self._oldest = oldest
        self._tracked = tracked
        self.current = tuple(member for member in members if member.since <= version <= member.until)
        self._writes = [(member.layout, attrgetter(member.name) if member.name else None) for member in self.current]

    def __repr__(self) -> str:
        return self.name

    def read(self, reader: Reader) -> Any:
        """Read one value; raises I3Error."""
        tracked, version = reader.preamble(self.name, self.version)
        if not tracked:
            return self.read_members(reader, version)
        identifier = reader.object_id(self.name)
        if identifier is not None:
            return reader.earlier(identifier, self.name)
        own = len(reader.objects) - 1
        value = self.read_members(reader, version)
        reader.objects[own] = self.name, value
        return value

    def read_members(self, reader: Reader, version: int) -> Any:
        """Read what follows preamble and id."""
        if version < self._oldest:
            message = f"{self.name} is of version {version}, the oldest described is {self._oldest}"
            raise reader.undescribed(message, reader.position)
        values: dict[str, Any] = {}
        for member in self.members:
            if member.since <= version <= member.until:
                value = member.layout.read(reader)
                if member.name:
                    values[member.name] = value if member.upgrade is None else member.upgrade(value)
        return None if self.make is None else self.make(**values)

    def write(self, writer: Writer, value: Any) -> None:
        """Write one value, in the current version."""
        writer.preamble(self.name, self._tracked, self.version)
        if self._tracked:
            writer.object_id()
        for layout, get in self._writes:
            layout.write(writer, None if get is None else get(value))

    def sketch(self, sketch: Sketch, path: str) -> None:
        """Draw the class and its members."""
        sketch.preamble(self.name, self._tracked, self.version)
        if self._tracked:
            sketch.object_id()
        sketch.enter(self.make)
        for member in self.current:
            member.layout.sketch(sketch, f"{path}.{member.name}" if path and member.name else path or member.name)
        sketch.leave()


class Entry(NamedTuple):
    """One ``std::pair`` of a map."""

    key: Any
    value: Any


#: For fewer elements a numpy array takes longer than the general way.
_WORTHWHILE: Final = 4


class Items(Varying):
    """A ``std::vector`` or ``std::list`` of a class or of strings; a tuple here.

    Where the elements are nothing but numbers, they have the same length once their classes are known: the first goes
    the general way, the rest are read at once. Old versions and repeated objects go the general way too.
    """

    def __init__(self, element: Layout, name: str) -> None:
        self.element = element
        self.name = name
        self.codec = RecordCodec.of(element)

    def read(self, reader: Reader) -> tuple[Any, ...]:
        """Read one value; raises I3Error."""
        elements, rest = self._read(reader)
        if rest is not None and self.codec is not None:
            elements += self.codec.elements(rest)
        return tuple(elements)

    def _read(self, reader: Reader) -> tuple[list[Any], NDArray[np.void] | None]:
        """Read elements one by one, and the rest at once where that is possible."""
        reader.preamble(self.name, 0)
        count = reader.count()
        elements: list[Any] = []
        while len(elements) < count:
            if self.codec is not None and len(elements) < 2 and count - len(elements) >= _WORTHWHILE:
                rest = self.codec.read(reader, count - len(elements))
                if rest is not None:
                    return elements, rest
            elements.append(self.element.read(reader))
        return elements, None

    def write(self, writer: Writer, value: Sequence[Any]) -> None:
        """Write one value."""
        writer.preamble(self.name, False, 0)
        writer.count(len(value))
        for element in value:
            self.element.write(writer, element)


def pair(key: Layout, value: Layout, name: str) -> Class:
    """Lay out a ``std::pair``."""
    return Class(name, Entry, [Member("key", key), Member("value", value)], tracked=False)


def _std_less(key: Any) -> Any:
    """Sort strings as C++ does, by their bytes."""
    return encode_text(key) if isinstance(key, str) else key


class Dictionary(Items):
    """A ``std::map``; a dict here, its keys ascending."""

    def __init__(self, key: Layout, value: Layout, name: str) -> None:
        super().__init__(pair(key, value, f"std::pair of {name}"), name)

    def read(self, reader: Reader) -> dict[Any, Any]:  # type: ignore[override] # a map is written as a vector of pairs
        """Read one value; raises I3Error."""
        start = reader.position
        entries: tuple[Entry, ...] = super().read(reader)
        result = dict(entries)
        if len(result) != len(entries):
            raise reader.error("a key occurs twice in one map", start)
        return result

    def write(self, writer: Writer, value: Mapping[Any, Any]) -> None:  # type: ignore[override] # as above
        """Write one value, its keys sorted as std::map has them."""
        super().write(writer, [Entry(key, value[key]) for key in sorted(value, key=_std_less)])


class Records(Items):
    """A ``std::vector`` or ``std::map`` whose elements are nothing but numbers: a structured numpy array here."""

    codec: RecordCodec

    def __init__(self, element: Class, name: str) -> None:
        super().__init__(element, name)
        self.dtype = self.codec.dtype

    def read(self, reader: Reader) -> NDArray[np.void]:  # type: ignore[override] # one array for all elements
        """Read one value; raises I3Error."""
        elements, array = self._read(reader)
        if array is None:
            array = self.codec.rows(elements)
        elif elements:
            array = np.concatenate([self.codec.rows(elements), array])
        array.flags.writeable = False  # the frame keeps what it decoded
        return array

    def write(self, writer: Writer, value: NDArray[np.void]) -> None:  # type: ignore[override] # as above
        """Write one value."""
        array = np.asarray(value, self.dtype)
        writer.preamble(self.name, False, 0)
        writer.count(len(array))
        if len(array):
            self.element.write(writer, self.codec.element(array[0]))
            self.codec.write(writer, array[1:])


class Empty(Varying):
    """A container that is always empty in what we have seen, and whose elements are not described."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, reader: Reader) -> None:
        """Read one value; raises I3Error."""
        reader.preamble(self.name, 0)
        start = reader.position
        if reader.count():
            raise reader.undescribed(f"elements of {self.name} are not described", start)

    def write(self, writer: Writer, value: None) -> None:  # noqa: ARG002 - nothing to write
        """Write one value."""
        writer.preamble(self.name, False, 0)
        writer.count(0)
