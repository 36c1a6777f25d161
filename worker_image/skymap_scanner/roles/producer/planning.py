"""What the producer decides: the first entry of the plan, and each further one from the best fits so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.scan.levels import Area, Level, first_pixels
from skymap_scanner.scan.pixels import Pixel, read_ranges
from skymap_scanner.scan.plan import EndEntry, EventFacts, Plan, PlanEntry, ScanEntry, ahead_entry, level_entry
from skymap_scanner.scan.refinement import refine

#: The kind of a simulated event.
SIMULATION = "simulation"


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What the user chose for a scan; ``predictive`` starts a level early and does not change the map."""

    name: str
    levels: Sequence[Level]
    seeds: int = 7
    area: Area | None = None
    pixels: str | None = None
    pulse_series: str | None = None
    reconstruction: str = "millipede"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    keep_all_seeds: bool = False
    predictive: float = 1.0


def scan_entry(settings: ScanSettings, prepared: PreparedEvent, metadata: tuple[str, ...]) -> ScanEntry:
    """Return the first entry of the plan; ``metadata`` are the topics of the event's frames."""
    kind = event_kind(prepared.name)
    return ScanEntry(
        name=settings.name,
        event=EventFacts(
            name=prepared.name,
            run=prepared.header.run_id,
            event=prepared.header.event_id,
            mjd=prepared.mjd,
            kind=kind,
            real=kind != SIMULATION,
            metadata_topics=metadata,
        ),
        levels=" ".join(map(str, settings.levels)),
        seeds=settings.seeds,
        area=None if settings.area is None else str(settings.area),
        pixels=settings.pixels,
        reconstruction=settings.reconstruction,
        parameters=settings.parameters,
        keep_all_seeds=settings.keep_all_seeds,
    )


def event_kind(name: str) -> str:
    """Return the alert type of an event: the part of its name after run and event, ``unknown`` if there is none."""
    return name.split(".", 2)[2] if name.count(".") >= 2 else "unknown"


def next_entry(plan: Plan, llh: Mapping[Pixel, float], predictive: float) -> PlanEntry | None:
    """Return the next entry of the plan, given -ln L of the pixels done so far.

    None if more pixels must be done first, or the plan has ended.

    A level follows when all pixels of the level before are done. Pixels of it are started earlier, once the fraction
    ``predictive`` of the level before is done. They are a guess from the fits so far, and the map does not depend on
    it: the fit of a wrong guess is unused, and a pixel that was not guessed is fitted later, from the same seeds.
    """
    if plan.scan is None or plan.ended:
        return None
    levels = plan.scan.parsed_levels()
    if not plan.levels:
        listed = None if plan.scan.pixels is None else read_ranges(plan.scan.pixels)
        pixels = first_pixels(levels[0], plan.scan.parsed_area(), listed)
        return level_entry(levels[0].nside, pixels, plan.started)
    if len(plan.levels) == len(levels):
        return EndEntry()
    before, level = levels[len(plan.levels) - 1], levels[len(plan.levels)]
    planned = plan.levels[before.nside]
    done = {pixel: llh[pixel] for pixel in planned if pixel in llh}
    if len(done) == len(planned):
        chosen = refine(done, level)
        return level_entry(level.nside, chosen, plan.started) if chosen else EndEntry()  # empty: every fit failed
    if len(done) < predictive * len(planned):
        return None
    guessed = set(refine(done, level)).difference(plan.started)
    return ahead_entry(level.nside, sorted(guessed)) if guessed else None
