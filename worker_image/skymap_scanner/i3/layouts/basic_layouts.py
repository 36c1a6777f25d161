"""Layouts of the plain classes: numbers, strings, positions, times, keys, headers, particles (format section 4)."""

from __future__ import annotations

from typing import Final

from skymap_scanner.i3 import basic_objects, particle
from skymap_scanner.i3.basic_objects import I3Orientation, I3Quaternion, OMKey
from skymap_scanner.i3.layouts.primitives import (
    BYTES,
    FLAG,
    TEXT,
    Array,
    Class,
    Dictionary,
    Enumeration,
    Items,
    Layout,
    Member,
    Number,
)
from skymap_scanner.i3.old_particle_types import from_corsika, from_rdmc
from skymap_scanner.i3.particle_types import ParticleType
from skymap_scanner.i3.time import I3Time

I32: Final = Number("i")
I64: Final = Number("q")
UINT8: Final = Number("B")
UINT32: Final = Number("I")
UINT64: Final = Number("Q")
F32: Final = Number("f")
F64: Final = Number("d")

#: The base of all frame objects, which has no members.
FRAME_OBJECT: Final = Class("I3FrameObject", None, [])
#: The same as a frame object of its own: a mark that carries nothing but its key.
MARK: Final = Class("I3FrameObject", basic_objects.I3FrameObject, [])
BASE: Final = Member("", FRAME_OBJECT)


def frame_object(name: str, make: type, *members: Member, version: int = 0, oldest: int = 0) -> Class:
    """Lay out a class derived from I3FrameObject."""
    return Class(name, make, [BASE, *members], version=version, oldest=oldest)


def holder(name: str, make: type, value: Layout, version: int = 0) -> Class:
    """Lay out a class derived from I3FrameObject that has one member."""
    return frame_object(name, make, Member("value", value), version=version)


POSITION: Final = frame_object("I3Position", basic_objects.I3Position, *(Member(axis, F64) for axis in "xyz"))
DIRECTION: Final = frame_object("I3Direction", basic_objects.I3Direction, Member("zenith", F64), Member("azimuth", F64))
TIME: Final = frame_object("I3Time", I3Time, Member("utc_year", I32), Member("utc_daq_time", I64))
QUATERNION: Final = frame_object("I3Quaternion", I3Quaternion, *(Member(axis, F64) for axis in "xyzw"))
ORIENTATION: Final = frame_object("I3Orientation", I3Orientation, Member("rot", QUATERNION))

OMKEY: Final = Class(
    "OMKey",
    OMKey,
    [Member("", FRAME_OBJECT, until=1), Member("string", I32), Member("om", UINT32), Member("pmt", UINT8, since=1)],
    version=2,
)

EVENT_HEADER: Final = frame_object(
    "I3EventHeader",
    basic_objects.I3EventHeader,
    Member("run_id", UINT32),
    Member("sub_run_id", UINT32, since=1),
    Member("event_id", UINT32),
    Member("state", I32, since=2),
    Member("sub_event_id", UINT32, since=3),
    Member("sub_event_stream", TEXT, since=3),
    Member("start_time", TIME),
    Member("end_time", TIME),
    version=3,
)

PARTICLE: Final = frame_object(
    "I3Particle",
    particle.I3Particle,
    Member("minor_id", I32),
    Member("major_id", UINT64, since=2),
    Member("pdg_encoding", I32, until=2, upgrade=from_rdmc),
    Member("pdg_encoding", I32, since=3, until=4, upgrade=from_corsika),
    Member("pdg_encoding", Enumeration(ParticleType), since=5),
    Member("shape", Enumeration(particle.ParticleShape)),
    Member("fit_status", Enumeration(particle.FitStatus)),
    Member("pos", POSITION),
    Member("dir", DIRECTION),
    Member("time", F64),
    Member("energy", F64),
    Member("length", F64),
    Member("speed", F64),
    Member("location_type", Enumeration(particle.LocationType)),
    *[Member("", F64, since=4, until=4)] * 2,  # Bjorken x and y, of ANTARES
    version=5,
    oldest=1,
)

