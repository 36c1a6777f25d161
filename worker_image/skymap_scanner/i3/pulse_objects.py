"""Pulse series, masks of them, and the compressed I3SuperDST as they lie in a frame (format sections 4 and 5).

`superdst.py` unpacks them, `pulse_columns.py` follows masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.i3.basic_objects import OMKey

#: I3RecoPulse::PulseFlags: hard local coincidence, and which digitisers recorded the pulse.
LOCAL_COINCIDENCE: Final = 1
ATWD: Final = 2
FADC: Final = 4

#: Most pulses of one event, DOMs without pulses included; the brightest have some 100,000.
MAX_PULSES: Final = 1 << 22

#: I3RecoPulse as numbers: time and width in ns, charge in PE, flags as bits of I3RecoPulse::PulseFlags.
PULSE_DTYPE: Final = np.dtype([("time", "<f8"), ("charge", "<f4"), ("width", "<f4"), ("flags", "u1")])


@dataclass(frozen=True, slots=True)
class I3RecoPulse:
    """One pulse: time and width in ns, charge in PE, flags 1 = local coincidence, 2 = ATWD, 4 = FADC."""

    time: float
    charge: float
    width: float
    flags: int


@dataclass(frozen=True, slots=True, eq=False)
class I3RecoPulseSeriesMap:
    """The pulses of each DOM: arrays of ``PULSE_DTYPE``."""

    value: Mapping[OMKey, NDArray[np.void]] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, I3RecoPulseSeriesMap) or self.value.keys() != other.value.keys():
            return False
        return all(series.tobytes() == other.value[key].tobytes() for key, series in self.value.items())

    def __hash__(self) -> int:
        return hash(tuple(self.value))


@dataclass(frozen=True, slots=True)
class BitMask:
    """A bit for each of ``8 * len(raw) - padding`` things; bit i is ``raw[i >> 3] >> (i & 7) & 1``."""

    raw: bytes = b""
    padding: int = 0

    @classmethod
    def of(cls, bits: NDArray[np.bool_]) -> BitMask:
        """Pack a boolean array."""
        return cls(np.packbits(bits, bitorder="little").tobytes(), -len(bits) % 8)

    def __len__(self) -> int:
        return 8 * len(self.raw) - self.padding

    def to_array(self) -> NDArray[np.bool_]:
        """Unpack to a boolean array."""
        return np.unpackbits(np.frombuffer(self.raw, np.uint8), count=len(self), bitorder="little").astype(bool)


@dataclass(frozen=True, slots=True)
class I3RecoPulseSeriesMapMask:
    """Some of the pulses under the key ``source``: a bit for each DOM there, and for each DOM chosen a bit a pulse."""

    source: str
    omkey_mask: BitMask
    pulse_masks: tuple[BitMask, ...] = ()


@dataclass(frozen=True, slots=True)
class I3SuperDST:
    """Compressed pulses, as they lie in the file: streams of 16-bit words and of bytes (section 5).

    ``widths`` are the four run-length streams: in-ice SLC, in-ice HLC, IceTop SLC, IceTop HLC.
    """

    stamps: bytes
    headers: bytes
    widths: tuple[bytes, bytes, bytes, bytes]
    extra: bytes


@dataclass(frozen=True, slots=True)
class I3SuperDSTTrigger:
    """One trigger: ``key_index`` in the detector's list of triggers (0-15), ``length`` and ``delay`` in ns.

    ``delay`` counts from the trigger before, the first from the start of the event.
    """

    key_index: int
    length: int
    delay: int


@dataclass(frozen=True, slots=True)
class I3SuperDSTTriggerSeries:
    """The triggers of an event."""

    value: tuple[I3SuperDSTTrigger, ...] = ()
