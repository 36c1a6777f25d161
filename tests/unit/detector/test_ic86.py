from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from skymap_scanner.detector.ic86 import ic86

STRING, OM, POSITION, EFFICIENCY, NOISE = 0, 1, slice(2, 5), 5, 6


@pytest.fixture(scope="module")
def published(shared: Path) -> NDArray[np.float64]:
    return np.loadtxt(shared / "data/detector/ic86_doms.csv", delimiter=",", skiprows=1)


def test_dom_positions_equal_the_published_ones(published: NDArray[np.float64]) -> None:
    geometry = ic86()
    assert np.array_equal(geometry.string, published[:, STRING])
    assert np.array_equal(geometry.om, published[:, OM])
    assert np.array_equal(geometry.position, published[:, POSITION])


def test_efficiencies_and_dead_doms_equal_the_published_ones(published: NDArray[np.float64]) -> None:
    geometry = ic86()
    assert np.array_equal(geometry.efficiency, published[:, EFFICIENCY])
    assert np.array_equal(geometry.noise == 0, published[:, NOISE] == 0)


def test_dark_rates_are_within_6_hz_of_the_published_ones(published: NDArray[np.float64]) -> None:
    geometry = ic86()
    difference = geometry.noise - published[:, NOISE]
    assert np.abs(difference).max() <= 6.0 + 1e-9
    usual = published[:, NOISE] > 100
    assert np.abs(difference[usual] / published[usual, NOISE]).max() < 0.017
    assert abs(difference.mean()) < 0.2


def test_detector_table_has_the_published_shape() -> None:
    geometry = ic86()
    assert geometry.position.shape == (86 * 60, 3)
    assert np.count_nonzero(geometry.dead) == 79
    assert np.count_nonzero(geometry.efficiency == 1.35) == 399
    heights = geometry.position[:, 2].reshape(86, 60)
    assert (np.diff(heights, axis=1) < 0).all()
    assert heights.max() < 530
    assert heights.min() > -515


def test_geometry_is_shared_and_read_only() -> None:
    assert ic86() is ic86()
    with pytest.raises(ValueError, match="read-only"):
        ic86().position[0, 0] = 0.0
