"""2 delta ln L as a continuous function on the sphere, from its values at the centres of pixels of any size.

The centres are joined to triangles (the convex hull of points on a sphere is their Delaunay triangulation), so that
coarse and fine levels meet without seams and no place of the sky is special. Within a triangle the square root is
linear, which never overshoots and is right for a parabolic minimum at a corner. Where the surroundings of a corner are
smooth, its parabola, fitted to its eight neighbours, is blended in by barycentric weight: a parabolic minimum anywhere
between the centres is then met exactly, even where the contour is smaller than a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from skymap_scanner.healpix import Floats, Integers, neighbours, pixel_to_vector, pixel_width
from skymap_scanner.results.directions import radec_to_vector, vector_to_radec
from skymap_scanner.results.skymap import MultiOrderMap

#: A parabola counts in full up to this distance from its corner and not at all from the other on, in pixel sizes.
#: A corner's triangles reach to 1.5 pixel sizes where the neighbours are of its own level.
REACH = (1.5, 2.5)
#: It counts in full where it leaves this share of its neighbours' squared differences unexplained, and not at all from
#: the other on. Noise alone leaves 3/8: eight neighbours, five parameters.
UNEXPLAINED = (0.05, 0.2)
#: Below this nside the neighbours are too far away to describe the surroundings of a pixel.
MIN_NSIDE = 4


@dataclass(frozen=True)
class Surface:
    """The triangulated function.

    ``points``: unit vectors (m, 3), the pixels of ``skymap`` first, then points that only close the triangulation
    around the scanned area; ``value``: 2 delta ln L (m,); ``triangles``: (t, 3), counter-clockwise seen from outside.
    ``gradient`` (n, 3) and ``curvature`` (n, 3, 3) are the parabolas in tangent vectors (rad), ``trust`` (m,) from 0 to
    1 is their weight; ``size`` (m,) is the pixel size (rad); ``low`` and ``high`` (m,) bound the parabolas.
    """

    skymap: MultiOrderMap
    points: Floats
    value: Floats
    triangles: Integers
    gradient: Floats
    curvature: Floats
    trust: Floats
    size: Floats
    low: Floats
    high: Floats

    def evaluate(self, corners: Integers, weights: Floats) -> tuple[Floats, Floats]:
        """Return unit vectors (k, 3) and values (k,) at barycentric ``weights`` (k, 3) of ``corners`` (k, 3).

        The value is infinite where no pixel was fitted.
        """
        vectors = np.einsum("kc,kcx->kx", weights, self.points[corners])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        plain = np.einsum("kc,kc->k", weights, np.sqrt(self.value[corners])) ** 2
        value = plain.copy()
        for corner in range(3):
            rows = np.flatnonzero((self.trust[corners[:, corner]] > 0) & (weights[:, corner] > 0))
            vertex = corners[rows, corner]
            step = tangent(self.points[vertex], vectors[rows])
            parabola = (
                self.value[vertex]
                + np.einsum("kx,kx->k", self.gradient[vertex], step)
                + 0.5 * np.einsum("kx,kxy,ky->k", step, self.curvature[vertex], step)
            )
            parabola = np.clip(parabola, self.low[vertex], self.high[vertex])
            trust = self.trust[vertex] * _fade(np.linalg.norm(step, axis=1) / self.size[vertex], *REACH)
            value[rows] += weights[rows, corner] * trust * (parabola - plain[rows])
        if self.skymap.covered < 1 - 1e-12:
            ra, dec = vector_to_radec(vectors)
            value[self.skymap.owner[self.skymap.cells_at(ra, dec)] < 0] = np.inf
        return vectors, value


def surface(skymap: MultiOrderMap) -> Surface:
    """Triangulate the pixels of a map and fit their parabolas."""
    count = len(skymap.pixels)
    adjacent = _neighbours(skymap)
    ghosts, ghost_values = _ghosts(skymap, adjacent)
    points = np.concatenate([radec_to_vector(skymap.ra, skymap.dec), ghosts])
    value = np.concatenate([skymap.delta, ghost_values])
    triangles = ConvexHull(points).simplices.astype(np.int64)
    clockwise = np.linalg.det(points[triangles]) < 0
    triangles[clockwise] = triangles[clockwise][:, ::-1]

    gradient, curvature = np.zeros((count, 3)), np.zeros((count, 3, 3))
    trust, size, low, high = np.zeros(len(points)), np.ones(len(points)), value.copy(), value.copy()
    rows = np.flatnonzero((adjacent >= -1).all(axis=1) & (skymap.nside >= MIN_NSIDE))
    around = adjacent[rows]
    gradient[rows], curvature[rows], unexplained = _parabolas(points, value, rows, around)
    trust[rows] = _fade(unexplained, *UNEXPLAINED)
    size[rows] = pixel_width(skymap.nside[rows])
    beside = np.where(around >= 0, value[around], value[rows, None])
    low[rows] = np.minimum(value[rows], beside.min(axis=1))
    high[rows] = np.maximum(value[rows], beside.max(axis=1))
    return Surface(skymap, points, value, triangles, gradient, curvature, trust, size, low, high)


def _neighbours(skymap: MultiOrderMap) -> Integers:
    """Return the rows (n, 8) of each pixel's neighbours of its own size; -1: HEALPix has none, -2: not in the map."""
    found = np.full((len(skymap.pixels), 8), -2, dtype=np.int64)
    for nside in np.unique(skymap.nside):
        rows = np.flatnonzero(skymap.nside == nside)
        index = skymap.pixels["index"][rows]  # ascending, as the levels are
        beside = neighbours(int(nside), index)
        place = np.minimum(np.searchsorted(index, beside), len(index) - 1)
        here = np.where(index[place] == beside, rows[place], -2)
        found[rows] = np.where(beside < 0, -1, here)
    return found


