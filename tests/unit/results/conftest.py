"""Scans of surfaces whose contours are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from astropy_healpix import healpix_to_lonlat
from astropy_healpix.core import nested_to_ring, ring_to_nested
from numpy.typing import NDArray

from skymap_scanner.results import PIXEL, ContourRule, ScanMetadata, ScanResult
from skymap_scanner.results.rule import calibrated_rule

Surface = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
#: -ln L of a perfect fit in these scans.
FLOOR = 1000.0


def angle(ra, dec, ra0, dec0):
    """Angles in deg by the haversine formula: other arithmetic than in the package."""
    lat, lat0, lon, lon0 = map(np.radians, (dec, dec0, ra, ra0))
    h = np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin((lon - lon0) / 2) ** 2
    return 2 * np.degrees(np.arcsin(np.sqrt(np.clip(h, 0, 1))))


def make_bowl(ra0: float, dec0: float, sigma: float) -> Surface:
    """Return 2 delta ln L = (angle / sigma)^2 around a direction; all in deg."""
    return lambda ra, dec: (angle(ra, dec, ra0, dec0) / sigma) ** 2


def make_level(nside: int, index: Sequence[int] | NDArray[Any], surface: Surface) -> NDArray[Any]:
    """Scan pixels of one level."""
    lon, lat = healpix_to_lonlat(np.asarray(index), nside, order="ring")
    rows = np.zeros(len(index), dtype=PIXEL)
    rows["index"] = index
    rows["llh"] = FLOOR + surface(lon.deg, lat.deg) / 2
    rows["E_in"], rows["E_tot"] = 120e3, 340e3
    return rows


def make_scan(
    surface: Surface, plan: Sequence[tuple[int, int]] = ((8, 0), (64, 12), (512, 24)), **meta: Any
) -> ScanResult:
    """Scan the whole sky at the first nside, then at each finer one the children of the lowest pixels."""
    levels: dict[int, NDArray[Any]] = {}
    for nside, parents in plan:
        if not levels:
            index = np.arange(12 * nside**2)
        else:
            coarse = max(levels)
            lowest = levels[coarse]["index"][np.argsort(levels[coarse]["llh"])[:parents]]
            ratio = (nside // coarse) ** 2
            nested = ring_to_nested(lowest, coarse)[:, None] * ratio + np.arange(ratio)
            index = np.sort(nested_to_ring(nested.ravel(), nside))
        levels[nside] = make_level(nside, index, surface)
    return ScanResult(levels, make_metadata(levels, **meta))


def make_metadata(levels: dict[int, NDArray[Any]], **changes: Any) -> ScanMetadata:
    given: dict[str, Any] = {
        "run_id": 138632,
        "event_id": 31747601,
        "event_type": "neutrino",
        "mjd": 60280.71416774572,
        "is_real_event": True,
        "complete": dict.fromkeys(levels, True),
        "plan": {nside: len(rows) for nside, rows in levels.items()},
        "name": "IC231202A",
        "reconstruction": "millipede",
        "scanner_version": "0.1.0",
    }
    return ScanMetadata(**(given | changes))


@pytest.fixture(scope="session")
def bowl() -> Callable[..., Surface]:
    return make_bowl


@pytest.fixture(scope="session")
def separation() -> Callable[..., NDArray[Any]]:
    return angle


@pytest.fixture(scope="session")
def level() -> Callable[..., NDArray[Any]]:
    return make_level


@pytest.fixture(scope="session")
def metadata() -> Callable[..., ScanMetadata]:
    return make_metadata


@pytest.fixture(scope="session")
def scan() -> Callable[..., ScanResult]:
    return make_scan


@pytest.fixture(scope="session")
def calibrated() -> ContourRule:
    statement = "Contours calibrated with 133 re-simulated tracks of 100 to 1000 TeV: statistical and systematic."
    return calibrated_rule(2.2, 8.0, statement, "test.json, version 1")


@pytest.fixture(scope="session")
def track() -> ScanResult:
    """The default levels around (138.65, 0.15), 0.3 deg wide."""
    return make_scan(make_bowl(138.65, 0.15, 0.3))


@pytest.fixture(scope="session")
def partial() -> ScanResult:
    """345 pixels of 768, one of them failed."""
    index = np.sort(np.random.default_rng(5).permutation(768)[:345])
    rows = make_level(8, index, make_bowl(83.6, 22.0, 8.0))
    rows["llh"][7] = np.nan
    return ScanResult({8: rows}, make_metadata({8: rows}, complete={8: False}, plan={8: 768}))


@pytest.fixture(scope="session")
def nothing() -> ScanResult:
    """Three pixels, all of them failed."""
    rows = make_level(8, [1, 2, 3], make_bowl(0.0, 0.0, 1.0))
    rows["llh"] = np.nan
    return ScanResult({8: rows}, make_metadata({8: rows}))
