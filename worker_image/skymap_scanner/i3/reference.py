"""Reference of the .i3 classes, made from their layouts: ``python -m skymap_scanner.i3.reference``."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from functools import singledispatch
from typing import Any, Final

import numpy as np

from skymap_scanner.i3.archive import MAX_ELEMENTS
from skymap_scanner.i3.catalogue import CATALOGUE
from skymap_scanner.i3.delta_compression import MAX_OBJECT_SAMPLES, MAX_SAMPLES
from skymap_scanner.i3.frame import MAX_OBJECTS
from skymap_scanner.i3.layouts.containers import (
    COUNT,
    WAVEFORM,
    WAVEFORMS,
    CountedTree,
    FixedArray,
    FixedItems,
    LinkedTree,
    Pointer,
    Versions,
)
from skymap_scanner.i3.layouts.primitives import (
    BYTES,
    FLAG,
    TEXT,
    Array,
    Class,
    Dictionary,
    Enumeration,
    Items,
    Number,
    Optional,
    Plain,
    Records,
)
from skymap_scanner.i3.layouts.pulse_layouts import BIT_MASK, TRIGGER_LIST, WIDTHS, Compact
from skymap_scanner.i3.pulse_objects import MAX_PULSES
from skymap_scanner.i3.pulse_sources import MAX_DEPTH, MAX_MADE

INTRODUCTION: Final = f"""\
# .i3 classes

This page is made from the layouts of the classes by `python -m skymap_scanner.i3.reference`.

## Files

- **Compression** is recognised by content when reading, and chosen by suffix when writing: `.i3`, `.i3.gz`,
  `.i3.bz2`, `.i3.zst`, `.i3.xz`. Files are streamed, so memory does not grow with them. Equal frames give equal
  bytes.
- **Unchanged frames** are written byte for byte as they were. An object is decoded when it is requested.
- **Keys** keep the order of the file until one is added. Then they are sorted bytewise, as IceTray writes them.
- **Versions** 0 to 6 of frames are read, and version 6 is written. Checksums are verified: CRC-32C in version 6,
  CRC-16 in 5.
- **Objects** are frozen. `frame[key] = dataclasses.replace(frame[key], energy=…)` changes one.
- **Null pointers** are `None`.
- **Unknown classes** are `Opaque`. An unknown version, or a part that is not described, raises `UndescribedError`.
  `convert` copies both unchanged, and with a warning what cannot be decoded.

## Pulses

`resolve_pulses` follows a key to its pulses: through masks, `I3RecoPulseSeriesMapUnion`,
`I3RecoPulseSeriesMapCombineByModule` and `I3RecoPulseSeriesMapApplySPECorrection`, down to series and `I3SuperDST`.
Pulses of a union at the same time keep the order of its keys.

## Errors and limits

Every fault of a file raises `I3Error`, with file, frame number (from 0), key, and offset in the uncompressed stream.
`read_frames(…, recover=True)` and `--recover` keep the frames before the damage.

| limit | value |
|---|---|
| a frame, decompressed | 256 MiB (`max_frame_bytes`) |
| objects in a frame | {MAX_OBJECTS:,} |
| elements of its vectors, maps and trees that are decoded, except arrays | {MAX_ELEMENTS:,} |
| window of a zstd stream | 128 MiB |
| memory of an xz stream | 256 MiB |
| samples of a compressed waveform | {MAX_SAMPLES:,} |
| samples of all those of an object | {MAX_OBJECT_SAMPLES:,} |
| pulses under a key, DOMs without pulses included | {MAX_PULSES:,} |
| pulses of all maps made of others that a key leads to, together | {MAX_MADE:,} |
| maps of pulses made of one another | {MAX_DEPTH} |

A size field is trusted only as far as bytes follow.

## Frame objects

`skymap_scanner.i3.python_class("I3MCTree")` returns the Python class of any class below. The version is the one that
is written. Older versions that are read follow in parentheses.

| Class | Version | Content |
|---|---|---|"""

MEMBERS: Final = """
## Members

