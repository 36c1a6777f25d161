"""The kernels in single precision against the photon model in plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skymap_scanner.detector.coordinates import travel_direction
from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import Ice, ice_model
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.reconstruction.millipede.bins import bin_event
from skymap_scanner.reconstruction.millipede.build_arrays import trust_in
from skymap_scanner.reconstruction.millipede.descent import TrackLikelihood
from skymap_scanner.reconstruction.millipede.energies import MAX_SUPPORT
from skymap_scanner.reconstruction.millipede.far_field import light_in_unhit_field
from skymap_scanner.reconstruction.millipede.fitter import MillipedeFitter
from skymap_scanner.reconstruction.millipede.gradient import COORDINATES, SIZE, gradient, make_room
from skymap_scanner.reconstruction.millipede.light import TAPER, exponential
from skymap_scanner.reconstruction.millipede.likelihood import PRIOR_ENERGY
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel
from skymap_scanner.reconstruction.millipede.response import light_in_unhit, place_segments
from skymap_scanner.reconstruction.millipede.search import every_segment
from skymap_scanner.reconstruction.millipede.segments import make_line

from .conftest import VERTEX

SPACING = 30.0
RANGE = 500.0
MODEL_ERROR = 0.1
AT_TRUTH = np.array([0.0, 0.0, -40.0, 0.0])  # the event's reference time is 40 ns late


def make_likelihood(
    fitter: MillipedeFitter, vertex: np.ndarray, zenith: float, azimuth: float, spacing: float = SPACING
) -> TrackLikelihood:
    line = make_line(vertex, travel_direction(zenith, azimuth))
    return TrackLikelihood(fitter._surfaces.event, line, spacing, every_segment(line, spacing))


def test_exponential_is_accurate_to_single_precision() -> None:
    for x in np.linspace(-80, 80, 1001).astype(np.float32):
        assert float(exponential(x)) == pytest.approx(math.exp(float(x)), rel=1e-5)
    for x in np.linspace(-1, 1, 101).astype(np.float32):
        assert float(exponential(x)) == pytest.approx(math.exp(float(x)), rel=5e-7)


def test_expected_light_agrees_with_the_references_of_the_light_model() -> None:
    """PE per TeV at mean acceptance, in ice of 25 and 87.5 m: 54 at 20 m, 6.2 at 50, 0.43 at 100, 0.004 at 200."""
    ice = Ice("even", 0.0, 10.0, np.full(400, 25.0), np.full(400, 87.5))
    random = np.random.default_rng(0)
    towards = random.normal(size=(4000, 3))
    towards /= np.linalg.norm(towards, axis=1)[:, None]
    some = np.arange(4000, dtype=np.int16)
    for radius, charge in ((20, 54), (50, 6.2), (100, 0.43), (200, 0.004)):
        geometry = Geometry(some, some, towards * radius, np.ones(4000), np.ones(4000))
        model = PhotonModel(geometry, ice)
        both = [
            model.expected_charge(np.zeros((1, 3)), np.array([x, 0.0, z]), np.array([1000.0])).mean()
            for x, z in ((1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
        ]
        assert np.mean(both) == pytest.approx(charge, rel=0.2)


def slow_matrix(event: PreparedEvent, likelihood: TrackLikelihood, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return expected PE per GeV, (rows, segments) in bins with charge and (segments,) in all else, by plain loops."""
    model = PhotonModel(ic86(), ice_model())
    track, bins = likelihood.track, likelihood.event.bins
    direction = track.direction.astype(float)
    vertex = track.vertex + point[0] * track.a + point[1] * track.b + point[3] * direction
    count = likelihood.seg.energy.size
    s = likelihood.seg.s[:count].astype(float)
    positions = vertex + s[:, None] * direction
    charge = model.expected_charge(positions, direction, np.ones(count))
    data = bin_event(event)
    distance = np.linalg.norm(ic86().position - positions[:, None], axis=2)
    near = np.clip((RANGE - distance) / TAPER, 0, 1)
    charge *= near * near * (3 - 2 * near)
    for dom, weight in zip(data.binned, trust_in(data.binned, MODEL_ERROR), strict=True):
        charge[:, dom.dom] *= weight
    rest = charge[:, data.unhit].sum(axis=1) + 1 / PRIOR_ENERGY
    matrix = np.zeros((bins.charge.size, count))
    for k, dom in enumerate(data.binned):
        before = None
        for m, edge in enumerate(dom.edges):
            delay = edge - event.vertex_time - point[2] - s / SPEED_OF_LIGHT
            share = charge[:, dom.dom] * model.arrived(positions, direction, np.full(count, dom.dom), delay)
            if before is not None:
                row = bins.row[bins.first[k] + m - 1]
                if row >= 0:
                    matrix[row] = share - before
                else:
                    rest += share - before
            before = share
    return matrix, rest


@pytest.mark.parametrize("point", [(0.0, 0.0, -40.0, 0.0), (10.0, -8.0, -60.0, 4.0)])
def test_likelihood_agrees_with_a_double_precision_evaluation(
    event: PreparedEvent, fitter: MillipedeFitter, point: tuple[float, ...]
) -> None:
    likelihood = make_likelihood(fitter, event.vertex, 1.2, 2.0)
    at = np.array(point)
    f = likelihood.value(at, 1e-3, exact=True)
    matrix, rest = slow_matrix(event, likelihood, at)
    fast = likelihood.seg.matrix * likelihood.seg.total
    bright = matrix > 1e-4 * matrix.max()
    assert np.median(np.abs(fast[bright] / matrix[bright] - 1)) < 0.01
    assert np.allclose(likelihood.seg.total, matrix.sum(axis=0) + rest, rtol=0.01)
    assert np.median(np.abs(likelihood.seg.rest / rest - 1)) < 0.002
    energy = likelihood.seg.energy.astype(float)
    bins = fitter._surfaces.event.bins
    charge, noise = bins.charge.astype(float), bins.noise.astype(float)
    mu = noise + matrix @ energy
    slow = float((matrix.sum(axis=0) + rest) @ energy - charge @ np.log(mu))
    # what is left is rounding
    assert f == pytest.approx(slow, abs=0.05)


