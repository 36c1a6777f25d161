"""The options of a command as the settings of a scan."""

from __future__ import annotations

from typing import Any

from skymap_scanner.cli.options import parse_parameters
from skymap_scanner.errors import InputError
from skymap_scanner.roles.planning import ScanSettings
from skymap_scanner.roles.topics import check_name
from skymap_scanner.scan.levels import DEFAULT_LEVELS, first_pixels, parse_area, parse_levels
from skymap_scanner.scan.pixels import read_ranges, write_ranges
from skymap_scanner.scan.seeds import check_seeds


def scan_settings(
    name: str,
    *,
    nside: int | None = None,
    levels: str | None,
    pulses: str | None,
    seeds: int,
    area: str | None,
    pixel_list: str | None,
    reconstruction: str,
    parameters: tuple[str, ...],
    keep_all_seeds: bool,
    predictive: float,
) -> ScanSettings:
    """Check the options that decide a scan's map, before anything is sent.

    Raises
    ------
    InputError
        If one of them is invalid.
    """
    if nside is not None and levels is not None:
        raise InputError("--nside and --levels exclude each other: give one (--nside N is the same as --levels N:0)")
    parsed = parse_levels(levels or (DEFAULT_LEVELS if nside is None else f"{nside}:0"))
    region = None if area is None else parse_area(area)
    indices = None if pixel_list is None else sorted(set(read_ranges(pixel_list)))
    first_pixels(parsed[0], region, indices)
    values: dict[str, Any] = parse_parameters(parameters)
    return ScanSettings(
        name=check_name(name),
        levels=parsed,
        pulse_series=pulses,
        seeds=check_seeds(seeds),
        area=region,
        pixels=None if indices is None else write_ranges(indices),
        reconstruction=reconstruction,
        parameters=values,
        keep_all_seeds=keep_all_seeds,
        predictive=predictive,
    )
