"""The regions as MOCs: what other programs read is the region that the contour encloses."""

from __future__ import annotations

import warnings
from dataclasses import replace

import astropy.units as u
import astropy_healpix as ah
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from mhealpy import HealpixMap
from mocpy import MOC

from skymap_scanner.results import ScanResult, write_results
from skymap_scanner.results.contours import contours
from skymap_scanner.results.directions import radec_to_vector
from skymap_scanner.results.inside import is_inside
from skymap_scanner.results.map_files import read_moc
from skymap_scanner.results.moc import region_cells
from skymap_scanner.results.skymap import multi_order_map

SKY = 4 * np.pi * (180 / np.pi) ** 2


def two_wells(separation):
    def surface(ra, dec):
        first, second = separation(ra, dec, 359.0, 40.0), separation(ra, dec, 30.0, 45.0)
        return np.minimum((first / 4) ** 2, (second / 3) ** 2 + 0.5)

    return surface


def ring(separation):
    return lambda ra, dec: ((separation(ra, dec, 10.0, 70.0) - 30.0) / 4) ** 2


@pytest.fixture(scope="module", params=["track", "RA 0", "poles", "two parts", "ring", "one level", "partial", "sky"])
def result(request, scan, bowl, separation, track, partial) -> ScanResult:
    return {
        "track": lambda: track,
        "RA 0": lambda: scan(bowl(0.1, -35.0, 0.5)),
        "poles": lambda: scan(bowl(40.0, -89.7, 0.6)),
        "two parts": lambda: scan(two_wells(separation), ((32, 0),)),
        "ring": lambda: scan(ring(separation), ((16, 0),)),
        "one level": lambda: scan(bowl(200.0, 30.0, 4.0), ((8, 0),)),
        "partial": lambda: partial,
        "sky": lambda: scan(bowl(200.0, 30.0, 300.0), ((8, 0),)),
    }[request.param]()


def written(result, folder):
    """Write the MOCs of a result; return each region with its FITS and its JSON file."""
    paths = write_results(result, folder, ["moc"])
    regions = contours(multi_order_map(result))
    return list(zip(regions, paths[::2], paths[1::2], strict=True))


def test_mocpy_reads_the_regions_of_the_contours(result, tmp_path):
    rng = np.random.default_rng(7)
    ra, dec = rng.uniform(0, 360, 60), np.degrees(np.arcsin(rng.uniform(-1, 1, 60)))
    best = multi_order_map(result).best
    for region, fits_file, json_file in written(result, tmp_path):
        moc = MOC.load(fits_file, "fits")
        assert moc == MOC.load(json_file, "json")
        assert moc.sky_fraction * SKY == pytest.approx(region.area, rel=2e-3)
        assert moc.contains_skycoords(SkyCoord(best.ra, best.dec, unit="deg"))
        expected = [region.contains(*place) for place in zip(ra, dec, strict=True)]
        assert moc.contains_skycoords(SkyCoord(ra, dec, unit="deg")).tolist() == expected


def test_mhealpy_and_astropy_read_the_pixels(track, tmp_path):
    for region, fits_file, _ in written(track, tmp_path):
        with fits.open(fits_file, checksum=True) as file:
            uniq, header = file[1].data["UNIQ"].astype(np.int64), file[1].header
        level, _ = ah.uniq_to_level_ipix(uniq)
        assert header["MOCORDER"] == header["MOCORD_S"] == level.max()
        area = ah.nside_to_pixel_area(ah.level_to_nside(level)).to_value(u.deg**2)
        assert area.sum() == pytest.approx(region.area, rel=1e-3)
        assert np.array_equal(uniq, np.sort(uniq))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the map is not of the whole sky
            skymap = HealpixMap(np.ones(len(uniq)), uniq)
        best = multi_order_map(track).best
        assert skymap.ang2pix(best.ra, best.dec, lonlat=True) >= 0
        assert skymap.order == header["MOCORDER"]


def test_own_reader_finds_the_same_region(result, tmp_path):
    for region, fits_file, json_file in written(result, tmp_path):
        found, again = read_moc(fits_file), read_moc(json_file)
        assert found.area == again.area == pytest.approx(region.area, rel=2e-3)


def test_pixels_are_the_largest_that_fit(track):
    region = contours(multi_order_map(track))[1]
    order, ipix = region_cells(region)
    whole = np.unique(np.stack([order, ipix // 4]), axis=1, return_counts=True)[1]
    assert whole.max() < 4, "four pixels of one parent would be that parent"


def test_inside_agrees_with_the_surface(result):
    skymap = multi_order_map(result)
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(60, 3))
    best = ah.healpix_to_xyz(skymap.best.index, skymap.best.nside, order="ring")
    vectors[::3] = vectors[::3] * 0.05 + np.array(best)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for region in contours(skymap):
        # At the edge of the sky with fits, lines pass half-way between values where the surface has none.
        edges = [line[border] for line, border in zip(region.lines, region.borders, strict=True) if border.any()]
        edge = radec_to_vector(*np.concatenate([np.empty((0, 2)), *edges]).T)
        away = np.max(vectors @ edge.T, axis=1, initial=-1) < np.cos(np.radians(1.0))
        expected = [region.mesh.value_at(vector) < region.threshold for vector in vectors[away]]
        assert is_inside(region, vectors[away]).tolist() == expected


def test_region_files_of_another_rule_are_named_after_it(track, calibrated, tmp_path):
    names = [path.name for path in write_results(track, tmp_path, ["moc"], rule=calibrated)]
    assert [name.partition("_512")[2] for name in names] == [
        f".calibrated.region_{share}.moc.{kind}" for share in (50, 90) for kind in ("fits", "json")
    ]
    stated = ScanResult(track.levels, replace(track.metadata, rule=calibrated))
    (moc, *_) = written_names = [path.name for path in write_results(stated, tmp_path, ["moc"])]
    assert len(written_names) == 4
    assert moc.endswith("_512.region_50.moc.fits")


def test_moc_of_noise_stays_small(scan, tmp_path):
    random = np.random.default_rng(3)
    noise = scan(lambda ra, _: random.uniform(0, 10, len(ra)), ((32, 0),))
    written = write_results(noise, tmp_path, ["moc"])
    assert len(written) == 6
    for path in written:
        assert path.stat().st_size < 10**6
