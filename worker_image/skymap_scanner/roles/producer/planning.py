"""What the producer decides: the first entry of the plan, and each further one from the best fits so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.event.selection import stream_name
from skymap_scanner.scan.levels import Area, Level, first_pixels
from skymap_scanner.scan.need import before_the_best, pixels_in_need
from skymap_scanner.scan.pixels import Pixel, children, neighbours, read_ranges
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import (
    CalibrationEntry,
    EndEntry,
    EventFacts,
    OnlineEntry,
    PlanEntry,
    ScanEntry,
    ahead_entry,
    level_entry,
    seeds_entry,
)
from skymap_scanner.scan.refinement import best_pixel, beyond_the_edge, choose_parents, refine
from skymap_scanner.scan.region import area_is_known

#: The kind of a simulated event.
SIMULATION = "simulation"


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What the user chose for a scan.

    ``first_seeds``: how many of the seeds every pixel is fitted from; None: all. ``calibrate``: how many re-simulations
    of the event calibrate its contours. ``predictive`` starts a level early and does not change the map.
    """

    name: str
    levels: Sequence[Level]
    seeds: int = 7
    first_seeds: int | None = None
    area: Area | None = None
    pixels: str | None = None
    pulse_series: str | None = None
    reconstruction: str = "millipede"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    keep_all_seeds: bool = False
    calibrate: int = 0
    predictive: float = 1.0


def scan_entry(settings: ScanSettings, prepared: PreparedEvent, metadata: tuple[str, ...], software: str) -> ScanEntry:
    """Return the first entry of the plan; ``metadata`` are the topics of the event's frames."""
    return ScanEntry(
        name=settings.name,
        event=event_facts(prepared, metadata),
        levels=" ".join(map(str, settings.levels)),
        seeds=settings.seeds,
        first_seeds=settings.first_seeds,
        area=None if settings.area is None else str(settings.area),
        pixels=settings.pixels,
        reconstruction=settings.reconstruction,
        parameters=settings.parameters,
        software=software,
        keep_all_seeds=settings.keep_all_seeds,
        calibrate=settings.calibrate,
    )


def event_facts(prepared: PreparedEvent, metadata: tuple[str, ...]) -> EventFacts:
    """Return the facts about an event that results and notices contain; ``metadata``: the topics of its frames."""
    kind = event_kind(prepared.name)
    return EventFacts(
        name=prepared.name,
        run=prepared.header.run_id,
        event=prepared.header.event_id,
        sub_event=prepared.header.sub_event_id,
        sub_event_stream=stream_name(prepared.header),
        choice=prepared.choice,
        caution=prepared.caution,
        online=None if prepared.online is None else OnlineEntry(**asdict(prepared.online)),
        mjd=prepared.mjd,
        kind=kind,
        real=kind != SIMULATION,
        metadata_topics=metadata,
    )


def event_kind(name: str) -> str:
    """Return the alert type of an event: the part of its name after run and event, ``unknown`` if there is none."""
    return name.split(".", 2)[2] if name.count(".") >= 2 else "unknown"


def next_entry(plan: Plan, llh: Mapping[Pixel, float], predictive: float) -> PlanEntry | None:
    """Return the next entry of the plan, given -ln L of the pixels of the two newest levels whose rounds are all done.

    None if more rounds must be done first, or the plan has ended. A scan that calibrates its contours needs -ln L of
    the other levels too.

    When all rounds of a level are done, it is widened if its best pixel lies at its edge. More seeds follow where they
    are needed, then the next level, and after the last one the re-simulations. A level with a probability, and all
    after it, are left out once the area of the 90 % region is known. Pixels of a level are started earlier, once the
    fraction ``predictive`` of the level is done. They are a guess from the fits so far, and the map does not depend on
    it: the fit of a wrong guess is unused, and a pixel that was not guessed is fitted later, from the same seeds.
    """
    if plan.scan is None or plan.ended:
        return None
    levels = plan.scan.parsed_levels()
    if plan.newest is None:
        return _first_level(plan.scan, levels[0])
    following = levels[len(plan.levels)] if len(plan.levels) < len(levels) else None
    nothing_follows = following is None and levels[-1].probability is None
    if nothing_follows and plan.scan.seeding.rounds == 1 and not plan.scan.calibrate:
        return EndEntry(levels=len(plan.levels))
    planned = plan.levels[plan.newest]
    done = {pixel: llh[pixel] for pixel in planned if pixel in llh}
    if len(done) == len(planned):
        return _widened_level(plan, done, llh) or _after_level(plan, done, following) or _after_levels(plan, llh)
    if following is None or len(done) < predictive * len(planned):
        return None
    return _guess(plan, done, following)


