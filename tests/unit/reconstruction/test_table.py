from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.errors import InputError
from skymap_scanner.reconstruction.millipede.generate import BATCHES, PHOTONS, SEED, make_table
from skymap_scanner.reconstruction.millipede.photon_mc import Binning
from skymap_scanner.reconstruction.millipede.table import PhotonTable, decode, encode, find_fault, load


@pytest.fixture(scope="module")
def table() -> PhotonTable:
    return load()


@pytest.fixture(scope="module")
def small() -> PhotonTable:
    return make_table(20_000, seed=7, batches=10)


def test_shipped_table_is_valid_small_and_records_its_origin(table: PhotonTable) -> None:
    assert find_fault(table) is None
    assert table.origin == {"photons": PHOTONS, "seed": SEED, "batches": BATCHES}
    assert len(files("skymap_scanner.reconstruction.millipede").joinpath("photon_table.npz").read_bytes()) < 250_000
    near = table.radius < 350
    assert np.median((table.fluence_error / table.fluence)[near]) < 0.003
    assert (np.diff(np.log(table.fluence), axis=0) < 0).all()  # light falls with distance, at every angle


def test_shipped_table_equals_the_generated_one(table: PhotonTable, small: PhotonTable) -> None:
    """A new, coarse run agrees within its statistics, in fluence and in arrival times."""
    assert np.array_equal(small.radius, table.radius)
    bright = (table.radius > 3) & (table.radius < 250)
    pull = ((small.fluence - table.fluence) / np.hypot(small.fluence_error, table.fluence_error))[bright]
    # with 10 batches the errors follow Student's t with 9 degrees of freedom: its 97.5 % point is 2.26
    assert np.mean(np.abs(pull) < 2.26) > 0.9
    assert abs(pull.mean()) < 0.3
    middle = (table.radius > 20) & (table.radius < 120)
    assert np.abs(small.cdf - table.cdf)[middle].max() < 0.09
    assert np.abs((small.cdf - table.cdf)[middle].mean()) < 0.003


def test_equal_seeds_give_equal_bytes_with_any_processes() -> None:
    binning = Binning(radii=8, angles=4, times=8)
    one = make_table(2000, seed=3, batches=2, binning=binning)
    two = make_table(2000, seed=3, batches=2, binning=binning, processes=2)
    other = make_table(2000, seed=4, batches=2, binning=binning)
    assert encode(one) == encode(two)
    assert encode(one) != encode(other)


def test_delays_are_those_of_the_reference_simulation(table: PhotonTable) -> None:
    """Median delays, averaged over angles: 28 ns at 26 m, 200 ns at 71 m, 473 ns at 136 m."""
    for radius, median in ((26, 28), (71, 200), (136, 473)):
        shell = np.argmin(np.abs(table.radius - radius))
        cdf = (table.cdf[shell] * table.fluence[shell, :, None]).sum(0) / table.fluence[shell].sum()
        scale = table.radius[shell] / radius
        assert np.interp(0.5, cdf, table.delay) == pytest.approx(median * scale, rel=0.15)


def test_file_round_trips(small: PhotonTable) -> None:
    again = decode(encode(small))
    assert np.array_equal(again.fluence, small.fluence)
    assert np.array_equal(again.cdf, small.cdf)
    assert again.origin == small.origin


def test_invalid_table_is_rejected_with_a_reason(small: PhotonTable) -> None:
    falling = small.cdf.copy()
    falling[3, 2, 10] = 0
    short = small.cdf.copy()
    short[0, 0, -1] = 0.5
    for table, words in (
        (replace(small, cdf=falling), "cdf must rise"),
        (replace(small, cdf=short), "cdf must rise"),
        (replace(small, fluence=-small.fluence), "fluence must be positive"),
        (replace(small, radius=small.radius[::-1]), "radius"),
        (replace(small, cos_psi=small.cos_psi * 2), "cos_psi"),
        (replace(small, delay=small.delay * 2), "delay"),
        (replace(small, cdf=small.cdf[:-1]), "shape"),
        (replace(small, fluence=small.fluence[0]), "dimensions"),
        (replace(small, fluence=np.full_like(small.fluence, np.nan)), "not finite"),
        (replace(small, scattering=30.0), "scattering"),
    ):
        with pytest.raises(InputError, match=words):
            decode(encode(table), "bad.npz")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_table_is_an_input_error(small: PhotonTable, data: st.DataObject) -> None:
    whole = bytearray(encode(small))
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(InputError):  # nothing else may come out; a flipped bit may also fall where it changes nothing
        assert find_fault(decode(bytes(whole))) is None


def test_missing_file_is_an_input_error() -> None:
    with pytest.raises(InputError, match="cannot read the photon table"):
        load("no/such/table.npz")
