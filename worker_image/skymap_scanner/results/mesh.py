"""Small triangles that hold a region, in which the surface may be taken as linear.

The triangles of the surface around the region are cut into equal parts; neighbours share their corners to the bit, so
that contours have no gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.healpix import Floats, Integers
from skymap_scanner.results.surface import Surface

#: About this many small triangles a region: 0.1 % of the area of a bowl, in a tenth of a second.
PIECES = 80_000
#: A triangle's edge is never cut into more parts than this.
FINEST = 32
#: Rounding may put a direction on the edge between two triangles outside of both. A weight is a product of unit
#: vectors, so its error does not depend on the size of the triangle.
ROUNDING = 1e-15
#: The corners at the ends of a triangle's three edges.
EDGES = np.array([[0, 1], [0, 2], [1, 2]])


@dataclass(frozen=True)
class Mesh:
    """Small triangles: unit vectors (m, 3), values (m,), corners (t, 3), counter-clockwise seen from outside."""

    points: Floats
    value: Floats
    triangles: Integers

    @cached_property
    def sides(self) -> Floats:
        """Vectors (t, 3, 3) across each triangle's sides: opposite corner 0, 1, 2, pointing inwards."""
        a, b, c = (self.points[self.triangles[:, corner]] for corner in range(3))
        return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)

    def value_at(self, vector: Floats) -> float:
        """Return the value at one direction (3,), linear within its small triangle; infinite outside the mesh."""
        weights = (self.sides.reshape(-1, 3) @ vector).reshape(-1, 3)
        near = self.points[self.triangles[:, 0]] @ vector > 0
        hits = np.flatnonzero(near & (weights >= -ROUNDING).all(axis=1))
        if not len(hits):
            return np.inf
        weight, value = weights[hits[0]], self.value[self.triangles[hits[0]]]
        return float(np.inf if np.isinf(value).any() else weight @ value / weight.sum())


def mesh_of_region(surface: Surface, threshold: float) -> Mesh:
    """Cut the triangles that hold a part of the region; nothing below the threshold touches the mesh's rim."""
    names = _edge_names(surface.triangles, len(surface.points))
    chosen = _triangles_of_region(surface, threshold, names)
    while True:
        mesh, crossed = _cut(surface, surface.triangles[chosen], threshold)
        grown = chosen | np.isin(names, crossed).any(axis=1)
        if np.array_equal(grown, chosen):
            return mesh
        chosen = grown


def _cut(surface: Surface, big: Integers, threshold: float) -> tuple[Mesh, Integers]:
    """Cut triangles into small ones; return them, and the edges of the rim on which the surface is below the threshold.

    The edges are named as by `_edge_names`. There the region goes on beyond the rim.
    """
    parts = int(np.clip(np.sqrt(PIECES / len(big)), 1, FINEST))
    grid, small = _grid(parts)
    name, edges, rim = _name_corners(big, grid, parts, len(surface.points))
    names, seen_at, number = np.unique(name, return_index=True, return_inverse=True)
    triangle, row = np.divmod(seen_at, len(grid))
    points, value = surface.evaluate(big[triangle], grid[row] / parts)
    crossed = (value[np.searchsorted(names, rim)] < threshold).any(axis=1)
    return Mesh(points, value, number.reshape(name.shape)[:, small].reshape(-1, 3)), edges[crossed]


def _triangles_of_region(surface: Surface, threshold: float, edges: Integers) -> NDArray[np.bool_]:
    """Return whether a triangle has a pixel centre inside the region, or shares an edge with one that has (t,).

    Further away the surface may still dip below the threshold between pixels that are all above it. No pixel supports
    such an island, so it is left out.
    """
    inside = (surface.value[surface.triangles] < threshold).any(axis=1)
    return np.asarray(np.isin(edges, edges[inside]).any(axis=1))


def _edge_names(triangles: Integers, points: int) -> Integers:
    """Return a number for each edge (t, 3) of the triangles, the same from both sides."""
    ends = np.sort(triangles[:, EDGES], axis=2)
    return np.asarray(ends[..., 0] * points + ends[..., 1])


def _grid(parts: int) -> tuple[Integers, Integers]:
    """Cut a triangle into parts**2 small ones.

    Returns the corners' barycentric weights (g, 3), times ``parts``, and the small triangles as rows of them (k, 3).
    """
    grid = [(i, j, parts - i - j) for i in range(parts + 1) for j in range(parts + 1 - i)]
    row = {(i, j): place for place, (i, j, _) in enumerate(grid)}
    up = [(row[i, j], row[i + 1, j], row[i, j + 1]) for i, j, k in grid if k > 0]
    down = [(row[i + 1, j], row[i + 1, j + 1], row[i, j + 1]) for i, j, k in grid if k > 1]
    return np.array(grid), np.array(up + down)


def _name_corners(big: Integers, grid: Integers, parts: int, points: int) -> tuple[Integers, Integers, Integers]:
    """Return numbers of the small corners (b, g) on which neighbours agree, the rim's edges (r,), and its corners.

    A corner is named by its big corner, by its place on a big edge counted from the end with the lower number, or by
    its place inside its triangle. The rim consists of the edges that belong to one triangle only; its corners
    (r, parts - 1) are those between the ends of such an edge.
    """
    name = np.empty((len(big), len(grid)), dtype=np.int64)
    edges, edge, shared = np.unique(_edge_names(big, points), return_inverse=True, return_counts=True)
    edge = points + edge.reshape(len(big), 3) * (parts - 1)  # the first name on each edge
    inside = points + len(edges) * (parts - 1)
    for place, weights in enumerate(grid):
        corners = np.flatnonzero(weights)
        if len(corners) == 1:
            name[:, place] = big[:, corners[0]]
        elif len(corners) == 2:
            first, second = corners
            from_low = np.where(big[:, first] < big[:, second], weights[second], weights[first])
            name[:, place] = edge[:, first + second - 1] + from_low - 1
        else:
            name[:, place] = inside + np.arange(len(big))
            inside += len(big)
    alone = np.flatnonzero(shared == 1)
    return name, edges[alone], points + alone[:, None] * (parts - 1) + np.arange(parts - 1)