def _first_level(scan: ScanEntry, level: Level) -> PlanEntry:
    listed = None if scan.pixels is None else read_ranges(scan.pixels)
    return level_entry(level.nside, first_pixels(level, scan.parsed_area(), listed), [])


def _after_level(plan: Plan, llh: Mapping[Pixel, float], following: Level | None) -> PlanEntry | None:
    """Return what comes after the newest level, given -ln L of all its pixels: seeds, or the next level, if any."""
    nside = next(iter(llh)).nside
    if plan.scan is not None and plan.scan.seeding.rounds > 1:
        first = len(plan.levels) == 1
        missing = [pixel for pixel in pixels_in_need(llh, first_level=first) if plan.rounds_of(pixel) == 1]
        if missing:
            return seeds_entry(nside, missing if first else before_the_best(missing, llh))
    if following is None or (following.probability is not None and area_is_known(llh)):
        return None
    chosen = refine(llh, following)  # none if every fit failed
    return level_entry(following.nside, chosen, plan.started) if chosen else None


def _widened_level(plan: Plan, newest: Mapping[Pixel, float], llh: Mapping[Pixel, float]) -> PlanEntry | None:
    """Return the newest level with more pixels around its best one; None if it needs none, or may have none.

    Only a level with a probability is widened, and not beyond its most parents. A failed pixel of the level before is
    not refined.
    """
    if plan.scan is None or len(plan.levels) < 2:
        return None
    before, level = plan.scan.parsed_levels()[len(plan.levels) - 2 : len(plan.levels)]
    if level.probability is None:
        return None
    solved = [pixel for pixel in plan.levels[before.nside] if not math.isnan(llh.get(pixel, math.nan))]
    more = beyond_the_edge(newest, solved)
    most = level.parents * (level.nside // before.nside) ** 2
    if not more or len(newest) + len(more) > most:
        return None
    return level_entry(level.nside, sorted([*newest, *more]), plan.started)


def _after_levels(plan: Plan, llh: Mapping[Pixel, float]) -> PlanEntry:
    """Return what comes after the last level, given -ln L of all pixels of the map: re-simulations, or the end."""
    if plan.scan is not None and plan.scan.calibrate and plan.resimulated is None:
        best = best_pixel(list(plan.levels), llh)
        if best is not None:
            return CalibrationEntry(nside=best.nside, pixel=best.index)
    return EndEntry(levels=len(plan.levels))


def _is_surrounded(plan: Plan, done: Mapping[Pixel, float]) -> bool:
    """Return whether all neighbours of the best pixel so far are done: they say on which sides the minimum lies."""
    best = min(
        (pixel for pixel in done if not math.isnan(done[pixel])), key=lambda pixel: (done[pixel], pixel), default=None
    )
    return best is not None and all(one in done for one in neighbours(best) if plan.in_level(one))


def _guess(plan: Plan, done: Mapping[Pixel, float], level: Level) -> PlanEntry | None:
    """Return the entry of pixels to start on a guess; None if there is none, or the level will hardly be needed.

    Only children of pixels that no further round can improve: their fits start from the parent's best fit.
    """
    if level.probability is not None and (area_is_known(done) or not _is_surrounded(plan, done)):
        return None
    rounds = 1 if plan.scan is None else plan.scan.seeding.rounds
    parents = [pixel for pixel in choose_parents(done, level) if plan.rounds_of(pixel) == rounds]
    guessed = {child for parent in parents for child in children(parent, level.nside)}.difference(plan.started)
    return ahead_entry(level.nside, sorted(guessed)) if guessed else None
