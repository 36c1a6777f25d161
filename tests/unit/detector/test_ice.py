from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skymap_scanner.detector.ice import ICE_MODELS, depth, ice_model
from skymap_scanner.errors import InputError


@pytest.mark.parametrize("name", ICE_MODELS)
def test_layers_equal_the_published_ones(name: str, shared: Path) -> None:
    ice = ice_model(name)
    middle, _, scattering, absorption = np.loadtxt(
        shared / f"data/detector/ice_{name}_400nm.csv", delimiter=",", skiprows=1, unpack=True
    )
    layers = np.arange(len(ice.absorption_length))
    assert np.allclose(ice.depth_top + ice.thickness * (layers + 0.5), middle)
    assert np.array_equal(ice.effective_scattering_length, scattering)
    assert np.array_equal(ice.absorption_length, absorption)


@pytest.mark.parametrize("name", ICE_MODELS)
def test_layers_cover_the_detector_and_show_the_dust_layer(name: str) -> None:
    ice = ice_model(name)
    assert ice.name == name
    edges = ice.depth_top + ice.thickness * np.arange(len(ice.absorption_length) + 1)
    assert edges[0] < 1948.07 - 530
    assert edges[-1] > 1948.07 + 515
    dust = ice.absorption_length[(edges[:-1] > 2020) & (edges[:-1] < 2080)]
    clear = ice.absorption_length[(edges[:-1] > 2200) & (edges[:-1] < 2300)]
    assert dust.max() < 43
    assert clear.min() > 90


def test_spice_mie_is_the_default() -> None:
    assert ice_model().name == "spice_mie"


def test_depth_is_counted_from_the_surface() -> None:
    assert depth(0.0) == 1948.07
    assert depth(-500.0) == pytest.approx(2448.07)


def test_unknown_model_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'spice_max'; there are spice_mie, spice_lea, spice_ftp_v3m"):
        ice_model("spice_max")
