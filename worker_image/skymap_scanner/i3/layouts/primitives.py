"""Layouts: how C++ types lie in an archive. A layout is described once, for reading and writing.

Each layout has ``read`` and ``write`` after the rules of boost-serialization as IceTray has them: a class writes its
tracking flag and version where it is met first, a tracked object its id, then come its members. Layouts of nothing but
numbers are also a ``FixedLayout``, so that arrays of them are read at once (`record_arrays.py`).

Two layouts are the same C++ type when they have the same ``name``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.archive import Reader, UndescribedError, Writer, encode_text
from skymap_scanner.i3.layouts.record_arrays import FixedLayout, RecordCodec


class Layout(Protocol):
    """How one C++ type lies in an archive."""

    def read(self, reader: Reader) -> Any:
        """Read one value; raises I3Error."""

    def write(self, writer: Writer, value: Any) -> None:
        """Write one value."""


class Number:
    """A fundamental type, by its ``struct`` code."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._struct = Struct("<" + code)

    def read(self, reader: Reader) -> Any:
        return reader.number(self._struct)

    def write(self, writer: Writer, value: Any) -> None:
        writer.data += self._struct.pack(value)

    def columns(self, path: str) -> Iterator[tuple[str, str]]:
        yield path, self.code

    def classes(self) -> dict[str, tuple[bool, int]]:
        return {}

    def build(self, numbers: Iterator[Any]) -> Any:
        return next(numbers)


@dataclass(frozen=True)
class Plain:
    """A type that two functions read and write."""

    read: Callable[[Reader], Any]
    write: Callable[[Writer, Any], None]


#: A ``bool``: one byte, 0 or 1.
FLAG: Final = Plain(Reader.flag, Writer.flag)
#: A ``std::string``; text that is not UTF-8 is kept (see ``decode_text``).
TEXT: Final = Plain(Reader.text, Writer.text)
#: A ``std::vector<char>``: bytes.
BYTES: Final = Plain(Reader.string, Writer.string)


class Enumeration:
    """An ``enum``: i32. A value without a name stays a plain int."""

    def __init__(self, members: type[IntEnum]) -> None:
        self.name = members.__name__
        self.members: dict[int, int] = {int(member): member for member in members}
        self._struct = Struct("<i")

    def read(self, reader: Reader) -> int:
        value: int = reader.number(self._struct)
        return self.members.get(value, value)

    def write(self, writer: Writer, value: int) -> None:
        writer.data += self._struct.pack(value)


class Optional:
    """A ``boost::optional``: a flag, and the value where it is set; None where not."""

    def __init__(self, element: Layout) -> None:
        self.element = element

    def read(self, reader: Reader) -> Any:
        return self.element.read(reader) if reader.flag() else None

    def write(self, writer: Writer, value: Any) -> None:
        writer.flag(value is not None)
        if value is not None:
            self.element.write(writer, value)


class Array:
    """A ``std::vector`` of a fundamental type: a count and the plain array; a read-only numpy array here."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)

    def read(self, reader: Reader) -> NDArray[Any]:
        start = reader.position
        array = np.frombuffer(reader.take(reader.count() * self.dtype.itemsize), self.dtype)
        if self.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
            raise reader.error("a flag must be 0 or 1", start)
        return array

    def write(self, writer: Writer, value: Any) -> None:
        array = np.ascontiguousarray(value, self.dtype)
        if array.ndim != 1:
            raise ValueError(f"an array of one dimension is needed, not {array.ndim}")
        writer.count(len(array))
        writer.data += array.tobytes()


@dataclass(frozen=True)
class Member:
    """One member of a class, in the versions ``since`` to ``until`` of it.

    A member without a name has bytes and is not kept (the base class; what nothing uses any more).
    ``upgrade`` turns the value of an old version into today's. ``default`` is what an old version has that lacks it.
    """

    name: str
    layout: Layout
    since: int = 0
    until: int = 255
    upgrade: Callable[[Any], Any] | None = None
    default: Any = ...


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
        self.make: Any = make  # the Python class, or None
        self.members = tuple(members)
        self.oldest = oldest
        self._tracked = tracked
        self.current = self._members_of(version)
        self._writes = [(member.layout, attrgetter(member.name) if member.name else None) for member in self.current]

    def __repr__(self) -> str:
        return self.name

    def _members_of(self, version: int) -> tuple[Member, ...]:
        """Return the members that a version of the class has."""
        return tuple(member for member in self.members if member.since <= version <= member.until)

    def read(self, reader: Reader) -> Any:
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
        if version < self.oldest:
            message = f"{self.name} is of version {version}, the oldest described is {self.oldest}"
            raise UndescribedError(message, offset=reader.position)
        values: dict[str, Any] = {}
        for member in self.current if version == self.version else self._members_of(version):
            value = member.layout.read(reader)
            if member.name:
                values[member.name] = value if member.upgrade is None else member.upgrade(value)
        return None if self.make is None else self.make(**values)

    def write(self, writer: Writer, value: Any) -> None:
        writer.preamble(self.name, self._tracked, self.version)
        if self._tracked:
            writer.object_id()
        self.write_members(writer, value)

    def write_members(self, writer: Writer, value: Any) -> None:
        """Write what follows preamble and id."""
        for layout, get in self._writes:
            layout.write(writer, None if get is None else get(value))

    def _fixed_members(self) -> list[tuple[str, FixedLayout]]:
        """Return the members as fixed layouts; only called for classes of nothing but numbers."""
        return [(member.name, cast("FixedLayout", member.layout)) for member in self.current]

    def columns(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield the id, where objects are tracked, and the columns of the members."""
        if self._tracked:
            yield self.name, ""
        for name, layout in self._fixed_members():
            yield from layout.columns(".".join(filter(None, (path, name))))

    def classes(self) -> dict[str, tuple[bool, int]]:
        found = {self.name: (self._tracked, self.version)}
        for _, layout in self._fixed_members():
            found |= layout.classes()
        return found

    def build(self, numbers: Iterator[Any]) -> Any:
        values = {name: layout.build(numbers) for name, layout in self._fixed_members()}
        return None if self.make is None else self.make(**{name: value for name, value in values.items() if name})


