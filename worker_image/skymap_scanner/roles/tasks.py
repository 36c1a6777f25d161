"""Builds the tasks of a scan's pixels: always the same bytes, whichever role builds them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Protocol

from skymap_scanner.broker.protocol import Outgoing
from skymap_scanner.detector.coordinates import equatorial_to_detector
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction.protocol import Start
from skymap_scanner.roles.task_frames import PixelFit, Task, encode_task
from skymap_scanner.roles.topics import (
    METADATA_PROPERTY,
    PARAMETERS_PROPERTY,
    RECONSTRUCTION_PROPERTY,
    SEED_PROPERTY,
    SOFTWARE_PROPERTY,
)
from skymap_scanner.scan.pixels import Pixel, centres, is_resimulation, neighbours, parent
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import ScanEntry
from skymap_scanner.scan.seeds import Round, seed_position


def task_properties(scan: ScanEntry) -> dict[str, str]:
    """Return the message properties that all tasks of a scan, and their fits, have in common."""
    return {
        METADATA_PROPERTY: ";".join(scan.event.metadata_topics),
        RECONSTRUCTION_PROPERTY: scan.reconstruction,
        PARAMETERS_PROPERTY: json.dumps(dict(scan.parameters), sort_keys=True),
        SOFTWARE_PROPERTY: scan.software,
    }


class FitsByRound(Protocol):
    """The best fits so far."""

    def of_rounds(self, pixel: Pixel, rounds: int) -> PixelFit | None:
        """Return the best fit of the first ``rounds`` rounds of a pixel; None if they are not all done."""


class TaskMaker:
    """Builds the tasks of one scan."""

    def __init__(self, scan: ScanEntry, prepared: PreparedEvent) -> None:
        self._scan = scan
        self._prepared = prepared
        self._seeding = scan.seeding
        self._properties = task_properties(scan)
        self._first_nside = scan.parsed_levels()[0].nside

    def tasks_of(self, one: Round, plan: Plan, best_fits: FitsByRound) -> list[Task] | None:
        """Return the tasks of a round that the plan has started; None if a fit that they start from is not done yet."""
        if is_resimulation(one.pixel):
            return self._resimulation(one.pixel, plan, best_fits)
        origin: PixelFit | PreparedEvent | None = self._prepared
        if one.pixel.nside != self._first_nside:
            coarser = parent(one.pixel, max(nside for nside in plan.levels if nside < one.pixel.nside))
            origin = best_fits.of_rounds(coarser, plan.rounds_of(coarser))
        if origin is None:
            return None
        if one.number == 0:
            return list(self.tasks(one.pixel, origin))
        around = _neighbour_fits(one.pixel, plan, best_fits)
        return None if around is None else list(self.tasks(one.pixel, origin, 1, best_neighbour(around)))

    def tasks(
        self,
        pixel: Pixel,
        origin: PixelFit | PreparedEvent,
        number: int = 0,
        neighbour: PixelFit | None = None,
    ) -> Iterator[Task]:
        """Yield the tasks of a round of a pixel, one per seed.

        The seeds lie around ``origin``. The second round ends with the fit of the best ``neighbour``; without one, with
        the origin as if it were solved.
        """
        zenith, azimuth = self._direction(pixel)
        for seed in self._seeding.seeds_of(Round(pixel, number)):
            from_neighbour = seed == self._seeding.neighbour_seed
            vertex, time = _vertex((neighbour or origin) if from_neighbour else origin)
            position = vertex if from_neighbour else seed_position(vertex, seed)
            warm = from_neighbour or isinstance(origin, PixelFit)
            yield Task(pixel, seed, Start(zenith, azimuth, position, time, warm))

    def _resimulation(self, which: Pixel, plan: Plan, best_fits: FitsByRound) -> list[Task] | None:
        """Return the task of a re-simulation, which starts from the fit of the best pixel; None if that is not done."""
        best = plan.resimulated
        fit = None if best is None else best_fits.of_rounds(best, plan.rounds_of(best))
        if best is None or fit is None:
            return None
        start = Start(*self._direction(best), fit.position, fit.time, warm=True, number=which.index)
        return [Task(which, 0, start)]

    def _direction(self, pixel: Pixel) -> tuple[float, float]:
        """Return zenith and azimuth (rad) of a pixel's centre."""
        ra, dec = centres([pixel])
        zenith, azimuth = equatorial_to_detector(ra, dec, self._prepared.mjd)
        return float(zenith[0]), float(azimuth[0])

    def message(self, task: Task, number: int | None = None) -> Outgoing:
        """Return the message of a task; ``number`` is its position in the plan."""
        payload = encode_task(task, self._prepared, self._seeding.fits)
        properties = self._properties | {SEED_PROPERTY: str(task.seed)}
        return Outgoing(payload, key=task.pixel.key, properties=properties, sequence_id=number)


def best_neighbour(fits: Iterable[PixelFit]) -> PixelFit | None:
    """Return the fit with the lowest -ln L, ties by pixel; None if all failed."""
    return min((fit for fit in fits if not math.isnan(fit.llh)), key=lambda fit: (fit.llh, fit.pixel), default=None)


def _neighbour_fits(pixel: Pixel, plan: Plan, best_fits: FitsByRound) -> list[PixelFit] | None:
    """Return the fits of the neighbours in the level, as they were when the pixel's second round was planned.

    That is, from the rounds that an earlier entry of the plan has started. None if one of them is not done. A level is
    widened when all its rounds are done, so that these need no task any more that may start from a new pixel.
    """
    sweep = plan.sweep_of(pixel)
    beside = [one for one in neighbours(pixel) if plan.in_level(one)]
    found = [best_fits.of_rounds(one, 1 + (0 < plan.sweep_of(one) < sweep)) for one in beside]
    return None if None in found else [fit for fit in found if fit is not None]


def _vertex(origin: PixelFit | PreparedEvent) -> tuple[tuple[float, float, float], float]:
    if isinstance(origin, PixelFit):
        return origin.position, float(origin.time)
    x, y, z = (float(one) for one in origin.vertex)
    return (x, y, z), float(origin.vertex_time)
