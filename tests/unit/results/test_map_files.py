"""Maps and MOCs as other programs write them, and files that are not what they seem."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tracemalloc

import healpy
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy_healpix import lonlat_to_healpix
from mocpy import MOC

from skymap_scanner.errors import InputError
from skymap_scanner.results import map_files, write_results
from skymap_scanner.results.fits_table import MAX_COLUMNS
from skymap_scanner.results.map_files import read_map, read_moc
from skymap_scanner.results.probability_map import map_of_scan

NSIDE = 32


@pytest.fixture(scope="module")
def flat(separation):
    """A Gaussian, 5 deg wide, around (359, 60): probability per pixel, RING."""
    ra, dec = healpy.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    values = np.exp(-((separation(ra, dec, 359.0, 60.0) / 5.0) ** 2) / 2)
    return values / values.sum()


def check(skymap, flat):
    """Check that a map is the flat one."""
    assert (skymap.ra, skymap.dec) == pytest.approx(healpy.pix2ang(NSIDE, np.argmax(flat), lonlat=True))
    ra, dec = healpy.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    np.testing.assert_allclose(skymap.density_at(ra, dec), flat * 12 * NSIDE**2 / (4 * np.pi), rtol=1e-6, atol=1e-12)
    assert skymap.probability.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("suffix", ["fits", "fits.gz"])
def test_flat_map_of_healpy_is_read(flat, tmp_path, nest, dtype, suffix):
    path = tmp_path / f"map.{suffix}"
    values = healpy.reorder(flat, r2n=True) if nest else flat  # in rows of 1024 pixels
    healpy.write_map(path, values, nest=nest, coord="C", column_names=["PROB"], dtype=dtype)
    check(read_map(path), flat)


def test_flat_map_with_listed_pixels_is_read(flat, tmp_path):
    path = tmp_path / "map.fits"
    values = np.where(flat > 1e-12, flat, healpy.UNSEEN)
    healpy.write_map(path, values, partial=True, coord="C", column_names=["PROBABILITY"], dtype=np.float64)
    check(read_map(path), np.where(flat > 1e-12, flat, 0))


def test_unseen_pixels_have_no_probability(flat, tmp_path):
    path = tmp_path / "map.fits"
    for missing in (healpy.UNSEEN, np.nan):
        values = np.where(flat > 1e-9, flat, missing)
        healpy.write_map(path, values, coord="C", column_names=["PROB"], dtype=np.float32, overwrite=True)
        check(read_map(path), np.where(flat > 1e-9, flat, 0))


@pytest.mark.parametrize("unit", ["sr-1", "1 / sr", "deg-2", None])
def test_multi_order_map_of_astropy_is_read(flat, tmp_path, unit):
    density = healpy.reorder(flat, r2n=True) * 12 * NSIDE**2 / (4 * np.pi)
    density *= (np.pi / 180) ** 2 if unit == "deg-2" else 1
    table = Table({"UNIQ": 4 * NSIDE**2 + np.arange(len(flat)), "PROBDENSITY": density, "DISTMU": np.zeros(len(flat))})
    shuffled = table[np.random.default_rng(1).permutation(len(flat))]
    shuffled["PROBDENSITY"].unit = unit
    shuffled.meta |= {"COORDSYS": "C", "ORDERING": "NUNIQ", "OBJECT": "S230518h"}
    path = tmp_path / "bayestar.multiorder.fits"
    shuffled.write(path)
    skymap = read_map(path)
    check(skymap, flat)
    assert skymap.name == "S230518h"


def test_map_of_cells_of_every_size_is_read(tmp_path):
    order = np.repeat(np.arange(1, 30), 3)  # three of four children of pixel 0, down to the finest order
    uniq = 4 * 4**order + np.tile([1, 2, 3], 29)
    table = Table({"UNIQ": uniq, "PROBDENSITY": np.where(order == 29, 4.0**29, 0.0) / np.pi})
    table.meta["COORDSYS"] = "C"
    table.write(tmp_path / "map.fits")
    skymap = read_map(tmp_path / "map.fits")
    assert skymap.region(0.9).area == pytest.approx(3 * 41252.96 / 12 / 4**29, rel=1e-6)
    assert skymap.density[-1] == 0  # sky without pixels
    assert lonlat_to_healpix(skymap.ra * u.deg, skymap.dec * u.deg, 2**29, order="nested") in {1, 2, 3}


@pytest.mark.parametrize("formats", [("json",), ("npz",), ("npz", "json", "summary"), ("fits",), ("flat-fits", "npz")])
def test_folder_of_a_scan_is_its_result(track, tmp_path, formats):
    write_results(track, tmp_path, formats)
    (tmp_path / "scan.json").write_text("{}")
    expected, found = map_of_scan(track), read_map(tmp_path)
    np.testing.assert_array_equal(found.edges, expected.edges)
    np.testing.assert_allclose(found.density, expected.density, rtol=1e-12)
    assert (found.ra, found.dec) == pytest.approx((expected.ra, expected.dec))


def test_flat_file_of_a_scan_is_the_same_map(track, tmp_path):
    (path,) = write_results(track, tmp_path, ["flat-fits"])
    expected, found = map_of_scan(track), read_map(path)
    starts = np.union1d(found.edges, expected.edges)[:-1]
    np.testing.assert_allclose(found.density_from(starts), expected.density_from(starts), rtol=1e-9, atol=1e-300)


def test_partial_file_of_a_scan_is_read_last(partial, tmp_path):
    (path,) = write_results(partial, tmp_path, ["json"])
    path.rename(tmp_path / "partial.json")
    assert "the scan is not complete" in read_map(tmp_path).notes


def test_folders_with_none_or_several_results_are_rejected(track, partial, nothing, tmp_path):
    with pytest.raises(InputError, match="holds no result of a scan"):
        read_map(tmp_path)
    write_results(track, tmp_path, ["json"])
    write_results(partial, tmp_path, ["npz"])
    with pytest.raises(InputError, match=r"holds several results, such as run.* and run.*: name one"):
        read_map(tmp_path)
    (path,) = write_results(nothing, tmp_path, ["json"])
    with pytest.raises(InputError, match="none of the 3 scanned pixels has a fit"):
        read_map(path)


def table_file(uniq=(4, 5), density=(1.0, 1.0), names=("UNIQ", "PROBDENSITY"), **cards):
    columns = [
        fits.Column(name=name, format=form, array=np.array(values))
        for name, form, values in zip(names, "KD", (uniq, density), strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update({"COORDSYS": "C", "ORDERING": "NUNIQ", **cards})
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    return file.getvalue()


HALF = 3 / (2 * np.pi)
GOOD = table_file(density=(HALF, HALF))


def with_cards(**cards):
    """Return the good map with other numbers in the header of its table."""
    content = GOOD
    for key, value in cards.items():
        place = content.index(f"{key:8}=".encode(), 2880)
        content = content[:place] + f"{key:8}= {value:>20}".encode() + content[place + 30 :]
    return content


def many_axes():
    """Return a header whose axes multiply to more digits than Python converts."""
    cards = [
        "XTENSION= 'IMAGE   '",
        "BITPIX  = 8",
        "NAXIS   = 999",
        *(f"NAXIS{n:<3}= {10**60}" for n in range(1, 1000)),
    ]
    text = "".join(f"{card:80}" for card in [*cards, "END"])
    return GOOD[:2880] + text.ljust(-(-len(text) // 2880) * 2880).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table_file(density=(1, 1)), "the probabilities add up to 2.094, not to 1"),
        (table_file(density=(0, 0)), "add up to 0, not to 1"),
        (table_file(density=(np.nan, np.nan)), "add up to 0, not to 1"),
        (table_file(density=(HALF, -HALF)), "negative or impossibly large"),
        (table_file(density=(HALF, np.inf)), "negative or impossibly large"),
        (table_file(density=(1e308, 1e308)), "negative or impossibly large"),
        (table_file(uniq=(4, 4)), "1 pixels overlap"),
        (table_file(uniq=(4, 17)), "1 pixels overlap"),
        (table_file(uniq=(3, 4)), "UNIQ 3 is no pixel"),
        (table_file(uniq=(4, -5)), "UNIQ -5 is no pixel"),
        (table_file(uniq=(4, 2**62)), "UNIQ 4611686018427387904 is no pixel|overlap|add up"),
        (table_file(uniq=(), density=()), "0 pixels have 0 values"),
        (table_file(COORDSYS="G"), "COORDSYS is 'G': rotate the map"),
        (table_file(TUNIT2="Mpc"), "unit 'Mpc': expected sr-1 or deg-2"),
        (table_file(TSCAL2=2.0), "without TSCAL and TZERO"),
        (table_file(names=("UNIQ", "2DLLH")), "columns are UNIQ, 2DLLH: expected UNIQ and PROBDENSITY"),
        (table_file(names=("X", "PROB")), "ORDERING is 'NUNIQ': expected RING or NESTED"),
        (table_file(names=("X", "PROB"), ORDERING="RING"), "2 pixels: a map of nside|nside 0 is not a power"),
        (table_file(names=("X", "PROB"), ORDERING="RING", NSIDE=3), "nside 3 is not a power of two"),
        (table_file(names=("X", "PROB"), ORDERING="RING", NSIDE=4096), "nside 4096 is not a power of two up to"),
        (table_file(names=("PIXEL", "PROB"), ORDERING="RING", NSIDE=1, uniq=(0, 12)), "pixels of nside 1 are 0 to 11"),
        (table_file(names=("PIXEL", "PROB"), ORDERING="RING", uniq=(0, 1)), "nside None is not a power"),
        (GOOD.replace(b"TFORM1  = 'K ", b"TFORM1  = 'D "), "column UNIQ does not hold whole numbers"),
        (GOOD.replace(b"TFORM1  = 'K ", b"TFORM1  = '9K"), "column 1 ends at byte 72 of rows of 16"),
        (GOOD.replace(b"TFORM1  = 'K ", b"TFORM1  = '!!"), "TFORM1 is '!!', not the form of a column"),
        (GOOD.replace(b"TFORM1  = 'K ", b"TFORM1  = 'A "), "column UNIQ: expected numbers"),
        (
            GOOD.replace(b"NAXIS2  =                    2", b"NAXIS2  =   999999999999999999"),
            "more data than the 2880 bytes that follow",
        ),
        (GOOD.replace(b"NAXIS2  =                    2", b"NAXIS2  =                   -2"), "NAXIS2 is -2"),
        (
            GOOD.replace(b"NAXIS2  =                    2", b"NAXIS2  =                  2.5"),
            "NAXIS2 is '2.5', not a whole",
        ),
        (GOOD.replace(b"NAXIS2  =                    2", b"NAXIS2  =                    ("), "NAXIS2"),
        (with_cards(NAXIS1=0, NAXIS2=99999999999999999999), "impossible sizes: 9{20} rows of 0 bytes"),
        (with_cards(NAXIS1=0), "impossible sizes: 2 rows of 0 bytes"),
        (with_cards(NAXIS1=99999999999999999999, NAXIS2=0), "impossible sizes: 0 rows of 9{20} bytes"),
        (with_cards(NAXIS2=9999, GCOUNT=0), "impossible sizes: 9999 rows of 16 bytes, GCOUNT 0"),
        (many_axes(), "more data than the 0 bytes that follow"),
        (GOOD[:5760], "more data than the 0 bytes that follow: cut off"),
        (GOOD[:4000], "no end of a header"),
        (GOOD.replace(b"END  ", b"ENDE "), "no end of a header"),
        (GOOD[:2880], "no table: give a HEALPix map"),
        (b"SIMPLE  =", "no end of a header"),
        (gzip.compress(GOOD)[:-9], "damaged gzip|cannot be read"),
        (gzip.compress(GOOD)[:40], "damaged gzip"),
        (b"\x1f\x8b" + bytes(100), "cannot be read|damaged gzip"),
        (b"", "not JSON"),
        (b"hello", "not JSON"),
    ],
)
def test_file_that_is_no_map_is_rejected(tmp_path, content, message):
    path = tmp_path / "map.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"map\.fits: .*({message})"):
        read_map(path)


def test_every_damage_of_a_map_is_an_input_error(tmp_path):
    path = tmp_path / "map.fits"
    dice = np.random.default_rng(4)
    for _ in range(400):
        content = bytearray(GOOD)
        for place in dice.integers(2880, len(GOOD), dice.integers(1, 6)):
            content[place] = dice.integers(256)
        path.write_bytes(content)
        with contextlib.suppress(InputError):  # any other error fails the test
            assert read_map(path).probability.sum() == pytest.approx(1)


def test_compressed_bomb_is_rejected_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(map_files, "MAX_MOC_FITS", 2**22)
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(InputError, match="larger than the 4194304 bytes allowed"):
        read_moc(path)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_map_of_too_many_pixels_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr("skymap_scanner.results.probability_map.MOST_CELLS", 1)
    path = tmp_path / "map.fits"
    path.write_bytes(GOOD)
    with pytest.raises(InputError, match="2 pixels, more than the 1 allowed"):
        read_map(path)


def test_many_columns_and_hdus_end(tmp_path):
    path = tmp_path / "map.fits"
    empty = fits.BinTableHDU.from_columns([fits.Column(name=f"C{n}", format="B") for n in range(MAX_COLUMNS)])
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *[empty] * 3]).writeto(file)
    path.write_bytes(file.getvalue() + GOOD[:2880] * 200)
    with pytest.raises(InputError, match="expected UNIQ and PROBDENSITY"):
        read_map(path)


def test_map_without_frame_is_equatorial_with_a_warning(tmp_path, caplog):
    path = tmp_path / "map.fits"
    path.write_bytes(GOOD.replace(b"COORDSYS=", b"COORDSYX="))
    read_map(path)
    assert "map.fits states no COORDSYS: it is taken as equatorial" in caplog.text


def test_tables_behind_others_are_found(tmp_path):
    path = tmp_path / "map.fits"
    image = fits.ImageHDU(np.zeros((7, 1000), dtype=np.float32))
    other = fits.BinTableHDU.from_columns([fits.Column(name="EBOUNDS", format="3E", array=np.zeros((2, 3)))])
    with fits.open(io.BytesIO(GOOD)) as file:
        fits.HDUList([file[0], image, other, file[1]]).writeto(path)
    assert read_map(path).region(0.9).area == pytest.approx(41252.96 / 6, rel=1e-6)


MOCS = ["0/", "3/1-3 5/700", "0/0-11", "29/17", "1/46 12/0 29/3458764513820540927"]


@pytest.mark.parametrize("text", MOCS)
@pytest.mark.parametrize("form", ["version 2", "version 1", "json"])
def test_moc_of_mocpy_is_read(tmp_path, text, form):
    moc = MOC.from_string(text)
    if form == "json":
        path = tmp_path / "region.json"
        moc.save(path, format="json")
    else:
        path = tmp_path / "region.fits"
        moc.save(path, format="fits", **({"v1_compatible": True} if form == "version 1" else {}))
    region = read_moc(path)
    expected = moc.to_depth29_ranges.reshape(-1, 2).astype(np.int64)
    np.testing.assert_array_equal(np.stack([region.start, region.stop], axis=1), expected)


def moc_file(values, form="K", **cards):
    table = fits.BinTableHDU.from_columns([fits.Column(name="RANGE", format=form, array=np.array(values))])
    table.header.update({"MOCDIM": "SPACE", "ORDERING": "RANGE", **cards})
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (moc_file([1, 2, 3]), "RANGE is not pairs"),
        (moc_file([1, 2], form="J"), "integers of 64 bits"),
        (moc_file([2, 2]), "no interval of pixels"),
        (moc_file([-1, 2]), "no interval of pixels"),
        (moc_file([0, 12 * 4**29 + 1]), "no interval of pixels"),
        (moc_file([1, 2], MOCDIM="TIME.SPACE"), "a MOC of TIME.SPACE"),
        (moc_file([1, 2], COORDSYS="G"), "a MOC is in equatorial coordinates"),
        (moc_file([1, 2], ORDERING="NUNIQ"), "UNIQ 1 is no pixel"),
        (moc_file([1, 2], ORDERING="RING"), "no table of a MOC"),
        (b"[1, 2]", "not a MOC: expected an object"),
        (b'{"30": [1]}', "'30' is no order"),
        (b'{"-1": [1]}', "'-1' is no order"),
        (b'{"0": [12]}', "order 0: expected a list of pixels from 0 to 11"),
        (b'{"0": [true]}', "order 0: expected a list"),
        (b'{"0": [1.0]}', "order 0: expected a list"),
        (b'{"0": 1}', "order 0: expected a list"),
        (b"[" * 100_000, "neither FITS nor JSON"),
        (b'{"0": [' + b"9" * 10_000 + b"]}", "neither FITS nor JSON"),
        (b"", "neither FITS nor JSON"),
    ],
)
def test_file_that_is_no_moc_is_rejected(tmp_path, content, message):
    path = tmp_path / "region.moc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"region\.moc: .*{message}"):
        read_moc(path)


def test_large_moc_as_json_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(map_files, "MAX_MOC_JSON", 100)
    path = tmp_path / "region.json"
    path.write_text(json.dumps({"9": list(range(100))}))
    with pytest.raises(InputError, match="larger than the 100 bytes allowed"):
        read_moc(path)


def test_missing_files_are_input_errors(tmp_path):
    for read in (read_map, read_moc):
        with pytest.raises(InputError, match="cannot be read"):
            read(tmp_path / "none.fits")
