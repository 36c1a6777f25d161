"""Two probability maps compared: distance, overlap of the regions, searched probabilities, and their product."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymap_scanner import __version__
from skymap_scanner.detector.coordinates import angular_separation
from skymap_scanner.errors import InputError
from skymap_scanner.healpix import Floats, nested_to_ring, nested_to_uniq, pixel_to_radec
from skymap_scanner.results.fits_files import Card, encode_table, multi_order_layout
from skymap_scanner.results.probability_map import LEVELS, ProbabilityMap
from skymap_scanner.results.region import CELL_SQUARE_DEGREES, CELL_STERADIANS, SKY, TOP_ORDER
from skymap_scanner.results.rule import percent
from skymap_scanner.results.skymap import intervals_to_cells
from skymap_scanner.results.summary import area_number

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """The regions of a credible level in both maps, areas in square degrees.

    ``share_a`` and ``share_b`` are the parts of each region that lie in both, ``jaccard`` is the part of their union.
    """

    credible_level: float
    area_a: float
    area_b: float
    area_both: float
    share_a: float
    share_b: float
    jaccard: float


@dataclass(frozen=True)
class Comparison:
    """Map ``a`` compared with ``b``.

    ``separation`` of the best fits (deg). ``searched_a``: the probability in B of the smallest region that reaches the
    best fit of A, ``searched_b`` likewise of B's in A. ``bayes_factor``: 4 pi times the integral of the product of both
    densities, the evidence for one common direction against two independent ones anywhere on the sky.
    """

    a: ProbabilityMap
    b: ProbabilityMap
    separation: float
    overlaps: Sequence[Overlap]
    searched_a: float
    searched_b: float
    bayes_factor: float


def compare(a: ProbabilityMap, b: ProbabilityMap) -> Comparison:
    """Compare two maps."""
    edges = np.union1d(a.edges, b.edges)
    size = np.diff(edges)
    in_a, in_b = a.density_from(edges[:-1]), b.density_from(edges[:-1])
    return Comparison(
        a=a,
        b=b,
        separation=float(np.degrees(angular_separation(*np.radians([a.ra, a.dec, b.ra, b.dec])))),
        overlaps=[
            _overlap(level, a.threshold(level) <= in_a, b.threshold(level) <= in_b, size * CELL_SQUARE_DEGREES)
            for level in LEVELS
        ],
        searched_a=b.searched_probability(a.ra, a.dec),
        searched_b=a.searched_probability(b.ra, b.dec),
        bayes_factor=float(4 * np.pi * (in_a * in_b * size).sum() * CELL_STERADIANS),
    )


def _overlap(level: float, in_a: Mask, in_b: Mask, area: Floats) -> Overlap:
    """Compare two regions, each given as whether the intervals of an area (n,) belong to it."""
    first, second, both = (float(area[rows].sum()) for rows in (in_a, in_b, in_a & in_b))
    return Overlap(level, first, second, both, both / first, both / second, both / float(area[in_a | in_b].sum()))


def product_fits(comparison: Comparison) -> bytes:
    """Encode the normalized product of both maps as multi-order FITS.

    If the maps are independent, it is where a common source is. RA and DEC are those of its pixel of highest density.
    Raises InputError if the maps exclude each other.
    """
    a, b = comparison.a, comparison.b
    if not comparison.bayes_factor > 0:
        raise InputError("no place has probability in both maps, so that they have no product")
    edges = np.union1d(a.edges, b.edges)
    density = a.density_from(edges[:-1]) * b.density_from(edges[:-1])
    density /= (density * np.diff(edges)).sum() * CELL_STERADIANS
    rows = np.flatnonzero(np.append(True, density[1:] != density[:-1]))
    start, stop = edges[rows], np.append(edges[rows[1:]], SKY)
    order, ipix, owner = intervals_to_cells(start, stop, rows, TOP_ORDER)
    uniq = nested_to_uniq(order, ipix)
    by_uniq = np.argsort(uniq)
    peak = int(np.argmax(density[owner]))
    nside = 2 ** int(order[peak])
    ra, dec = np.degrees(pixel_to_radec(nside, nested_to_ring(nside, ipix[peak])))
    columns = [
        fits.Column(name="UNIQ", format="K", array=uniq[by_uniq]),
        fits.Column(name="PROBDENSITY", format="D", unit="sr-1", array=density[owner][by_uniq]),
    ]
    cards: list[Card] = [
        *multi_order_layout(int(order.max())),
        ("CREATOR", f"skymap-scanner {__version__}", "Program that created this file"),
        ("MAP1", a.name, ""),
        ("MAP2", b.name, ""),
        ("BAYESFAC", comparison.bayes_factor, "4 pi times the integral of the product"),
        ("RA", round(float(ra), 4), "Pixel of highest density, degree, J2000"),
        ("DEC", round(float(dec), 4), "Pixel of highest density, degree, J2000"),
        ("NOTE", "The normalized product of MAP1 and MAP2.", ""),
    ]
    return encode_table(columns, cards)


def comparison_json(comparison: Comparison) -> bytes:
    """Return the comparison for programs; angles in deg, areas in square degrees."""
    a, b = comparison.a, comparison.b
    content = {
        "a": _map_json(a),
        "b": _map_json(b),
        "separation_deg": comparison.separation,
        "regions": [asdict(overlap) for overlap in comparison.overlaps],
        "searched_probability_a_in_b": comparison.searched_a,
        "searched_probability_b_in_a": comparison.searched_b,
        "bayes_factor": comparison.bayes_factor,
    }
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _map_json(skymap: ProbabilityMap) -> dict[str, Any]:
    return {"name": skymap.name, "ra": skymap.ra, "dec": skymap.dec, "cautions": list(skymap.notes)}


def comparison_text(comparison: Comparison) -> str:
    """Return the comparison for people."""
    lines = [*map_lines("A", comparison.a), *map_lines("B", comparison.b), ""]
    lines.append(f"Separation of the best fits: {comparison.separation:.3g} deg")
    for overlap in comparison.overlaps:
        share = percent(overlap.credible_level)
        areas = [area_number(area) for area in (overlap.area_a, overlap.area_b, overlap.area_both)]
        lines += [
            "",
            f"{share} regions: A {areas[0]} deg2, B {areas[1]} deg2, both {areas[2]} deg2",
            f"  {overlap.share_a:.1%} of A's, {overlap.share_b:.1%} of B's; Jaccard index {overlap.jaccard:.3g}",
        ]
    odds = f"{comparison.bayes_factor:.3g}"
    if comparison.bayes_factor > 0:
        odds += f" (log10: {math.log10(comparison.bayes_factor):.2f})"
    lines += [
        "",
        f"Searched probability of A's best fit in B: {comparison.searched_a:.3g}",
        f"Searched probability of B's best fit in A: {comparison.searched_b:.3g}",
        f"Spatial Bayes factor, common direction against unrelated ones: {odds}",
    ]
    return "\n".join(lines) + "\n"


def map_lines(label: str, skymap: ProbabilityMap) -> list[str]:
    """Return a map for people: its name, its best fit, and its cautions."""
    lines = [f"{label}: {skymap.name}", f"   best fit RA {skymap.ra:.2f} deg, Dec {skymap.dec:+.2f} deg (J2000)"]
    return lines + [f"   CAUTION: {note}" for note in skymap.notes]