def _ghosts(skymap: MultiOrderMap, adjacent: Integers) -> tuple[Floats, Floats]:
    """Return points around the fitted area and values for them, so that triangles reach beyond its edge.

    They are the centres of unfitted neighbours, with the highest value beside them, so that no region reaches the edge
    that did not have to, and of the 12 base pixels.
    """
    if skymap.covered > 1 - 1e-12:
        return np.empty((0, 3)), np.empty(0)
    points, values = [], []
    for nside in np.unique(skymap.nside):
        rows = np.flatnonzero((skymap.nside == nside) & (adjacent == -2).any(axis=1))
        beside = neighbours(int(nside), skymap.pixels["index"][rows])
        missing = adjacent[rows] == -2
        index, place = np.unique(beside[missing], return_inverse=True)
        highest = np.zeros(len(index))
        np.maximum.at(highest, place, np.broadcast_to(skymap.delta[rows, None], beside.shape)[missing])
        points.append(pixel_to_vector(int(nside), index))
        values.append(highest)
    points.append(pixel_to_vector(1, np.arange(12)))
    values.append(np.full(12, skymap.delta.max()))
    vectors, highest = np.concatenate(points), np.concatenate(values)
    ra, dec = vector_to_radec(vectors)
    outside = skymap.owner[skymap.cells_at(ra, dec)] < 0
    vectors, first = np.unique(vectors[outside], axis=0, return_index=True)
    return vectors, highest[outside][first]


def _parabolas(points: Floats, value: Floats, rows: Integers, around: Integers) -> tuple[Floats, Floats, Floats]:
    """Fit value + g.d + d.H.d/2 through each of ``rows`` to its neighbours ``around`` (k, 8; -1: none).

    Returns g (k, 3), H (k, 3, 3) and the share of the neighbours' squared differences that the fit leaves (k,).
    """
    center = points[rows]
    helper = np.where(np.abs(center[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    east = np.cross(helper, center)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(center, east)

    step = tangent(center[:, None], points[around])
    a, b = np.einsum("knx,kx->kn", step, east), np.einsum("knx,kx->kn", step, north)
    scale = np.sqrt(np.mean(a**2 + b**2, axis=1))[:, None]
    a, b = a / scale, b / scale
    # Nearer neighbours constrain more; without the weights a corner neighbour would count as a side neighbour.
    weight = np.divide(around >= 0, a**2 + b**2, out=np.zeros_like(a), where=around >= 0)
    terms = np.stack([a, b, a**2 / 2, a * b, b**2 / 2], axis=-1)
    normal = np.einsum("kn,kni,knj->kij", weight, terms, terms)
    rise = value[around] - value[rows, None]
    right = np.einsum("kn,kni,kn->ki", weight, terms, rise)
    fit = np.linalg.solve(normal, right[..., None])[..., 0]
    left = np.sum(weight * (rise - np.einsum("kni,ki->kn", terms, fit)) ** 2, axis=1)
    unexplained = left / np.maximum(np.sum(weight * rise**2, axis=1), np.finfo(float).tiny)

    frame = np.stack([east, north], axis=1) / scale[:, None]
    slope = fit[:, :2]
    bend = fit[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
    gradient, curvature = np.einsum("ki,kix->kx", slope, frame), np.einsum("kij,kix,kjy->kxy", bend, frame, frame)
    return gradient, curvature, unexplained


def tangent(origin: Floats, vectors: Floats) -> Floats:
    """Return the tangent vectors at ``origin`` that point along great circles to ``vectors``; length = angle, rad."""
    flat = vectors - np.sum(origin * vectors, axis=-1, keepdims=True) * origin
    sine = np.linalg.norm(flat, axis=-1, keepdims=True)
    angle = np.arctan2(sine, np.sum(origin * vectors, axis=-1, keepdims=True))
    ratio = np.divide(angle, sine, out=np.ones_like(sine), where=sine > 0)
    return np.asarray(flat * ratio, dtype=np.float64)


def _fade(x: Floats, start: float, stop: float) -> NDArray[np.float64]:
    """Fall smoothly from 1 at ``start`` to 0 at ``stop``."""
    x = np.clip((stop - x) / (stop - start), 0, 1)
    return np.asarray(x * x * (3 - 2 * x))
