"""Read result files with a program of others, and print what it finds as JSON.

    build/readers/bin/python foreign_reader.py READER FOLDER '[[ra, dec], ...]'

It runs in an environment of its own (``make readers``), in which nothing of the scanner is installed.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SQUARE_DEGREES = (180 / np.pi) ** 2


def find(folder: Path, ending: str) -> str:
    (path,) = (path for path in folder.iterdir() if path.name.endswith(ending) and ".summary." not in path.name)
    return str(path)


def ligo(folder: Path, ra: Any, dec: Any) -> dict[str, Any]:
    from astropy.coordinates import SkyCoord
    from ligo.skymap.io import read_sky_map
    from ligo.skymap.postprocess import crossmatch

    skymap = read_sky_map(find(folder, ".multiorder.fits"), moc=True)
    found = crossmatch(skymap, SkyCoord(ra, dec, unit="deg"))
    flat, _ = read_sky_map(find(folder, ".fits.gz"))
    return {"density": found.probdensity.tolist(), "rows": len(skymap), "sum": float(flat.sum())}


def hpmoc(folder: Path, ra: Any, dec: Any) -> dict[str, Any]:
    import importlib.util  # noqa: F401 - hpmoc uses it without importing it

    from hpmoc import PartialUniqSkymap
    from hpmoc.utils import uniq2nside

    skymap = PartialUniqSkymap.read(find(folder, ".multiorder.fits"), strategy="ligo")
    density = skymap.s.to_value("sr-1")
    area = np.pi / 3 / uniq2nside(skymap.u).astype(float) ** 2
    return {"sum": float((density * area).sum()), "highest": float(density.max())}


def cdshealpix(folder: Path, ra: Any, dec: Any) -> dict[str, Any]:
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from astropy.io import fits
    from cdshealpix.nested import lonlat_to_healpix

    with fits.open(find(folder, ".fits.gz"), checksum=True) as file:
        flat, order = file[1].data["PROB"].astype(float), int(np.log2(file[1].header["NSIDE"]))
    pixels = lonlat_to_healpix(Longitude(ra, u.deg), Latitude(dec, u.deg), order)
    return {"density": (flat[pixels] * len(flat) / (4 * np.pi)).tolist(), "sum": float(flat.sum())}


def skyreader(folder: Path, ra: Any, dec: Any) -> dict[str, Any]:
    import healpy
    from skyreader import SkyScanResult
    from skyreader.utils.handle_map_data import extract_map

    found = []
    for result in (SkyScanResult.read_json(find(folder, ".json")), SkyScanResult.read_npz(find(folder, ".npz"))):
        *_, flat, _ = extract_map(result)
        lowest = healpy.pix2ang(healpy.npix2nside(len(flat)), int(np.nanargmin(flat)), lonlat=True)
        found.append([float(result.min_llh), *map(float, np.degrees(result.best_dir)), *map(float, lowest)])
    return {"json": found[0], "npz": found[1]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    reader, given, places = sys.argv[1:]
    print(json.dumps(globals()[reader](Path(given), *np.transpose(json.loads(places)))))
