"""Propagated photons: agreement with the photon table in homogeneous ice, layers, tilt, anisotropy, seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from skymap_scanner.detector.geometry import Geometry
from skymap_scanner.detector.ice import ORIGIN_DEPTH, Ice, ice_model
from skymap_scanner.reconstruction.millipede.acceptance import scattered, turned
from skymap_scanner.reconstruction.millipede.constants import ACCEPTANCE, C_ICE, LIU_SHARE
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel
from skymap_scanner.simulation.medium import FLOW_AZIMUTH, TILT, TILT_AZIMUTH, Medium, flat, south_pole
from skymap_scanner.simulation.propagated_light import crossing_charge, reception_radius
from skymap_scanner.simulation.propagation import Crossings, Sources, _shift, propagate, receivers

from .conftest import random

ANY_DIRECTION = np.array([1.0])  # an acceptance that is the same for all directions
DOWN = np.array([0.0, 0.0, -1.0])
PHOTONS = 200_000


def homogeneous(scattering: float, absorption: float) -> Ice:
    ice = ice_model()
    layers = np.ones(len(ice.absorption_length))
    return replace(ice, effective_scattering_length=layers * scattering, absorption_length=layers * absorption)


def point(z: float = 0.0, energy: float = 1e3) -> Sources:
    """Return a shower without length that points downwards."""
    return Sources(np.array([[0.0, 0.0, z]]), np.zeros(1), np.array([energy]), np.ones(1), np.full(1, 1e-6), DOWN)


def ring(distances: list[float], cosines: list[float], azimuths: list[float]) -> NDArray[np.float64]:
    """Return places around the origin, (distances, cosines, azimuths, 3); cosines from downwards."""
    d, c, a = np.meshgrid(distances, cosines, np.radians(azimuths), indexing="ij")
    s = np.sqrt(1 - c * c)
    return np.stack([d * s * np.cos(a), d * s * np.sin(a), -d * c], axis=-1)


def light(
    position: NDArray[np.float64], medium: Medium, source: Sources, seed: int = 1
) -> tuple[NDArray[np.float64], Crossings]:
    """Return the charge of DOMs at ``position`` (n, 3) that see light from all directions alike, and the crossings."""
    doms = receivers(position, reception_radius(position, source.position), np.arange(len(position)))
    found = propagate(random(seed), PHOTONS, source, medium, doms, batch=150_000)
    return np.bincount(found.dom, crossing_charge(found, source, PHOTONS, doms, ANY_DIRECTION), len(position)), found


def test_homogeneous_ice_gives_charge_and_delay_of_the_photon_table() -> None:
    """At 20 to 70 m, forwards and backwards: charge within 4 %, median delay within 8 % or 2 ns, beside statistics."""
    distances, cosines = [20.0, 40.0, 70.0], [-0.9, -0.3, 0.3, 0.75, 0.95]
    places = ring(distances, cosines, [0, 72, 144, 216, 288])
    position, ice = places.reshape(-1, 3), homogeneous(25.0, 87.5)
    charge, found = light(position, flat(ice, LIU_SHARE), point())
    ones = np.ones(len(position))
    geometry = Geometry(np.arange(len(position), dtype=np.int16), ones.astype(np.int16), position, ones, ones)
    model = PhotonModel(geometry, ice, acceptance=ANY_DIRECTION)
    table = model.expected_charge(np.zeros((1, 3)), DOWN, np.array([1e3]))[0]
    shape = places.shape[:3]
    sampled = np.bincount(found.dom, minlength=len(position)).reshape(shape).sum(axis=2)
    ratio = charge.reshape(shape).sum(axis=2) / table.reshape(shape).sum(axis=2)
    assert (np.abs(ratio - 1) < 0.04 + 4 / np.sqrt(sampled)).all(), ratio
    assert charge.sum() / table.sum() == pytest.approx(1, abs=0.02)
    smear = random(2)
    for i, distance in enumerate(distances):
        for j in range(len(cosines)):
            doms = np.ravel_multi_index((np.full(5, i), np.full(5, j), np.arange(5)), shape)
            own = found.delay[np.isin(found.dom, doms)]
            drawn = model.draw_times(smear, np.zeros((1, 3)), DOWN, np.zeros(4000, np.intp), np.full(4000, doms[0]))
            # the table's times have the smear of the likelihood, a standard deviation of 6.4 ns
            median = np.median(own + 6.4 * smear.standard_normal(len(own)))
            expected = np.median(drawn - distance / C_ICE)
            assert abs(median - expected) < max(0.08 * expected, 2.0) + 5 * expected / math.sqrt(len(own))


def test_acceptance_of_scattered_light_is_that_of_its_photons() -> None:
    """From 10 to 100 m, for light from above, beside and below: right to 5 % on average, to 7.5 % for a DOM."""
    places = ring([10.0, 25.0, 50.0, 100.0], [-0.95, -0.6, -0.2, 0.2, 0.6, 0.95], [0, 60, 120, 180, 240, 300])
    position, curve = places.reshape(-1, 3), np.array(ACCEPTANCE)
    distance = np.sqrt((position**2).sum(axis=1))
    up = position[:, 2] / distance
    number, ratio = np.zeros((2, 3, len(position)))
    for i, direction in enumerate([DOWN, -DOWN, np.array([1.0, 0.0, 0.0])]):
        _, found = light(position, flat(homogeneous(25.0, 87.5), LIU_SHARE), point()._replace(direction=direction))
        number[i] = np.bincount(found.dom, minlength=len(position))
        seen = np.bincount(found.dom, np.polynomial.polynomial.polyval(found.cosine, curve), len(position)) / number[i]
        along = turned(up, position @ direction / distance, direction[2], distance / 25)
        ratio[i] = seen / scattered(curve, along, distance / 25)
    assert np.average((ratio - 1) ** 2, weights=number) < 0.075**2
    for group in (up < -0.55, np.abs(up) < 0.55, up > 0.55):
        assert np.average(ratio[:, group], weights=number[:, group]) == pytest.approx(1, abs=0.05)


def test_crossings_keep_time_and_the_direct_way() -> None:
    """Nearly without scattering, light comes straight: at distance / c, from the direction of the source."""
    position = ring([30.0, 90.0], [-0.5, 0.5], [0, 120, 240]).reshape(-1, 3)
    _, found = light(position, flat(homogeneous(1e5, 200.0), LIU_SHARE), point())
    direct = found.delay < 0.5
    assert direct.mean() > 0.99
    distance = np.linalg.norm(position[found.dom], axis=1)
    early = found.time - distance / C_ICE
    # the closest approach to a place 3.3 m beside the ray is a little nearer than the place
    assert np.quantile(early[direct], 0.01) > -0.5 * 3.3**2 / 30 / C_ICE - 0.1
    assert early[direct].max() < 0.5
    upwards = position[found.dom, 2] / distance
    assert np.abs(found.cosine - upwards)[direct].max() < 0.12


def test_unscattered_light_falls_off_as_the_inverse_square_and_absorption() -> None:
    position = ring([30.0, 90.0], [0.0, 0.2, 0.4, 0.5], list(range(0, 360, 20))).reshape(-1, 3)
    charge, found = light(position, flat(homogeneous(1e5, 100.0), LIU_SHARE), point())
    near, far = charge.reshape(2, -1).sum(axis=1)
    error = 4 / math.sqrt((found.dom >= len(position) // 2).sum())
    assert error < 0.15
    assert far / near == pytest.approx((30 / 90) ** 2 * math.exp(-60 / 100), rel=error + 0.03)


def test_dusty_layers_dim_light() -> None:
    """In SPICE Mie, light at 60 m is far dimmer in the dust around 2050 m than in the clear ice below 2300 m."""
    charges = []
    for depth in (2050.0, 2330.0):
        z = ORIGIN_DEPTH - depth
        position = ring([60.0], [0.0], [0, 60, 120, 180, 240, 300]).reshape(-1, 3) + np.array([0, 0, z])
        charges.append(light(position, south_pole(ice_model()), point(z))[0].sum())
    assert charges[1] > 5 * charges[0] > 0


def test_layers_follow_the_tilt() -> None:
    """A layer that absorbs all light: DOMs behind it get none, and it lies as high as the tilt says."""
    medium = south_pole(ice_model())
    axis = np.array([math.cos(math.radians(TILT_AZIMUTH)), math.sin(math.radians(TILT_AZIMUTH))])
    for place, row in ((-531.419, 0), (0.0, 2), (520.77, 5), (900.0, 5)):
        x, y = place * axis
        assert _shift(x, y, -500.4, medium) == pytest.approx(TILT[row][0])
        assert _shift(x, y, -400.4, medium) == pytest.approx(TILT[row][1])
        assert _shift(x, y, -450.4, medium) == pytest.approx((TILT[row][0] + TILT[row][1]) / 2)
        assert _shift(x, y, -900.0, medium) == pytest.approx(TILT[row][0])
    x, y = -520.0 * axis
    lower = receivers_below_wall(x, y, medium, wall=-400.0)
    assert lower == (False, True)


def receivers_below_wall(x: float, y: float, medium: Medium, wall: float) -> tuple[bool, bool]:
    """Say whether light passes a black layer 10 m thick, whose top is at ``wall`` (m) at the origin, here and shifted.

    Light starts 4 m above where the layer's top would be without tilt; one DOM is 20 m below, one as far above.
    """
    layers = np.arange(len(medium.absorb))
    black = round((ORIGIN_DEPTH - wall - medium.top) / medium.thickness)
    top = ORIGIN_DEPTH - medium.top - black * medium.thickness
    dark = medium._replace(absorb=np.where(layers == black, 1e3, 1 / 200), scatter=np.full(len(layers), 1e-3))
    shifted = top + _shift(x, y, top + 33.0, medium)
    source = point(shifted + 4.0)._replace(position=np.array([[x, y, shifted + 4.0]]))
    position = np.array([[x, y, shifted - 20.0], [x, y + 10, shifted + 20.0]])
    charge, _ = light(position, dark, source)
    return bool(charge[0] > 0.01 * charge[1]), bool(charge[1] > 0)


def test_light_is_brighter_along_the_flow_of_the_ice() -> None:
    ice = homogeneous(25.0, 120.0)
    position = ring([100.0], [0.0], [FLOW_AZIMUTH, FLOW_AZIMUTH + 180, FLOW_AZIMUTH + 90, FLOW_AZIMUTH + 270]).reshape(
        -1, 3
    )
    plain, _ = light(position, flat(ice, 0.45), point())
    stretched, _ = light(position, south_pole(ice)._replace(shift=np.zeros((len(TILT), len(TILT[0])))), point())
    assert plain[:2].sum() / plain[2:].sum() == pytest.approx(1, abs=0.15)
    assert stretched[:2].sum() / stretched[2:].sum() > 1.25


def test_equal_seeds_give_equal_crossings_and_others_do_not() -> None:
    position = ring([30.0], [0.5, 0.75], [0, 90, 180, 270]).reshape(-1, 3)
    medium = south_pole(ice_model())
    first, again, other = (light(position, medium, point(), seed)[1] for seed in (5, 5, 6))
    for name in Crossings._fields:
        assert (getattr(first, name) == getattr(again, name)).all()
    assert len(first.time) != len(other.time) or (first.time != other.time).any()


def test_charge_does_not_depend_on_the_size_of_the_receivers() -> None:
    """Crossings of DOMs of 1 and of 3 m at 40 m stand for the same charge."""
    position = ring([40.0], [0.0, 0.75], [0, 60, 120, 180, 240, 300]).reshape(-1, 3)
    source, charges = point(), []
    for radius in (1.0, 3.0):
        doms = receivers(position, np.full(len(position), radius), np.arange(len(position)))
        found = propagate(random(1), PHOTONS, source, flat(homogeneous(25.0, 87.5), 0.45), doms)
        charges.append(crossing_charge(found, source, PHOTONS, doms, ANY_DIRECTION).sum())
        error = charges[-1] / math.sqrt(len(found.dom))
        if radius == 1.0:
            coarse = error
    assert abs(charges[0] - charges[1]) < 4 * math.hypot(coarse, error) + 0.02 * charges[1]
