"""Pulses as the scanner uses them: in columns, from wherever a key leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.errors import I3Error
from skymap_scanner.i3.basic_objects import OMKey
from skymap_scanner.i3.frame import Frame
from skymap_scanner.i3.pulse_objects import MAX_PULSES, PULSE_DTYPE
from skymap_scanner.i3.pulse_sources import Series, find_series


@dataclass(frozen=True, slots=True, eq=False)
class Pulses:
    """Pulses in columns of one length n, sorted by DOM (string, om, pmt), then by time.

    ``string`` and ``om`` int16, ``pmt`` uint8; ``time`` (ns) float64; ``charge`` (PE) and ``width`` (ns) float32;
    ``flags`` uint8: 1 = local coincidence, 2 = ATWD, 4 = FADC.
    """

    string: NDArray[np.int16]
    om: NDArray[np.int16]
    pmt: NDArray[np.uint8]
    time: NDArray[np.float64]
    charge: NDArray[np.float32]
    width: NDArray[np.float32]
    flags: NDArray[np.uint8]

    @classmethod
    def from_series(cls, series: Series) -> Self:
        """Lay the series of all DOMs out in columns; raises I3Error for an impossible DOM, or too many pulses.

        A DOM without pulses counts as one.
        """
        keys = sorted(series)
        limits = np.iinfo(np.int16)
        for key in keys:
            if not (limits.min <= key.string <= limits.max and 0 <= key.om <= limits.max):
                raise I3Error(f"pulses in {tuple(key)}: no detector has such a DOM")
        lengths = [len(series[key]) for key in keys]
        count = sum(max(length, 1) for length in lengths)
        if count > MAX_PULSES:
            raise I3Error(f"{count} pulses, more than the {MAX_PULSES} that an event may have")
        address = np.array(keys, np.int64).reshape(-1, 3)
        parts = [_in_time(series[key]) for key in keys]
        pulses = np.concatenate(parts) if parts else np.empty(0, PULSE_DTYPE)
        return cls(
            string=address[:, 0].astype(np.int16).repeat(lengths),
            om=address[:, 1].astype(np.int16).repeat(lengths),
            pmt=address[:, 2].astype(np.uint8).repeat(lengths),
            **{name: np.ascontiguousarray(pulses[name]) for name in PULSE_DTYPE.names or ()},
        )

    def __len__(self) -> int:
        return len(self.time)

    def select(self, chosen: NDArray[Any]) -> Pulses:
        """Return the pulses that a boolean mask (or ascending indices) of shape (n,) chooses."""
        return Pulses(*(getattr(self, column.name)[chosen] for column in fields(self)))

    def doms(self) -> Iterator[tuple[OMKey, slice]]:
        """Yield each DOM with the slice of its pulses."""
        starts = np.flatnonzero((np.diff(self.string) != 0) | (np.diff(self.om) != 0) | (np.diff(self.pmt) != 0))
        edges = [0, *(starts + 1).tolist(), len(self)] if len(self) else []
        for start, stop in pairwise(edges):
            yield OMKey(int(self.string[start]), int(self.om[start]), int(self.pmt[start])), slice(start, stop)


def resolve_pulses(key: str, frames: Frame | Sequence[Frame] | Mapping[str, Frame]) -> Pulses:
    """Return the pulses under ``key``: a series, an I3SuperDST, or a mask, union or other map made of such.

    Parameters
    ----------
    key
        The name of a pulse series, or of a map made of others.
    frames
        Where to look, nearest first (as P, Q). A mapping by stop, in the order of the file, is searched from its
        end.

    Raises
    ------
    I3Error
        When an object is missing or damaged, is no pulses, or a map does not fit what it is made of.
    """
    if isinstance(frames, Frame):
        frames = [frames]
    elif isinstance(frames, Mapping):
        frames = list(frames.values())[::-1]
    series = find_series(key, frames)
    try:
        return Pulses.from_series(series)
    except I3Error as error:
        error.key = error.key or key
        raise


def _in_time(series: NDArray[np.void]) -> NDArray[np.void]:
    time = series["time"]
    return series if np.all(time[1:] >= time[:-1]) else series[np.argsort(time, kind="stable")]
