"""The described classes, and the bytes of their objects.

A blob is one portable binary archive that holds one pointer to a frame object (format section 3). To add a class:
write its dataclass with the fields in the order of the bytes, its layout, and its row here; the tests take every row.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from skymap_scanner.errors import I3Error
from skymap_scanner.i3.archive import Reader, Writer, decode_text, encode_text
from skymap_scanner.i3.basic_objects import Opaque
from skymap_scanner.i3.layouts import (
    basic_layouts,
    detector_layouts,
    extension_layouts,
    geometry_layouts,
    keys,
    pulse_layouts,
    readout_layouts,
    tree_layouts,
)
from skymap_scanner.i3.layouts.primitives import TEXT, Class, Dictionary
from skymap_scanner.i3.layouts.structures import MADE, STRUCTURES, Structured

#: boost::shared_ptr: not tracked, version 1; then the class id: counted up, the object's class is always the third.
_POINTER: Final = b"\x00\x01"
_CLASS_ID: Final = b"\x02\x00"
#: The class id of a plain I3FrameObject, which is the second; its name is left out.
_MARK_ID: Final = b"\x01\x00"
_NULL: Final = _POINTER + b"\xff\xff"

#: Exceptions of struct, numpy and attribute access for a value of the wrong type or size.
_WRONG_VALUE: Final = (struct.error, AttributeError, TypeError, ValueError, OverflowError)


#: The layout of every class (it has the class's name in the file and its Python class), and the type name that
#: IceTray 1.18 shows.
CATALOGUE: Final[dict[Class, str]] = {
    basic_layouts.MARK: "I3FrameObject",
    basic_layouts.INT: "I3PODHolder<int>",
    basic_layouts.DOUBLE: "I3PODHolder<double>",
    basic_layouts.BOOL: "I3PODHolder<bool>",
    basic_layouts.STRING: "I3PODHolder<__cxx11::string >",
    basic_layouts.POSITION: "I3Position",
    basic_layouts.DIRECTION: "I3Direction",
    basic_layouts.TIME: "I3Time",
    basic_layouts.QUATERNION: "I3Quaternion",
    basic_layouts.ORIENTATION: "I3Orientation",
    basic_layouts.PARTICLE: "I3Particle",
    basic_layouts.VECTOR_PARTICLE: "I3Vector<I3Particle>",
    basic_layouts.EVENT_HEADER: "I3EventHeader",
    basic_layouts.FIT_PARAMS: "I3LogLikelihoodFitParams",
    basic_layouts.VECTOR_OMKEY: "I3Vector<OMKey>",
    basic_layouts.VECTOR_CHAR: "I3Vector<char>",
    basic_layouts.VECTOR_STRING: "I3Vector<__cxx11::string >",
    **{layout: f"I3Vector<{element}>" for layout, element in basic_layouts.NUMBER_VECTORS.items()},
    basic_layouts.MAP_DOUBLE: "I3Map<__cxx11::string, double>",
    basic_layouts.MAP_INT: "I3Map<__cxx11::string, int>",
    basic_layouts.MAP_BOOL: "I3Map<__cxx11::string, bool>",
    basic_layouts.TIME_WINDOW: "I3TimeWindow",
    basic_layouts.TIME_WINDOWS: "I3TimeWindowSeries",
    basic_layouts.TIME_WINDOW_MAP: "I3Map<OMKey, I3TimeWindowSeries>",
    pulse_layouts.PULSE_MAP: "I3Map<OMKey, vector<I3RecoPulse> >",
    pulse_layouts.PULSE_MASK: "I3RecoPulseSeriesMapMask",
    pulse_layouts.SUPER_DST: "I3SuperDST",
    pulse_layouts.TRIGGERS: "I3SuperDSTTriggerSeries",
    geometry_layouts.OMGEO_MAP: "I3Map<OMKey, I3OMGeo>",
    geometry_layouts.STATION: "I3Vector<I3TankGeo>",
    geometry_layouts.STATION_MAP: "I3Map<int, I3Vector<I3TankGeo> >",
    geometry_layouts.GEOMETRY: "I3Geometry",
    **keys.CLASSES,
    **readout_layouts.CLASSES,
    **tree_layouts.CLASSES,
    **detector_layouts.CLASSES,
    **extension_layouts.CLASSES,
}
_MARK_NAME: Final = encode_text(basic_layouts.MARK.name)
_BY_NAME: Final = {encode_text(layout.name): layout for layout in CATALOGUE}
_BY_CLASS: Final = {layout.make: layout for layout in CATALOGUE if not isinstance(layout, Structured)}
#: The layouts of all classes, those of members too, by their names in C++ and in Python.
_NAMES: Final = {
    **{layout.make.__name__: layout for layout in _BY_CLASS.values()},
    **{layout.python_name: layout for layout in STRUCTURES.values()},
    **{layout.name: layout for layout in (*STRUCTURES.values(), *CATALOGUE)},
}


def _header(layout: Class) -> bytes:
    """Return what stands before an object: the pointer, its class's id and name."""
    if layout is basic_layouts.MARK:
        return _POINTER + _MARK_ID
    writer = Writer()
    writer.text(layout.name)
    return _POINTER + _CLASS_ID + bytes(writer.data)


