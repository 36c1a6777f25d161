"""Credible regions: where 2 delta ln L stays below a threshold, with its area, its lines and its bounding box.

Area, lines and box come from one and the same surface (see ``surface.py``), cut along straight lines in small
triangles; every island is kept. Areas are spherical. Thresholds count from the lowest pixel, not from the lowest point
of the interpolation, so that the region always holds the best fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.healpix import Floats, Integers
from skymap_scanner.results.directions import radec_to_vector, vector_to_radec
from skymap_scanner.results.mesh import Mesh, mesh_of_region
from skymap_scanner.results.rule import WILKS, ContourRule
from skymap_scanner.results.skymap import MultiOrderMap
from skymap_scanner.results.surface import Surface, surface

SQUARE_DEGREES = (180 / np.pi) ** 2


@dataclass(frozen=True)
class Box:
    """How far a region reaches from the best fit, deg, all four >= 0; right ascension is not scaled by cos(dec)."""

    ra_plus: float
    ra_minus: float
    dec_plus: float
    dec_minus: float


@dataclass(frozen=True)
class Contour:
    """One credible region by a rule (``rule``: its name).

    ``area`` in square degrees. ``lines`` are closed, the region on their left as seen from outside the sphere; each is
    (k, 2), right ascension in [0, 360) and declination, deg, the first point repeated at the end. A region that is the
    whole sky has none. ``borders``: bool (k,) a line, where it follows the edge of the sky that has a fit, not the
    threshold. ``pixels`` counts the pixel centres inside; below about 5 the region is mostly interpolation.
    ``beside_no_fit``: one of these pixels has a neighbour without a fit.
    """

    rule: str
    credible_level: float
    threshold: float
    area: float
    lines: Sequence[Floats]
    borders: Sequence[NDArray[np.bool_]]
    box: Box
    pixels: int
    mesh: Mesh
    beside_no_fit: bool = False

    @property
    def open(self) -> bool:
        """Whether the region reaches sky without a fit, so that it may be larger."""
        return self.beside_no_fit or any(border.any() for border in self.borders)

    def contains(self, ra: float, dec: float) -> bool:
        """Return whether a direction (deg) lies in the region."""
        return self.mesh.value_at(radec_to_vector(np.array(ra), np.array(dec))) < self.threshold


def contours(skymap: MultiOrderMap) -> list[Contour]:
    """Return the regions of all levels of the map's rule, the smallest first, and then those of Wilks' theorem.

    Where that is the map's rule, there are no others.
    """
    values = surface(skymap)
    rules = [skymap.rule] if skymap.rule.name == WILKS.name else [skymap.rule, WILKS]
    return [
        _contour(values, rule, level, threshold) for rule in rules for level, threshold in sorted(rule.levels.items())
    ]


def of_rule(regions: Sequence[Contour], rule: ContourRule) -> list[Contour]:
    """Return the regions of one rule."""
    return [region for region in regions if region.rule == rule.name]


def _contour(values: Surface, rule: ContourRule, level: float, threshold: float) -> Contour:
    """Cut one region out of the surface."""
    mesh = mesh_of_region(values, threshold)
    inside = mesh.value[mesh.triangles] < threshold
    count = inside.sum(axis=1)
    # Turn each triangle so that the corner that differs from the two others comes first.
    odd = np.argmax(inside == (count == 1)[:, None], axis=1)
    turned = np.take_along_axis(mesh.triangles, (odd[:, None] + np.arange(3)) % 3, axis=1)
    one, two, three = turned[count == 1], turned[count == 2], turned[count == 3]

    a, b = _crossings(mesh, threshold, one[:, 0], one[:, 1]), _crossings(mesh, threshold, one[:, 0], one[:, 2])
    c, d = _crossings(mesh, threshold, two[:, 0], two[:, 1]), _crossings(mesh, threshold, two[:, 0], two[:, 2])
    p, q = mesh.points[two[:, 1]], mesh.points[two[:, 2]]
    area = (
        _solid_angle(mesh.points[one[:, 0]], a, b).sum()
        + _solid_angle(c, p, q).sum()
        + _solid_angle(c, q, d).sum()
        + _solid_angle(*np.moveaxis(mesh.points[three], 1, 0)).sum()
    )
    # A line runs with the region on its left; an edge is named by its two ends.
    starts = np.concatenate([one[:, [0, 1]], two[:, [2, 0]]])
    ends = np.concatenate([one[:, [0, 2]], two[:, [0, 1]]])
    border = np.isinf(mesh.value[starts]).any(axis=1)
    points = np.concatenate([a, d])
    chains = _chain(starts, ends)
    lines = [np.stack(vector_to_radec(points[chain]), axis=1) for chain in chains]
    return Contour(
        rule=rule.name,
        credible_level=level,
        threshold=threshold,
        area=float(area * SQUARE_DEGREES),
        lines=lines,
        borders=[border[chain] for chain in chains],
        box=_box(values.skymap, mesh, threshold, lines),
        pixels=int((values.skymap.delta < threshold).sum()),
        mesh=mesh,
        beside_no_fit=bool(values.skymap.beside_no_fit[values.skymap.delta < threshold].any()),
    )


def _crossings(mesh: Mesh, threshold: float, start: Integers, stop: Integers) -> Floats:
    """Return the unit vectors (k, 3) where edges cross the threshold; half-way where one end was not scanned."""
    low, high = np.minimum(start, stop), np.maximum(start, stop)  # the same bits from both sides of an edge
    from_low, rise = threshold - mesh.value[low], mesh.value[high] - mesh.value[low]
    part = np.divide(from_low, rise, out=np.full(len(low), 0.5), where=np.isfinite(rise))[:, None]
    vectors = mesh.points[low] * (1 - part) + mesh.points[high] * part
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _solid_angle(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return the solid angles (sr) of spherical triangles (Van Oosterom and Strackee, 10.1109/TBME.1983.325207)."""
    # With b - a and c - a in the determinant, small triangles lose no digits.
    volume = np.einsum("kx,kx->k", a, np.cross(b - a, c - a))
    dots = np.sum(a * b, axis=1) + np.sum(b * c, axis=1) + np.sum(c * a, axis=1)
    return np.asarray(2 * np.arctan2(volume, 1 + dots))


