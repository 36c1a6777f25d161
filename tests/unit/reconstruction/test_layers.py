"""What layered ice does to light: the tables that ship, and the walk of photons from which they are made."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from skymap_scanner.detector.ic86 import ic86
from skymap_scanner.detector.ice import ICE_MODELS, Ice, ice_model, layer_height
from skymap_scanner.errors import InputError
from skymap_scanner.reconstruction.ice_tables.fit_rates import FIRST, LAST, fit, straight_means
from skymap_scanner.reconstruction.ice_tables.photon_walk import DELAYS, ROOTS, walk
from skymap_scanner.reconstruction.ice_tables.table_light import TableLight
from skymap_scanner.reconstruction.millipede.layers import (
    COLUMN_STEP,
    LOWEST,
    N_COLUMN,
    N_COSINE,
    N_DISTANCE,
    N_HEIGHT,
    N_NUMBER,
    STEP,
    column_of,
    digest,
    layer_table,
)
from skymap_scanner.reconstruction.millipede.photon_model import shaped

PHOTONS = 40_000


def changed(ice: Ice, scattering: float, absorption: float) -> Ice:
    return replace(
        ice,
        effective_scattering_length=ice.effective_scattering_length * scattering,
        absorption_length=ice.absorption_length * absorption,
    )


def homogeneous(scattering: float, absorption: float) -> Ice:
    ice = ice_model()
    layers = np.ones(len(ice.absorption_length))
    return replace(ice, effective_scattering_length=layers * scattering, absorption_length=layers * absorption)


def stepped() -> Ice:
    """Return ice that is clear below the origin's height, and dusty above it."""
    ice = homogeneous(20.0, 70.0)
    z = 1948.07 - ice.depth_top - ice.thickness * (np.arange(len(ice.absorption_length)) + 0.5)
    clear = np.where(z < 0, 2.0, 1.0)
    return replace(
        ice,
        effective_scattering_length=ice.effective_scattering_length * clear,
        absorption_length=ice.absorption_length * clear,
    )


@pytest.fixture(scope="module")
def light() -> TableLight:
    return TableLight()


def test_photons_in_homogeneous_ice_give_its_lengths(light: TableLight) -> None:
    """From 20 to 200 m: both lengths to 6 % for one angle, to 3 % for all, no slopes, and what the acceptance asks."""
    ice = homogeneous(25.0, 87.5)
    scatter, absorb, by_axis, by_psi, sooner, _ = fit(walk(PHOTONS, 3, ice, 0.0), PHOTONS, ice, 0.0, light)
    middle = (slice(1, -1), slice(FIRST, 10))
    for found, length in ((scatter, 25.0), (absorb, 87.5)):
        ratio = np.exp(found[middle]) * length
        assert np.abs(ratio - 1).max() < 0.4
        assert np.sqrt(((ratio - 1) ** 2).mean()) < 0.06
        assert ratio.mean() == pytest.approx(1, abs=0.03)
    for slope in (by_axis, by_psi):
        assert abs(slope[middle].mean()) < 0.03
    # DOMs look down: of light from above, they see what scattering has turned
    above, below = sooner[1, FIRST:10], sooner[-2, FIRST:10]
    assert (above < -0.1).all()
    assert (below > 0.05).all()


def test_light_around_dust_comes_when_photons_come(light: TableLight) -> None:
    """At the edge of the dust, shares of other photons' light are within 0.02, and without the shape 0.035."""
    ice, height = ice_model(), -120.0
    found = fit(walk(PHOTONS, 6, ice, height), PHOTONS, ice, height, light)
    paths, errors = walk(PHOTONS, 7, ice, height), []
    for cell in range(FIRST, 9):
        seen = paths.seen[:, cell].sum(axis=1)
        come = np.cumsum(paths.seen[:, cell], axis=1) / seen[:, None]
        distance = (ROOTS[cell] + (ROOTS[cell + 1] - ROOTS[cell]) * np.linspace(0.05, 0.95, 10)) ** 2
        parts = [light.delayed(*np.exp(found[:2, :, cell]), d, DELAYS) for d in distance]
        table = np.cumsum(np.tensordot(distance**2.5, parts, 1), axis=1)
        table /= table[:, -1:]
        model = shaped(table, found[4, :, cell][:, None], found[5, :, cell][:, None])
        bright = seen > 0.02 * seen.max()
        errors.append([((share - come)[bright] ** 2).mean() for share in (table, model)])
    without, with_shape = np.sqrt(np.mean(errors, axis=0))
    assert with_shape < 0.02
    assert without > 0.035


