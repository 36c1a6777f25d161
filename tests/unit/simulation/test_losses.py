"""Energy losses of muons and cascades: their spectrum, mean and conservation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skymap_scanner.simulation.losses import (
    ICE_DENSITY,
    IONISATION,
    SPECTRUM,
    STEP,
    V_CUT,
    B,
    cascade_losses,
    continuous_loss,
    draw_shares,
    muon_losses,
)

from .conftest import random


def test_integral_of_the_loss_spectrum_is_b() -> None:
    # mean loss by numerical integration of the spectra in log v
    log_v = np.linspace(math.log(V_CUT), 0, 200_001)
    v = np.exp((log_v[1:] + log_v[:-1]) / 2)
    hard, soft = (4 / 3 * (1 / v - 1) + v) * v, v**-2.5 * v
    mean = SPECTRUM.hard * (hard * v).sum() / hard.sum() + (1 - SPECTRUM.hard) * (soft * v).sum() / soft.sum()
    assert SPECTRUM.rate * mean + SPECTRUM.continuous == pytest.approx(B * ICE_DENSITY, rel=1e-6)


def test_mean_of_drawn_losses_equals_that_of_the_spectrum() -> None:
    shares = draw_shares(random(1), 400_000)
    assert shares.min() >= V_CUT
    assert shares.max() <= 1
    expected = (B * ICE_DENSITY - SPECTRUM.continuous) / SPECTRUM.rate
    error = shares.std() / math.sqrt(len(shares))
    assert abs(shares.mean() - expected) < 4 * error


def test_mean_muon_loss_agrees_with_dedx() -> None:
    length, energy, count = 500.0, 1e5, 2000
    b = B * ICE_DENSITY
    expected = energy - ((energy + IONISATION / b) * math.exp(-b * length) - IONISATION / b)
    generator = random(2)
    lost = np.array([muon_losses(generator, 0.0, length, energy).energy.sum() for _ in range(count)])
    assert abs(lost.mean() - expected) < 4 * lost.std() / math.sqrt(count)


def test_losses_are_positive_and_ordered_along_the_track() -> None:
    losses = muon_losses(random(3), -700.0, 650.0, 1e6)
    assert (np.diff(losses.s) >= 0).all()
    assert losses.s.min() >= -700
    assert losses.s.max() <= 650
    assert (losses.energy > 0).all()
    assert losses.energy.sum() < 1e6
    assert len(losses.s) >= 1350 / STEP


def test_stopping_muon_deposits_all_its_energy() -> None:
    losses = muon_losses(random(4), 0.0, 1500.0, 50.0)
    assert losses.energy.sum() == pytest.approx(50.0, rel=1e-12)
    assert losses.s.max() < 50 / IONISATION + STEP


def test_continuous_loss_is_additive_along_the_track() -> None:
    assert continuous_loss(continuous_loss(1000.0, 30.0), 70.0) == pytest.approx(continuous_loss(1000.0, 100.0))
    assert continuous_loss(1.0, 1000.0) == 0


def test_cascade_deposits_all_energy_at_its_vertex() -> None:
    losses = cascade_losses(3e4)
    assert losses.s.tolist() == [0.0]
    assert losses.energy.tolist() == [3e4]