class Entry(NamedTuple):
    """One ``std::pair`` of a map."""

    key: Any
    value: Any


class Items:
    """A ``std::vector`` or ``std::list`` of a class or of strings; a tuple here."""

    def __init__(self, element: Layout, name: str) -> None:
        self.element = element
        self.name = name

    def read(self, reader: Reader) -> tuple[Any, ...]:
        reader.preamble(self.name, 0)
        return tuple([self.element.read(reader) for _ in range(reader.allow(reader.count()))])

    def write(self, writer: Writer, value: Sequence[Any]) -> None:
        writer.preamble(self.name, False, 0)
        writer.count(len(value))
        for element in value:
            self.element.write(writer, element)


def pair(key: Layout, value: Layout, name: str) -> Class:
    """Lay out a ``std::pair``."""
    return Class(name, Entry, [Member("key", key), Member("value", value)], tracked=False)


class Dictionary(Items):
    """A ``std::map``; a dict here, its keys ascending: strings by their bytes, an unset number before all others."""

    def __init__(self, key: Layout, value: Layout, name: str) -> None:
        super().__init__(pair(key, value, f"std::pair of {name}"), name)
        self.key, self.value = key, value
        self.less: Callable[[Any], Any] | None = None
        if key is TEXT:
            self.less = encode_text
        elif isinstance(key, Class) and any(isinstance(member.layout, Optional) for member in key.members):
            self.less = _unset_first

    def read(self, reader: Reader) -> dict[Any, Any]:  # type: ignore[override] # a map is written as a vector of pairs
        start = reader.position
        entries: tuple[Entry, ...] = super().read(reader)
        result = dict(entries)
        if len(result) != len(entries):
            raise reader.error("a key occurs twice in one map", start)
        return result

    def write(self, writer: Writer, value: Mapping[Any, Any]) -> None:  # type: ignore[override] # as above
        super().write(writer, [Entry(key, value[key]) for key in sorted(value, key=self.less)])


def _unset_first(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([(number is not None, number) for number in key])


class Records:
    """A ``std::vector`` or ``std::map`` whose elements are nothing but numbers: a structured numpy array here.

    The first element is read alone, which announces its classes; then the rest is read at once where it can be.
    """

    def __init__(self, element: Class, name: str) -> None:
        self.element = element
        self.name = name
        self.codec = RecordCodec(element)
        self.dtype = self.codec.dtype

    def read(self, reader: Reader) -> NDArray[np.void]:
        reader.preamble(self.name, 0)
        count = reader.count()
        elements: list[Any] = []
        rest: NDArray[np.void] | None = None
        while len(elements) < count and rest is None:
            if len(elements) < 2:
                rest = self.codec.read(reader, count - len(elements))
            if rest is None:
                reader.allow(1)
                elements.append(self.element.read(reader))
        array = self.codec.rows(elements)
        if rest is not None:
            array = np.concatenate([array, rest]) if elements else rest
        array.flags.writeable = False  # the frame keeps what it decoded
        return array

    def write(self, writer: Writer, value: NDArray[np.void]) -> None:
        array = np.asarray(value, self.dtype)
        writer.preamble(self.name, False, 0)
        writer.count(len(array))
        if len(array):
            self.element.write(writer, self.codec.record(array[0]))
            self.codec.write(writer, array[1:])
