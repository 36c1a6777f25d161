"""Where pulses under a key come from: a series, an I3SuperDST, or a map made of others (masks, unions, corrections).

Maps are followed as IceTray does it (``Apply`` of each class), with limits: on the depth, and on pulses and DOMs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import I3Error
from skymap_scanner.i3.basic_objects import OMKey
from skymap_scanner.i3.frame import Frame
from skymap_scanner.i3.layouts import detector_layouts, readout_layouts
from skymap_scanner.i3.layouts.primitives import Class
from skymap_scanner.i3.layouts.structures import MADE
from skymap_scanner.i3.pulse_objects import (
    ATWD,
    MAX_PULSES,
    BitMask,
    I3RecoPulseSeriesMap,
    I3RecoPulseSeriesMapMask,
    I3SuperDST,
)
from skymap_scanner.i3.superdst import unpack

#: Most pulses of all maps made of others that a key leads to, together: each of them is held. Real ones have three
#: times those of the event.
MAX_MADE: Final = 1 << 23
#: Most maps that are made of one another; real ones have three.
MAX_DEPTH: Final = 32

#: The pulses of each DOM.
Series = Mapping[OMKey, NDArray[np.void]]


def find_series(key: str, frames: Sequence[Frame]) -> Series:
    """Return the pulses of each DOM under ``key``; frames are searched in their order.

    Raises I3Error when an object is missing or damaged, is no pulses, or a map does not fit what it is made of.
    """
    return _Sources(frames).series(key)


class _Sources:
    """The frames, the series already found, and the keys of the maps that are being followed."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self._found: dict[str, Series] = {}
        self._made_pulses = 0  # DOMs without pulses count, too
        self._path: list[str] = []

    def series(self, key: str) -> Series:
        if key in self._found:
            return self._found[key]
        path = [*self._path, key]
        if key in self._path:
            raise I3Error(f"the pulses are made, in the end, of themselves: {' of '.join(map(repr, path))}", key=key)
        if len(path) > MAX_DEPTH:
            raise I3Error(f"the pulses are made of others more than {MAX_DEPTH} times over", key=key)
        value = self._object(key)
        self._path.append(key)
        try:
            made = self._made(value)
        except I3Error as error:
            error.key = error.key or key
            raise
        self._path.pop()
        if not isinstance(value, I3RecoPulseSeriesMap):  # which its frame holds anyway
            self._made_pulses += sum(max(len(pulses), 1) for pulses in made.values())
            if self._made_pulses > MAX_MADE:
                raise I3Error(f"the maps that the pulses are made of have more than {MAX_MADE} pulses", key=key)
        self._found[key] = made
        return made

    def _object(self, key: str) -> Any:
        for frame in self._frames:
            if key in frame:
                return frame[key]
        wanted = f", of which {self._path[-1]!r} is made," if self._path else ""
        have = sorted({repr(name) for frame in self._frames for name in frame if "Pulse" in name or "DST" in name})
        raise I3Error(f"there are no such pulses{wanted} in the frames; there are {', '.join(have) or 'none'}", key=key)

    def _made(self, value: Any) -> Series:
        if isinstance(value, I3RecoPulseSeriesMap):
            return value.value
        if isinstance(value, I3SuperDST):
            return unpack(value)
        if isinstance(value, I3RecoPulseSeriesMapMask):
            return _masked(value, self.series(value.source))
        if _is(value, readout_layouts.UNION):
            return _merged((self.series(key) for key in value.keys), lambda key: key)
        if _is(value, readout_layouts.BY_MODULE):
            return _merged([self.series(value.pulses_key)], lambda key: OMKey(key.string, key.om))
        if _is(value, readout_layouts.SPE_CORRECTED):
            return self._corrected(value)
        raise I3Error(f"pulses, a map of pulses or an I3SuperDST expected, found {type(value).__name__}")

    def _corrected(self, value: Any) -> Series:
        name = value.calibration_key
        calibration = next((frame[name] for frame in self._frames if name in frame), None)
        if calibration is None or not _is(calibration, detector_layouts.CALIBRATION):
            raise I3Error(f"its charges need the I3Calibration {name!r}, which the frames do not hold")
        result = {}
        for key, series in self.series(value.pulses_key).items():
            dom = calibration.dom_cal.get(key)
            if dom is None:
                raise I3Error(f"{name!r} has no calibration of the DOM {tuple(key)}")
            result[key] = _scaled(series, dom.mean_atwd_charge_correction, dom.mean_fadc_charge_correction)
        return result


def _is(value: Any, layout: Class) -> bool:
    """Return whether a value is of a class made from its layout."""
    return MADE.get(type(value)) is layout


def _masked(mask: I3RecoPulseSeriesMapMask, source: Series) -> dict[OMKey, NDArray[np.void]]:
    """Choose pulses; a DOM of which none is chosen is left out."""
    keys = sorted(source)
    chosen = _bits(mask.omkey_mask, len(keys), "DOMs")
    if np.count_nonzero(chosen) != len(mask.pulse_masks):
        raise I3Error(f"the mask chooses {np.count_nonzero(chosen)} DOMs and has bits for {len(mask.pulse_masks)}")
    result = {}
    for index, pulse_mask in zip(np.flatnonzero(chosen).tolist(), mask.pulse_masks, strict=True):
        key = keys[index]
        series = source[key]
        selected = series[_bits(pulse_mask, len(series), f"pulses in {tuple(key)}")]
        if len(selected):
            result[key] = selected
    return result


def _bits(mask: BitMask, count: int, what: str) -> NDArray[np.bool_]:
    if len(mask) != count:
        raise I3Error(f"the mask was made for {len(mask)} {what}, what it chooses from has {count}")
    return mask.to_array()


def _merged(sources: Iterable[Series], address: Callable[[OMKey], OMKey]) -> dict[OMKey, NDArray[np.void]]:
    """Put all pulses of each address together, sorted by time; those of one time keep the order of the sources."""
    parts: dict[OMKey, list[NDArray[np.void]]] = {}
    total = 0
    for source in sources:
        for key in sorted(source):
            total += max(len(source[key]), 1)
            if total > MAX_PULSES:
                raise I3Error(f"more than the {MAX_PULSES} pulses that an event may have")
            parts.setdefault(address(key), []).append(source[key])
    return {key: _in_order(np.concatenate(series)) for key, series in sorted(parts.items())}


def _in_order(series: NDArray[np.void]) -> NDArray[np.void]:
    return series[np.argsort(series["time"], kind="stable")]


def _scaled(series: NDArray[np.void], atwd: float, fadc: float) -> NDArray[np.void]:
    """Divide the charges by the mean charge of a photoelectron in the digitiser of each; one that is not valid is 1."""
    factors = [1.0 / mean if np.isfinite(mean) and mean > 0 else 1.0 for mean in (fadc, atwd)]
    result = series.copy()
    result["charge"] = series["charge"].astype(np.float64) * np.where(series["flags"] & ATWD, factors[1], factors[0])
    return result
