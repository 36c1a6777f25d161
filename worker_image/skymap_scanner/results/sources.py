"""Which sources of a catalogue lie in the regions of a scan, how far from the best fit, and which are nearest to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from skymap_scanner.results.catalogue import Catalogue
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.directions import radec_to_vector
from skymap_scanner.results.inside import is_inside
from skymap_scanner.results.rule import LEVELS, percent
from skymap_scanner.results.skymap import MultiOrderMap
from skymap_scanner.results.summary import area_number

#: Sources that a text names; further ones are only counted.
NAMED = 50


@dataclass(frozen=True)
class Source:
    """A source (deg, J2000), its ``distance`` from the best fit (deg), and the smallest region that holds it, or None.

    The regions are those of 50 % and 90 %, by credible level.
    """

    name: str
    ra: float
    dec: float
    distance: float
    credible_level: float | None


@dataclass(frozen=True)
class Sources:
    """The sources ``inside`` the 90 % region and the ``nearest`` ones, inside or not, each by distance.

    ``total`` is the number of sources of the catalogue ``title``. ``open``: the region may be larger.
    """

    title: str
    total: int
    inside: Sequence[Source]
    nearest: Sequence[Source]
    open: bool


def find_sources(skymap: MultiOrderMap, regions: Sequence[Contour], catalogue: Catalogue, nearest: int = 3) -> Sources:
    """Find the sources in the regions of the map's rule, and the ``nearest`` ones to the best fit."""
    best = skymap.best
    vectors = radec_to_vector(catalogue.ra, catalogue.dec)
    chord = np.linalg.norm(vectors - radec_to_vector(np.array(best.ra), np.array(best.dec)), axis=1)
    distance = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1.0)))
    level = np.full(len(distance), np.nan)
    quoted = [region for region in of_rule(regions, skymap.rule) if region.credible_level in LEVELS]
    for region in sorted(quoted, key=lambda region: -region.credible_level):
        level[is_inside(region, vectors)] = region.credible_level

    def source(row: int) -> Source:
        inside = None if np.isnan(level[row]) else float(level[row])
        place = (float(catalogue.ra[row]), float(catalogue.dec[row]), float(distance[row]))
        return Source(catalogue.names[row], *place, inside)

    by_distance = np.argsort(distance, kind="stable")
    within = by_distance[~np.isnan(level[by_distance])]
    return Sources(
        title=catalogue.title,
        total=len(distance),
        inside=[source(row) for row in within],
        nearest=[source(row) for row in by_distance[:nearest]],
        open=any(region.open for region in quoted),
    )


def sources_text(sources: Sources, regions: Sequence[Contour]) -> str:
    """Return the sources as text; ``regions`` are those of the map's rule."""
    lines = [f"Catalogue: {sources.title}, {sources.total} source{'s' * (sources.total != 1)} with a position"]
    for region in (region for region in regions if region.credible_level in LEVELS):
        count = sum(
            source.credible_level is not None and source.credible_level <= region.credible_level
            for source in sources.inside
        )
        more = ", which is open" if region.open else ""
        lines.append(
            f"In the {percent(region.credible_level)} region of {area_number(region.area)} deg2{more}: {count}"
        )
    lines += [_line(source) for source in sources.inside[:NAMED]]
    if len(sources.inside) > NAMED:
        lines.append(f"  and {len(sources.inside) - NAMED} more")
    lines += ["Nearest to the best fit:", *(map(_line, sources.nearest) if sources.nearest else ["  none"])]
    return "\n".join(lines) + "\n"


def _line(source: Source) -> str:
    where = "outside" if source.credible_level is None else f"{percent(source.credible_level)} region"
    return f"  {source.name}: RA {source.ra:.2f}, Dec {source.dec:+.2f}, {source.distance:.2f} deg away, {where}"


def sources_json(sources: Sources) -> bytes:
    """Return the sources as JSON; angles in deg."""
    return (json.dumps(asdict(sources), indent=2, allow_nan=False) + "\n").encode()
