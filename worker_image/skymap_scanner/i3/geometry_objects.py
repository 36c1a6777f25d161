"""I3Geometry and its parts (format section 4). The thousands of DOMs are one array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.basic_objects import I3Orientation, I3Position, I3VectorOMKey
from skymap_scanner.i3.layouts.extension_layouts import ANTENNA_GEO_MAP, ICEACT_GEO_MAP, SCINT_GEO_MAP
from skymap_scanner.i3.time import I3Time


@dataclass(frozen=True, slots=True)
class I3OMGeo:
    """One optical module: ``area`` in m^2, ``omtype`` 20 is an IceCube DOM, 30 an IceTop one."""

    position: I3Position
    orientation: I3Orientation
    omtype: int = 0
    area: float = 0.0
    pmttype: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class I3OMGeoMap:
    """All optical modules, sorted by OMKey: a structured array with fields as ``key.om``, ``value.position.x``."""

    value: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, I3OMGeoMap) and self.value.tobytes() == other.value.tobytes()

    def __hash__(self) -> int:
        return hash(self.value.tobytes())

    @property
    def string(self) -> NDArray[np.int32]:
        """String numbers, shape (n,)."""
        return np.asarray(self.value["key.string"])

    @property
    def om(self) -> NDArray[np.uint32]:
        """OM numbers on the string, shape (n,)."""
        return np.asarray(self.value["key.om"])

    @property
    def pmt(self) -> NDArray[np.uint8]:
        """PMT numbers, shape (n,)."""
        return np.asarray(self.value["key.pmt"])

    @property
    def position(self) -> NDArray[np.float64]:
        """Positions in the detector frame (m), shape (n, 3)."""
        return np.column_stack([self.value[f"value.position.{axis}"] for axis in "xyz"])


@dataclass(frozen=True, slots=True)
class I3TankGeo:
    """One IceTop tank (lengths in m, ``orientation`` in rad); ``snowheight`` NaN where not known."""

    position: I3Position
    orientation: float
    tankradius: float
    tankheight: float
    fillheight: float
    omkeys: I3VectorOMKey = field(default_factory=I3VectorOMKey)
    snowheight: float = nan
    tanktype: int = 0


@dataclass(frozen=True, slots=True)
class I3StationGeo:
    """The tanks of one IceTop station."""

    value: tuple[I3TankGeo, ...] = ()


@dataclass(frozen=True, slots=True)
class I3StationGeoMap:
    """The IceTop stations by number."""

    value: Mapping[int, I3StationGeo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class I3Geometry:
    """The detector, valid from ``start_time`` to ``end_time``.

    ``scintgeo``, ``antennageo`` and ``iceactgeo`` are the scintillators, radio antennas and IceAct telescopes: objects
    of I3ScintGeoMap, I3AntennaGeoMap and I3IceActGeoMap, by default empty.
    """

    omgeo: I3OMGeoMap
    stationgeo: I3StationGeoMap = field(default_factory=I3StationGeoMap)
    scintgeo: Any = field(default_factory=lambda: SCINT_GEO_MAP.make({}))
    antennageo: Any = field(default_factory=lambda: ANTENNA_GEO_MAP.make({}))
    iceactgeo: Any = field(default_factory=lambda: ICEACT_GEO_MAP.make({}))
    snow_height_provenance: int = 0
    start_time: I3Time = field(default_factory=I3Time)
    end_time: I3Time = field(default_factory=I3Time)
