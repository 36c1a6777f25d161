"""Tilt and flow of the ice: the kernels' heights, and anisotropy beside propagated photons."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from skymap_scanner.detector.ice import ANISOTROPY, FLOW_AZIMUTH, TILT_AZIMUTH, ice_model, layer_height
from skymap_scanner.reconstruction.millipede.anisotropy import DELAYED, kappa, way
from skymap_scanner.reconstruction.millipede.directions import F, layer_at
from skymap_scanner.reconstruction.millipede.layers import column_of, layer_table
from skymap_scanner.reconstruction.millipede.light import layer_place
from skymap_scanner.reconstruction.millipede.slopes import layer_slopes, shape_slopes
from skymap_scanner.simulation.medium import Medium, south_pole
from skymap_scanner.simulation.propagation import Sources, propagate, receivers

SCATTERING, ABSORPTION = 25.0, 87.5
DISTANCE = 60.0
Array = NDArray[np.float64]


def unit(azimuth: float) -> Array:
    return np.array([math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth)), 0.0])


def test_kernels_find_the_height_of_a_layer() -> None:
    """The height, its slope along the tilt and its slope upwards agree with numpy, also beyond the table."""
    place = np.random.default_rng(3).uniform(-700, 700, (400, 3))
    found = np.array([layer_at(*map(F, x)) for x in place])
    assert np.abs(found[:, 0] - layer_height(place)).max() < 2e-3
    step = 0.5
    for column, direction in ((1, unit(TILT_AZIMUTH)), (2, np.array([0.0, 0.0, 1.0]))):
        higher, lower = (layer_height(place + sign * step * direction) for sign in (1, -1))
        # all but the few that lie on an edge of the table
        close = np.abs(found[:, column] - (higher - lower) / (2 * step)) < 1e-3
        assert close.mean() > 0.97


def test_slopes_of_the_layers_agree_with_differences() -> None:
    """Also where layers are farther apart in height than the places are, and the table ends."""
    layers, column = layer_table(ice_model()).ravel(), column_of(np.array([[0.0, 0.0, -120.0]]))[0]

    def number(distance: float, height: float) -> tuple[float, float, float]:
        cosine = F(height / distance)
        place, radial, angular = layer_place(F(distance), cosine, column)
        return layer_slopes(place, F(radial), F(angular), F(distance), cosine, layers)

    ends, close = 0, []
    for distance, cosine in np.random.default_rng(4).uniform((40, -1.1), (200, 1.1), (300, 2)):
        height, step = cosine * distance, 0.05
        _, by_distance, by_source = number(distance, height)
        # a source that is higher is nearer in height to the DOM
        higher, lower = (number(distance, height - sign * step)[0] for sign in (1, -1))
        farther, nearer = (number(distance + sign * step, height)[0] for sign in (1, -1))
        scale = number(distance, height)[0] / distance
        ends += abs(cosine) > 1.01 and by_source == 0
        # all but those next to a node of the table
        close.append(abs((higher - lower) / (2 * step) - by_source) < 0.05 * scale + 0.02 * abs(by_source))
        close.append(abs((farther - nearer) / (2 * step) - by_distance) < 0.05 * scale + 0.02 * abs(by_distance))
    assert ends > 10
    assert np.mean(close) > 0.97


def test_slopes_of_the_shape_agree_with_differences() -> None:
    step = 1e-2
    for at in np.random.default_rng(5).uniform((0.05, -0.8, -0.5), (0.95, 0.8, 0.5), (200, 3)):
        _, *slopes = shape_slopes(*map(F, at))
        for one, slope in zip(np.eye(3), slopes, strict=True):
            later, sooner = (shape_slopes(*map(F, at + sign * step * one))[0] for sign in (1, -1))
            assert (later - sooner) / (2 * step) == pytest.approx(slope, abs=2e-3)


def seen(medium: Medium, direction: Array, photons: int) -> tuple[float, float]:
    """Return how many photons come by `DISTANCE` away on both sides, and their mean delay, from isotropic light."""
    position = np.array([DISTANCE * direction, -DISTANCE * direction])
    doms = receivers(position, np.full(2, 12.0), np.arange(2))
    axes = [sign * axis for axis in np.eye(3) for sign in (1.0, -1.0)]
    count, delay = 0, 0.0
    for number, axis in enumerate(axes):
        source = Sources(np.zeros((1, 3)), np.zeros(1), np.ones(1), np.ones(1), np.full(1, 1e-6), axis)
        crossings = propagate(np.random.default_rng([7, number]), photons, source, medium, doms)
        count += len(crossings.dom)
        delay += float(crossings.delay.sum())
    return count, delay / count


@pytest.mark.parametrize(("name", "direction"), [("flow", unit(FLOW_AZIMUTH)), ("across", unit(FLOW_AZIMUTH + 90))])
def test_light_goes_farther_along_the_flow(name: str, direction: Array) -> None:
    """Charge and delay relative to ice without anisotropy: 13 % more light along the flow, 7 % less across."""
    plain = ice_model()
    layers = np.ones_like(plain.absorption_length)
    ice = replace(plain, effective_scattering_length=SCATTERING * layers, absorption_length=ABSORPTION * layers)
    count, delay = seen(south_pole(ice), direction, 150_000)
    even, even_delay = seen(south_pole(replace(ice, anisotropy=0.0)), direction, 150_000)
    turn = kappa(np.array([1.0 if name == "flow" else 0.0]), 1.0)[0]
    expected = -turn * way(*(np.array([x]) for x in (DISTANCE, 1 / SCATTERING, 1 / ABSORPTION)))[0]
    # the tolerances, about 2.5 standard deviations, are smaller than the effects
    assert math.log(count / even) == pytest.approx(expected, abs=0.03)
    assert abs(expected) > 0.07
    assert delay / even_delay == pytest.approx(1 + DELAYED * turn, abs=0.032)
    assert abs(DELAYED * turn) > 0.034


def test_anisotropy_vanishes_on_average_and_scales() -> None:
    cosine = np.linspace(-1, 1, 2001)
    assert kappa(cosine, 1.0).mean() == pytest.approx(0, abs=0.003)
    assert np.allclose(kappa(cosine, 0.5), kappa(cosine, 1.0) / 2)
    assert not kappa(cosine, 0.0).any()
    assert kappa(np.array([1.0]), 1.0)[0] == pytest.approx(0.6 * ANISOTROPY[0], rel=0.08)
