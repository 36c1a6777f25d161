"""The options that decide a scan's map, as the settings of the scan."""

from __future__ import annotations

from typing import Any

from skymap_api.command_line import ScanOptions
from skymap_scanner.cli.options import parse_parameters
from skymap_scanner.errors import InputError
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.topics import check_name
from skymap_scanner.scan.levels import DEFAULT_LEVELS, first_pixels, parse_area, parse_levels
from skymap_scanner.scan.pixels import read_ranges, write_ranges
from skymap_scanner.scan.plan_entries import check_calibrate
from skymap_scanner.scan.seeds import Seeding


def scan_options(
    levels: str | None, seeds: int, first_seeds: int | None, nside: int | None = None, **others: Any
) -> ScanOptions:
    """Return the options as a command parses them; without ``levels`` and ``nside`` the levels are the default.

    Without ``first_seeds`` every pixel is fitted from all seeds.

    Raises
    ------
    InputError
        If both ``levels`` and ``nside`` are given.
    """
    if nside is not None and levels is not None:
        raise InputError("--nside and --levels exclude each other: give one (--nside N is the same as --levels N:0)")
    chosen = levels or (DEFAULT_LEVELS if nside is None else f"{nside}:0")
    return ScanOptions(levels=chosen, seeds=seeds, first_seeds=seeds if first_seeds is None else first_seeds, **others)


def scan_settings(name: str, options: ScanOptions) -> ScanSettings:
    """Check the options of a scan, before anything is sent.

    Raises
    ------
    InputError
        If one of them is invalid.
    """
    levels = parse_levels(options.levels)
    area = None if options.area is None else parse_area(options.area)
    indices = None if options.pixel_list is None else sorted(set(read_ranges(options.pixel_list)))
    first_pixels(levels[0], area, indices)
    return ScanSettings(
        name=check_name(name),
        levels=levels,
        pulse_series=options.pulses,
        seeds=options.seeds,
        first_seeds=Seeding(options.seeds, options.first_seeds, levels[0].nside).first,
        area=area,
        pixels=None if indices is None else write_ranges(indices),
        reconstruction=options.reconstruction,
        parameters=parse_parameters(options.parameters),
        keep_all_seeds=options.keep_all_seeds,
        calibrate=check_calibrate(options.calibrate),
        predictive=options.predictive,
    )
