"""Builds the tasks of a scan's pixels: always the same bytes, whichever role builds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from skymap_scanner.broker.protocol import Outgoing
from skymap_scanner.detector.coordinates import equatorial_to_detector
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.reconstruction.protocol import Start
from skymap_scanner.roles.task_frames import PixelFit, Task, encode_task
from skymap_scanner.roles.topics import METADATA_PROPERTY, PARAMETERS_PROPERTY, RECONSTRUCTION_PROPERTY, SEED_PROPERTY
from skymap_scanner.scan.pixels import Pixel, centres, parent
from skymap_scanner.scan.plan import Plan, ScanEntry
from skymap_scanner.scan.seeds import seed_positions


def task_properties(scan: ScanEntry) -> dict[str, str]:
    """Return the message properties that all tasks of a scan, and their fits, have in common."""
    return {
        METADATA_PROPERTY: ";".join(scan.event.metadata_topics),
        RECONSTRUCTION_PROPERTY: scan.reconstruction,
        PARAMETERS_PROPERTY: json.dumps(dict(scan.parameters), sort_keys=True),
    }


class TaskMaker:
    """Builds the tasks of one scan."""

    def __init__(self, scan: ScanEntry, prepared: PreparedEvent) -> None:
        self._scan = scan
        self._prepared = prepared
        self._properties = task_properties(scan)
        self._first_nside = scan.parsed_levels()[0].nside

    def seed_origin(
        self, pixel: Pixel, plan: Plan, best_fit: Callable[[Pixel], PixelFit | None]
    ) -> PixelFit | PreparedEvent | None:
        """Return where the pixel's seeds start: at the event, or at the best fit of the parent (None: not done).

        ``best_fit`` returns the best fit of a pixel, if it is done; it is not called on the first level.
        """
        if pixel.nside == self._first_nside:
            return self._prepared
        coarser = max(nside for nside in plan.levels if nside < pixel.nside)
        return best_fit(parent(pixel, coarser))

    def tasks(self, pixel: Pixel, origin: PixelFit | PreparedEvent) -> Iterator[Task]:
        """Yield the tasks of a pixel, one per seed."""
        warm = isinstance(origin, PixelFit)
        vertex, time = (
            (origin.position, origin.time) if isinstance(origin, PixelFit) else (origin.vertex, origin.vertex_time)
        )
        ra, dec = centres([pixel])
        zenith, azimuth = equatorial_to_detector(ra, dec, self._prepared.mjd)
        for seed, position in enumerate(seed_positions([float(x) for x in vertex], self._scan.seeds)):
            start = Start(float(zenith[0]), float(azimuth[0]), position, float(time), warm)
            yield Task(pixel, seed, start)

    def message(self, task: Task, number: int | None = None) -> Outgoing:
        """Return the message of a task; ``number`` is its position in the plan."""
        payload = encode_task(task, self._prepared, self._scan.seeds)
        properties = self._properties | {SEED_PROPERTY: str(task.seed)}
        return Outgoing(payload, key=task.pixel.key, properties=properties, sequence_id=number)
