"""Objects as text and as JSON, both made from the same plain structure of dicts, lists and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from functools import singledispatch
from typing import Any

import numpy as np

from skymap_api.text import printable, printable_line
from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import catalogue
from skymap_scanner.i3.basic_objects import Opaque
from skymap_scanner.i3.delta_compression import DeltaCompressed
from skymap_scanner.i3.frame import Frame
from skymap_scanner.i3.layouts.containers import Node
from skymap_scanner.i3.pulse_objects import BitMask, I3SuperDST
from skymap_scanner.i3.superdst import unpack
from skymap_scanner.i3.time import I3Time

_INDENT = "  "
#: Identifiers of particles, too long for a summary of one line.
_IDENTIFIERS = ("minor_id", "major_id")


def object_to_plain(frame: Frame, key: str) -> dict[str, Any]:
    """Describe one object of a frame: type, bytes, and value (or the error that decoding gave)."""
    described = {"type": frame.type_name(key), "bytes": len(frame.blob(key))}
    try:
        return described | {"value": to_plain(frame[key])}
    except I3Error as error:
        where = "" if error.offset is None else f"offset {error.offset}: "  # file, frame and key stand beside it
        return described | {"error": where + error.message}


@singledispatch
def to_plain(value: Any) -> Any:
    """Turn an object into what JSON has: dicts, lists, strings, numbers.

    An enumeration becomes its name, a time ISO 8601, a mask a string of 0 and 1, a number that JSON lacks ``"NaN"`` or
    ``"Infinity"``, an I3SuperDST the pulses that it holds, a compressed waveform its samples. Raises I3Error where one
    of these is damaged.
    """
    if not is_dataclass(value):
        return value
    members = {member.name: _member_to_plain(value, member.name) for member in fields(value)}
    return members["value"] if members.keys() == {"value"} else members


def _member_to_plain(value: Any, name: str) -> Any:
    """Turn a member into what JSON has; an empty map is ``{}`` or ``[]``, as a full one would be."""
    member = getattr(value, name)
    if isinstance(member, Mapping) and not member:
        return {} if catalogue.is_map_of_text(type(value), name) else []
    return to_plain(member)


to_plain.register(I3Time, str)
to_plain.register(bytes, bytes.hex)
to_plain.register(IntEnum, lambda value: value.name)
to_plain.register(Opaque, lambda value: {"opaque": value.class_name})
to_plain.register(BitMask, lambda value: "".join("1" if bit else "0" for bit in value.to_array()))
to_plain.register(I3SuperDST, lambda value: to_plain(unpack(value)) or [])
to_plain.register(DeltaCompressed, lambda value: value.to_array().tolist())
to_plain.register(Node, lambda value: {"depth": value.depth, "item": to_plain(value.item)})
to_plain.register(tuple, lambda value: [to_plain(element) for element in value])
to_plain.register(list, lambda value: [to_plain(element) for element in value])
to_plain.register(complex, lambda value: [to_plain(value.real), to_plain(value.imag)])


@to_plain.register
def _(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@to_plain.register
def _(value: Mapping) -> Any:  # type: ignore[type-arg] # of anything
    if all(isinstance(key, str) for key in value):
        return {key: to_plain(element) for key, element in value.items()}
    return [{"key": to_plain(key), "value": to_plain(element)} for key, element in value.items()]


@to_plain.register
def _(array: np.ndarray) -> Any:
    names = array.dtype.names
    if names is None:
        return [to_plain(element) for element in _shortest(array)]
    columns = [_shortest(array[name]) for name in names]
    return [_nested(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _nested(row: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Make dicts in dicts of names with dots."""
    result: dict[str, Any] = {}
    for name, item in row:
        inner = result
        *outer, last = name.split(".")
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = to_plain(item)
    return result


def _shortest(column: np.ndarray[Any, Any]) -> list[Any]:
    """Give Python numbers; a float32 as the shortest decimal that means it."""
    return [float(str(item)) for item in column] if column.dtype == np.float32 else column.tolist()


def to_text(plain: Any, indent: str = "") -> Iterator[str]:
    """Write a plain structure in lines, one for each number or short group of them."""
    if isinstance(plain, dict):
        for name, element in plain.items():
            yield from _named_lines(name, element, indent)
    elif isinstance(plain, list) and not _is_short(plain):
        for element in plain:
            if isinstance(element, dict) and element.keys() == {"key", "value"}:
                yield from _named_lines(_short(element["key"]), element["value"], indent)
            elif _is_short(element):
                yield indent + _short(element)
            else:
                yield from to_text(element, indent)
                yield ""
    else:
        yield from (indent + line for line in (_short(plain).splitlines() or [""]))


def _named_lines(name: str, element: Any, indent: str) -> Iterator[str]:
    name = printable_line(name)
    if _is_short(element):
        yield f"{indent}{name}: {_short(element)}"
    else:
        yield f"{indent}{name}:"
        yield from to_text(element, indent + _INDENT)


def summary(plain: Any, width: int) -> str:
    """Write a plain structure in one line of at most ``width`` characters."""
    if isinstance(plain, list) and not _is_short(plain):
        text = f"{len(plain)} entries"
    elif isinstance(plain, dict):
        text = _short({name: element for name, element in plain.items() if name not in _IDENTIFIERS})
    else:
        text = _short(plain)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def _is_short(plain: Any) -> bool:
    if isinstance(plain, str):
        return "\n" not in plain
    if isinstance(plain, dict):
        return len(plain) <= 4 and all(not isinstance(element, dict | list) for element in plain.values())
    return not isinstance(plain, list) or all(not isinstance(element, dict | list | str) for element in plain)


def _short(plain: Any) -> str:
    if isinstance(plain, dict):
        return ", ".join(f"{printable_line(name)} {_short(element)}" for name, element in plain.items())
    if isinstance(plain, list):
        return f"({', '.join(_short(element) for element in plain)})"
    return f"{plain:.10g}" if isinstance(plain, float) else printable(str(plain))
