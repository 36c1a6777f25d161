"""Result files: JSON and npz as they are read, and FITS as it is written from whatever was read."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import replace

import numpy as np
from astropy.io import fits

from skymap_scanner.errors import InputError
from skymap_scanner.results.calibration import read_calibration, shipped_calibrations
from skymap_scanner.results.contours import contours
from skymap_scanner.results.fits_files import multi_order_fits
from skymap_scanner.results.geojson import to_geojson
from skymap_scanner.results.moc import moc_files
from skymap_scanner.results.result import (
    PIXEL,
    ScanMetadata,
    ScanResult,
    result_from_json,
    result_from_npz,
    result_to_json,
    result_to_npz,
)
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import multi_order_map
from skymap_scanner.results.summary import summary_json, summary_text
from testing.fuzz.target import Target, require

#: Finest nside of which a map is made: finer ones take long, and mean the same.
FINEST = 64


def small_results() -> list[ScanResult]:
    """Make results: complete, with failed pixels, and without a fit."""
    rows = np.array([(index, 100.0 + index, 1e3, 2e3, 1.0, 2.0, 3.0, 1e4) for index in range(12)], PIXEL)
    fine = np.array([(index, 90.0 + index, 1e3, 2e3, 1.0, 2.0, 3.0, 1e4) for index in (7, 8)], PIXEL)
    failed = rows.copy()
    failed["llh"][3:] = math.nan
    about = ScanMetadata(
        138632,
        31747601,
        "HESE",
        58000.5,
        is_real_event=True,
        complete={1: True, 2: True},
        plan={1: 12, 2: 2},
        name="run00138632.evt000031747601.HESE",
        choice="a choice",
        caution="a caution",
        reconstruction="millipede",
        likelihood="an identity",
        topology="track",
        rule=WILKS,
        scanner_version="0.1.0",
        wall_time=5.0,
        date="2026-01-01T00:00:00",
    )
    plain = ScanMetadata(1, 2, "t", 5.0, is_real_event=False)
    return [
        ScanResult({1: rows, 2: fine}, about),
        ScanResult({1: failed}, replace(plain, sub_event_id=3, sub_event_stream="InIceSplit")),
        ScanResult({1: failed[3:]}, plain),
    ]


def check_npz(data: bytes) -> None:
    """Read an npz file; what was read is written and read the same."""
    result = result_from_npz(data)
    again = result_from_npz(result_to_npz(result))
    require(
        again.levels.keys() == {nside for nside in result.levels if len(result.levels[nside])} or not result.scanned
    )


def check_json(data: bytes) -> None:
    """Read a JSON file; what was read is written and read the same."""
    result = result_from_json(data)
    require(result_from_json(b"".join(result_to_json(result))).metadata.run_id == result.metadata.run_id)
    require(result.stem.isprintable() and "/" not in result.stem, "a name that is no part of a file's")


def check_fits(data: bytes) -> None:
    """Write FITS, GeoJSON and the summary of whatever a JSON file holds; astropy reads the FITS file."""
    result = result_from_json(data)
    fitted = sum(map(len, result.failed.values())) < result.scanned
    if max(result.levels) > FINEST:
        return
    skymap = multi_order_map(result, result.metadata.rule or WILKS) if fitted else None
    regions = contours(skymap) if skymap else []
    text = summary_text(result, skymap, regions)
    require(all(line.isprintable() for line in text.splitlines()), "control characters in the summary")
    summary_json(result, skymap, regions)
    if skymap is None:
        return
    to_geojson(result, skymap, regions)
    for encode in moc_files(result, skymap, regions).values():
        encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(multi_order_fits(result, skymap, regions))) as file:
            require(len(file) == 2 and len(file[1].data) == len(skymap.uniq), "another table than was written")


def check_calibration(data: bytes) -> None:
    """Read a calibration."""
    read_calibration("a calibration", data)


def json_seeds() -> list[bytes]:
    """Write small results as JSON."""
    return [b"".join(result_to_json(result)) for result in small_results()]


def npz_seeds() -> list[bytes]:
    """Write small results as npz."""
    return [result_to_npz(result) for result in small_results()]


def calibration_seeds() -> list[bytes]:
    """Return the calibrations of the package."""
    return [file.content.to_json() for file in shipped_calibrations()]


TARGETS = (
    Target("npz", check_npz, npz_seeds, (InputError,), longest=16384),
    Target("json", check_json, json_seeds, (InputError,), longest=16384),
    Target("fits", check_fits, json_seeds, (InputError,), longest=16384),
    Target("calibration", check_calibration, calibration_seeds, (InputError,), longest=16384),
)
