"""Fast paths, made from the layouts: where only numbers and strings vary, the bytes around them are constants.

A layout is drawn once on paper (`Sketch`). Of the drawing `FlatCodec` makes precompiled structs, which read or
write a whole object in a few calls, and `RecordCodec` a numpy dtype for arrays of equal elements. Both must agree
with the general path in `layout.py` on every input; a reader that meets anything unusual (an old version, an escape, a
repeated object) returns None, and the general path decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from struct import Struct
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.archive import U32, Reader, Writer, encode_text


class NotFlatError(Exception):
    """A layout cannot be drawn: its bytes depend on more than numbers and strings."""


class Drawable(Protocol):
    """A layout that may have a sketch."""

    def sketch(self, sketch: Sketch, path: str) -> None:
        """Draw what would be written; raises NotFlatError where that depends on the value."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Bytes that are always the same."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class ObjectId:
    """The id of a tracked object."""

    number: int


@dataclass(frozen=True, slots=True)
class Value:
    """A number (with the names of an enumeration, if it is one) or, without a code, a string."""

    path: str
    code: str
    members: Mapping[int, int] | None = None


@dataclass
class Plan:
    """How to make an object: what to call, and with which values (their index) or objects."""

    make: Callable[..., Any]
    items: list[int | Plan] = field(default_factory=list)


class Sketch:
    """A layout drawn on paper: what is written one after the other, and the plan of the object it makes."""

    def __init__(self) -> None:
        self.parts: list[Constant | ObjectId | Value] = []
        self.classes: dict[str, tuple[bool, int]] = {}
        self.objects = 0
        self.plan: Plan | None = None
        self._open: list[Plan | None] = []

    @classmethod
    def of(cls, layout: Drawable, *, again: bool = False) -> Sketch:
        """Draw ``layout``; with ``again`` as it is written the second time, when its classes are known."""
        sketch = cls()
        layout.sketch(sketch, "")
        if again:
            sketch.parts = []
            sketch.plan = None
            layout.sketch(sketch, "")
        return sketch

    @property
    def values(self) -> list[Value]:
        """The values, in order."""
        return [part for part in self.parts if isinstance(part, Value)]

    def preamble(self, name: str, tracked: bool, version: int) -> None:
        """Draw a class's preamble, where it is met first."""
        if name not in self.classes:
            self.classes[name] = tracked, version
            self.parts.append(Constant(bytes((tracked, version))))

    def object_id(self) -> None:
        """Draw the id of a tracked object."""
        self.parts.append(ObjectId(self.objects))
        self.objects += 1

    def number(self, code: str, path: str, members: Mapping[int, int] | None = None) -> None:
        """Draw a number."""
        self._value(Value(path, code, members))

    def text(self, path: str) -> None:
        """Draw a string."""
        self._value(Value(path, ""))

    def enter(self, make: Callable[..., Any] | None) -> None:
        """Begin the members of an object."""
        self._open.append(None if make is None else Plan(make))

    def leave(self) -> None:
        """End the members of an object."""
        plan = self._open.pop()
        outer = self._open[-1] if self._open else None
        if outer is not None and plan is not None:
            outer.items.append(plan)
        elif not self._open:
            self.plan = plan

    def _value(self, value: Value) -> None:
        plan = self._open[-1] if self._open else None
        if plan is None:
            raise NotFlatError
        plan.items.append(len(self.values))
        self.parts.append(value)


