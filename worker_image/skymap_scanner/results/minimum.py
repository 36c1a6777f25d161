"""The minimum of -ln L between the pixels, with its error ellipse: a paraboloid fitted to the pixels around it.

2 delta ln L = q0 + (d - d0)' P (d - d0), where d are the angles to the east and to the north along great circles from
the minimum, is fitted by least squares to the pixels of the 90 % region and to the neighbours of the best fit. Pixels
far above the best fit weigh less, since they say little about the minimum. The best fit remains the centre of the
lowest pixel; the interpolated minimum is given beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skymap_scanner import healpix
from skymap_scanner.healpix import Floats, Integers
from skymap_scanner.results.contours import Contour, of_rule
from skymap_scanner.results.directions import local_frame, radec_to_vector, vector_to_radec
from skymap_scanner.results.projection import equatorial_to_galactic
from skymap_scanner.results.skymap import MultiOrderMap
from skymap_scanner.results.surface import tangent

#: Fewest pixels of a fit of six numbers: the best one and its neighbours, of which HEALPix has seven at some places.
MIN_PIXELS = 8
#: Largest share of the variance of the pixels that the paraboloid may leave unexplained.
UNEXPLAINED = 0.2
#: Longest semi-axis (deg): larger regions are no ellipses on a sphere.
LONGEST = 45.0
#: Most steps to the minimum; a paraboloid needs two or three.
STEPS = 20


@dataclass(frozen=True)
class Ellipse:
    """An ellipse around the minimum: semi-axes (deg), and position angle of the longer one, east of north (deg)."""

    credible_level: float
    semi_major: float
    semi_minor: float
    position_angle: float

    @property
    def area(self) -> float:
        """Its area in the plane, square degrees."""
        return math.pi * self.semi_major * self.semi_minor


@dataclass(frozen=True)
class Minimum:
    """The interpolated minimum.

    ``ra``, ``dec``: J2000, deg. ``below``: how much lower -ln L is than in the best pixel. ``covariance``: (2, 2),
    deg2, to the east and to the north, of the density that falls as the map's rule says. ``ellipses``: of its levels,
    by credible level. ``pixels``: how many were fitted. ``unexplained``: share of their variance that the fit leaves.
    """

    ra: float
    dec: float
    below: float
    covariance: Floats
    ellipses: Mapping[float, Ellipse]
    pixels: int
    unexplained: float

    @property
    def galactic(self) -> tuple[float, float]:
        """Galactic longitude and latitude (deg)."""
        longitude, latitude = equatorial_to_galactic(np.array(self.ra), np.array(self.dec))
        return float(longitude), float(latitude)

    def line(self, level: float) -> Floats:
        """Return an ellipse as a closed line (k, 2), deg, counter-clockwise as seen from outside the sphere."""
        ellipse, turn = self.ellipses[level], np.linspace(0, 2 * np.pi, 181)
        angle = math.radians(ellipse.position_angle)
        along, across = np.cos(turn) * ellipse.semi_major, -np.sin(turn) * ellipse.semi_minor
        east = along * math.sin(angle) + across * math.cos(angle)
        north = along * math.cos(angle) - across * math.sin(angle)
        center = radec_to_vector(np.array(self.ra), np.array(self.dec))
        line = np.stack(vector_to_radec(_move(center, np.radians([east, north]).T @ _frame(center))), axis=1)
        return np.concatenate([line[:-1], line[:1]])

    def contains(self, level: float, ra: float, dec: float) -> bool:
        """Return whether a direction (deg) lies in an ellipse."""
        ellipse = self.ellipses[level]
        center = radec_to_vector(np.array(self.ra), np.array(self.dec))
        east, north = np.degrees(_frame(center) @ tangent(center, radec_to_vector(np.array(ra), np.array(dec))))
        angle = math.radians(ellipse.position_angle)
        along = east * math.sin(angle) + north * math.cos(angle)
        across = east * math.cos(angle) - north * math.sin(angle)
        return bool((along / ellipse.semi_major) ** 2 + (across / ellipse.semi_minor) ** 2 < 1)


@dataclass(frozen=True)
class NoMinimum:
    """Why there is no interpolated minimum, as the end of a sentence."""

    reason: str


def fit_minimum(skymap: MultiOrderMap, regions: Sequence[Contour]) -> Minimum | NoMinimum:
    """Fit the minimum of a map with these ``regions``."""
    try:
        return _fit(skymap, {region.credible_level: region for region in of_rule(regions, skymap.rule)})
    except _NoMinimumError as error:
        return NoMinimum(str(error))


class _NoMinimumError(Exception):
    """There is no interpolated minimum; the text says why."""


def _fit(skymap: MultiOrderMap, levels: Mapping[float, Contour]) -> Minimum:
    ninety = levels[0.9]
    _require(not skymap.best_at_edge, "the best fit is at the edge of the sky with fits")
    _require(not ninety.open, "the 90% region is open")
    rows = _fitted_rows(skymap, ninety.threshold)
    _require(len(rows) >= MIN_PIXELS, f"only {len(rows)} pixels are around the best fit")
    points = radec_to_vector(skymap.ra[rows], skymap.dec[rows])
    weight = 1 / (1 + skymap.delta[rows] / ninety.threshold) ** 2
    center, bottom, shape, unexplained = _descend(skymap, points, skymap.delta[rows], weight)
    ra, dec = map(float, vector_to_radec(center))
    _require(unexplained <= UNEXPLAINED, f"-ln L is not quadratic there ({unexplained:.0%} of its variance is left)")
    _require(ninety.contains(ra, dec), "it would lie outside the 90% region")
    ellipses = {level: _ellipse(level, region.threshold, shape) for level, region in levels.items()}
    _require(ellipses[0.9].semi_major <= LONGEST, f"the 90% ellipse would be longer than {LONGEST:g} deg to a side")
    covariance = np.linalg.inv(shape) * (skymap.rule.scale * np.degrees(1.0) ** 2)
    return Minimum(ra, dec, -bottom / 2, np.asarray(covariance, np.float64), ellipses, len(rows), unexplained)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _NoMinimumError(otherwise)


def _descend(
    skymap: MultiOrderMap, points: Floats, value: Floats, weight: Floats
) -> tuple[Floats, float, Floats, float]:
    """Fit in the plane of the best fit, then in that of the minimum found, until it no longer moves.

    Returns the minimum's unit vector (3,), its value, P (2, 2), and the share of the variance that is left.
    """
    center = radec_to_vector(np.array(skymap.best.ra), np.array(skymap.best.dec))
    farthest, walked = np.linalg.norm(tangent(center, points), axis=1).max(), 0.0
    for _ in range(STEPS):
        frame = _frame(center)
        (bottom, *slope), shape, unexplained = _paraboloid(tangent(center, points) @ frame.T, value, weight)
        rises = np.linalg.eigvalsh(shape)[0] > 0
        _require(bool(rises), "-ln L does not rise to all sides (its curvature is not positive definite)")
        step = np.linalg.solve(-2 * shape, np.array(slope))
        walked += float(np.linalg.norm(step))
        _require(walked <= farthest, "it would lie outside the pixels around the best fit")
        if np.linalg.norm(step) < 1e-13:
            break
        center = _move(center, step @ frame)
    return center, float(bottom), shape, unexplained


def _fitted_rows(skymap: MultiOrderMap, threshold: float) -> Integers:
    """Return the pixels of the region, and the neighbours of the best fit."""
    best = skymap.best
    beside = healpix.neighbours(best.nside, best.index)
    near = (skymap.nside == best.nside) & np.isin(skymap.pixels["index"], beside)
    return np.flatnonzero((near | (skymap.delta < threshold)) & np.isfinite(skymap.delta))


def _paraboloid(steps: Floats, value: Floats, weight: Floats) -> tuple[Floats, Floats, float]:
    """Fit q0 + g.d + d'Pd to values at ``steps`` d (n, 2).

    Returns q0 with g (3,), P (2, 2), and the share of the variance that is left.
    """
    scale = np.sqrt(np.mean(np.sum(steps**2, axis=1)))
    x, y = (steps / scale).T
    terms = np.stack([np.ones_like(x), x, y, x**2, 2 * x * y, y**2], axis=1)
    root = np.sqrt(weight)
    found, *_ = np.linalg.lstsq(terms * root[:, None], value * root, rcond=None)
    left = np.sum(weight * (value - terms @ found) ** 2)
    spread = np.sum(weight * (value - np.average(value, weights=weight)) ** 2)
    shape = np.array([[found[3], found[4]], [found[4], found[5]]]) / scale**2
    unexplained = float(left / spread) if spread > 0 else 1.0
    return np.array([found[0], found[1] / scale, found[2] / scale]), shape, unexplained


def _ellipse(level: float, threshold: float, shape: Floats) -> Ellipse:
    """Return the ellipse on which d'Pd equals a threshold."""
    rise, axes = np.linalg.eigh(shape)  # ascending: the first axis is the long one
    major, minor = np.degrees(np.sqrt(threshold / rise))
    east, north = axes[:, 0]
    return Ellipse(level, float(major), float(minor), math.degrees(math.atan2(east, north)) % 180.0)


def _frame(center: Floats) -> Floats:
    """Return the unit vectors (2, 3) east and north at a unit vector; at a pole, those of its meridian."""
    ra, dec = map(float, vector_to_radec(center))
    east, north, _ = local_frame(ra, dec)
    return np.stack([east, north])


def _move(center: Floats, steps: Floats) -> Floats:
    """Return the unit vectors (..., 3) at the ends of tangent vectors (..., 3; rad) along great circles."""
    angle = np.linalg.norm(steps, axis=-1, keepdims=True)
    return np.asarray(center * np.cos(angle) + steps * np.sinc(angle / np.pi))
