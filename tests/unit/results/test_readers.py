"""Our files, read by programs of others: every value agrees, at the places where they go wrong."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from skymap_scanner.results import ScanResult, write_results
from skymap_scanner.results.skymap import multi_order_map

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("foreign_reader.py")


@pytest.fixture(scope="module")
def readers() -> str:
    """The Python with the programs of others: that of SKYMAP_TEST_READERS, or what ``make readers`` installed."""
    python = os.environ.get("SKYMAP_TEST_READERS", "")
    if not python and not Path(python := str(ROOT / "build/readers/bin/python")).exists():
        pytest.skip("needs the programs that read our files: make readers, or SKYMAP_TEST_READERS=PYTHON")
    return python


@pytest.fixture(scope="module", params=["track", "RA 0", "pole", "one level", "area", "partial", "failed pixels"])
def result(request, scan, bowl, level, metadata, separation, track, partial) -> ScanResult:
    if request.param == "failed pixels":
        levels = {nside: rows.copy() for nside, rows in track.levels.items()}
        levels[512]["llh"][[3, 700]] = levels[8]["llh"][700] = np.nan
        return ScanResult(levels, track.metadata)
    if request.param == "area":
        whole = scan(bowl(187.5, 0.0, 2.0), ((32, 0),))
        pixels = multi_order_map(whole)
        rows = whole.levels[32][separation(pixels.ra, pixels.dec, 180.0, 0.0) < 6.0]
        return ScanResult({32: rows}, metadata({32: rows}))
    return {
        "track": lambda: track,
        "partial": lambda: partial,
        "RA 0": lambda: scan(bowl(0.1, -35.0, 0.5)),
        "pole": lambda: scan(bowl(40.0, 89.7, 0.6)),
        "one level": lambda: scan(bowl(200.0, 30.0, 4.0), ((8, 0),)),
    }[request.param]()


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_results(result, folder, ["json", "npz", "fits", "flat-fits"])
    return folder


@pytest.mark.parametrize("reader", ["ligo", "hpmoc", "cdshealpix", "skyreader"])
def test_values_are_those_of_the_map(readers, result, folder, reader):
    skymap = multi_order_map(result)
    best, rng = skymap.best, np.random.default_rng(3)
    ra = np.append(rng.uniform(0, 360, 40), best.ra)
    dec = np.append(np.degrees(np.arcsin(rng.uniform(-1, 1, 40))), best.dec)
    places = json.dumps(np.stack([ra, dec], axis=1).tolist())
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [readers, SCRIPT, reader, folder, places], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    density = skymap.density[skymap.cells_at(ra, dec)]
    expected = {
        "density": pytest.approx(density.tolist(), rel=1e-12, abs=1e-300),
        "rows": len(skymap.uniq),
        "sum": pytest.approx(1, abs=1e-9),
        "highest": pytest.approx(skymap.density.max(), rel=1e-12),
        "json": pytest.approx([best.llh, best.ra, best.dec, best.ra, best.dec], rel=1e-12, abs=1e-12),
    }
    expected["npz"] = expected["json"]
    for name, value in found.items():
        assert value == expected[name], name