`{K: V}` is a dict, `(T, …)` a tuple, `array` a numpy array of the type that follows, `T?` a `T` or None. A `Node` of a
tree has its depth and its item. Enumerations without a name for a number hold the number.
"""

#: Types without a class, by their layouts.
_PLAIN: Final = {
    FLAG: "bool",
    TEXT: "str",
    BYTES: "bytes",
    COUNT: "u32",
    BIT_MASK: "BitMask",
    WAVEFORM: "DeltaCompressed",
    WAVEFORMS: "(DeltaCompressed, …)",
    TRIGGER_LIST: "(I3SuperDSTTrigger, …)",
    WIDTHS: "(bytes, …)",
}


@singledispatch
def describe(layout: Any) -> str:
    """Name the type that a layout has in Python."""
    return _PLAIN.get(layout, "not described") if isinstance(layout, Plain) else "bytes"


describe.register(Compact, lambda _: "bytes")
describe.register(Number, lambda layout: _number(np.dtype(layout.code)))
describe.register(Enumeration, lambda layout: layout.name)
describe.register(Optional, lambda layout: f"{describe(layout.element)}?")
describe.register(Pointer, lambda layout: f"{'|'.join(map(describe, layout.choices.values()))}?")
describe.register(Array, lambda layout: f"array {_number(layout.dtype)}")
describe.register(FixedArray, lambda layout: f"array {_number(layout.dtype)} {'x'.join(map(str, layout.shape))}")
describe.register(FixedItems, lambda layout: f"({', '.join([describe(layout.element)] * layout.size)})")
describe.register(CountedTree, lambda layout: f"(Node of {describe(layout.item)}, …)")
describe.register(LinkedTree, lambda layout: f"(Node of {describe(layout.item)}, …)")
describe.register(Records, lambda layout: f"array {_name(layout.element)}")
describe.register(Items, lambda layout: f"({describe(layout.element)}, …)")
describe.register(Dictionary, lambda layout: f"{{{describe(layout.key)}: {describe(layout.value)}}}")


def _name(layout: Class) -> str:
    if layout.name.startswith("std::pair"):
        return f"({', '.join(describe(member.layout) for member in layout.current)})"
    return str(layout.make.__name__)


describe.register(Class, _name)
describe.register(Versions, lambda layout: "|".join(map(_name, layout.layouts)))


def _number(dtype: np.dtype[Any]) -> str:
    return {"b": "bool", "c": "complex"}.get(dtype.kind, f"{dtype.kind}{8 * dtype.itemsize}")


def _versions(layout: Class) -> str:
    if layout.oldest >= layout.version:
        return str(layout.version)
    older = f"{layout.oldest}–{layout.version - 1}" if layout.oldest < layout.version - 1 else str(layout.oldest)
    return f"{layout.version} ({older})"


def _named(layout: Class) -> list[tuple[str, str]]:
    return [(member.name, describe(member.layout)) for member in layout.current if member.name]


def _row(layout: Class) -> str:
    name = _name(layout) if _name(layout) == layout.name else f"{_name(layout)} (in files {layout.name})"
    members = _named(layout)
    content = "see below" if members else "a mark without content"
    if [member for member, _ in members] == ["value"]:
        content = f"`value`: `{members[0][1]}`"
    return f"| {name} | {_versions(layout)} | {content} |"


def _inner(layout: Any) -> Iterator[Class]:
    """Yield the classes that a layout is made of, each before those inside it."""
    if isinstance(layout, Versions):
        for each in layout.layouts:
            yield from _inner(each)
    elif isinstance(layout, Class):
        yield layout
        for member in layout.current:
            yield from _inner(member.layout)
    elif isinstance(layout, Pointer):
        for each in layout.choices.values():
            yield from _inner(each)
    else:
        for part in ("element", "item", "key", "value"):
            if hasattr(layout, part):
                yield from _inner(getattr(layout, part))


def _with_members() -> list[Class]:
    """Return the classes that have more than a value, by their names."""
    found = {_name(inner): inner for layout in CATALOGUE for inner in _inner(layout) if inner.make is not None}
    return [
        found[name]
        for name in sorted(found, key=str.lower)
        if [member for member, _ in _named(found[name])] not in ([], ["value"], ["key", "value"])  # pairs have two
    ]


def _block(layout: Class) -> str:
    members = ", ".join(f"{name} {kind}" for name, kind in _named(layout))
    return f"    {_name(layout)}, version {_versions(layout)}\n" + textwrap.fill(
        members, 116, initial_indent=" " * 8, subsequent_indent=" " * 8, break_long_words=False
    )


def main() -> None:
    """Print the page."""
    sys.stdout.write("\n".join([INTRODUCTION, *map(_row, CATALOGUE), MEMBERS, *map(_block, _with_members())]) + "\n")


if __name__ == "__main__":
    main()
