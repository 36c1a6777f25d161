"""I3SuperDST unpacked to pulses (format section 5; I3SuperDST::Unpack)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby, islice, repeat
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import I3Error
from skymap_scanner.i3.basic_objects import OMKey
from skymap_scanner.i3.pulse_objects import ATWD, FADC, LOCAL_COINCIDENCE, MAX_PULSES, PULSE_DTYPE, I3SuperDST

#: Steps of time (ns) and, in the ice, of charge (PE); a charge is the middle of its step.
TIME_STEP: Final = 1.0
CHARGE_STEP: Final = 0.05

#: DOMs above this number are IceTop's: their charge has 14 bits and a logarithmic scale.
_LAST_IN_ICE_OM: Final = 60
_START_NS: Final = -512
#: Codes at their largest value go on in whole words, until one is not full.
_FULL_FIRST_TIME: Final = 0x7FF
_FULL_TIME: Final = 0xFF
_FULL_CHARGE: Final = 0x3F
_FULL_WORD: Final = 0xFFFF
#: No event has as many pulses of one width as 2**32; a longer run means damage.
_MAX_RUN_BYTES: Final = 8

_PULSE: Final = Struct("<dffB")  # as PULSE_DTYPE


class _EndedError(Exception):
    """A stream ended in the middle of a readout."""


def unpack(packed: I3SuperDST) -> dict[OMKey, NDArray[np.void]]:
    """Unpack to the pulses of each DOM (``PULSE_DTYPE``; DOMs sorted, pulses sorted by time, not overlapping).

    Pulses of one DOM at the same nanosecond keep the order of the stream. IceTray leaves their order to an unstable
    sort: where a DOM has more than 16 pulses, a mask may choose another of two such pulses there.

    Raises I3Error when the streams do not fit each other, or are longer than those of ``MAX_PULSES`` pulses.
    """
    # In each stream, a pulse has at least one stamp, and at most one header, byte of a run's length and extra byte.
    longest = max(len(packed.stamps) // 2, len(packed.headers) // 2, *map(len, packed.widths), len(packed.extra))
    if longest > MAX_PULSES:
        raise I3Error(f"the I3SuperDST holds more than the {MAX_PULSES} pulses that an event may have ({longest})")
    pulses: defaultdict[OMKey, bytearray] = defaultdict(bytearray)
    streams = _Streams(packed)
    try:
        streams.read_into(pulses)
    except _EndedError as error:
        raise I3Error(f"the I3SuperDST is damaged: its {error} end before its readouts do") from None
    if not streams.exhausted:
        raise I3Error("the I3SuperDST is damaged: it has more charge stamps, widths or extra bytes than readouts use")
    return {key: _without_overlaps(np.frombuffer(pulses[key], PULSE_DTYPE)) for key in sorted(pulses)}


class _Streams:
    """The streams of one I3SuperDST, read side by side."""

    def __init__(self, packed: I3SuperDST) -> None:
        self._headers = _words(packed.headers)
        self._words = _words(packed.stamps)
        self._widths = [_expand(stream) for stream in packed.widths]
        self._extra = iter(packed.extra)

    @property
    def exhausted(self) -> bool:
        """Whether every stream has been read to its end."""
        return all(next(stream, None) is None for stream in (self._words, *self._widths, self._extra))

    def read_into(self, pulses: Mapping[OMKey, bytearray]) -> None:
        """Append the pulses of each readout to the bytes (``PULSE_DTYPE``) of its DOM."""
        reference = _START_NS
        for header in self._headers:
            key = OMKey((header >> 6) & 0x7F, (header & 0x3F) + 1)
            stamp = self._word()
            code = (stamp & 0xFF) | (header >> 13) << 8
            reference += self._overflow(code, _FULL_FIRST_TIME)
            self._read_readout(key, stamp, reference, pulses[key])

    def _read_readout(self, key: OMKey, stamp: int, time: int, series: bytearray) -> None:
        """Append the pulses of one readout; its first stamp and the time of that (ns) are known."""
        in_ice = key.om <= _LAST_IN_ICE_OM
        hlc = stamp >> 14 & 1
        flags = LOCAL_COINCIDENCE | ATWD | FADC if hlc else FADC
        widths = self._widths[hlc if in_ice else 2 + hlc]
        series += _PULSE.pack(time, self._charge(stamp, in_ice), _width(widths), flags)
        while not stamp >> 15:
            stamp = self._word()
            time += self._overflow(stamp & 0xFF, _FULL_TIME)
            series += _PULSE.pack(time, self._charge(stamp, in_ice), _width(widths), flags)

    def _charge(self, stamp: int, in_ice: bool) -> float:
        """Read the rest of a charge: PE in the ice (bin centre), VEM-like in IceTop."""
        code = stamp >> 8 & 0x3F
        if in_ice:
            return self._overflow(code, _FULL_CHARGE) * CHARGE_STEP + CHARGE_STEP / 2
        extra = next(self._extra, None)
        if extra is None:
            raise _EndedError("extra bytes")
        return float(10.0 ** ((code | extra << 6) * (9 / 16383) - 2))

    def _word(self) -> int:
        word: int | None = next(self._words, None)
        if word is None:
            raise _EndedError("charge stamps")
        return word

    def _overflow(self, code: int, full: int) -> int:
        """Add the overflow words to a code that is at its largest value."""
        if code == full:
            word = _FULL_WORD
            while word == _FULL_WORD:
                word = self._word()
                code += word
        return code


def _words(stream: bytes) -> Iterator[int]:
    """Iterate over 16-bit words without a list of them."""
    return iter(np.frombuffer(stream, "<u2").astype(np.uint16).data)


def _expand(stream: bytes) -> Iterator[int]:
    """Expand a run-length stream of width codes.

    A byte is a code (low 4 bits) and 4 bits of the run's length; bytes of the same code that follow each other are one
    run, the lowest bits of its length first.
    """
    for code, group in groupby(stream, lambda byte: byte & 0xF):
        parts = [byte >> 4 for byte in islice(group, _MAX_RUN_BYTES + 1)]
        if len(parts) > _MAX_RUN_BYTES:
            raise I3Error(f"the I3SuperDST is damaged: a run of widths takes more than {_MAX_RUN_BYTES} bytes")
        yield from repeat(code, sum(part << 4 * i for i, part in enumerate(parts)))


def _width(codes: Iterator[int]) -> float:
    code = next(codes, None)
    if code is None:
        raise _EndedError("widths")
    return float(1 << code)


def _without_overlaps(series: NDArray[np.void]) -> NDArray[np.void]:
    """Sort by time and clip the widths, so that no pulse reaches into the next one."""
    series = series[np.argsort(series["time"], kind="stable")]
    gaps = np.diff(series["time"]).astype(np.float32)
    series["width"][:-1] = np.minimum(series["width"][:-1], gaps)
    if not gaps.all():
        _share_widths(series["time"], series["width"])
    return series


def _share_widths(time: NDArray[np.float64], width: NDArray[np.float32]) -> None:
    """Let pulses at the same time share one width: each has half of it, the second begins where the first ends.

    Step by step as IceTray does it, the last pulse only when the one before waits for a partner.
    """
    waiting = False
    last = len(time) - 1
    for i in range(last):
        if i > 0 and (width[i] == 0 or waiting):
            _share(time, width, i)
            waiting = False
        else:
            waiting = bool(width[i] == 0)
    if waiting:
        _share(time, width, last)


def _share(time: NDArray[np.float64], width: NDArray[np.float32], i: int) -> None:
    if width[i - 1] == 0 and width[i] > 0:
        width[i - 1] = width[i]
    width[i] = width[i - 1] = width[i - 1] / 2
    time[i] = time[i - 1] + width[i]
