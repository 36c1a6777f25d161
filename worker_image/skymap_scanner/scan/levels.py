"""Levels of the refinement, and the pixels of the first one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from skymap_scanner.errors import InputError
from skymap_scanner.healpix import pixel_count
from skymap_scanner.scan.pixels import (
    MAX_PIXELS,
    Pixel,
    check_nside,
    check_pixels,
    nearest,
    read_ranges,
    whole_sky,
)

#: The whole sky at nside 4, then all that may hold 99.9 % of the probability: Wilks' 3 sigma region lies inside. The
#: first step is more generous, since far from the minimum some fits end in wrong ones. The last two hold less, but all
#: of a track's calibrated 90 % region: outside of it no edge gets sharper. Steps of 2 refine the fewest pixels. The
#: most parents are over twice `region.ENOUGH`, so that a region that is not known yet is refined as a whole.
DEFAULT_LEVELS = "4:0 8:0.9999:192 16:0.999:192 32:0.999:192 64:0.999:192 128:0.999:192 256:0.99:192 512:0.98:192"

#: Least and greatest share of the probability that a level may refine.
PROBABILITIES = (0.5, 0.999999)

#: Finest nside for an area, which is searched among all pixels of the sky: 600 MB of memory at this nside.
_FINEST_AREA = 1024


@dataclass(frozen=True, slots=True)
class Level:
    """One level: its nside, and which pixels of the level before it refines.

    Without ``probability`` these are the best ``parents`` pixels (first level: 0). With it they are the pixels that may
    hold this share of the probability, at most ``parents`` of them; see `refinement`. Such a level, and all after it,
    are left out once the area of the 90 % region is known; see `region`.
    """

    nside: int
    parents: int
    probability: float | None = None

    def __str__(self) -> str:
        share = "" if self.probability is None else f"{self.probability!r}:"
        return f"{self.nside}:{share}{self.parents}"


@dataclass(frozen=True, slots=True)
class Area:
    """The ``count`` pixels nearest to the coarse pixel ``centre``; the original's ``--area c_nside,c_pix,n_pix``."""

    centre: Pixel
    count: int

    def __str__(self) -> str:
        return f"{self.centre.nside},{self.centre.index},{self.count}"


def parse_levels(text: str) -> tuple[Level, ...]:
    """Read levels, separated by blanks or commas, such as ``8:0 64:12 512:24`` or ``8:0 64:0.999:96``.

    A level is ``NSIDE:PARENTS`` or ``NSIDE:PROBABILITY:PARENTS``. Raises InputError if a part is invalid, or the levels
    are not increasing powers of two after a first one with 0 parents.
    """
    levels = [_parse_level(part) for part in re.split(r"[\s,]+", text.strip())]
    if levels[0].parents or levels[0].probability is not None:
        raise InputError(f"the first level {levels[0]} has no level before it to refine: write {levels[0].nside}:0")
    count = pixel_count(levels[0].nside)
    for before, level in itertools.pairwise(levels):
        count = min(level.parents, count) * (level.nside // before.nside) ** 2
        if level.nside > before.nside and count > MAX_PIXELS:
            raise InputError(
                f"level {level} refines to {count} pixels, more than the {MAX_PIXELS} that a level may have"
            )
        if level.nside <= before.nside:
            raise InputError(f"level {level} must be finer than the level {before} before it")
        if level.parents < 1:
            raise InputError(f"level {level} must refine at least 1 pixel of nside {before.nside}")
    return tuple(levels)


def _parse_level(text: str) -> Level:
    match = re.fullmatch(r"(\d{1,6}):(?:([01]?\.\d{1,17}):)?(\d{1,9})", text)
    if match is None:
        raise InputError(
            f"level {text!r} is neither NSIDE:PARENTS (such as 64:12: refine the best 12 pixels to nside 64) nor "
            "NSIDE:PROBABILITY:PARENTS (such as 64:0.999:96: refine those that may hold 99.9 % of the probability, at "
            "most 96)"
        )
    probability = None if match[2] is None else float(match[2])
    if probability is not None and not PROBABILITIES[0] <= probability <= PROBABILITIES[1]:
        raise InputError(f"level {text!r}: the probability must be from {PROBABILITIES[0]} to {PROBABILITIES[1]}")
    return Level(check_nside(int(match[1])), int(match[3]), probability)


def parse_area(text: str) -> Area:
    """Read ``c_nside,c_pix,n_pix``.

    Raises InputError if it does not consist of three numbers, or the coarse pixel does not exist.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*,\s*(\d{1,12})\s*,\s*(\d{1,12})\s*", text)
    if match is None:
        raise InputError(f"area {text!r} is not NSIDE,PIXEL,COUNT (such as 8,417,100)")
    nside, index, count = (int(number) for number in match.groups())
    if count < 1:
        raise InputError(f"area {text!r} has no pixel: the last number must be at least 1")
    return Area(check_pixels(check_nside(nside), [index])[0], count)


def most_pixels(levels: Sequence[Level], area: Area | None, pixels: str | None) -> dict[int, int]:
    """Return the most pixels that each level can have, by nside; ``pixels``: ranges of the first level."""
    listed = [] if pixels is None else [len(read_ranges(pixels))]
    counts = {levels[0].nside: min([pixel_count(levels[0].nside), *([area.count] if area else []), *listed])}
    for before, level in itertools.pairwise(levels):
        counts[level.nside] = min(level.parents, counts[before.nside]) * (level.nside // before.nside) ** 2
    return counts


def first_pixels(level: Level, area: Area | None, indices: Sequence[int] | None) -> list[Pixel]:
    """Return the pixels of the first level: the whole sky, an area, a list, or the pixels of the list in the area.

    Raises InputError if a listed pixel does not exist, the area is larger than the sky, or there are too many pixels or
    none.
    """
    if area is not None and area.count > pixel_count(level.nside):
        raise InputError(
            f"area {area} has more pixels than the {pixel_count(level.nside)} of nside {level.nside}: begin with a "
            "finer level"
        )
    if area is not None and level.nside > _FINEST_AREA:
        raise InputError(f"level {level}: an area needs nside {_FINEST_AREA} or less: begin with a coarser level")
    listed = None if indices is None else check_pixels(level.nside, indices)
    if area is None and listed is not None:
        pixels = listed
    else:
        count = pixel_count(level.nside) if area is None else area.count
        if count > MAX_PIXELS:
            raise InputError(
                f"level {level}: {count} pixels, more than the {MAX_PIXELS} that a level may have: begin with a "
                "coarser level, or scan an area or a list of pixels"
            )
        pixels = whole_sky(level.nside) if area is None else nearest(area.centre, level.nside, area.count)
        if listed is not None:
            wanted = set(listed)
            pixels = [pixel for pixel in pixels if pixel in wanted]
    if not pixels:
        raise InputError(f"no pixel of nside {level.nside} is left to scan: no pixel of the list is in the area")
    return pixels
