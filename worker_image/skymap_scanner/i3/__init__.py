"""Reading and writing .i3 files without IceTray: frames, typed objects, pulses."""

from skymap_scanner.i3.archive import UndescribedError
from skymap_scanner.i3.basic_objects import (
    I3Bool,
    I3Direction,
    I3Double,
    I3EventHeader,
    I3FrameObject,
    I3Int,
    I3LogLikelihoodFitParams,
    I3MapStringBool,
    I3MapStringDouble,
    I3MapStringInt,
    I3Orientation,
    I3Position,
    I3Quaternion,
    I3String,
    I3TimeWindow,
    I3TimeWindowSeries,
    I3TimeWindowSeriesMap,
    I3VectorBool,
    I3VectorChar,
    I3VectorDouble,
    I3VectorFloat,
    I3VectorInt,
    I3VectorInt64,
    I3VectorOMKey,
    I3VectorShort,
    I3VectorString,
    I3VectorUInt,
    I3VectorUInt64,
    I3VectorUShort,
    OMKey,
    Opaque,
)
from skymap_scanner.i3.catalogue import python_class
from skymap_scanner.i3.delta_compression import DeltaCompressed
from skymap_scanner.i3.file import FrameWriter, read_frames
from skymap_scanner.i3.frame import Frame
from skymap_scanner.i3.geometry_objects import I3Geometry, I3OMGeo, I3OMGeoMap, I3StationGeo, I3StationGeoMap, I3TankGeo
from skymap_scanner.i3.layouts.containers import Node
from skymap_scanner.i3.layouts.geometry_layouts import omgeo_records
from skymap_scanner.i3.particle import (
    FitStatus,
    I3Particle,
    I3VectorI3Particle,
    LocationType,
    ParticleShape,
)
from skymap_scanner.i3.particle_types import ParticleType
from skymap_scanner.i3.pulse_columns import Pulses, resolve_pulses
from skymap_scanner.i3.pulse_objects import (
    PULSE_DTYPE,
    BitMask,
    I3RecoPulse,
    I3RecoPulseSeriesMap,
    I3RecoPulseSeriesMapMask,
    I3SuperDST,
    I3SuperDSTTrigger,
    I3SuperDSTTriggerSeries,
)
from skymap_scanner.i3.time import I3Time