FIT_PARAMS: Final = frame_object(
    "I3LogLikelihoodFitParams",
    basic_objects.I3LogLikelihoodFitParams,
    Member("logl", F64),
    Member("rlogl", F64),
    Member("ndof", I32),
    Member("nmini", I32),
)

TIME_WINDOW: Final = frame_object(
    "I3TimeWindow", basic_objects.I3TimeWindow, Member("start", F64), Member("stop", F64), version=1, oldest=1
)
TIME_WINDOWS: Final = frame_object(
    "I3TimeWindowSeries",
    basic_objects.I3TimeWindowSeries,
    Member("value", Items(TIME_WINDOW, "std::list of I3TimeWindow")),
    version=1,
    oldest=1,
)
TIME_WINDOW_MAP: Final = holder(
    "I3TimeWindowSeriesMap",
    basic_objects.I3TimeWindowSeriesMap,
    Dictionary(OMKEY, TIME_WINDOWS, "std::map<OMKey, I3TimeWindowSeries>"),
)
VECTOR_OMKEY: Final = holder("I3VectorOMKey", basic_objects.I3VectorOMKey, Items(OMKEY, "std::vector<OMKey>"))
VECTOR_PARTICLE: Final = holder(
    "I3ParticleVect", particle.I3VectorI3Particle, Items(PARTICLE, "std::vector<I3Particle>")
)

INT: Final = holder("I3Int", basic_objects.I3Int, I32)
DOUBLE: Final = holder("I3Double", basic_objects.I3Double, F64)
BOOL: Final = holder("I3Bool", basic_objects.I3Bool, FLAG)
STRING: Final = holder("I3String", basic_objects.I3String, TEXT)
VECTOR_CHAR: Final = holder("I3VectorChar", basic_objects.I3VectorChar, BYTES)
VECTOR_STRING: Final = holder("I3VectorString", basic_objects.I3VectorString, Items(TEXT, "std::vector<std::string>"))

#: The layouts of vectors of numbers, each with the C++ type of its elements.
NUMBER_VECTORS: Final = {
    holder(name, make, Array(dtype)): element
    for name, element, make, dtype in (
        ("I3VectorDouble", "double", basic_objects.I3VectorDouble, "<f8"),
        ("I3VectorFloat", "float", basic_objects.I3VectorFloat, "<f4"),
        ("I3VectorInt", "int", basic_objects.I3VectorInt, "<i4"),
        ("I3VectorUnsignedInt", "unsigned int", basic_objects.I3VectorUInt, "<u4"),
        ("I3VectorInt64", "long", basic_objects.I3VectorInt64, "<i8"),
        ("I3VectorUInt64", "unsigned long", basic_objects.I3VectorUInt64, "<u8"),
        ("I3VectorShort", "short", basic_objects.I3VectorShort, "<i2"),
        ("I3VectorUShort", "unsigned short", basic_objects.I3VectorUShort, "<u2"),
        ("I3VectorBool", "bool", basic_objects.I3VectorBool, "?"),
    )
}
#: I3Vector<int>, which older versions of other classes have as a member.
VECTOR_INT: Final = next(layout for layout in NUMBER_VECTORS if layout.name == "I3VectorInt")


def string_map(name: str, make: type, value: Layout) -> Class:
    """Lay out a map from strings to numbers or flags."""
    return holder(name, make, Dictionary(TEXT, value, f"std::map of {name}"))


MAP_DOUBLE: Final = string_map("I3MapStringDouble", basic_objects.I3MapStringDouble, F64)
MAP_INT: Final = string_map("I3MapStringInt", basic_objects.I3MapStringInt, I32)
MAP_BOOL: Final = string_map("I3MapStringBool", basic_objects.I3MapStringBool, FLAG)
