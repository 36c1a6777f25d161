"""The values in IceTray's XML archives, compared with decoded objects.

Both are taken apart into their numbers and strings, in the order of the bytes, with the length of every container
before its elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import singledispatch
from itertools import zip_longest
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from skymap_scanner.i3 import DeltaCompressed, python_class

#: A reference to a character that XML 1.0 has no place for.
_INVALID = re.compile(rb"&#x?[0-9a-fA-F]+;|[\x00-\x08\x0b\x0c\x0e-\x1f]")
#: How IceTray prints a number of 32 bits; one of 64 has 17 decimals.
_FLOAT32 = re.compile(r"-?\d\.\d{8}e.*")


class Length(int):
    """The number of elements of a container."""


def xml_leaves(path: Path) -> list[str | Length]:
    """Return the values of the first object in an XML archive, or in a listing of several."""
    text = path.read_bytes()
    start, end = text.index(b"<I3FrameObject"), text.rindex(b"</I3FrameObject>") + len(b"</I3FrameObject>")
    return list(_xml_leaves(ET.fromstring(_INVALID.sub(b"?", text[start:end]))))  # noqa: S314 - made by us, with IceTray


def _xml_leaves(element: ET.Element) -> Iterator[str | Length]:
    for child in element:
        if child.tag in ("count", "size", "numBits") and len(child) == 0:
            yield Length(child.text or 0)
        elif len(child):
            yield from _xml_leaves(child)
        elif child.tag != "I3FrameObject":
            yield child.text or ""


@singledispatch
def leaves(value: Any) -> Iterator[Any]:
    """Yield the numbers and strings of a decoded object."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name))
    else:
        yield value


@leaves.register(np.ndarray)
def _(value: np.ndarray[Any, Any]) -> Iterator[Any]:
    yield Length(len(value))
    for row in value:
        yield from leaves(row) if value.dtype.names is None else (row[name] for name in value.dtype.names)


@leaves.register(Mapping)
def _(value: Mapping[Any, Any]) -> Iterator[Any]:
    yield Length(len(value))
    for key, item in value.items():
        yield from leaves(key)
        yield from leaves(item)


@leaves.register(tuple)
def _(value: tuple[Any, ...]) -> Iterator[Any]:
    if not hasattr(value, "_fields"):
        yield Length(len(value))
    for item in value:
        yield from leaves(item)


@leaves.register(python_class("TriggerKey"))
def _(value: Any) -> Iterator[Any]:
    *numbers, config_id = value
    yield from numbers
    yield from [0] if config_id is None else [1, config_id]


@leaves.register(python_class("I3LinearizedMCTree"))
def _(value: Any) -> Iterator[Any]:
    yield from leaves(value.tree)  # its XML is that of the tree with all losses


@leaves.register(DeltaCompressed)
def _(value: DeltaCompressed) -> Iterator[Any]:
    yield from leaves(value.to_array())


@leaves.register(bytes)
def _(value: bytes) -> Iterator[Any]:
    yield Length(len(value))
    yield from (byte - 256 * (byte > 127) for byte in value)


def _equal(ours: Any, theirs: str | Length | None) -> bool:
    if isinstance(ours, Length) or isinstance(theirs, Length):
        return isinstance(ours, Length) and isinstance(theirs, Length) and ours == theirs
    if theirs is None:
        return False
    if isinstance(ours, str):
        return ours.replace("\r\n", "\n") == theirs
    if isinstance(ours, float | np.floating):
        kind = np.float32 if _FLOAT32.fullmatch(theirs) else np.float64
        return bool(kind(ours) == kind(theirs) or (np.isnan(ours) and np.isnan(float(theirs))))
    return int(ours) == int(theirs)


def differences(value: Any, path: Path) -> list[tuple[int, Any, Any]]:
    """Return where a decoded object differs from IceTray's XML: position, value here, text there."""
    pairs = zip_longest(leaves(value), xml_leaves(path))
    return [(place, ours, theirs) for place, (ours, theirs) in enumerate(pairs) if not _equal(ours, theirs)]
