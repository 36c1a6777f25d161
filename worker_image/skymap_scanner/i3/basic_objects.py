"""The plain frame objects: numbers, strings, keys, positions, headers, vectors and maps (format section 4).

All are frozen: an object changes by putting a new one into the frame. Fields stand in the order of the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.time import I3Time


@dataclass(frozen=True, slots=True)
class I3FrameObject:
    """An object without content: only its key says something."""


@dataclass(frozen=True, slots=True)
class I3Int:
    """A 32-bit integer."""

    value: int


@dataclass(frozen=True, slots=True)
class I3Double:
    """A double."""

    value: float


@dataclass(frozen=True, slots=True)
class I3Bool:
    """A boolean."""

    value: bool


@dataclass(frozen=True, slots=True)
class I3String:
    """A string; bytes that are not UTF-8 are kept as surrogates."""

    value: str


@dataclass(frozen=True, slots=True)
class I3Position:
    """A position in the detector frame (m)."""

    x: float = nan
    y: float = nan
    z: float = nan


@dataclass(frozen=True, slots=True)
class I3Direction:
    """Where a particle comes from: zenith and azimuth in the detector frame (rad)."""

    zenith: float = nan
    azimuth: float = nan


@dataclass(frozen=True, slots=True)
class I3Quaternion:
    """A rotation."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    w: float = 1.0


@dataclass(frozen=True, slots=True)
class I3Orientation:
    """How a module is turned."""

    rot: I3Quaternion = field(default_factory=I3Quaternion)


class OMKey(NamedTuple):
    """The address of a PMT: string 1-86, om 1-60 in the ice and 61-64 in IceTop tanks, pmt 0 in a DOM. Sorts as C++."""

    string: int
    om: int
    pmt: int = 0


@dataclass(frozen=True, slots=True)
class I3EventHeader:
    """Which event, and when."""

    run_id: int = 0
    sub_run_id: int = 0
    event_id: int = 0
    state: int = 20  # I3EventHeader::OK
    sub_event_id: int = 0
    sub_event_stream: str = ""
    start_time: I3Time = field(default_factory=I3Time)
    end_time: I3Time = field(default_factory=I3Time)


@dataclass(frozen=True, slots=True)
class I3TimeWindow:
    """From ``start`` to ``stop`` (ns)."""

    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class I3TimeWindowSeries:
    """Several time windows."""

    value: tuple[I3TimeWindow, ...] = ()


@dataclass(frozen=True, slots=True)
class I3TimeWindowSeriesMap:
    """Time windows of each DOM."""

    value: Mapping[OMKey, I3TimeWindowSeries] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class I3LogLikelihoodFitParams:
    """Figures of a likelihood fit: ``logl`` is -ln L, ``rlogl`` that per degree of freedom."""

    logl: float = nan
    rlogl: float = nan
    ndof: int = -1
    nmini: int = -1


@dataclass(frozen=True, slots=True)
class I3VectorOMKey:
    """A list of DOMs."""

    value: tuple[OMKey, ...] = ()


@dataclass(frozen=True, slots=True)
class I3VectorString:
    """A list of strings."""

    value: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class I3VectorChar:
    """Raw bytes, as the DAQ payload."""

    value: bytes = b""


@dataclass(frozen=True, slots=True)
class I3MapStringDouble:
    """Doubles by name."""

    value: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class I3MapStringInt:
    """Integers by name."""

    value: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class I3MapStringBool:
    """Booleans by name."""

    value: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class NumberVector:
    """A vector of numbers: ``value`` is a numpy array of one dimension; the subclass is its C++ type."""

    value: NDArray[np.generic] | Sequence[float]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and np.array_equal(self.value, other.value)

    def __hash__(self) -> int:
        return hash((type(self), np.asarray(self.value).tobytes()))


class I3VectorDouble(NumberVector):
    """float64."""

    __slots__ = ()


class I3VectorFloat(NumberVector):
    """float32."""

    __slots__ = ()


class I3VectorInt(NumberVector):
    """int32."""

    __slots__ = ()


class I3VectorUInt(NumberVector):
    """uint32."""

    __slots__ = ()


class I3VectorInt64(NumberVector):
    """int64."""

    __slots__ = ()


class I3VectorUInt64(NumberVector):
    """uint64."""

    __slots__ = ()


class I3VectorShort(NumberVector):
    """int16."""

    __slots__ = ()


class I3VectorUShort(NumberVector):
    """uint16."""

    __slots__ = ()


class I3VectorBool(NumberVector):
    """bool."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Opaque:
    """A class that is not described here: its blob, written back as it is.

    ``type_name`` is what the frame shows; the class name in the blob decides.
    """

    class_name: str
    blob: bytes = field(repr=False)
    type_name: str = ""
