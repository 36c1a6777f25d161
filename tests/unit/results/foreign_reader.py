"""Read result files with a program of others, and print what it finds as JSON.

    python foreign_reader.py READER FOLDER ...

Each folder has the files of one result, and ``places.json``, directions [ra, dec] (deg). The programs of `make readers`
have an environment of their own, in which nothing of the scanner is installed; the others are in that of the tests.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

SQUARE_DEGREES = (180 / np.pi) ** 2
#: How the names of these files end.
FLAT = ".skymap_nside_*_probability.fits.gz"
SKY = 4 * np.pi * SQUARE_DEGREES
Values = dict[str, Any]


def find(folder: Path, ending: str) -> str:
    (path,) = folder.glob(f"*[0-9]{ending}")
    return str(path)


def mocs(folder: Path, kind: str = "fits") -> list[str]:
    """The files of the regions, in the order of their names: 3 sigma, 50 %, 90 %."""
    return sorted(map(str, folder.glob(f"*.moc.{kind}")))


def ligo(folder: Path, ra: Any, dec: Any) -> Values:
    from astropy.coordinates import SkyCoord
    from ligo.skymap.io import read_sky_map
    from ligo.skymap.postprocess import crossmatch

    skymap = read_sky_map(find(folder, ".multiorder.fits"), moc=True)
    found = crossmatch(skymap, SkyCoord(ra, dec, unit="deg"))
    flat, _ = read_sky_map(find(folder, FLAT))
    return {"density": found.probdensity.tolist(), "rows": len(skymap), "sum": float(flat.sum())}


def hpmoc(folder: Path, ra: Any, dec: Any) -> Values:
    import importlib.util  # noqa: F401 - hpmoc uses it without importing it

    from hpmoc import PartialUniqSkymap
    from hpmoc.utils import uniq2nside

    skymap = PartialUniqSkymap.read(find(folder, ".multiorder.fits"), strategy="ligo")
    density = skymap.s.to_value("sr-1")
    area = np.pi / 3 / uniq2nside(skymap.u).astype(float) ** 2
    return {"sum": float((density * area).sum()), "highest": float(density.max())}


def cdshealpix(folder: Path, ra: Any, dec: Any) -> Values:
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from astropy.io import fits
    from cdshealpix.nested import lonlat_to_healpix
    from cdshealpix.skymap import Skymap

    lon, lat = Longitude(ra, u.deg), Latitude(dec, u.deg)
    flat = Skymap.from_fits(find(folder, FLAT)).skymap.values
    pixels = lonlat_to_healpix(lon, lat, int(np.log2(len(flat) / 12) / 2))
    inside = []
    for path in mocs(folder):
        uniq = set(map(int, fits.getdata(path, 1)["UNIQ"]))
        at = [lonlat_to_healpix(lon, lat, order).astype(int) + 4 * 4**order for order in range(19)]
        inside.append([any(int(cell) in uniq for cell in cells) for cells in zip(*at, strict=True)])
    return {"density": (flat[pixels] * len(flat) / (4 * np.pi)).tolist(), "sum": float(flat.sum()), "inside": inside}


def skyreader(folder: Path, ra: Any, dec: Any) -> Values:
    import healpy
    from skyreader import SkyScanResult
    from skyreader.utils.handle_map_data import extract_map

    found = []
    for result in (SkyScanResult.read_json(find(folder, ".json")), SkyScanResult.read_npz(find(folder, ".npz"))):
        *_, flat, _ = extract_map(result)
        lowest = healpy.pix2ang(healpy.npix2nside(len(flat)), int(np.nanargmin(flat)), lonlat=True)
        found.append([float(result.min_llh), *map(float, np.degrees(result.best_dir)), *map(float, lowest)])
    return {"json": found[0], "npz": found[1]}


def mocpy(folder: Path, ra: Any, dec: Any) -> Values:
    from astropy.coordinates import SkyCoord
    from mocpy import MOC

    regions = [MOC.load(path, "fits") for path in mocs(folder)]
    assert regions == [MOC.load(path, "json") for path in mocs(folder, "json")]
    places = SkyCoord(ra, dec, unit="deg")
    return {
        "sum": MOC.from_string("0/0-11").probability_in_multiordermap(find(folder, ".multiorder.fits")),
        "area": [region.sky_fraction * SKY for region in regions],
        "inside": [region.contains_skycoords(places).tolist() for region in regions],
    }


def mhealpy(folder: Path, ra: Any, dec: Any) -> Values:
    from mhealpy import HealpixMap

    skymap = HealpixMap.read_map(find(folder, ".multiorder.fits"), field=1, density=True)
    density, highest = np.asarray(skymap.data), int(np.argmax(skymap.data))
    return {
        "density": density[skymap.ang2pix(ra, dec, lonlat=True)].tolist(),
        "best": [float(value) for value in skymap.pix2ang(highest, lonlat=True)],
        "rows": skymap.npix,
        "highest": float(density.max()),
    }


def healpy(folder: Path, ra: Any, dec: Any) -> Values:
    import healpy

    flat = healpy.read_map(find(folder, FLAT), dtype=np.float64)  # RING, unless told otherwise
    nside = healpy.npix2nside(len(flat))
    density = flat[healpy.ang2pix(nside, ra, dec, lonlat=True)] / healpy.nside2pixarea(nside)
    return {"density": density.tolist(), "sum": float(flat.sum())}


def astropy(folder: Path, ra: Any, dec: Any) -> Values:
    import astropy_healpix as ah
    from astropy.table import QTable

    skymap = QTable.read(find(folder, ".multiorder.fits"))
    level, ipix = ah.uniq_to_level_ipix(skymap["UNIQ"])
    probability = skymap["PROBDENSITY"] * ah.nside_to_pixel_area(ah.level_to_nside(level))
    highest = int(np.argmax(skymap["PROBDENSITY"]))
    lon, lat = ah.healpix_to_lonlat(ipix[highest], ah.level_to_nside(level[highest]), order="nested")
    return {
        "sum": float(probability.sum()),
        "best": [float(lon.deg), float(lat.deg)],
        "header": [skymap.meta["RA"], skymap.meta["DEC"]],
        "rows": len(skymap),
    }


def shapely(folder: Path, ra: Any, dec: Any) -> Values:
    from shapely.geometry import Point, shape

    features = json.loads(Path(find(folder, ".contours.geojson")).read_text())["features"]
    found = {feature["properties"]["name"]: shape(feature["geometry"]) for feature in features}
    regions = [found[name] for name in ("3 sigma", "50%", "90%")]
    assert all(region.is_valid for region in regions)
    west = (np.asarray(ra) + 180) % 360 - 180
    return {"polygons": [[region.contains(Point(*at)) for at in zip(west, dec, strict=True)] for region in regions]}


def stilts(folder: Path, ra: Any, dec: Any) -> Values:
    places = folder / "places.csv"
    np.savetxt(places, np.stack([ra, dec], axis=1), "%.17g", ",", header="ra,dec", comments="")
    at = [f"in={places}", "ifmt=csv"]
    flat = find(folder, FLAT)
    pixels = 12 * int(flat.split("_nside_")[1].split("_")[0]) ** 2
    probability = _stilts("pixsample", *at, f"pixdata={flat}", "lon=ra", "lat=dec", "stat=point")[-1]
    contains = [f"cmd=addcol in{n} 'inMoc(\"{path}\",ra,dec)'" for n, path in enumerate(mocs(folder))]
    cells = (
        "addcol order toInteger(roundDown(ln(UNIQ/4.0)/ln(4.0)+1e-12));"
        "addcol cell toLong(UNIQ-4*pow(4,order));addcol size PI/3/pow(4,order)"
    )
    region, size = _stilts(
        "tcat", *(f"in={path}" for path in mocs(folder)), "seqcol=file", f"ocmd={cells};keepcols 'file size'"
    )
    where = "addcol ra healpixNestLon(order,cell);addcol dec healpixNestLat(order,cell)"
    density, area, *centre = _stilts(
        "tpipe", f"in={find(folder, '.multiorder.fits')}", f"cmd={cells};{where};keepcols 'PROBDENSITY size ra dec'"
    )
    return {
        "density": (probability * pixels / (4 * np.pi)).tolist(),
        "inside": (_stilts("tpipe", *at, *contains)[2:] == 1).tolist(),
        "area": [size[region == number].sum() * SQUARE_DEGREES for number in (1, 2, 3)],
        "rows": len(density),
        "sum": float((density * area).sum()),
        "best": np.transpose(centre)[np.argmax(density)].tolist(),
    }


def fitsverify(folder: Path, ra: Any, dec: Any) -> Values:
    paths = [*folder.glob("*.fits"), *folder.glob("*.fits.gz")]
    done = subprocess.run(["fitsverify", *paths], capture_output=True, text=True, check=False)
    clean = done.stdout.count("**** Verification found 0 warning(s) and 0 error(s). ****")
    assert clean == len(paths) == 5, done.stdout
    return {}


def aladin(folder: Path, ra: Any, dec: Any) -> Values:
    files = [
        [str(path.relative_to(folder.parent)) for path in map(Path, mocs(folder, kind))] for kind in ("fits", "json")
    ]
    places = np.stack([ra, dec], axis=1).tolist()
    fits, json_files = (_aladin_page(folder.parent).evaluate("read", [paths, places]) for paths in files)
    assert fits == json_files
    return {"area": [fraction * SKY for fraction in fits["fraction"]], "inside": fits["inside"]}


def d3(folder: Path, ra: Any, dec: Any) -> Values:
    script = Path(__file__).with_name("foreign_reader.mjs")
    command = [
        "node",
        script,
        os.environ["SKYMAP_NODE_READERS"],
        find(folder, ".contours.geojson"),
        folder / "places.json",
    ]
    found: Values = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def _stilts(*arguments: str) -> Any:
    """Return the columns of the table that a command of STILTS prints."""
    command = ["stilts", "-XX:TieredStopAtLevel=1", *arguments, "ofmt=csv-noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("true", "1").replace("false", "0").splitlines()
    return np.array([line.split(",") for line in lines], dtype=float).T


#: Aladin Lite shows surveys of the sky from the net; here it has the files alone.
ALADIN_PAGE = """
<div id="sky" style="width: 300px; height: 300px"></div>
<script type="module">
  import A from "/aladin.js";
  const opened = A.init.then(() => A.aladin("#sky", { log: false }));
  const load = (aladin, path) => new Promise((done, failed) => {
    const show = (moc) => (aladin.addMOC(moc), moc);
    if (path.endsWith(".fits")) {
      const moc = show(A.MOCFromURL(path, {}, () => done(moc), failed));
    } else {
      fetch(path).then((answer) => answer.json()).then((pixels) => done(show(A.MOCFromJSON(pixels, {}))), failed);
    }
  });
  window.read = async ([paths, places]) => {
    const mocs = [];
    for (const path of paths) mocs.push(await load(await opened, "/" + path));
    return {
      fraction: mocs.map((moc) => moc.skyFraction()),
      inside: mocs.map((moc) => places.map((place) => moc.contains(...place))),
    };
  };
