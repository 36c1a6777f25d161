"""Levels of the refinement, and where the first one looks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from skymap_scanner.errors import InputError
from skymap_scanner.scan.pixels import Pixel, check_nside, check_pixels, nearest, pixel_count, whole_sky

#: The whole sky at nside 8, then the best 12 pixels at nside 64, then the best 24 of those at nside 512.
DEFAULT_LEVELS = "8:0 64:12 512:24"


@dataclass(frozen=True, slots=True)
class Level:
    """One nside of the refinement; ``parents`` pixels of the level before are refined (0: the first level)."""

    nside: int
    parents: int

    def __str__(self) -> str:
        return f"{self.nside}:{self.parents}"


@dataclass(frozen=True, slots=True)
class Area:
    """The ``count`` pixels nearest to the coarse pixel ``centre``; the original's ``--area c_nside,c_pix,n_pix``."""

    centre: Pixel
    count: int

    def __str__(self) -> str:
        return f"{self.centre.nside},{self.centre.index},{self.count}"


def parse_levels(text: str) -> tuple[Level, ...]:
    """Read ``NSIDE:PARENTS …`` (blanks or commas between), such as ``8:0 64:12 512:24``.

    Raises
    ------
    InputError
        If a part cannot be read, or the levels do not ascend in powers of two from a first one with 0 parents.
    """
    levels = []
    for part in re.split(r"[\s,]+", text.strip()):
        match = re.fullmatch(r"(\d{1,6}):(\d{1,9})", part)
        if match is None:
            raise InputError(
                f"level {part!r} is not NSIDE:PARENTS (such as 64:12: refine the best 12 pixels to nside 64)"
            )
        levels.append(Level(int(match[1]), int(match[2])))
    return check_levels(levels)


def check_levels(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Return ``levels`` if they can be scanned one after the other.

    Raises
    ------
    InputError
        If they cannot.
    """
    if not levels:
        raise InputError("a scan needs at least one level, such as 8:0")
    for level in levels:
        check_nside(level.nside)
    if levels[0].parents:
        raise InputError(f"the first level {levels[0]} has no level before it to refine: write {levels[0].nside}:0")
    for before, level in itertools.pairwise(levels):
        if level.nside <= before.nside:
            raise InputError(f"level {level} must be finer than the level {before} before it")
        if level.parents < 1:
            raise InputError(f"level {level} must say how many pixels of nside {before.nside} it refines, at least 1")
    return tuple(levels)


def parse_area(text: str) -> Area:
    """Read ``c_nside,c_pix,n_pix``.

    Raises
    ------
    InputError
        If it is not three numbers, or the coarse pixel does not exist.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*,\s*(\d{1,12})\s*,\s*(\d{1,12})\s*", text)
    if match is None:
        raise InputError(f"area {text!r} is not COARSE_NSIDE,COARSE_PIXEL,PIXELS (such as 8,417,100)")
    nside, index, count = (int(number) for number in match.groups())
    if count < 1:
        raise InputError(f"area {text!r} holds no pixel: the last number must be at least 1")
    return Area(check_pixels(check_nside(nside), [index])[0], count)


def first_pixels(level: Level, area: Area | None, indices: Sequence[int] | None) -> list[Pixel]:
    """Return the pixels of the first level: the whole sky, an area or a list (together: those of the list in the area).

    Raises
    ------
    InputError
        If a listed pixel does not exist, the area is larger than the sky, or nothing is left.
    """
    if area is not None and area.count > pixel_count(level.nside):
        raise InputError(f"area {area} wants more pixels than the {pixel_count(level.nside)} of nside {level.nside}")
    pixels = whole_sky(level.nside) if area is None else nearest(area.centre, level.nside, area.count)
    if indices is not None:
        listed = set(check_pixels(level.nside, indices))
        pixels = [pixel for pixel in pixels if pixel in listed]
    if not pixels:
        raise InputError(f"no pixel of nside {level.nside} is left to scan: the list and the area do not meet")
    return pixels
