"""From the records of located events to thresholds of 2 delta ln L, without I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.event.model import Topology
from skymap_scanner.results.calibration import EnergyRange, Threshold, threshold
from skymap_scanner.results.rule import WILKS

Records = Sequence[Mapping[str, Any]]

#: Fewest events of a topology, or of a range, that have thresholds at all.
LEAST_EVENTS = 10
#: Fewest events of a range of energy: of two lights in halves, one still has more than are needed to apply it.
RANGE_EVENTS = 130
#: Parts that the events are divided into where thresholds are tried on events that are not behind them.
FOLDS = 5


def energy_ranges(records: Records, range_events: int = RANGE_EVENTS) -> list[EnergyRange]:
    """Divide the events of each fitted topology by fitted energy, and return the thresholds of each range.

    Ranges of a topology touch, and have about equal numbers of events, at least ``range_events`` where there are so
    many. Their edges have two significant figures. A topology with fewer than ``LEAST_EVENTS`` has none. Where the
    events are of both lights, the larger threshold counts (`_widest`), and ``events`` of a range is the number of those
    that the less certain of its two thresholds was taken from.
    """
    found = []
    for topology in get_args(Topology):
        chosen = [record for record in records if record["fitted_topology"] == topology]
        if len(chosen) < LEAST_EVENTS:
            continue
        energy = np.array([record["fitted_energy"] for record in chosen])
        for low, high in pairwise(_edges(energy, max(1, len(chosen) // range_events))):
            inside = [record for record in chosen if low <= record["fitted_energy"] < high]
            if len(inside) >= LEAST_EVENTS:
                (half, of_half), (ninety, of_ninety) = (_widest(inside, level) for level in (0.5, 0.9))
                events = min(of_half, of_ninety)
                found.append(
                    EnergyRange(topology=topology, energy=(low, high), events=events, half=half, ninety=ninety)
                )
    return found


def _widest(records: Records, level: float) -> tuple[Threshold, int]:
    """Return the largest of the thresholds that each light of the simulation asks for, and the events of that light.

    So a region holds the truth as often as it says in each of them, and more often where the fit knows the light.
    A light with fewer than ``LEAST_EVENTS`` does not count, unless all have so few: then they are one.
    """
    lights = {record["light"] for record in records}
    deltas = [np.array([r["delta"] for r in records if r["light"] == light]) for light in sorted(lights)]
    enough = [delta for delta in deltas if len(delta) >= LEAST_EVENTS] or [np.concatenate(deltas)]
    return max(((threshold(delta, level), len(delta)) for delta in enough), key=lambda one: one[0].value)


def limits_of(record: Mapping[str, Any], ranges: Sequence[EnergyRange]) -> tuple[float, float]:
    """Return the 50 % and 90 % thresholds for an event: of its range, or Wilks' where it is in none."""
    for one in ranges:
        if one.holds(record["fitted_topology"], record["fitted_energy"]):
            return one.half.value, one.ninety.value
    return WILKS.levels[0.5], WILKS.levels[0.9]


def held_out_limits(records: Records, range_events: int = RANGE_EVENTS) -> list[tuple[float, float]]:
    """Return each event's thresholds, made without the fifth of the events that it belongs to.

    So the coverage of the thresholds is stated on events that are not behind them. Equal sets of events give equal
    thresholds, in whatever order they were recorded.
    """
    by_key = {key: place for place, key in enumerate(sorted(record["key"] for record in records))}
    fold = [by_key[record["key"]] % FOLDS for record in records]
    ranges = [
        energy_ranges([r for r, f in zip(records, fold, strict=True) if f != out], range_events) for out in range(FOLDS)
    ]
    return [limits_of(record, ranges[f]) for record, f in zip(records, fold, strict=True)]


def _edges(energy: NDArray[np.float64], count: int) -> list[float]:
    """Return the edges of ``count`` ranges of about equal numbers of events; equal edges are dropped."""
    values = np.sort(energy)
    inner = [values[len(values) * part // count] for part in range(1, count)]
    edges = [_rounded(values[0], math.floor), *(_rounded(one, round) for one in inner), _rounded(values[-1], math.ceil)]
    edges[-1] = max(edges[-1], float(np.nextafter(values[-1], np.inf)))
    return sorted(set(edges))


def _rounded(value: float, how: Any) -> float:
    """Return a positive number with two significant figures."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{how(value / step) * step:.6g}")
