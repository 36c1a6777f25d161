"""Varied physics: its limits, what it changes, how it is drawn, and its record in the truth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ICE_MODELS, Ice, ice_model
from skymap_scanner.errors import I3Error, InputError
from skymap_scanner.event.model import Event
from skymap_scanner.i3 import I3MapStringDouble
from skymap_scanner.reconstruction.millipede.acceptance import scattered, turned
from skymap_scanner.reconstruction.millipede.constants import ACCEPTANCE
from skymap_scanner.reconstruction.millipede.photon_model import PhotonModel
from skymap_scanner.simulation import Variation, draw_variation, read_truth, simulate
from skymap_scanner.simulation.losses import cascade_losses
from skymap_scanner.simulation.photoelectrons import draw_photoelectrons
from skymap_scanner.simulation.variation import FLASHER_ACCEPTANCE, LIMITS

from .conftest import random

CASCADE: dict[str, Any] = {"energy": 3e4, "seed": 7, "vertex": (30.0, -20.0, -250.0), "ra": 83.6, "dec": 22.0}
VARIED = Variation(scattering=1.07, absorption=0.94, efficiency=1.03, hole_ice=0.4, anisotropy=0.8)


def encode(event: Event) -> bytes:
    return b"".join(frame.to_bytes() for frame in event.frames.values())


def count(variation: Variation) -> int:
    """Count the photoelectrons of a bright cascade in DOMs beyond 100 m."""
    geometry, vertex = ic86(), np.array(CASCADE["vertex"])
    dom, _ = draw_photoelectrons(
        random(1),
        cascade_losses(1e6),
        vertex,
        np.array([0.0, 0.0, -1.0]),
        geometry,
        ice_model(),
        variation,
    )
    return int((np.linalg.norm(geometry.position[dom] - vertex, axis=1) > 100).sum())


def homogeneous(length: float) -> Ice:
    ice = ice_model()
    layers = np.ones_like(ice.absorption_length)
    return replace(ice, effective_scattering_length=length * layers, absorption_length=3.5 * length * layers)


def test_nominal_variation_gives_the_same_bytes() -> None:
    plain = simulate("cascade", **CASCADE)
    assert encode(simulate("cascade", **CASCADE, variation=Variation())) == encode(plain)
    assert "MCVariation" not in plain.frames["P"]


def test_varied_event_records_its_variation() -> None:
    frame = simulate("cascade", **CASCADE, variation=VARIED).frames["P"]
    truth = read_truth(frame)
    assert truth is not None
    assert truth.variation == VARIED
    damaged = frame.copy()
    damaged["MCVariation"] = I3MapStringDouble({"scattering": 1.0})
    with pytest.raises(I3Error, match="a variation has scattering, absorption"):
        read_truth(damaged)
    damaged = frame.copy()
    damaged["MCVariation"] = I3MapStringDouble(VARIED.as_dict() | {"hole_ice": 7.0})
    with pytest.raises(I3Error, match=r"hole_ice 7\.0 is not between 0 and 1"):
        read_truth(damaged)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("beyond", [-0.01, 2.01, math.nan, math.inf])
def test_numbers_beyond_the_limits_are_rejected_by_name(name: str, beyond: float) -> None:
    with pytest.raises(InputError, match=f"{name} {beyond} is not between"):
        Variation(**{name: beyond})


def test_efficiency_multiplies_the_charge() -> None:
    nominal, more = count(Variation()), count(Variation(efficiency=1.1))
    assert more / nominal == pytest.approx(1.1, abs=5 * 1.1 / math.sqrt(nominal))


@pytest.mark.parametrize("name", ["scattering", "absorption"])
def test_clearer_ice_gives_more_light(name: str) -> None:
    less, more = count(Variation(**{name: 0.9})), count(Variation(**{name: 1.1}))
    assert more - less > 10 * math.sqrt(more)


def test_hole_ice_changes_charge_by_the_ratio_of_the_curves() -> None:
    """A DOM 10 m straight above gets light that goes up, one at the side light that goes sideways."""
    length, geometry = 30.0, ic86()
    at = geometry.position[1234] - np.array([[0.0, 0.0, 10.0], [10.0, 0.0, 0.0]])
    along = np.array([0.0, 0.0, -1.0])
    models = [
        PhotonModel(geometry, homogeneous(length), acceptance=variation.acceptance)
        for variation in (Variation(), Variation(hole_ice=1.0))
    ]
    before, after = (model.expected_charge(at, along, np.ones(2))[:, 1234] for model in models)
    ratio, lengths = after / before, np.full(2, 10 / length)
    seen = turned(np.array([1.0, 0.0]), np.array([-1.0, 0.0]), -1.0, lengths)
    nominal, other = (scattered(np.array(curve), seen, lengths) for curve in (ACCEPTANCE, FLASHER_ACCEPTANCE))
    assert ratio == pytest.approx(other / nominal, rel=1e-6)


def test_flasher_acceptance_is_the_published_formula() -> None:
    x = np.linspace(-1, 1, 41)
    formula = 0.34 * (1 + 1.5 * x - x**3 / 2) + 0.35 * x * (x * x - 1) ** 3
    assert np.polynomial.Polynomial(FLASHER_ACCEPTANCE)(x) == pytest.approx(formula, abs=1e-12)
    for strength in (0.0, 0.3, 1.0):
        assert (np.polynomial.Polynomial(Variation(hole_ice=strength).acceptance)(x) > -0.01).all()


@given(st.integers(0, 2**32 - 1))
def test_drawn_physics_is_possible_and_depends_on_the_seed_alone(seed: int) -> None:
    ice, variation = draw_variation(random(seed))
    assert ice in ICE_MODELS
    for name in ("scattering", "absorption", "efficiency"):
        assert 0.9 <= getattr(variation, name) <= 1.1
    assert 0 <= variation.hole_ice <= 1
    assert 0.6 <= variation.anisotropy <= 1.4
    assert draw_variation(random(seed)) == (ice, variation)


def test_drawn_physics_spreads_as_documented() -> None:
    generator = random(3)
    drawn = [draw_variation(generator) for _ in range(3000)]
    assert {ice for ice, _ in drawn} == set(ICE_MODELS)
    width = 0.05 * 0.880  # a Gaussian cut at two sigma
    for name in ("scattering", "absorption"):
        values = np.array([getattr(variation, name) for _, variation in drawn])
        assert values.mean() == pytest.approx(1, abs=4 * width / math.sqrt(3000))
        assert values.std() == pytest.approx(width, rel=0.06)
    assert np.std([v.efficiency for _, v in drawn]) == pytest.approx(0.2 / math.sqrt(12), rel=0.06)
    assert np.std([v.hole_ice for _, v in drawn]) == pytest.approx(1 / math.sqrt(12), rel=0.06)
    assert np.std([v.anisotropy for _, v in drawn]) == pytest.approx(4 * width, rel=0.06)
