"""Where the segments of a track lie, and which of them count as inside the detector: plain geometry."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.errors import ReconstructionError

#: Sources stand within the cube |x|, |y|, |z| <= this, m: light from farther away does not reach a DOM.
HALF_CUBE = 800.0


@dataclass(frozen=True)
class Line:
    """A line through ``vertex`` (m) along ``direction``, with two axes across it; unit vectors, float64 (3,)."""

    vertex: NDArray[np.float64]
    direction: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]

    def moved(self, a: float, b: float, along: float) -> Line:
        """Return the line with its vertex moved by so many metres."""
        return replace(self, vertex=self.vertex + a * self.a + b * self.b + along * self.direction)

    def turned(self, alpha: float, beta: float) -> Line:
        """Return the line turned about its vertex by the angles whose tangents (towards a and b) these are."""
        direction = _unit(self.direction + alpha * self.a + beta * self.b)
        a = _unit(self.a - _dot(self.a, direction) * direction)
        return Line(self.vertex, direction, a, np.cross(direction, a))


def make_line(vertex: NDArray[np.float64], direction: NDArray[np.float64]) -> Line:
    """Return the line through ``vertex`` (m) along the unit vector ``direction``."""
    helper = np.array([0.0, 0.0, 1.0]) if abs(direction[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    a = _unit(np.cross(direction, helper))
    return Line(vertex, direction, a, np.cross(direction, a))


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the scalar product, in an order that no processor changes."""
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vector of this direction."""
    return vector / math.sqrt(_dot(vector, vector))


def span_in_cube(
    vertex: NDArray[np.float64], direction: NDArray[np.float64], half: float = HALF_CUBE
) -> tuple[float, float] | None:
    """Return where the line vertex + s direction enters and leaves the cube (s, m), None when it misses it."""
    enter, leave = -math.inf, math.inf
    for x, n in zip(vertex.tolist(), direction.tolist(), strict=True):
        if abs(n) < 1e-12:
            if abs(x) > half:
                return None
            continue
        near, far = sorted(((-half - x) / n, (half - x) / n))
        enter, leave = max(enter, near), min(leave, far)
    return (enter, leave) if enter <= leave else None


def grid_in_span(enter: float, leave: float, spacing: float) -> tuple[int, int] | None:
    """Return the first and last multiple of ``spacing`` in [enter, leave], None when there is none."""
    first, last = math.ceil(enter / spacing), math.floor(leave / spacing)
    return (first, last) if first <= last else None


def convex_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners of the convex hull of ``points`` (n, 2), counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(candidates: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        corners: list[tuple[float, float]] = []
        for x, y in candidates:
            while len(corners) >= 2:
                (ax, ay), (bx, by) = corners[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                corners.pop()  # a turn to the right, or none: not a corner
            corners.append((x, y))
        return corners

    lower, upper = chain(ordered), chain(reversed(ordered))
    return np.array(lower[:-1] + upper[:-1]).reshape(-1, 2)


class InstrumentedVolume:
    """The prism that the strings span: the convex hull of their positions, from the lowest to the highest DOM."""

    def __init__(self, geometry: Geometry) -> None:
        corners = convex_hull(geometry.position[:, :2])
        if len(corners) < 3:
            raise ReconstructionError(
                f"the geometry's {len(geometry.string)} DOMs do not span a volume; at least three strings are needed"
            )
        # The sides, counter-clockwise: a point is inside where every normal.x + offset <= 0.
        sides = np.roll(corners, -1, axis=0) - corners
        length = np.sqrt((sides * sides).sum(axis=1))
        self._normal = np.stack([sides[:, 1], -sides[:, 0]], axis=1) / length[:, None]
        self._offset = -(self._normal * corners).sum(axis=1)
        self._bottom = float(geometry.position[:, 2].min())
        self._top = float(geometry.position[:, 2].max())

    def span(self, vertex: NDArray[np.float64], direction: NDArray[np.float64]) -> tuple[float, float] | None:
        """Return where the line vertex + s direction enters and leaves the volume (s, m), None when it misses it."""
        # Each side is one linear inequality in s.
        slopes = [float(x * direction[0] + y * direction[1]) for x, y in self._normal]
        values = [
            float(x * vertex[0] + y * vertex[1] + c) for (x, y), c in zip(self._normal, self._offset, strict=True)
        ]
        slopes += [float(direction[2]), -float(direction[2])]
        values += [float(vertex[2]) - self._top, self._bottom - float(vertex[2])]
        enter, leave = -math.inf, math.inf
        for slope, value in zip(slopes, values, strict=True):
            if abs(slope) < 1e-12:
                if value > 0:
                    return None
            elif slope > 0:
                leave = min(leave, -value / slope)
            else:
                enter = max(enter, -value / slope)
        return (enter, leave) if enter < leave else None