def test_light_that_starts_into_clear_ice_goes_farther(light: TableLight) -> None:
    """For a DOM on the border: sources below it are in clear ice, where light also goes that starts downwards."""
    ice = stepped()
    scatter, absorb, by_axis, *_ = fit(walk(PHOTONS, 5, ice, 0.0), PHOTONS, ice, 0.0, light)
    below, beside, above = N_COSINE - 3, N_COSINE // 2, 2
    far = slice(6, 10)
    assert (scatter[below, far] < scatter[above, far] - 0.2).all()
    assert (absorb[below, far] < absorb[above, far] - 0.2).all()
    assert (by_axis[beside, far] < -0.05).all()


def test_equal_seeds_walk_equal_ways() -> None:
    ice = ice_model()
    one, same, other = (walk(500, seed, ice, -100.0) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.seen, other.seen)


@pytest.mark.parametrize("name", ICE_MODELS)
def test_shipped_tables_are_near_the_straight_means(name: str) -> None:
    """Effective lengths deviate by 6 to 40 % in the root of the mean square, and nowhere beyond reason."""
    ice, table = ice_model(name), layer_table(ice_model(name))
    assert table.shape == (N_COLUMN, N_COSINE, N_DISTANCE, N_NUMBER)
    assert np.isfinite(table).all()
    for number in (0, 1):
        deviation = np.array(
            [
                np.log(table[2 * n, :, FIRST:LAST, number])
                - straight_means(ice, LOWEST + STEP * n)[number][:, FIRST:LAST]
                for n in range(N_HEIGHT)
            ]
        )
        assert np.abs(deviation).max() < 2.5
        assert 0.06 < math.sqrt((deviation**2).mean()) < 0.4
    assert np.abs(table[..., 2:4]).max() < 4


@pytest.mark.parametrize("name", ICE_MODELS)
def test_shapes_of_shipped_tables_let_light_come(name: str) -> None:
    """No more light goes than comes, wherever: the density stays positive, also between nodes."""
    share = np.linspace(0, 1, 21)
    table = layer_table(ice_model(name)).reshape(-1, N_NUMBER)[::7].astype(np.float64)
    come = shaped(share, table[:, 4:5], table[:, 5:6])
    assert (np.diff(come) > 0).all()
    assert np.abs(table[:, 4]).max() > 0.3


@pytest.mark.parametrize("name", ICE_MODELS)
def test_factors_on_the_lengths_change_the_rates_alone(name: str) -> None:
    plain, varied = layer_table(ice_model(name)), layer_table(changed(ice_model(name), 1.07, 0.94))
    assert np.allclose(varied, plain / np.array([1.07, 0.94, 1, 1, 1, 1]), rtol=1e-6)
    assert len({digest(other) for other in ICE_MODELS}) == len(ICE_MODELS)


def test_homogeneous_ice_is_even_and_foreign_layers_are_an_error() -> None:
    table = layer_table(homogeneous(30.0, 105.0))
    assert (table == np.array([1 / 30.0, 1 / 105.0, 0, 0, 0, 0], np.float32)).all()
    with pytest.raises(InputError, match="the layers of the ice 'spice_mie' are not those of its table"):
        layer_table(stepped())


def test_doms_take_the_column_of_their_layer() -> None:
    size = N_COSINE * N_DISTANCE * N_NUMBER
    column = column_of(ic86().position)
    assert (column % size == 0).all()
    height = LOWEST + COLUMN_STEP * (column // size)
    inside = layer_height(ic86().position) > LOWEST
    assert inside.mean() > 0.99
    assert np.abs(height - layer_height(ic86().position))[inside].max() <= COLUMN_STEP / 2 + 1e-9