def _picker(indices: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return the function that picks these items (``itemgetter`` gives no tuple for one)."""
    if len(indices) == 1:
        only = indices[0]
        return lambda items: (items[only],)
    return itemgetter(*indices) if indices else lambda _: ()


def _getter(paths: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return the function that gets these attributes (``attrgetter`` gives no tuple for one)."""
    if len(paths) == 1:
        only = attrgetter(paths[0])
        return lambda value: (only(value),)
    return attrgetter(*paths) if paths else lambda _: ()


def _builder(plan: Plan, values: Sequence[Value], position: Mapping[int, int]) -> Callable[[Sequence[Any]], Any]:
    """Return the function that makes the object from the items unpacked; value i is item ``position[i]``."""
    make = plan.make
    steps: list[tuple[slice | None, Callable[[Sequence[Any]], Any] | None]] = []
    for item in plan.items:
        if isinstance(item, Plan):
            steps.append((None, _builder(item, values, position)))
            continue
        start = position[item]
        members = values[item].members
        before = steps[-1][0] if steps else None
        if members is not None:
            steps.append((None, _named(members, start)))
        elif before is not None and before.stop == start:
            steps[-1] = slice(before.start, start + 1), None
        else:
            steps.append((slice(start, start + 1), None))
    if len(steps) == 1 and steps[0][0] is not None:
        only = steps[0][0]
        return lambda items: make(*items[only])

    def build(items: Sequence[Any]) -> Any:
        arguments: list[Any] = []
        for span, step in steps:
            if span is not None:
                arguments += items[span]
            elif step is not None:
                arguments.append(step(items))
        return make(*arguments)

    return build


def _named(members: Mapping[int, int], index: int) -> Callable[[Sequence[Any]], Any]:
    get = members.get
    return lambda items: get(items[index], items[index])


class _Segment:
    """The numbers and constants up to the next string (whose length is the last number) or to the end."""

    def __init__(self) -> None:
        self.code = "<"
        self.items: list[bytes | int] = []  # a constant, or the index of a value
        self.text: int | None = None  # the index of the string that follows

    def compile(self, constants: list[bytes]) -> None:
        """Make the struct; constants are collected at the end of the pool that ``select`` picks from."""
        self.struct = Struct(self.code)
        self.checks = [(i, item) for i, item in enumerate(self.items) if isinstance(item, bytes)]
        order: list[int] = []
        for item in self.items:
            if isinstance(item, bytes):
                constants.append(item)
                order.append(-len(constants))
            else:
                order.append(item)
        self.select = _picker(order)


def _segments(parts: Sequence[Constant | ObjectId | Value], prefix: bytes) -> list[_Segment]:
    """Cut the drawing into segments; constants that follow each other become one."""
    segment = _Segment()
    done = [segment]
    constant = prefix
    index = 0

    def flush() -> None:
        nonlocal constant
        if constant:
            segment.items.append(constant)
            segment.code += f"{len(constant)}s"
            constant = b""

    for part in parts:
        if isinstance(part, Constant):
            constant += part.raw
        elif isinstance(part, ObjectId):
            constant += U32.pack(part.number)
        else:
            flush()
            segment.items.append(index)
            segment.code += part.code or "I"
            if not part.code:
                segment.text = index
                segment = _Segment()
                done.append(segment)
            index += 1
    flush()
    return done if done[-1].items else done[:-1]


class FlatCodec:
    """Reads and writes whole blobs of one class; ``prefix`` is what stands before the object."""

    def __init__(self, layout: Drawable, prefix: bytes) -> None:
        sketch = Sketch.of(layout)
        if sketch.plan is None:
            raise NotFlatError
        values = sketch.values
        self._segments = _segments(sketch.parts, prefix)
        constants: list[bytes] = []
        for segment in self._segments:
            segment.compile(constants)
        self._constants = tuple(reversed(constants))
        self._get = _getter([value.path for value in values])
        items = [item for segment in self._segments for item in segment.items]
        self._build = _builder(sketch.plan, values, {item: i for i, item in enumerate(items) if isinstance(item, int)})
        self._reads = [(s.struct.unpack_from, s.struct.size, s.checks, s.text is not None) for s in self._segments]
        self._writes = [(s.struct.pack, s.select, s.text) for s in self._segments]

    def read(self, blob: bytes) -> Any | None:
        """Return the object, or None when the blob is not exactly of the common form."""
        size = len(blob)
        position = 0
        items: Sequence[Any] = ()
        for unpack_from, length, checks, text in self._reads:
            end = position + length
            if end > size:
                return None
            found = unpack_from(blob, position)
            for index, constant in checks:
                if found[index] != constant:
                    return None
            if text:
                position = end + found[-1]
                if position > size:
                    return None
                items = (*items, *found[:-1], blob[end:position].decode("utf-8", "surrogateescape"))
            else:
                position = end
                items = (*items, *found) if items else found
        return self._build(items) if position == size else None

    def write(self, value: Any) -> bytes:
        """Return the blob; raises what ``struct`` raises for a number out of range."""
        pool = self._get(value) + self._constants
        if len(self._writes) == 1 and self._writes[0][2] is None:
            pack, select, _ = self._writes[0]
            return pack(*select(pool))
        result = b""
        for pack, select, text in self._writes:
            if text is None:
                result += pack(*select(pool))
            else:
                raw = encode_text(pool[text])
                pool = (*pool[:text], len(raw), *pool[text + 1 :])
                result += pack(*select(pool)) + raw
        return result


class RecordCodec:
    """Reads and writes arrays of elements that are nothing but numbers, once their classes are known.

    ``dtype`` holds the values, named by their paths; the ids between them are checked and left out.
    """

    def __init__(self, layout: Drawable) -> None:
        first = Sketch.of(layout)
        sketch = Sketch.of(layout, again=True)
        if sketch.plan is None:
            raise NotFlatError
        values = sketch.values
        self._classes = sketch.classes
        self._ids = first.objects
        names: list[tuple[str, str]] = []
        for part in sketch.parts:
            if isinstance(part, ObjectId):
                names.append((f"id {part.number - first.objects}", "<u4"))
            elif isinstance(part, Value) and part.code:
                names.append((part.path, np.dtype("<" + part.code).str))
            else:
                raise NotFlatError
        self._disk = np.dtype(names)
        self.dtype = np.dtype([(name, kind) for name, kind in names if not name.startswith("id ")])
        self._values = list(self.dtype.names or ())
        self._get = _getter([value.path for value in values])
        self._build = _builder(sketch.plan, values, {i: i for i in range(len(values))})

    @classmethod
    def of(cls, layout: Drawable) -> RecordCodec | None:
        """Return the codec, or None for a layout that has none."""
        try:
            return cls(layout)
        except NotFlatError:
            return None

    def rows(self, elements: Sequence[Any]) -> NDArray[np.void]:
        """Turn elements into the array."""
        return np.array([self._get(element) for element in elements], self.dtype)

    def element(self, row: np.void) -> Any:
        """Turn one row of the array into the element."""
        return self._build(row.item())

    def elements(self, array: NDArray[np.void]) -> list[Any]:
        """Turn the array into elements."""
        build = self._build
        return [build(row) for row in array.tolist()]

    def read(self, reader: Reader, count: int) -> NDArray[np.void] | None:
        """Read ``count`` elements, or return None when they are not exactly of the common form."""
        classes = reader.classes
        if any(classes.get(name) != current for name, current in self._classes.items()):
            return None
        if count * self._disk.itemsize > reader.left:
            return None
        disk = np.frombuffer(reader.data, self._disk, count, reader.position)
        numbers = self._numbers(len(reader.objects), count)
        for i in range(self._ids):
            if not (disk[f"id {i}"] == numbers[i]).all():
                return None
        reader.position += disk.nbytes
        reader.objects += [("an element of an array", Ellipsis)] * (self._ids * count)
        return disk[self._values].astype(self.dtype)

    def write(self, writer: Writer, array: NDArray[np.void]) -> None:
        """Write the elements; their classes have been announced."""
        disk = np.empty(len(array), self._disk)
        for i, numbers in enumerate(self._numbers(writer.objects, len(array))):
            disk[f"id {i}"] = numbers
        disk[self._values] = array
        writer.data += disk.tobytes()
        writer.objects += self._ids * len(array)

    def _numbers(self, first: int, count: int) -> NDArray[np.int64]:
        """Give the ids of ``count`` elements, shape (ids of an element, count), when the next free one is ``first``."""
        return np.arange(first, first + self._ids * count).reshape(count, self._ids).T
