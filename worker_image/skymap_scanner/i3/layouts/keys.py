"""Layouts of the keys of maps other than OMKey, and of vectors and maps of plain values and keys."""

from __future__ import annotations

from typing import Final

from skymap_scanner.i3.enumerations import TriggerSource, TriggerSubtype, TriggerType
from skymap_scanner.i3.layouts.basic_layouts import (
    F64,
    I32,
    MAP_DOUBLE,
    OMKEY,
    POSITION,
    UINT32,
    UINT64,
)
from skymap_scanner.i3.layouts.primitives import TEXT, Class, Enumeration, Member, Number, Optional, pair
from skymap_scanner.i3.layouts.structures import (
    DOUBLES,
    INTS,
    UNSIGNED,
    container,
    each,
    key,
    map_of,
    vector_of,
)

UINT16: Final = Number("H")

ANTENNA_KEY: Final = key("AntennaKey", *each(I32, "station antenna"))
ICEACT_KEY: Final = key("IceActKey", *each(I32, "station telescope"))
SCINT_KEY: Final = key("ScintKey", *each(I32, "station panel"))
TANK_KEY: Final = key("TankKey", *each(I32, "string tank"))
MODULE_KEY: Final = key("ModuleKey", Member("string", I32), Member("om", UINT32), version=1, oldest=1)
PARTICLE_ID: Final = key("I3ParticleID", Member("major_id", UINT64), Member("minor_id", I32))
#: ``config_id`` is None where it is not set.
TRIGGER_KEY: Final = key(
    "TriggerKey",
    Member("source", Enumeration(TriggerSource)),
    Member("type", Enumeration(TriggerType)),
    Member("subtype", Enumeration(TriggerSubtype)),
    Member("config_id", Optional(I32)),
    version=1,
    oldest=1,
)

#: I3Map<unsigned, double> has no name of its own as a frame object.
UNSIGNED_DOUBLE: Final = map_of("I3MapUnsignedDouble", UINT32, F64)
UNSIGNED_UNSIGNED: Final = map_of("I3MapUnsignedUnsigned", UINT32, UINT32)
INT_INTS: Final = map_of("I3MapIntVectorInt", I32, INTS)

#: The layouts, each with the type name that IceTray 1.18 shows.
CLASSES: Final[dict[Class, str]] = {
    container("I3UInt64", UINT64): "I3PODHolder<unsigned long>",
    vector_of("I3VectorAntennaKey", ANTENNA_KEY): "I3Vector<AntennaKey>",
    vector_of("I3VectorModuleKey", MODULE_KEY): "I3Vector<ModuleKey>",
    vector_of("I3VectorScintKey", SCINT_KEY): "I3Vector<ScintKey>",
    vector_of("I3VectorTankKey", TANK_KEY): "I3Vector<TankKey>",
    vector_of("I3VectorI3Position", POSITION): "I3Vector<I3Position>",
    vector_of("I3VectorDoubleDouble", pair(F64, F64, "std::pair<double, double>")): "I3Vector<pair<double, double> >",
    map_of("I3MapStringVectorDouble", TEXT, DOUBLES): "I3Map<__cxx11::string, vector<double> >",
    map_of("I3MapStringStringDouble", TEXT, MAP_DOUBLE): "I3Map<__cxx11::string, I3Map<__cxx11::string, double> >",
    UNSIGNED_UNSIGNED: "I3Map<unsigned int, unsigned int>",
    map_of("I3MapUShortUShort", UINT16, UINT16): "I3Map<unsigned short, unsigned short>",
    INT_INTS: "I3Map<int, vector<int> >",
    map_of("I3MapKeyDouble", OMKEY, F64): "I3Map<OMKey, double>",
    map_of("I3MapKeyUInt", OMKEY, UINT32): "I3Map<OMKey, unsigned int>",
    map_of("I3MapKeyVectorDouble", OMKEY, DOUBLES): "I3Map<OMKey, vector<double> >",
    map_of("I3MapKeyVectorInt", OMKEY, INTS): "I3Map<OMKey, vector<int> >",
    map_of("I3MapModuleKeyString", MODULE_KEY, TEXT): "I3Map<ModuleKey, __cxx11::string >",
    map_of("I3MapAntennaKeyAntennaKey", ANTENNA_KEY, ANTENNA_KEY): "I3Map<AntennaKey, AntennaKey>",
    map_of("I3MapI3ParticleIDDouble", PARTICLE_ID, F64): "I3Map<I3ParticleID, double>",
    map_of("I3MapTriggerDouble", TRIGGER_KEY, F64): "I3Map<TriggerKey, double>",
    map_of("I3MapTriggerUInt", TRIGGER_KEY, UINT32): "I3Map<TriggerKey, unsigned int>",
    map_of("I3MapTriggerVectorUInt", TRIGGER_KEY, UNSIGNED): (
        "I3Map<TriggerKey, vector<unsigned int, allocator<unsigned int> > >"
    ),
}
