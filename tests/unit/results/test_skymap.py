"""The map: every pixel keeps its own area, the finest fitted one counts, probability adds up to 1."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy_healpix.core import healpix_to_lonlat, lonlat_to_healpix, nested_to_ring, ring_to_nested
from hypothesis import given, settings
from hypothesis import strategies as st

from skymap_scanner.errors import InputError
from skymap_scanner.results import IC160427A, PIXEL, ScanMetadata, ScanResult
from skymap_scanner.results.skymap import flat_blocks, multi_order_map


def centre(nside: int, index: int) -> tuple[float, float]:
    """Return the centre of a pixel, deg."""
    lon, lat = healpix_to_lonlat(index, nside, order="ring")
    return lon.deg, lat.deg


def flatten(skymap, block: int = 1000) -> np.ndarray:
    return np.concatenate([*flat_blocks(skymap, block)])


def flatten_to_ring(skymap) -> np.ndarray:
    nested = flatten(skymap)
    nside = int(np.sqrt(len(nested) / 12))
    return nested[ring_to_nested(np.arange(len(nested)), nside)]


def painted(result: ScanResult) -> np.ndarray:
    """Paint -ln L, level upon level, on a flat map: the obvious way, as an oracle. RING, NaN where nothing is."""
    nside = max(nside for nside, rows in result.levels.items() if np.isfinite(rows["llh"]).any())
    flat = np.full(12 * nside**2, np.nan)
    for coarse, rows in sorted(result.levels.items()):
        if coarse > nside:
            continue
        for row in rows[np.isfinite(rows["llh"])]:
            nested = ring_to_nested(int(row["index"]), coarse)
            ratio = (nside // coarse) ** 2
            flat[nested_to_ring(np.arange(nested * ratio, (nested + 1) * ratio), nside)] = row["llh"]
    return flat


@st.composite
def random_scans(draw) -> ScanResult:
    levels = {}
    for nside in draw(st.sets(st.sampled_from([1, 2, 4, 16]), min_size=1)):
        index = draw(st.sets(st.integers(0, 12 * nside**2 - 1), min_size=1, max_size=20))
        rows = np.zeros(len(index), dtype=PIXEL)
        rows["index"] = sorted(index)
        rows["llh"] = draw(st.lists(st.floats(0, 20) | st.just(np.nan), min_size=len(index), max_size=len(index)))
        levels[nside] = rows
    return ScanResult(levels, ScanMetadata(1, 2, "track", 58000.0, is_real_event=False))


@given(random_scans())
@settings(max_examples=150, deadline=None)
def test_map_equals_levels_painted_on_each_other(result):
    if not any(np.isfinite(rows["llh"]).any() for rows in result.levels.values()):
        with pytest.raises(InputError, match="no map"):
            multi_order_map(result)
        return
    skymap = multi_order_map(result)
    oracle = painted(result)
    likelihood = np.where(np.isfinite(oracle), np.exp(np.nanmin(oracle) - oracle), 0.0)
    np.testing.assert_allclose(flatten_to_ring(skymap), likelihood / likelihood.sum(), rtol=1e-12, atol=1e-15)
    assert skymap.best.llh == np.nanmin(oracle)
    assert skymap.covered == pytest.approx(np.isfinite(oracle).mean())

    top = skymap.order.max()
    start = skymap.ipix << (2 * (top - skymap.order))
    stop = (skymap.ipix + 1) << (2 * (top - skymap.order))
    order = np.argsort(start)
    assert start[order][0] == 0
    assert stop[order][-1] == 12 * 4**top
    np.testing.assert_array_equal(start[order][1:], stop[order][:-1], "cells must tile the sky")
    assert (np.diff(skymap.uniq) > 0).all()
    assert np.isfinite(skymap.density).all()
    assert (skymap.density * skymap.area).sum() == pytest.approx(1, abs=1e-12)


def test_blocks_of_any_size_make_the_same_flat_map(partial):
    skymap = multi_order_map(partial)
    whole = flatten(skymap, 768)
    for block in (1, 100, 767, 10_000):
        np.testing.assert_array_equal(flatten(skymap, block), whole)
        assert max(map(len, flat_blocks(skymap, block))) <= block


def test_every_scanned_pixel_keeps_its_own_area(track):
    skymap = multi_order_map(track)
    counts = np.bincount(skymap.owner, minlength=len(skymap.pixels))
    # 768 - 12 pixels of nside 8, 768 - 24 of nside 64, all of nside 512, one cell each
    assert (counts == 1).all()
    assert [int((skymap.nside == nside).sum()) for nside in (8, 64, 512)] == [756, 744, 1536]
    assert skymap.area.sum() == pytest.approx(4 * np.pi, rel=1e-12)


def test_partly_refined_pixel_keeps_the_rest_of_its_area(scan, bowl, level, metadata):
    surface = bowl(45.0, 5.0, 30.0)
    fine = level(4, [nested_to_ring(5, 4)], surface)  # one of the 16 children of base pixel 0
    coarse = level(1, range(12), surface)
    skymap = multi_order_map(ScanResult({1: coarse, 4: fine}, metadata({})))
    base = skymap.owner == np.flatnonzero((skymap.nside == 1) & (skymap.pixels["index"] == 0))[0]
    assert sorted(skymap.order[base]) == [1] * 3 + [2] * 3
    assert skymap.area[base].sum() == pytest.approx(4 * np.pi / 12 * 15 / 16)


def test_best_fit_is_the_lowest_pixel_of_the_map(track):
    skymap = multi_order_map(track)
    rows = track.levels[512]
    lowest = rows["index"][rows["llh"].argmin()]
    assert (skymap.best.nside, skymap.best.index) == (512, lowest)
    ra, dec = centre(512, lowest)
    assert (skymap.best.ra, skymap.best.dec) == pytest.approx((ra, dec), abs=1e-9)
    assert skymap.density.argmax() == np.flatnonzero(skymap.pixels["llh"][skymap.owner] == rows["llh"].min())[0]
    assert centre(512, flatten_to_ring(skymap).argmax()) == pytest.approx((ra, dec), abs=1e-9)


def test_failed_pixel_leaves_the_coarser_one(level, bowl, metadata):
    surface = bowl(45.0, 0.0, 5.0)
    coarse, fine = level(1, range(12), surface), level(2, range(48), surface)
    fine["llh"][:] = np.nan
    skymap = multi_order_map(ScanResult({1: coarse, 2: fine}, metadata({})))
    assert skymap.max_order == 0
    assert skymap.best.nside == 1


def test_failed_pixels_without_a_coarser_one_have_density_zero(partial):
    skymap = multi_order_map(partial)
    failed = partial.levels[8]["index"][7]
    ra, dec = centre(8, failed)
    (cell,) = skymap.cells_at(np.array([ra]), np.array([dec]))
    assert skymap.owner[cell] == -1
    assert skymap.density[cell] == 0
    assert partial.failed == {8: [failed]}
    assert skymap.covered == pytest.approx(344 / 768)


def test_density_is_per_steradian(level, metadata):
    flat = level(4, range(192), lambda ra, _: 0 * ra)
    skymap = multi_order_map(ScanResult({4: flat}, metadata({4: flat})))
    np.testing.assert_allclose(skymap.density, 1 / (4 * np.pi))


def test_density_falls_with_the_likelihood_and_slower_when_calibrated(track):
    skymap, calibrated = multi_order_map(track), multi_order_map(track, IC160427A)
    near = skymap.delta[skymap.owner] < 40
    for one, scale in ((skymap, 1.0), (calibrated, 64.2 / 4.61)):
        expected = np.exp(-one.delta[one.owner][near] / 2 / scale) * one.density.max()
        np.testing.assert_allclose(one.density[near], expected, rtol=1e-9)


@pytest.mark.parametrize("rule_levels", [(0.5, 0.9)])
def test_probability_inside_a_contour_is_its_credible_level(track, rule_levels):
    # For a parabolic bowl Wilks' thresholds and the density mean the same.
    skymap = multi_order_map(track)
    for credible in rule_levels:
        inside = skymap.delta[skymap.owner] < skymap.rule.levels[credible]
        assert (skymap.density * skymap.area)[inside].sum() == pytest.approx(credible, abs=0.02)


def test_cells_agree_with_astropy_healpix(track):
    skymap = multi_order_map(track)
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 2000), np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))
    ra, dec = np.append(ra, [0.0, 359.999999, 10.0, 0.0, 138.65]), np.append(dec, [0.0, 0.0, 90.0, -90.0, 0.15])
    cells = skymap.cells_at(ra, dec)
    for cell, lon, lat in zip(cells, ra, dec, strict=True):
        nside = int(2 ** skymap.order[cell])
        assert lonlat_to_healpix(lon * u.deg, lat * u.deg, nside, order="nested") == skymap.ipix[cell]


def test_scan_without_fits_is_reported(nothing):
    with pytest.raises(InputError, match="none of the 3 scanned pixels has a fit"):
        multi_order_map(nothing)