def test_differences_between_directions_agree_with_a_double_precision_evaluation(
    event: PreparedEvent, fitter: MillipedeFitter
) -> None:
    """Contours are made of differences: these are what must be right near the minimum."""
    values = []
    for zenith, azimuth in ((1.2, 2.0), (1.22, 2.0), (1.2, 2.05), (1.15, 1.95)):
        likelihood = make_likelihood(fitter, VERTEX, zenith, azimuth)
        f = likelihood.value(AT_TRUTH, 1e-3, exact=True)
        matrix, rest = slow_matrix(event, likelihood, AT_TRUTH)
        energy = likelihood.seg.energy.astype(float)
        bins = fitter._surfaces.event.bins
        mu = bins.noise.astype(float) + matrix @ energy
        slow = float((matrix.sum(axis=0) + rest) @ energy - bins.charge.astype(float) @ np.log(mu))
        values.append((f, slow))
    fast, slow = (np.array(column) - column[0] for column in zip(*values, strict=True))
    assert np.abs(slow).max() > 1
    assert np.abs(fast - slow).max() < 0.05


@pytest.mark.parametrize("spacing", [30.0, 5.0])
def test_gradient_agrees_with_differences_of_the_profile(fitter: MillipedeFitter, spacing: float) -> None:
    """Energies are at their best on both sides of a difference: the envelope theorem."""
    likelihood = make_likelihood(fitter, VERTEX + np.array([3.0, -4.0, 2.0]), 1.22, 1.98, spacing)
    at = np.array([0.0, 0.0, -35.0, 0.0])  # at others, kinks of the tables put differences off by 0.1 sigma
    likelihood.calibrate(at)
    likelihood.value(at, 1e-6)
    g, h = np.zeros(SIZE), np.zeros((SIZE, SIZE))
    room = make_room(likelihood.event.bins.charge.size, likelihood.numbers.size, MAX_SUPPORT)
    gradient(likelihood.event, likelihood.track, at, likelihood.seg, likelihood.solver, room, True, g, h)
    assert np.array_equal(h, h.T)
    assert (np.linalg.eigvalsh(h) > 0).all()

    def moved(step: np.ndarray) -> float:
        line = likelihood.line.moved(step[0], step[1], step[3]).turned(step[4], step[5])
        there = TrackLikelihood(likelihood.event, line, spacing, likelihood.numbers)
        there.seg.ratio[:] = likelihood.seg.ratio
        return there.value(at + np.array([0.0, 0.0, step[2], 0.0]), 1e-6)

    for i, size in enumerate((0.1, 0.1, 0.1, 0.1, 4e-4, 4e-4)):
        step = np.zeros(SIZE)
        step[i] = size
        slope = (moved(step) - moved(-step)) / (2 * size)
        # tables are linear between their nodes: a difference across some of them is not quite the slope at one place
        assert g[i] == pytest.approx(slope, rel=0.08, abs=0.05 * math.sqrt(h[i, i])), COORDINATES[i]


def test_far_field_approximates_the_exact_sum(fitter: MillipedeFitter) -> None:
    random = np.random.default_rng(5)
    errors = []
    for _ in range(12):
        vertex = random.uniform(-350, 350, 3)
        likelihood = make_likelihood(fitter, vertex, math.acos(random.uniform(-1, 1)), random.uniform(0, 2 * math.pi))
        seg = likelihood.seg
        at = np.zeros(4)
        likelihood.complete(at)
        place_segments(likelihood.track, at, seg)
        light_in_unhit_field(likelihood.event, likelihood.track, seg)
        field = seg.unhit.copy()
        light_in_unhit(likelihood.event, likelihood.track, seg)
        bright = seg.unhit > 1e-3
        errors.extend((field / seg.unhit - 1)[bright])
        likelihood.calibrate(at)
        light_in_unhit_field(likelihood.event, likelihood.track, seg)
        calibrated = seg.unhit * (1 + seg.ratio)
        light_in_unhit(likelihood.event, likelihood.track, seg)
        assert np.allclose(calibrated, seg.unhit, rtol=1e-5)
    assert np.sqrt(np.mean(np.square(errors))) < 0.025
    assert abs(np.mean(errors)) < 0.01


def test_arrival_times_drawn_follow_the_distribution() -> None:
    model, random = PhotonModel(ic86(), ice_model()), np.random.default_rng(2)
    direction, position = travel_direction(0.7, 1.0), np.array([[30.0, 40.0, -250.0]])
    near = np.flatnonzero(np.linalg.norm(ic86().position - position, axis=1) < 150)
    dom = random.choice(near, 20_000)
    source = np.zeros(len(dom), np.intp)
    time = model.draw_times(random, position, direction, source, dom)
    share = model.arrived(position[source], direction, dom, time)
    # times drawn from a distribution make its value uniform, but for the steps of the smear
    assert np.allclose(np.histogram(share, 10, (0, 1))[0] / len(dom), 0.1, atol=0.02)
    late = model.arrived(position[source], direction, dom, np.full(len(dom), 1e6))
    early = model.arrived(position[source], direction, dom, np.zeros(len(dom)))
    assert np.allclose(late, 1)
    assert (early == 0).all()