</script>
"""


@cache
def _aladin_page(files: Path) -> Any:
    """Open Aladin Lite in a browser that gets the files below a folder, and nothing from the net."""
    from playwright.sync_api import Route, sync_playwright

    def serve(route: Route) -> None:
        host, _, path = route.request.url.removeprefix("http://").partition("/")
        if host != "files":
            route.abort()
        elif path == "aladin.js":
            route.fulfill(path=Path(os.environ["SKYMAP_NODE_READERS"], "node_modules/aladin-lite/dist/aladin.js"))
        elif path:
            route.fulfill(path=files / path) if (files / path).is_file() else route.fulfill(status=404)
        else:
            route.fulfill(body=ALADIN_PAGE, content_type="text/html")

    playwright = sync_playwright().start()
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=os.environ["SKYMAP_BROWSER"], args=arguments)
    page = browser.new_page()
    page.route("**/*", serve)
    page.goto("http://files/")
    page.wait_for_function("Boolean(window.read)")
    atexit.register(lambda: (browser.close(), playwright.stop()))
    return page


READERS: dict[str, Callable[[Path, Any, Any], Values]] = {
    "ligo.skymap": ligo,
    "hpmoc": hpmoc,
    "cdshealpix": cdshealpix,
    "icecube-skyreader": skyreader,
    "mocpy": mocpy,
    "mhealpy": mhealpy,
    "healpy": healpy,
    "astropy-healpix": astropy,
    "shapely": shapely,
    "STILTS": stilts,
    "fitsverify": fitsverify,
    "Aladin Lite": aladin,
    "d3-geo": d3,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    reader, *folders = sys.argv[1:]
    found = {}
    for folder in map(Path, folders):
        found[folder.name] = READERS[reader](folder, *np.transpose(json.loads((folder / "places.json").read_text())))
    print(json.dumps(found))