def _chain(starts: Integers, ends: Integers) -> list[list[int]]:
    """Join pieces, each from an edge ``starts`` (k, 2) to an edge ``ends`` (k, 2), to closed chains, the longest first.

    A chain lists pieces by number, the first one again at its end.
    """
    if not len(starts):
        return []
    both = np.sort(np.concatenate([starts, ends]), axis=1)
    _, names = np.unique(both[:, 0] * (both.max() + 1) + both[:, 1], return_inverse=True)
    first, second = np.split(names, 2)
    piece_at = np.empty(len(starts), dtype=np.int64)
    piece_at[first] = np.arange(len(starts))
    following = piece_at[second].tolist()
    chains, seen = [], [False] * len(starts)
    for begin in range(len(starts)):
        chain, piece = [], begin
        while not seen[piece]:
            seen[piece] = True
            chain.append(piece)
            piece = following[piece]
        if chain:
            chains.append([*chain, begin])
    return sorted(chains, key=len, reverse=True)


def _box(skymap: MultiOrderMap, mesh: Mesh, threshold: float, lines: Sequence[Floats]) -> Box:
    """Find how far the region reaches; a pole inside, or the whole sky, opens right ascension to +-180 deg."""
    best = skymap.best
    vertices = np.concatenate([np.empty((0, 2)), *lines])
    dec_plus = np.max(vertices[:, 1], initial=best.dec) - best.dec
    dec_minus = best.dec - np.min(vertices[:, 1], initial=best.dec)
    around = False
    for side in (1.0, -1.0):
        if mesh.value_at(np.array([0.0, 0.0, side])) < threshold:
            around = True
            if side > 0:
                dec_plus = 90.0 - best.dec
            else:
                dec_minus = 90.0 + best.dec
    offsets = [(line[:, 0] - best.ra + 180.0) % 360.0 - 180.0 for line in lines]
    # A line that passes the meridian opposite the best fit jumps by nearly 360 deg.
    if around or any(np.abs(np.diff(offset)).max() > 180.0 for offset in offsets):
        return Box(180.0, 180.0, float(dec_plus), float(dec_minus))
    reach = np.concatenate([np.zeros(1), *offsets])
    return Box(float(reach.max()), float(-reach.min()), float(dec_plus), float(dec_minus))
