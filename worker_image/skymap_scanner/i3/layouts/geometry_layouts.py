"""Layouts of the geometry (format section 4)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3 import geometry_objects
from skymap_scanner.i3.basic_objects import I3Orientation, I3Quaternion
from skymap_scanner.i3.geometry_objects import I3OMGeoMap, I3StationGeo, I3StationGeoMap, I3TankGeo
from skymap_scanner.i3.layouts.basic_layouts import (
    F64,
    I32,
    OMKEY,
    ORIENTATION,
    POSITION,
    TIME,
    VECTOR_OMKEY,
    frame_object,
    holder,
)
from skymap_scanner.i3.layouts.extension_layouts import ANTENNA_GEO_MAP, ICEACT_GEO_MAP, SCINT_GEO_MAP
from skymap_scanner.i3.layouts.primitives import Class, Dictionary, Items, Member, Records, pair

#: What I3OMGeo version 0 knew of how a module is turned (up, down), and the rotation that IceTray makes of it.
_ROTATIONS: Final = {1: I3Quaternion(0.0, 0.0, 0.0, 1.0), -1: I3Quaternion(1.0, 0.0, 0.0, 0.0)}
_UNSPECIFIED: Final = I3Quaternion(0.0, 0.0, 0.0, 0.0)


def _orientation_of_version_0(pointing: int) -> I3Orientation:
    return I3Orientation(_ROTATIONS.get(pointing, _UNSPECIFIED))


OMGEO: Final = Class(
    "I3OMGeo",
    geometry_objects.I3OMGeo,
    [
        Member("position", POSITION),
        Member("orientation", I32, until=0, upgrade=_orientation_of_version_0),
        Member("orientation", ORIENTATION, since=1),
        Member("omtype", I32),
        Member("area", F64),
        Member("", F64, until=0),  # azimuth angle, never used for anything
        Member("pmttype", I32, since=2),
    ],
    version=2,
)
TANKGEO: Final = Class(
    "I3TankGeo",
    I3TankGeo,
    [
        Member("position", POSITION),
        Member("orientation", F64),
        Member("tankradius", F64),
        Member("tankheight", F64),
        Member("fillheight", F64),
        Member("omkeys", VECTOR_OMKEY, since=1),
        Member("snowheight", F64, since=2),
        Member("tanktype", I32, since=2),
    ],
    version=2,
)

_OM_RECORDS: Final = Records(pair(OMKEY, OMGEO, "std::pair<OMKey, I3OMGeo>"), "std::map<OMKey, I3OMGeo>")
_TANKS: Final = Items(TANKGEO, "std::vector<I3TankGeo>")

OMGEO_MAP: Final = holder("I3OMGeoMap", I3OMGeoMap, _OM_RECORDS)
STATION: Final = holder("I3StationGeo", I3StationGeo, _TANKS)
STATION_MAP: Final = holder("I3StationGeoMap", I3StationGeoMap, Dictionary(I32, STATION, "std::map<int, I3StationGeo>"))


def _stations_of_version_0(stations: dict[int, tuple[I3TankGeo, ...]]) -> I3StationGeoMap:
    return I3StationGeoMap({number: I3StationGeo(tanks) for number, tanks in stations.items()})


GEOMETRY: Final = frame_object(
    "I3Geometry",
    geometry_objects.I3Geometry,
    Member("omgeo", _OM_RECORDS, until=0, upgrade=I3OMGeoMap),
    Member(
        "stationgeo",
        Dictionary(I32, _TANKS, "std::map<int, std::vector<I3TankGeo>>"),
        until=0,
        upgrade=_stations_of_version_0,
    ),
    Member("omgeo", OMGEO_MAP, since=1),
    Member("stationgeo", STATION_MAP, since=1),
    Member("scintgeo", SCINT_GEO_MAP, since=2),
    Member("antennageo", ANTENNA_GEO_MAP, since=2),
    Member("iceactgeo", ICEACT_GEO_MAP, since=2),
    Member("snow_height_provenance", I32, since=3),
    Member("start_time", TIME),
    Member("end_time", TIME),
    version=3,
)


def omgeo_records(rows: list[tuple[Any, ...]]) -> NDArray[np.void]:
    """Make the array of an I3OMGeoMap of rows: key (3), position (3), quaternion (4), omtype, area, pmttype."""
    return np.array(rows, _OM_RECORDS.dtype)
