"""Python classes made from layouts, so that a class of IceTray costs the lines of its members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, field, fields, make_dataclass
from typing import Any, Final, NamedTuple, cast

import numpy as np

from skymap_scanner.i3.layouts.basic_layouts import BASE
from skymap_scanner.i3.layouts.primitives import Array, Class, Dictionary, Items, Layout, Member


class Structured(Class):
    """A class whose Python class is made where it is first needed: making all takes longer than reading most files."""

    def __init__(self, name: str, build: Callable[[Structured], type], members: Sequence[Member], **more: Any) -> None:
        super().__init__(name, None, members, **more)
        self.python_name = name.replace("::", "")
        self._build = build
        del self.make  # `__getattr__` makes it

    def __getattr__(self, name: str) -> Any:
        if name != "make":
            raise AttributeError(name)
        self.make = self._build(self)
        self.make.__module__ = __name__
        MADE[self.make] = self
        return self.make


#: Every class that is laid out here, by its name in C++.
STRUCTURES: Final[dict[str, Structured]] = {}
#: The layouts of the Python classes made so far.
MADE: Final[dict[type, Structured]] = {}


class Structure:
    """Base of the classes made here: equal where their members are. Arrays and maps make them unhashable."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as for a list

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            _equal(getattr(self, member.name), getattr(other, member.name))
            for member in fields(self)  # type: ignore[arg-type] # every subclass is a dataclass
        )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(_equal(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def structure(name: str, *members: Member, version: int = 0, oldest: int = 0, tracked: bool = True) -> Class:
    """Lay out a class, and make its Python class: a frozen dataclass of the named members.

    Members that an old version lacks have a default and are keywords only.
    """
    layout = Structured(name, _dataclass, members, version=version, oldest=oldest, tracked=tracked)
    return _registered(layout)


def _dataclass(layout: Structured) -> type:
    columns: list[tuple[str, Any, Any]] = []
    for member in layout.current:
        if member.name:
            given = member.default is not ...
            default: Any = field(default=member.default if given else MISSING, kw_only=given)
            columns.append((member.name, Any, default))
    return make_dataclass(layout.python_name, columns, bases=(Structure,), frozen=True, slots=True, eq=False)


def key(name: str, *members: Member, version: int = 0, oldest: int = 0) -> Class:
    """Lay out a class that is a key of maps, and make its Python class: a named tuple, which sorts as in C++."""
    return _registered(Structured(name, _named_tuple, members, version=version, oldest=oldest))


def _named_tuple(layout: Structured) -> type:
    columns = [(member.name, Any) for member in layout.current if member.name]
    made: Any = NamedTuple(layout.python_name, columns)  # type: ignore[misc] # made at run time
    return cast("type", made)


def frame_structure(name: str, *members: Member, version: int = 0, oldest: int = 0) -> Class:
    """Lay out a class derived from I3FrameObject, and make its Python class."""
    return structure(name, BASE, *members, version=version, oldest=oldest)


def container(name: str, value: Layout) -> Class:
    """Lay out an I3Map or I3Vector, and make its Python class, which has the one member ``value``."""
    return frame_structure(name, Member("value", value))


def map_of(name: str, key_layout: Layout, value: Layout) -> Class:
    """Lay out an I3Map."""
    return container(name, Dictionary(key_layout, value, f"std::map of {name}"))


def vector_of(name: str, element: Layout) -> Class:
    """Lay out an I3Vector of a class."""
    return container(name, Items(element, f"std::vector of {name}"))


def each(layout: Layout, names: str) -> list[Member]:
    """Return members of one layout, by their names with blanks between."""
    return [Member(name, layout) for name in names.split()]


def _registered(layout: Structured) -> Class:
    if layout.name in STRUCTURES:
        raise ValueError(f"{layout.name} is laid out twice")
    STRUCTURES[layout.name] = layout
    return layout


#: Vectors of numbers inside other objects.
DOUBLES: Final = Array("<f8")
INTS: Final = Array("<i4")
UNSIGNED: Final = Array("<u4")