_HEADERS: Final = {layout: _header(layout) for layout in CATALOGUE}


def python_class(name: str) -> type:
    """Return the Python class of a class of IceTray, as ``python_class("I3MCTree")``, to make or recognise objects.

    Raises I3Error when the class is not described.
    """
    layout = _NAMES.get(name)
    if layout is None:
        raise I3Error(f"the class {name!r} is not described; docs/reference/i3-classes.md lists those that are")
    made: type = layout.make
    return made


def is_map_of_text(kind: type, member: str) -> bool:
    """Return whether a member of a Python class is a map whose keys are text."""
    layout = _BY_CLASS.get(kind) or MADE.get(kind)
    found = next((each.layout for each in layout.members if each.name == member), None) if layout else None
    return isinstance(found, Dictionary) and found.key is TEXT


def class_name(blob: bytes) -> str | None:
    """Return the class name that the blob carries; None for a null pointer. Raises I3Error."""
    name = _read_header(Reader(blob))
    return None if name is None else decode_text(name)


def _read_header(reader: Reader) -> bytes | None:
    """Read what stands before the object: its class name, None for a null pointer."""
    blob = reader.data
    if blob[:4] == _POINTER + _CLASS_ID:
        reader.position = 4
        return reader.string()
    if reader.take(2) != _POINTER:
        raise reader.error(f"a frame object begins with {_POINTER.hex(' ')}, found {blob[:2].hex(' ')}", 0)
    identifier = reader.take(2)
    if identifier == _NULL[2:] and not reader.left:
        return None
    if identifier == _MARK_ID:
        return _MARK_NAME
    raise reader.error(f"class id {_CLASS_ID.hex(' ')} expected, found {identifier.hex(' ')}", 2)


def decode(blob: bytes) -> Any:
    """Decode a blob to its object: None for a null pointer, `Opaque` for a class that is not described.

    Raises I3Error when the blob is damaged, UndescribedError when the class is known and this version of it is not.
    """
    return read(Reader(blob))


def read(reader: Reader) -> Any:
    """Decode the whole blob of a reader, as `decode`; the reader has counted the elements of its collections."""
    name = _read_header(reader)
    if name is None:
        return None
    layout = _BY_NAME.get(name)
    if layout is None:
        return Opaque(decode_text(name), reader.data)
    value = layout.read(reader)
    if reader.left:
        raise reader.error(f"{reader.left} bytes are left over behind {layout.name}")
    return value


def encode(value: Any) -> bytes:
    """Encode an object to its blob, in the current version of its class; raises I3Error."""
    if value is None:
        return _NULL
    if isinstance(value, Opaque):
        return value.blob
    layout = layout_of(type(value))
    writer = Writer()
    writer.data += _HEADERS[layout]
    try:
        layout.write(writer, value)
    except _WRONG_VALUE as error:
        raise I3Error(f"this {layout.name} cannot be written: {error}") from error
    return bytes(writer.data)


def type_name(value: Any) -> str:
    """Return the type name that a frame shows for this object; raises I3Error."""
    if isinstance(value, Opaque):
        return value.type_name or value.class_name
    return CATALOGUE[layout_of(type(value))]


def layout_of(kind: type) -> Class:
    """Return the layout of a Python class; raises I3Error."""
    layout = _BY_CLASS.get(kind) or MADE.get(kind)
    if layout not in CATALOGUE:
        raise I3Error(f"a {kind.__name__} is no frame object; use a class of skymap_scanner.i3, as I3Double(1.5)")
    return layout
