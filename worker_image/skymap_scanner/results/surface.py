"""2 delta ln L as a continuous function on the sphere, from its values at the centres of pixels of any size.

The centres are joined to triangles (the convex hull of points on a sphere is their Delaunay triangulation), so that
coarse and fine levels meet without seams and no place of the sky is special. Within a triangle the function is the
blend, by barycentric weights, of the parabolas of its three corners: each fits the corner and its eight neighbours, so
that a parabolic minimum is met exactly even where the contour is smaller than a pixel. A corner without all its
neighbours, and one further away than its parabola was fitted, adds the linear interpolation instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy_healpix.core import healpix_to_lonlat, neighbours
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from skymap_scanner.results.skymap import Floats, Integers, MultiOrderMap

#: A parabola counts in full up to this distance from its corner and not at all from the other on, in pixel sizes.
#: A corner's triangles reach to 1.5 pixel sizes where the neighbours are of its own level.
TRUST = (1.5, 2.5)


@dataclass(frozen=True)
class Surface:
    """The triangulated function.

    ``points``: unit vectors (m, 3), the pixels of ``skymap`` first, then points that only close the triangulation
    around the scanned area; ``value``: 2 delta ln L (m,); ``triangles``: (t, 3), counter-clockwise seen from outside.
    ``gradient`` (n, 3) and ``curvature`` (n, 3, 3) are the parabolas in tangent vectors (rad), ``size`` (m,) is the
    pixel size (rad), 0 where there is no parabola; ``low`` and ``high`` (m,) bound them.
    """

    skymap: MultiOrderMap
    points: Floats
    value: Floats
    triangles: Integers
    gradient: Floats
    curvature: Floats
    size: Floats
    low: Floats
    high: Floats

    def evaluate(self, corners: Integers, weights: Floats) -> tuple[Floats, Floats]:
        """Return unit vectors (k, 3) and values (k,) at barycentric ``weights`` (k, 3) of ``corners`` (k, 3).

        The value is infinite where no pixel was fitted.
        """
        vectors = np.einsum("kc,kcx->kx", weights, self.points[corners])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        linear = np.einsum("kc,kc->k", weights, self.value[corners])
        value = linear.copy()
        for corner in range(3):
            rows = np.flatnonzero((self.size[corners[:, corner]] > 0) & (weights[:, corner] > 0))
            vertex = corners[rows, corner]
            step = _tangent(self.points[vertex], vectors[rows])
            parabola = (
                self.value[vertex]
                + np.einsum("kx,kx->k", self.gradient[vertex], step)
                + 0.5 * np.einsum("kx,kxy,ky->k", step, self.curvature[vertex], step)
            )
            parabola = np.clip(parabola, self.low[vertex], self.high[vertex])
            trust = _fade(np.linalg.norm(step, axis=1) / self.size[vertex])
            value[rows] += weights[rows, corner] * trust * (parabola - linear[rows])
        if self.skymap.covered < 1 - 1e-12:
            ra, dec = to_radec(vectors)
            value[self.skymap.owner[self.skymap.cells_at(ra, dec)] < 0] = np.inf
        return vectors, value


def surface(skymap: MultiOrderMap) -> Surface:
    """Triangulate the pixels of a map and fit their parabolas."""
    count = len(skymap.pixels)
    adjacent = _neighbours(skymap)
    ghosts, ghost_values = _ghosts(skymap, adjacent)
    points = np.concatenate([to_vectors(skymap.ra, skymap.dec), ghosts])
    value = np.concatenate([skymap.delta, ghost_values])
    triangles = ConvexHull(points).simplices.astype(np.int64)
    clockwise = np.linalg.det(points[triangles]) < 0
    triangles[clockwise] = triangles[clockwise][:, ::-1]

    gradient, curvature = np.zeros((count, 3)), np.zeros((count, 3, 3))
    size, low, high = np.zeros(len(points)), value.copy(), value.copy()
    rows = np.flatnonzero((adjacent >= -1).all(axis=1))
    around = adjacent[rows]
    gradient[rows], curvature[rows] = _parabolas(points, value, rows, around)
    size[rows] = np.sqrt(np.pi / 3) / skymap.nside[rows]
    beside = np.where(around >= 0, value[around], value[rows, None])
    low[rows] = np.minimum(value[rows], beside.min(axis=1))
    high[rows] = np.maximum(value[rows], beside.max(axis=1))
    return Surface(skymap, points, value, triangles, gradient, curvature, size, low, high)


def to_vectors(ra: Floats, dec: Floats) -> Floats:
    """Return the unit vectors (n, 3) of directions (deg)."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def to_radec(vectors: Floats) -> tuple[Floats, Floats]:
    """Return right ascension in [0, 360) and declination (deg) of vectors (n, 3)."""
    ra = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
    dec = np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
    return np.where(ra == 360.0, 0.0, ra), dec


