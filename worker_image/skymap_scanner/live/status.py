"""The status of a scan as plain values for JSON: its event, progress and workers, and the direction so far."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import compress
from typing import Any

from skymap_api.progress import Progress
from skymap_api.text import printable_line
from skymap_scanner.healpix import pixel_count
from skymap_scanner.report import ScanReport
from skymap_scanner.roles.readers import BestFits
from skymap_scanner.roles.saver.scan_state import (
    SQUARE_DEGREES,
    Statements,
    calibration_progress,
    fit_counts,
    level_progress,
    scan_result,
)
from skymap_scanner.roles.work import SeedWork
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import EventFacts

#: Area of the sky (square degrees).
WHOLE_SKY = 4 * math.pi * SQUARE_DEGREES
#: Workers that a page lists; the fits of further ones are not counted.
MAX_WORKERS = 200


@dataclass(slots=True)
class WorkerStatus:
    """What a worker has done: its fits, how many failed or were attempted before, and when the last ended (s)."""

    name: str
    fits: int = 0
    failed: int = 0
    repeated: int = 0
    last: float = 0.0


class Workers:
    """The workers of a scan, counted from the work that the best fits state."""

    def __init__(self) -> None:
        self._found: dict[str, WorkerStatus] = {}

    def add(self, works: Iterable[SeedWork]) -> None:
        """Count the fits of a round."""
        for work in works:
            if work.worker not in self._found and len(self._found) >= MAX_WORKERS:
                continue
            one = self._found.setdefault(work.worker, WorkerStatus(printable_line(work.worker)))
            one.fits += 1
            one.failed += work.llh is None
            one.repeated += work.attempt > 1
            one.last = max(one.last, work.ended)

    def listed(self) -> list[dict[str, Any]]:
        """Return the workers by name."""
        return [asdict(self._found[name]) for name in sorted(self._found)]


def event_status(event: EventFacts) -> dict[str, Any]:
    """Return what the head of the page shows of the event."""
    from skymap_scanner.results.fits_files import mjd_to_iso  # noqa: PLC0415 - astropy

    return {
        "name": event.name,
        "run": event.run,
        "event": event.event,
        "kind": event.kind,
        "real": event.real,
        "time": mjd_to_iso(event.mjd)[:19] if 0 <= event.mjd <= 1e6 else "",
    }


def progress_status(plan: Plan, best_fits: BestFits, progress: Progress | None, workers: Workers) -> dict[str, Any]:
    """Return the progress of a scan; what only the saver knows, such as the rate, is None before its first snapshot."""
    levels = level_progress(plan, best_fits)
    fits = fit_counts(plan, best_fits, levels)
    calibration = calibration_progress(plan, best_fits)
    return {
        "levels": [level.model_dump(mode="json") for level in levels],
        "fits": fits.model_dump(mode="json"),
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
        "workers": workers.listed(),
        **saver_status(progress),
    }


def saver_status(progress: Progress | None) -> dict[str, Any]:
    """Return what a snapshot of the saver adds."""
    if progress is None:
        return {"rate": None, "eta": None, "elapsed": None, "obstacle": None}
    return {
        "rate": progress.rate,
        "eta": progress.eta,
        "elapsed": progress.elapsed,
        "obstacle": None if progress.obstacle is None else printable_line(progress.obstacle),
    }


def counts(progress: Progress) -> dict[str, Any]:
    """Return the pixels and fits of a snapshot, as `progress_status` counts them."""
    levels = [level.model_dump(mode="json") for level in progress.levels]
    return {"levels": levels, "fits": progress.fits.model_dump(mode="json")}


def direction_status(plan: Plan, best_fits: BestFits, statements: Statements) -> dict[str, Any]:
    """Return the best fit so far and, once the first level covers its sky, the cautions and the resolved regions.

    A region that is smaller than the pixel of the best fit depends on the interpolation rather than on the event.
    """
    from skymap_scanner.report.content import content  # noqa: PLC0415 - astropy and scipy

    result = scan_result(plan, best_fits, statements)
    if result.metadata.rule is None:
        return {"best": None, "contours": [], "regions": [], "cautions": []}
    shown = content(ScanReport(result))
    best, contours = shown.data["best"], shown.data["contours"]
    covered = all(pixel in best_fits for pixel in plan.levels[min(plan.levels)])
    pixel_area = WHOLE_SKY / pixel_count(best["nside"])
    resolved = [covered and contour["area"] >= pixel_area for contour in contours]
    return {
        "best": best,
        "rule": shown.data["rule"]["label"],
        "contours": list(compress(contours, resolved)),
        "regions": list(compress(shown.regions, resolved)),
        "cautions": list(shown.cautions) if covered else [],
    }
