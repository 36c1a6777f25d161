"""The described classes: for each its name in the file, its layout and its Python class.

A blob is one portable binary archive that holds one pointer to a frame object (format section 3). To add a class:
write its dataclass with the fields in the order of the bytes, its layout, and its row here; the tests take every row.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from skymap_scanner.errors import I3Error
from skymap_scanner.i3 import basic_objects, geometry_objects, particle, pulse_objects
from skymap_scanner.i3.archive import Reader, Writer, decode_text, encode_text
from skymap_scanner.i3.basic_objects import Opaque
from skymap_scanner.i3.layouts import basic_layouts, geometry_layouts, pulse_layouts
from skymap_scanner.i3.layouts.primitives import Class
from skymap_scanner.i3.time import I3Time

#: boost::shared_ptr: not tracked, version 1; then the class id: counted up, the object's class is always the third.
_POINTER: Final = b"\x00\x01"
_CLASS_ID: Final = b"\x02\x00"
_NULL: Final = _POINTER + b"\xff\xff"

#: Exceptions of struct, numpy and attribute access for a value of the wrong type or size.
_WRONG_VALUE: Final = (struct.error, AttributeError, TypeError, ValueError, OverflowError)


@dataclass(frozen=True)
class Described:
    """One class: its layout (which has its name), the Python class, and the type name that a frame shows."""

    layout: Class
    python: type
    type_name: str

    def read(self, reader: Reader) -> Any:
        """Read what stands behind the class name, which must be all that is left; raises I3Error."""
        value = self.layout.read(reader)
        if reader.left:
            raise reader.error(f"{reader.left} bytes are left over behind {self.layout.name}")
        return value

    def write(self, value: Any) -> bytes:
        """Return the blob of ``value``."""
        writer = Writer()
        writer.data += _POINTER + _CLASS_ID
        writer.text(self.layout.name)
        self.layout.write(writer, value)
        return bytes(writer.data)


def _string_map(value: str) -> str:
    return f"I3Map<__cxx11::string, {value}>"


def _rows() -> Iterator[Described]:
    """List the classes, with the type names that IceTray 1.18 shows."""
    yield Described(basic_layouts.INT, basic_objects.I3Int, "I3PODHolder<int>")
    yield Described(basic_layouts.DOUBLE, basic_objects.I3Double, "I3PODHolder<double>")
    yield Described(basic_layouts.BOOL, basic_objects.I3Bool, "I3PODHolder<bool>")
    yield Described(basic_layouts.STRING, basic_objects.I3String, "I3PODHolder<__cxx11::string >")
    yield Described(basic_layouts.POSITION, basic_objects.I3Position, "I3Position")
    yield Described(basic_layouts.DIRECTION, basic_objects.I3Direction, "I3Direction")
    yield Described(basic_layouts.TIME, I3Time, "I3Time")
    yield Described(basic_layouts.QUATERNION, basic_objects.I3Quaternion, "I3Quaternion")
    yield Described(basic_layouts.ORIENTATION, basic_objects.I3Orientation, "I3Orientation")
    yield Described(basic_layouts.PARTICLE, particle.I3Particle, "I3Particle")
    yield Described(basic_layouts.VECTOR_PARTICLE, particle.I3VectorI3Particle, "I3Vector<I3Particle>")
    yield Described(basic_layouts.EVENT_HEADER, basic_objects.I3EventHeader, "I3EventHeader")
    yield Described(basic_layouts.FIT_PARAMS, basic_objects.I3LogLikelihoodFitParams, "I3LogLikelihoodFitParams")
    yield Described(basic_layouts.VECTOR_OMKEY, basic_objects.I3VectorOMKey, "I3Vector<OMKey>")
    yield Described(basic_layouts.VECTOR_CHAR, basic_objects.I3VectorChar, "I3Vector<char>")
    yield Described(basic_layouts.VECTOR_STRING, basic_objects.I3VectorString, "I3Vector<__cxx11::string >")
    for name, cpp, python, dtype in basic_layouts.NUMBER_VECTORS:
        yield Described(basic_layouts.number_vector(name, python, dtype), python, f"I3Vector<{cpp}>")
    yield Described(basic_layouts.MAP_DOUBLE, basic_objects.I3MapStringDouble, _string_map("double"))
    yield Described(basic_layouts.MAP_INT, basic_objects.I3MapStringInt, _string_map("int"))
    yield Described(basic_layouts.MAP_BOOL, basic_objects.I3MapStringBool, _string_map("bool"))
    yield Described(basic_layouts.TIME_WINDOW, basic_objects.I3TimeWindow, "I3TimeWindow")
    yield Described(basic_layouts.TIME_WINDOWS, basic_objects.I3TimeWindowSeries, "I3TimeWindowSeries")
    yield Described(
        basic_layouts.TIME_WINDOW_MAP, basic_objects.I3TimeWindowSeriesMap, "I3Map<OMKey, I3TimeWindowSeries>"
    )
    yield Described(pulse_layouts.PULSE_MAP, pulse_objects.I3RecoPulseSeriesMap, "I3Map<OMKey, vector<I3RecoPulse> >")
    yield Described(pulse_layouts.PULSE_MASK, pulse_objects.I3RecoPulseSeriesMapMask, "I3RecoPulseSeriesMapMask")
    yield Described(pulse_layouts.SUPER_DST, pulse_objects.I3SuperDST, "I3SuperDST")
    yield Described(pulse_layouts.TRIGGERS, pulse_objects.I3SuperDSTTriggerSeries, "I3SuperDSTTriggerSeries")
    yield Described(geometry_layouts.OMGEO_MAP, geometry_objects.I3OMGeoMap, "I3Map<OMKey, I3OMGeo>")
    yield Described(geometry_layouts.STATION, geometry_objects.I3StationGeo, "I3Vector<I3TankGeo>")
    yield Described(geometry_layouts.STATION_MAP, geometry_objects.I3StationGeoMap, "I3Map<int, I3Vector<I3TankGeo> >")
    yield Described(geometry_layouts.GEOMETRY, geometry_objects.I3Geometry, "I3Geometry")


CATALOGUE: Final = tuple(_rows())
_BY_NAME: Final = {encode_text(row.layout.name): row for row in CATALOGUE}
_BY_CLASS: Final = {row.python: row for row in CATALOGUE}


def class_name(blob: bytes) -> str | None:
    """Return the class name that the blob carries; None for a null pointer. Raises I3Error."""
    name = _read_header(Reader(blob))
    return None if name is None else decode_text(name)


def _read_header(reader: Reader) -> bytes | None:
    """Read what stands before the object: its class name, None for a null pointer."""
    blob = reader.data
    if reader.take(2) != _POINTER:
        raise reader.error(f"a frame object begins with {_POINTER.hex(' ')}, found {blob[:2].hex(' ')}", 0)
    identifier = reader.take(2)
    if identifier == _NULL[2:] and not reader.left:
        return None
    if identifier != _CLASS_ID:
        raise reader.error(f"class id {_CLASS_ID.hex(' ')} expected, found {identifier.hex(' ')}", 2)
    return reader.take(reader.count())


def decode(blob: bytes) -> Any:
    """Decode a blob to its object: None for a null pointer, `Opaque` for a class that is not described.

    Raises
    ------
    I3Error
        When the blob is damaged; UndescribedError when the class is known and this version of it is not.
    """
    reader = Reader(blob)
    name = _read_header(reader)
    if name is None:
        return None
    row = _BY_NAME.get(name)
    return Opaque(decode_text(name), blob) if row is None else row.read(reader)


def encode(value: Any) -> bytes:
    """Encode an object to its blob, in the current version of its class; raises I3Error."""
    if value is None:
        return _NULL
    if isinstance(value, Opaque):
        return value.blob
    row = described(type(value))
    try:
        return row.write(value)
    except _WRONG_VALUE as error:
        raise I3Error(f"this {row.layout.name} cannot be written: {error}") from error


def type_name(value: Any) -> str:
    """Return the type name that a frame shows for this object; raises I3Error."""
    if isinstance(value, Opaque):
        return value.type_name or value.class_name
    return described(type(value)).type_name


def described(kind: type) -> Described:
    """Return the row of a Python class; raises I3Error."""
    row = _BY_CLASS.get(kind)
    if row is None:
        raise I3Error(f"a {kind.__name__} is no frame object; use a class of skymap_scanner.i3, as I3Double(1.5)")
    return row
