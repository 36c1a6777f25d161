"""Whether there is room for the results of a scan: asked before its first fit, not after its last."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from skymap_scanner.machine import memory_limit
from skymap_scanner.results import choose_formats
from skymap_scanner.results.requirements import Requirements, Room, choose_writable, in_words, requirements
from skymap_scanner.scan.levels import most_pixels
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import ScanEntry
from skymap_scanner.scan.seeds import Seeding

log = logging.getLogger(__name__)


def requirements_of(scan: ScanEntry) -> Requirements:
    """Return what the results of a scan take at most."""
    pixels = most_pixels(scan.parsed_levels(), scan.parsed_area(), scan.pixels)
    return scan_requirements(pixels, scan.seeding, scan.calibrate, keep_all=scan.keep_all_seeds)


def requirements_so_far(scan: ScanEntry, plan: Plan) -> Requirements:
    """Return what the results of the levels that are planned so far take at most; there must be one."""
    pixels = {nside: len(level) for nside, level in plan.levels.items()}
    return scan_requirements(pixels, scan.seeding, len(plan.resimulations), keep_all=scan.keep_all_seeds)


def scan_requirements(
    pixels: Mapping[int, int], seeding: Seeding, resimulations: int, *, keep_all: bool
) -> Requirements:
    """Return what the results take at most, for so many ``pixels`` at each nside, and so many re-simulations.

    The saver keeps the best fit of each round of a pixel, or with ``keep_all`` all fits, and that of a re-simulation.
    """
    kept = (seeding.fits if keep_all else seeding.rounds) * sum(pixels.values())
    return requirements(pixels, kept + resimulations)


def writable_formats(
    need: Requirements, formats: Collection[str], *, named: bool, folder: Path | None = None, replaced: int = 0
) -> tuple[tuple[str, ...], list[str]]:
    """Return the formats that there is memory for, and disk in ``folder`` (None: not asked).

    ``replaced``: size (bytes) of the files there that will be deleted or written again, whose disk counts as free.
    The reasons why others are left out are logged, and returned, too.

    Raises InputError if a format that the user has ``named`` is not among them, needs a package that is not installed,
    or there is no room for the scan at all.
    """
    formats = choose_formats(formats if named else ())
    free = None if folder is None else free_disk(folder)
    room = Room(memory_limit(), None if free is None else free + replaced)
    writable, reasons = choose_writable(formats, need, room, named=named)
    for reason in reasons:
        log.warning("%s", reason)
    return writable, reasons


def lacking_disk(need: int, folder: Path) -> str:
    """Return that ``need`` bytes are more than the disk of a folder has free; empty if it has room, or is not there."""
    free = free_disk(folder)
    if free is None or free >= need:
        return ""
    return f"the results need up to {in_words(need)} of disk, and {in_words(free, free=True)} is free in {folder}"


def free_disk(folder: Path) -> int | None:
    """Return the free disk (bytes) where a folder is, or will be made; None if that cannot be told."""
    try:
        existing = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
        return shutil.disk_usage(existing).free
    except OSError:
        return None
