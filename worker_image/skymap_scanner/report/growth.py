"""How the scan grew: when each round of a pixel was done, and best fit and area of what was done at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from skymap_scanner.report.history import FitRecord
from skymap_scanner.results import PIXEL, ScanResult
from skymap_scanner.results.contours import SQUARE_DEGREES
from skymap_scanner.results.directions import radec_to_vector
from skymap_scanner.results.rule import ContourRule
from skymap_scanner.results.skymap import MultiOrderMap, multi_order_map

#: Points of the curves at most, and pixels that are laid over each other for all points together: about 2 s.
MAX_POINTS, MAX_WORK = 60, 600_000


class DoneRound(NamedTuple):
    """A round of a pixel, its best -ln L (NaN: failed), and when its last fit ended (s since 1970)."""

    nside: int
    pixel: int
    llh: float
    ended: float


@dataclass(frozen=True)
class Point:
    """What was known at a time (s since 1970): best fit (deg, J2000), its distance from the last one (deg), the area.

    ``area`` (square degrees) is that of the pixels inside the 90 % threshold; None before the first level is complete.
    """

    time: float
    ra: float
    dec: float
    offset: float
    area: float | None


def done_rounds(history: Sequence[FitRecord]) -> list[DoneRound]:
    """Return the rounds of all pixels in the order of time; re-simulations are none."""
    found: dict[tuple[int, int, int], DoneRound] = {}
    for one in history:
        if not one.nside:
            continue
        key = (one.nside, one.pixel, one.round)
        before = found.get(key, DoneRound(one.nside, one.pixel, math.nan, one.ended))
        llh = min((value for value in (before.llh, one.llh) if not math.isnan(value)), default=math.nan)
        found[key] = before._replace(llh=llh, ended=max(before.ended, one.ended))
    return sorted(found.values(), key=lambda one: one.ended)


def growth(result: ScanResult, rule: ContourRule, rounds: Sequence[DoneRound]) -> list[Point]:
    """Return the curves' points, the last one of the whole map; none without rounds."""
    if not rounds:
        return []
    number = int(np.clip(MAX_WORK // len(rounds), 5, MAX_POINTS))
    ended = np.array([one.ended for one in rounds])
    stops = np.unique(np.searchsorted(ended, np.linspace(ended[0], ended[-1], number), side="right"))
    coarsest = min(result.levels)
    planned = result.metadata.plan.get(coarsest, len(result.levels[coarsest]))
    best: dict[tuple[int, int], float] = {}
    maps: list[tuple[float, MultiOrderMap, bool]] = []
    begin = 0
    for stop in stops.tolist():
        for one in rounds[begin:stop]:
            best[one.nside, one.pixel] = _lower(best.get((one.nside, one.pixel), math.nan), one.llh)
        begin = stop
        whole = sum(nside == coarsest for nside, _ in best) >= planned
        if not all(math.isnan(llh) for llh in best.values()):
            maps.append((float(ended[stop - 1]), multi_order_map(_partial(result, best), rule), whole))
    return [_point(time, skymap, maps[-1][1], whole=whole) for time, skymap, whole in maps]


def _lower(a: float, b: float) -> float:
    return b if math.isnan(a) else a if math.isnan(b) else min(a, b)


def _partial(result: ScanResult, llh: dict[tuple[int, int], float]) -> ScanResult:
    """Return a result of these pixels alone, with these values."""
    levels = {}
    for nside in {nside for nside, _ in llh}:
        of_level = [(index, value) for (one, index), value in llh.items() if one == nside]
        levels[nside] = np.zeros(len(of_level), dtype=PIXEL)
        levels[nside]["index"], levels[nside]["llh"] = zip(*of_level, strict=True)
    return ScanResult(levels, replace(result.metadata, plan={}, complete={}))


def _point(time: float, skymap: MultiOrderMap, last: MultiOrderMap, *, whole: bool) -> Point:
    inside = (skymap.owner >= 0) & (skymap.delta[skymap.owner] <= skymap.rule.levels[0.9])
    directions = [radec_to_vector(np.array(one.best.ra), np.array(one.best.dec)) for one in (skymap, last)]
    offset = 2 * np.arcsin(min(1.0, float(np.linalg.norm(directions[0] - directions[1])) / 2))
    return Point(
        time=time,
        ra=skymap.best.ra,
        dec=skymap.best.dec,
        offset=float(np.degrees(offset)),
        area=float(skymap.area[inside].sum() * SQUARE_DEGREES) if whole else None,
    )
