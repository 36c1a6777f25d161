"""Showers of the propagated light: hadrons, length, bundles of muons."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skymap_scanner.i3.particle import SPEED_OF_LIGHT
from skymap_scanner.simulation.losses import muon_losses
from skymap_scanner.simulation.showers import (
    BUNDLE_WIDTH,
    MEAN_INELASTICITY,
    bundle_showers,
    cascade_showers,
    draw_hadronic_light,
    draw_inelasticity,
    electron_shower,
    hadronic_light,
)

from .conftest import random

ALONG = np.array([0.48, 0.6, -0.64])


def test_hadrons_give_less_light_the_fainter_they_are() -> None:
    shares = [hadronic_light(energy)[0] for energy in (1e2, 1e3, 1e4, 1e5, 1e6)]
    assert shares == sorted(shares)
    assert 0.7 < shares[0] < 0.8
    assert 0.9 < shares[3] < 0.95


def test_drawn_hadronic_light_has_its_mean_and_spread() -> None:
    generator = random(1)
    drawn = np.array([draw_hadronic_light(generator, 1e4) for _ in range(4000)])
    mean, spread = hadronic_light(1e4)
    assert drawn.mean() == pytest.approx(mean, abs=4 * spread / math.sqrt(4000))
    assert drawn.std() == pytest.approx(spread, rel=0.06)


def test_drawn_inelasticity_has_its_mean() -> None:
    generator = random(2)
    drawn = np.array([draw_inelasticity(generator) for _ in range(6000)])
    assert ((drawn > 0) & (drawn <= 1)).all()
    assert drawn.mean() == pytest.approx(MEAN_INELASTICITY, abs=4 * drawn.std() / math.sqrt(6000))


def test_cascade_is_an_electron_and_hadrons_at_one_place() -> None:
    showers = cascade_showers(random(3), 1e5)
    assert showers.hadronic.tolist() == [False, True]
    assert showers.losses.s.tolist() == [0, 0]
    assert 0.8e5 < showers.losses.energy.sum() < 1e5 * 1.1
    assert electron_shower(1e5).losses.energy.tolist() == [1e5]


def test_showers_grow_with_the_logarithm_of_their_energy() -> None:
    electron, hadrons = (
        (sources.shape * sources.scale).tolist()
        for sources in (
            electron_shower(1e5).sources(np.zeros(3), ALONG),
            cascade_showers(random(3), 1e5).sources(np.zeros(3), ALONG),
        )
    )
    # 2.0 + 0.63 ln E radiation lengths of 0.39 m, over 0.63
    assert electron[0] == pytest.approx((2.01849 + 0.63176 * math.log(1e5)) * 0.3915 / 0.63207, rel=1e-3)
    assert 3 < hadrons[0] < 6
    assert 5 < hadrons[1] < 9


def test_one_muon_is_that_of_the_table_simulation() -> None:
    showers = bundle_showers(random(4), -300.0, 200.0, 1e5, 1)
    losses = muon_losses(random(4), -300.0, 200.0, 1e5)
    assert showers.losses.s.tolist() == losses.s.tolist()
    assert showers.losses.energy.tolist() == losses.energy.tolist()
    vertex = np.array([10.0, 20.0, 30.0])
    sources = showers.sources(vertex, ALONG)
    assert sources.position == pytest.approx(vertex + losses.s[:, None] * ALONG)
    assert sources.time == pytest.approx(losses.s / SPEED_OF_LIGHT)


def test_muons_of_a_bundle_share_the_energy_beside_the_axis() -> None:
    distances, energies = [], []
    for seed in range(30):
        showers = bundle_showers(random(seed), -300.0, 200.0, 1e6, 20)
        assert (np.diff(showers.losses.s) >= 0).all()
        assert 0 < showers.losses.energy.sum() < 1e6
        sources = showers.sources(np.zeros(3), ALONG)
        across = sources.position - (sources.position @ ALONG)[:, None] * ALONG
        assert np.linalg.norm(across, axis=1) == pytest.approx(np.linalg.norm(showers.offset, axis=1))
        assert sources.position @ ALONG == pytest.approx(showers.losses.s)
        own = np.unique(np.linalg.norm(showers.offset, axis=1))
        assert len(own) == 20
        distances.extend(own)
        energies.append([showers.losses.energy[np.linalg.norm(showers.offset, axis=1) == one].sum() for one in own])
    assert np.mean(distances) == pytest.approx(BUNDLE_WIDTH, abs=4 * BUNDLE_WIDTH / math.sqrt(600))
    assert np.mean([max(one) / sum(one) for one in energies]) > 0.3  # the first muon leads
