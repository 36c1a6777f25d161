from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.errors import ReconstructionError
from skymap_scanner.reconstruction.millipede.segments import (
    InstrumentedVolume,
    convex_hull,
    grid_in_span,
    make_line,
    span_in_cube,
)

angles = st.tuples(st.floats(0, math.pi), st.floats(0, 2 * math.pi))


@given(angles, st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_axes_stay_orthonormal_when_a_line_turns(direction: tuple[float, float], alpha: float, beta: float) -> None:
    line = make_line(np.zeros(3), travel_direction(*direction))
    turned = line.turned(alpha, beta)
    for one in (line, turned):
        axes = np.array([one.direction, one.a, one.b])
        assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    towards = turned.direction / (turned.direction @ line.direction)
    assert towards @ line.a == pytest.approx(alpha, abs=1e-12)
    assert towards @ line.b == pytest.approx(beta, abs=1e-12)


def test_moved_line_keeps_its_axes() -> None:
    line = make_line(np.array([1.0, 2.0, 3.0]), travel_direction(1.0, 2.0))
    moved = line.moved(10.0, -20.0, 30.0)
    assert np.allclose(moved.vertex, line.vertex + 10 * line.a - 20 * line.b + 30 * line.direction)
    assert moved.direction is line.direction


def test_particle_travels_opposite_to_its_origin() -> None:
    assert np.allclose(travel_direction(0.0, 0.0), [0, 0, -1])
    assert np.allclose(travel_direction(math.pi / 2, 0.0), [-1, 0, 0])


def test_track_enters_and_leaves_the_cube_at_its_sides() -> None:
    assert span_in_cube(np.array([100.0, 0, 0]), np.array([1.0, 0, 0])) == (-900, 700)
    assert span_in_cube(np.array([0.0, 0, 0]), np.array([0, 0, -1.0])) == (-800, 800)
    assert span_in_cube(np.array([0.0, 900, 0]), np.array([1.0, 0, 0])) is None
    assert span_in_cube(np.array([0.0, 1700, 0]), np.array([0.7071, 0.7071, 0])) is None
    assert grid_in_span(-700, 500, 15.0) == (-46, 33)
    assert grid_in_span(1.0, 2.0, 15.0) is None


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=3, max_size=40))
def test_hull_equals_that_of_qhull(points: list[tuple[int, int]]) -> None:
    array = np.array(points, float)
    hull = convex_hull(array)
    if len(hull) < 3:
        assert np.linalg.matrix_rank(array - array[0]) < 2
    else:
        assert {tuple(p) for p in hull} == {tuple(p) for p in array[ConvexHull(array).vertices]}


def test_volume_is_the_prism_of_the_strings() -> None:
    volume = InstrumentedVolume(ic86())
    down = volume.span(np.zeros(3), np.array([0.0, 0, -1]))
    z = ic86().position[:, 2]
    assert down == pytest.approx((-z.max(), -z.min()))
    assert volume.span(np.array([0.0, 0, 600]), np.array([1.0, 0, 0])) is None
    assert volume.span(np.array([900.0, 0, 0]), np.array([0.0, 0, -1])) is None
    span = volume.span(np.zeros(3), np.array([1.0, 0, 0]))
    assert span is not None
    assert -600 < span[0] < -400
    assert 400 < span[1] < 600


def test_two_strings_enclose_no_volume() -> None:
    geometry = Geometry(
        np.array([1, 2], np.int16), np.array([1, 1], np.int16), np.zeros((2, 3)), np.ones(2), np.ones(2)
    )
    with pytest.raises(ReconstructionError, match="do not span a volume"):
        InstrumentedVolume(geometry)
