"""Layouts of the rarer containers: pointers, C arrays, complex numbers, trees, delta-compressed waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.archive import I16, U32, Reader, UndescribedError, Writer, decode_text
from skymap_scanner.i3.delta_compression import MAX_OBJECT_SAMPLES, MAX_SAMPLES, DeltaCompressed
from skymap_scanner.i3.layouts.primitives import Array, Class, Layout, Plain

#: Size of a vector or matrix, written without its elements.
COUNT: Final = Plain(Reader.count, Writer.count)


class Pointer:
    """A ``boost::shared_ptr`` to an object of one of several classes; None for a null pointer.

    First comes the number of the object's class. Where ``base`` names a common base class, the class's name follows
    where it is met first.
    """

    def __init__(self, name: str, *choices: Class, base: str | None = None) -> None:
        self.name = name
        self.choices = {choice.name: choice for choice in choices}
        self._static = base or choices[0].name

    def read(self, reader: Reader) -> Any:
        reader.preamble(self.name, 1)
        reader.class_number(self._static)
        start = reader.position
        number = reader.number(I16)
        if number == -1:
            return None
        for name, choice in self.choices.items():
            if reader.numbers.get(name) == number:
                return choice.read(reader)
        name = decode_text(reader.string())
        if name not in self.choices:
            raise UndescribedError(f"a pointer to {name}, which is not described", offset=start)
        if name in reader.numbers or reader.class_number(name) != number:
            raise reader.error(f"class id {number} is not that of {name}", start)
        return self.choices[name].read(reader)

    def write(self, writer: Writer, value: Any) -> None:
        writer.preamble(self.name, False, 1)
        writer.class_number(self._static)
        if value is None:
            writer.data += I16.pack(-1)
            return
        choice = next((choice for choice in self.choices.values() if choice.make is type(value)), None)
        if choice is None:
            raise ValueError(f"a {type(value).__name__} is none of {', '.join(self.choices)}")
        new = choice.name not in writer.numbers
        writer.data += I16.pack(writer.class_number(choice.name))
        if new:
            writer.text(choice.name)
        choice.write(writer, value)


class FixedArray:
    """A C array of numbers, of one or more dimensions: each row begins with its length; a numpy array here."""

    def __init__(self, dtype: str, *shape: int) -> None:
        self.dtype = np.dtype(dtype)
        self.shape = shape

    def read(self, reader: Reader) -> NDArray[Any]:
        rows = [self._row(reader, place) for place in np.ndindex(self.shape[:-1])]
        array = np.concatenate(rows).reshape(self.shape)
        array.flags.writeable = False  # the frame keeps what it decoded
        return array

    def _row(self, reader: Reader, place: tuple[int, ...]) -> NDArray[Any]:
        for size in self._lengths(place):
            start = reader.position
            if reader.count() != size:
                raise reader.error(f"an array of {size} elements expected", start)
        return np.frombuffer(reader.take(self.shape[-1] * self.dtype.itemsize), self.dtype)

    def _lengths(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """Return the lengths that stand before a row: its own, and those of the arrays that begin with it."""
        begin = len(place)
        while begin and place[begin - 1] == 0:
            begin -= 1
        return self.shape[begin:]

    def write(self, writer: Writer, value: Any) -> None:
        array = np.ascontiguousarray(value, self.dtype)
        if array.shape != self.shape:
            raise ValueError(f"an array of shape {self.shape} is needed, not {array.shape}")
        for place in np.ndindex(self.shape[:-1]):
            for size in self._lengths(place):
                writer.count(size)
            writer.data += array[place].tobytes()


class FixedItems:
    """A C array of a class; a tuple here."""

    def __init__(self, element: Layout, size: int) -> None:
        self.element = element
        self.size = size

    def read(self, reader: Reader) -> tuple[Any, ...]:
        start = reader.position
        if reader.count() != self.size:
            raise reader.error(f"an array of {self.size} elements expected", start)
        return tuple([self.element.read(reader) for _ in range(self.size)])

    def write(self, writer: Writer, value: Sequence[Any]) -> None:
        if len(value) != self.size:
            raise ValueError(f"{self.size} elements are needed, not {len(value)}")
        writer.count(self.size)
        for element in value:
            self.element.write(writer, element)


class Vector(Array):
    """A ``std::vector`` of numbers that boost takes for a class (``std::complex``): announced, then as an `Array`."""

    def __init__(self, dtype: str, name: str) -> None:
        super().__init__(dtype)
        self.name = name

    def read(self, reader: Reader) -> NDArray[Any]:
        reader.preamble(self.name, 0)
        return super().read(reader)

    def write(self, writer: Writer, value: Any) -> None:
        writer.preamble(self.name, False, 0)
        super().write(writer, value)


class Unannounced(Array):
    """A ``std::vector`` of numbers that counts among the classes where pointers follow, though nothing announces it."""

    def __init__(self, dtype: str, name: str) -> None:
        super().__init__(dtype)
        self.name = name

    def read(self, reader: Reader) -> NDArray[Any]:
        reader.class_number(self.name)
        return super().read(reader)

    def write(self, writer: Writer, value: Any) -> None:
        writer.class_number(self.name)
        super().write(writer, value)


class Versions(Class):
    """A class whose versions are so different that each has a Python class of its own; written as it was read."""

    def __init__(self, *layouts: Class) -> None:
        newest = layouts[0]
        super().__init__(newest.name, None, newest.members, version=newest.version)
        self.layouts = layouts

    def read_members(self, reader: Reader, version: int) -> Any:
        for layout in self.layouts:
            if layout.oldest <= version <= layout.version:
                return layout.read_members(reader, version)
        raise UndescribedError(f"{self.name} of version {version} is not described", offset=reader.position)

    def write(self, writer: Writer, value: Any) -> None:
        layout = next((layout for layout in self.layouts if layout.make is type(value)), None)
        if layout is None:
            raise ValueError(f"a {type(value).__name__} is no {self.name}")
        if writer.classes.get(self.name, layout.version) != layout.version:
            raise ValueError(f"all {self.name} of one object must be of the same version")
        writer.preamble(self.name, True, layout.version)
        writer.object_id()
        layout.write_members(writer, value)


# --- trees ------------------------------------------------------------------------------------------------------------


class Node(NamedTuple):
    """A node of a tree: how many ancestors it has, and what it holds. Children follow their parent."""

    depth: int
    item: Any


def _check_depths(nodes: Sequence[Node]) -> None:
    above = -1
    for node in nodes:
        if not 0 <= node.depth <= above + 1:
            raise ValueError(f"a node of depth {node.depth} cannot follow one of depth {above}")
        above = node.depth


class CountedTree:
    """A tree (I3Tree): the number of roots, then each node before its children, with their number; `Node`s here."""

    def __init__(self, item: Layout) -> None:
        self.item = item

    def read(self, reader: Reader) -> tuple[Node, ...]:
        nodes: list[Node] = []
        roots = reader.number(U32)
        awaited = [roots] if roots else []  # children still to come, of each ancestor
        while awaited:
            awaited[-1] -= reader.allow(1)
            nodes.append(Node(len(awaited) - 1, self.item.read(reader)))
            children = reader.number(U32)
            if children:
                awaited.append(children)
            else:
                while awaited and not awaited[-1]:
                    awaited.pop()
        return tuple(nodes)

    def write(self, writer: Writer, value: Sequence[Node]) -> None:
        _check_depths(value)
        children = [0] * len(value)
        ancestors: list[int] = []
        for place, node in enumerate(value):
            del ancestors[node.depth :]
            if ancestors:
                children[ancestors[-1]] += 1
            ancestors.append(place)
        writer.data += U32.pack(sum(node.depth == 0 for node in value))
        for node, count in zip(value, children, strict=True):
            self.item.write(writer, node.item)
            writer.data += U32.pack(count)


class LinkedTree:
    """A tree (TreeBase::Tree): bits and nodes in chunks; `Node`s here.

    A bit says whether there is a node: the first child of the node before, after a 0 its next sibling, after another 0
    the next sibling of its parent, and so on.
    """

    CHUNK = 65535

    def __init__(self, item: Layout) -> None:
        self.item = item

    def read(self, reader: Reader) -> tuple[Node, ...]:
        nodes: list[Node] = []
        depth = 0  # of the node that the next bit is about
        size = self.CHUNK
        while size == self.CHUNK:
            start = reader.position
            size = reader.number(U32)
            if size > self.CHUNK:
                raise reader.error(f"a chunk of {size} bits, at most {self.CHUNK} are possible", start)
            bits = self._bits(reader, size, first=not nodes)
            reader.allow(sum(bits))
            for bit in bits:
                if depth < 0:
                    raise reader.error("the bits of the tree go on behind its end", start)
                if bit:
                    nodes.append(Node(depth, self.item.read(reader)))
                depth += 1 if bit else -1
            if not nodes and size:
                raise reader.error("a tree that has bits has a root", start)
        if nodes and depth >= 0:
            raise reader.error("the bits of the tree end before it does")
        return tuple(nodes)

    @staticmethod
    def _bits(reader: Reader, size: int, *, first: bool) -> list[int]:
        if size == 0 and first:
            return []
        start = reader.position
        words = reader.count()
        if words != -(-size // 64):
            raise reader.error(f"{words} words for {size} bits", start)
        raw = np.frombuffer(reader.take(8 * words), np.uint8)
        bits: list[int] = np.unpackbits(raw, bitorder="little")[:size].tolist()
        return bits

    def write(self, writer: Writer, value: Sequence[Node]) -> None:
        _check_depths(value)
        if not value:
            writer.data += U32.pack(0)
            return
        bits, items = bytearray(), iter(value)
        above = -1
        for node in value:
            bits += bytes(above + 1 - node.depth) + b"\1"
            above = node.depth
        bits += bytes(above + 2)
        for begin in range(0, len(bits) + 1, self.CHUNK):
            chunk = np.frombuffer(bits[begin : begin + self.CHUNK], np.uint8)
            writer.data += U32.pack(len(chunk))
            words = -(-len(chunk) // 64)
            writer.count(words)
            writer.data += np.packbits(chunk, bitorder="little").tobytes().ljust(8 * words, b"\0")
            for _ in range(int(chunk.sum())):
                self.item.write(writer, next(items).item)
            if len(chunk) < self.CHUNK:
                break


# --- waveforms --------------------------------------------------------------------------------------------------------

_WORDS: Final = Array("<u4")
_WAVEFORMS: Final = "std::vector<std::vector<unsigned int>>"


def _read_waveform(reader: Reader) -> DeltaCompressed:
    words = _WORDS.read(reader)
    return DeltaCompressed(words, _read_samples(reader))


def _read_samples(reader: Reader) -> int:
    start = reader.position
    samples: int = reader.number(U32)
    reader.samples += samples
    if samples > MAX_SAMPLES or reader.samples > MAX_OBJECT_SAMPLES:
        limits = f"at most {MAX_SAMPLES} are read, and {MAX_OBJECT_SAMPLES} of all waveforms of an object"
        raise reader.error(f"a waveform of {samples} samples: {limits}", start)
    return samples


def _write_waveform(writer: Writer, value: DeltaCompressed) -> None:
    _WORDS.write(writer, value.words)
    writer.data += U32.pack(value.samples)


def _read_waveforms(reader: Reader) -> tuple[DeltaCompressed, ...]:
    reader.preamble(_WAVEFORMS, 0)
    words = [_WORDS.read(reader) for _ in range(reader.allow(reader.count()))]
    return tuple([DeltaCompressed(each, _read_samples(reader)) for each in words])


def _write_waveforms(writer: Writer, value: Sequence[DeltaCompressed]) -> None:
    writer.preamble(_WAVEFORMS, False, 0)
    writer.count(len(value))
    for waveform in value:
        _WORDS.write(writer, waveform.words)
    for waveform in value:
        writer.data += U32.pack(waveform.samples)


#: A waveform in the words of its delta compression, and the number of its samples.
WAVEFORM: Final = Plain(_read_waveform, _write_waveform)
#: Several: the words of all, then the numbers of samples.
WAVEFORMS: Final = Plain(_read_waveforms, _write_waveforms)