def _neighbours(skymap: MultiOrderMap) -> Integers:
    """Return the rows (n, 8) of each pixel's neighbours of its own size; -1: HEALPix has none, -2: not in the map."""
    found = np.full((len(skymap.pixels), 8), -2, dtype=np.int64)
    for nside in np.unique(skymap.nside):
        rows = np.flatnonzero(skymap.nside == nside)
        index = skymap.pixels["index"][rows]  # ascending, as the levels are
        beside = _beside(index, int(nside))
        place = np.minimum(np.searchsorted(index, beside), len(index) - 1)
        here = np.where(index[place] == beside, rows[place], -2)
        found[rows] = np.where(beside < 0, -1, here)
    return found


def _beside(index: Integers, nside: int) -> Integers:
    """Return the eight neighbours (n, 8) of pixels, RING; -1 where only seven pixels meet."""
    with np.errstate(invalid="ignore"):  # astropy-healpix raises the flag for some pixels that have all eight
        return np.asarray(neighbours(index, nside, order="ring"), dtype=np.int64).T


def _ghosts(skymap: MultiOrderMap, adjacent: Integers) -> tuple[Floats, Floats]:
    """Return points around the fitted area and values for them, so that triangles reach beyond its edge.

    They are the centres of unfitted neighbours, with the lowest value beside them, and of the 12 base pixels.
    """
    if skymap.covered > 1 - 1e-12:
        return np.empty((0, 3)), np.empty(0)
    points, values = [], []
    for nside in np.unique(skymap.nside):
        rows = np.flatnonzero((skymap.nside == nside) & (adjacent == -2).any(axis=1))
        beside = _beside(skymap.pixels["index"][rows], int(nside))
        missing = adjacent[rows] == -2
        index, place = np.unique(beside[missing], return_inverse=True)
        lowest = np.full(len(index), np.inf)
        np.minimum.at(lowest, place, np.broadcast_to(skymap.delta[rows, None], beside.shape)[missing])
        points.append(_centres(index, int(nside)))
        values.append(lowest)
    points.append(_centres(np.arange(12), 1))
    values.append(np.full(12, skymap.delta.max()))
    vectors, lowest = np.concatenate(points), np.concatenate(values)
    ra, dec = to_radec(vectors)
    outside = skymap.owner[skymap.cells_at(ra, dec)] < 0
    vectors, first = np.unique(vectors[outside], axis=0, return_index=True)
    return vectors, lowest[outside][first]


def _centres(index: Integers, nside: int) -> Floats:
    """Return the unit vectors (n, 3) of pixel centres, RING."""
    lon, lat = healpix_to_lonlat(index, nside, order="ring")
    return to_vectors(lon.to_value("deg"), lat.to_value("deg"))


def _parabolas(points: Floats, value: Floats, rows: Integers, around: Integers) -> tuple[Floats, Floats]:
    """Fit value + g.d + d.H.d/2 through each of ``rows`` to its neighbours ``around`` (k, 8; -1: none)."""
    center = points[rows]
    helper = np.where(np.abs(center[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    east = np.cross(helper, center)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(center, east)

    step = _tangent(center[:, None], points[around])
    a, b = np.einsum("knx,kx->kn", step, east), np.einsum("knx,kx->kn", step, north)
    scale = np.sqrt(np.mean(a**2 + b**2, axis=1))[:, None]
    a, b = a / scale, b / scale
    # Nearer neighbours say more; without the weights a corner neighbour would count as a side neighbour.
    weight = (around >= 0) / (a**2 + b**2)
    terms = np.stack([a, b, a**2 / 2, a * b, b**2 / 2], axis=-1)
    normal = np.einsum("kn,kni,knj->kij", weight, terms, terms)
    right = np.einsum("kn,kni,kn->ki", weight, terms, value[around] - value[rows, None])
    fit = np.linalg.solve(normal, right[..., None])[..., 0]

    frame = np.stack([east, north], axis=1) / scale[:, None]
    slope = fit[:, :2]
    bend = fit[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
    return np.einsum("ki,kix->kx", slope, frame), np.einsum("kij,kix,kjy->kxy", bend, frame, frame)


def _tangent(origin: Floats, vectors: Floats) -> Floats:
    """Return the tangent vectors at ``origin`` that point along great circles to ``vectors``; length = angle, rad."""
    flat = vectors - np.sum(origin * vectors, axis=-1, keepdims=True) * origin
    sine = np.linalg.norm(flat, axis=-1, keepdims=True)
    angle = np.arctan2(sine, np.sum(origin * vectors, axis=-1, keepdims=True))
    ratio = np.divide(angle, sine, out=np.ones_like(sine), where=sine > 0)
    return np.asarray(flat * ratio, dtype=np.float64)


def _fade(distance: Floats) -> NDArray[np.float64]:
    """Fall smoothly from 1 to 0 between the two distances of TRUST."""
    x = np.clip((TRUST[1] - distance) / (TRUST[1] - TRUST[0]), 0, 1)
    return np.asarray(x * x * (3 - 2 * x))
