"""The FITS files, read by those who read them."""

from __future__ import annotations

import ast
import gzip
import io
import re
import tracemalloc
from pathlib import Path

import healpy
import mocpy
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy_healpix.core import healpix_to_lonlat
from hypothesis import given
from hypothesis import strategies as st
from mhealpy import HealpixMap

from skymap_scanner.event.preparation import NO_BAD_DOMS
from skymap_scanner.results import IC160427A, WILKS, ScanResult
from skymap_scanner.results.contours import contours, of_rule
from skymap_scanner.results.fits_checksum import encode_checksum, sum_words
from skymap_scanner.results.fits_files import flat_fits, mjd_to_iso, multi_order_fits
from skymap_scanner.results.rule import THREE_SIGMA
from skymap_scanner.results.skymap import flat_blocks, multi_order_map

RESULT_FILES = Path(__file__).parents[3] / "docs/reference/result-files.md"
SKY = 4 * np.pi * (180 / np.pi) ** 2


def encode(result: ScanResult, encoder=multi_order_fits, rule=WILKS) -> bytes:
    skymap = multi_order_map(result, rule)
    content = encoder(result, skymap, contours(skymap))
    return content if isinstance(content, bytes) else b"".join(content)


@pytest.fixture(scope="module")
def failed_far_away(track) -> ScanResult:
    """A scan with a failed pixel in the coarsest level, so that a part of the sky has no fit."""
    rows = track.levels[8].copy()
    rows["llh"][700] = np.nan
    return ScanResult({**track.levels, 8: rows}, track.metadata)


@pytest.fixture(scope="module", params=["whole", "partial", "failed pixel"])
def result(request, track, partial, failed_far_away) -> ScanResult:
    return {"whole": track, "partial": partial, "failed pixel": failed_far_away}[request.param]


@pytest.fixture(scope="module")
def encoded(result) -> bytes:
    return encode(result)


def test_fits_layout_is_what_readers_expect(result, encoded):
    with fits.open(io.BytesIO(encoded)) as file:
        primary, table = file
        assert primary.data is None
        assert table.columns.names == ["UNIQ", "PROBDENSITY", "LLH", "E_IN", "E_TOT", "X", "Y", "Z", "T"]
        header = table.header
        assert (header["TFORM1"], header["TFORM2"], header["TUNIT2"]) == ("K", "D", "sr-1")
        assert "TUNIT1" not in header
        assert (header["PIXTYPE"], header["ORDERING"], header["COORDSYS"]) == ("HEALPIX", "NUNIQ", "C")
        assert header["INDXSCHM"] == "EXPLICIT"
        assert 2 ** header["MOCORDER"] == max(result.levels)
        assert np.isfinite(table.data["PROBDENSITY"]).all()
        assert (np.diff(table.data["UNIQ"]) > 0).all()


def test_header_and_map_name_the_same_best_fit(result, encoded):
    skymap = multi_order_map(result)
    with fits.open(io.BytesIO(encoded)) as file:
        header, data = file[1].header, file[1].data
        brightest = data[data["PROBDENSITY"].argmax()]
        order = int(np.log2(brightest["UNIQ"] / 4)) // 2
        ra, dec = healpix_to_lonlat(int(brightest["UNIQ"]) - 4 * 4**order, 2**order, order="nested")
        assert (header["RA"], header["DEC"]) == pytest.approx((ra.deg, dec.deg), abs=1e-4)
        assert brightest["LLH"] == np.nanmin(data["LLH"]) == skymap.best.llh


def test_fits_header_describes_the_event(track):
    with fits.open(io.BytesIO(encode(track))) as file:
        header = file[1].header
        assert header["OBJECT"] == "IC231202A"
        assert (header["RUNID"], header["EVENTID"], header["I3TYPE"]) == (138632, 31747601, "neutrino")
        assert header["MJD-OBS"] == 60280.71416774572
        assert header["DATE-OBS"] == "2023-12-02T17:08:24.093"
        assert header["INSTRUME"] == "IceCube"
        assert header["CREATOR"] == "skymap-scanner 0.1.0"
        assert header["REFERENC"]
        assert header["COMPLETE"] is True
        assert header["NFAILED"] == 0
        assert "RUNTIME" not in header
        assert "DATE" not in header


def test_fits_header_names_the_sub_event_where_it_is_known(track, metadata):
    known = ScanResult(track.levels, metadata(track.levels, sub_event_id=0, sub_event_stream="InIceSplit"))
    for result, expected in ((known, (0, "InIceSplit")), (track, (None, None))):
        with fits.open(io.BytesIO(encode(result))) as file:
            assert (file[1].header.get("SUBEVENT"), file[1].header.get("SUBSTRM")) == expected


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("Größe ν", r"Gr\xf6\xdfe \u03bd"),
        ("a\nb\x1b", r"a\nb\x1b"),
        ("🔭\ud800", r"\U0001f52d\ud800"),
        ("it's " * 40, ("it's " * 40).rstrip()),  # FITS has no blanks at the end of a value
    ],
)
@pytest.mark.parametrize("encoder", [multi_order_fits, flat_fits])
def test_text_of_any_language_is_escaped_in_a_header(track, metadata, name, card, encoder):
    text = dict.fromkeys(("name", "event_type", "reconstruction", "scanner_version", "date"), name)
    content = encode(ScanResult(track.levels, metadata(track.levels, **text)), encoder)
    with fits.open(io.BytesIO(gzip.decompress(content) if encoder is flat_fits else content)) as file:
        header = file[1].header
    assert [header[key] for key in ("OBJECT", "I3TYPE", "RECO", "VCSVERS", "DATE")] == [card] * 5


@pytest.mark.parametrize("encoder", [multi_order_fits, flat_fits])
def test_fits_header_has_the_cautions_in_full(track, metadata, encoder):
    given = {"choice": "sub-event 0 of 3: it has the most light; " * 4 + "end", "caution": NO_BAD_DOMS}
    for said in (given, {}):
        content = encode(ScanResult(track.levels, metadata(track.levels, **said)), encoder)
        with fits.open(io.BytesIO(gzip.decompress(content) if encoder is flat_fits else content)) as file:
            header = file[1].header
            assert {key: header.get(key.upper()) for key in given} == {key: said.get(key) for key in given}


def test_wall_time_and_date_are_written_where_they_are_given(track, metadata):
    dated = ScanResult(track.levels, metadata(track.levels, wall_time=61.5, date="2026-01-02T03:04:05"))
    with fits.open(io.BytesIO(encode(dated))) as file:
        assert file[1].header["RUNTIME"] == 61.5
        assert file[1].header["DATE"] == "2026-01-02T03:04:05"


@pytest.mark.parametrize("rule", [WILKS, IC160427A])
def test_errors_and_areas_have_their_new_and_old_names(track, rule):
    found = contours(multi_order_map(track, rule))
    regions = {region.credible_level: region for region in of_rule(found, rule)}
    statistical = {region.credible_level: region for region in of_rule(found, WILKS)}
    for encoder in (multi_order_fits, flat_fits):
        content = encode(track, encoder, rule)
        with fits.open(io.BytesIO(content if encoder is multi_order_fits else gzip.decompress(content))) as file:
            header = file[1].header
            for share in (50, 90):
                region = regions[share / 100]
                assert header[f"CONTOUR_AREA_{share}"] == pytest.approx(region.area, rel=0.005)
                assert len(re.sub(r"^0\.0*|\.", "", f"{header[f'CONTOUR_AREA_{share}']:g}")) <= 3
                assert header[f"STAT_AREA_{share}"] == pytest.approx(statistical[share / 100].area, rel=0.005)
                for axis in ("RA", "DEC"):
                    for side in ("PLUS", "MINUS"):
                        expected = getattr(region.box, f"{axis}_{side}".lower())
                        assert header[f"{axis}_ERR_{side}_{share}"] == pytest.approx(expected, abs=1e-4)
                        assert header[f"{axis}_ERR_{side}_{share}"] > 0
            for axis in ("RA", "DEC"):
                for side in ("PLUS", "MINUS"):
                    assert header[f"{axis}_ERR_{side}"] == header[f"{axis}_ERR_{side}_90"]
            assert header["STAT_AREA_3SIGMA"] == pytest.approx(statistical[THREE_SIGMA].area, rel=0.005)
            # readers take the threshold of the 90 % contour from between the last brackets
            assert float(header["COMMENTS"].split("(")[-1].strip(")")) == rule.levels[0.9]
            assert (header["CONTOURS"], header["RULE"], header["RULESRC"]) == (rule.name, rule.statement, rule.source)


def test_multi_order_map_is_readable_by_mocpy(result, encoded, tmp_path):
    path = tmp_path / "map.multiorder.fits"
    path.write_bytes(encoded)
    skymap = multi_order_map(result)
    region = contours(skymap)[1]
    moc = mocpy.MOC.from_multiordermap_fits_file(str(path), cumul_from=0.0, cumul_to=0.9)
    everything = mocpy.MOC.from_string("0/0-11")
    assert everything.probability_in_multiordermap(str(path)) == pytest.approx(1, abs=1e-9)
    assert moc.probability_in_multiordermap(str(path)) == pytest.approx(0.9, abs=0.15 if region.open else 0.005)
    if not region.open:
        assert moc.sky_fraction * SKY == pytest.approx(region.area, rel=0.03)


def test_documented_recipe_of_mocpy_keeps_the_region_of_one_level(scan, bowl, tmp_path):
    path = tmp_path / "map.multiorder.fits"
    path.write_bytes(encode(scan(bowl(138.65, 0.15, 1.0), ((8, 0),))))
    recipe = re.search(r"MOC.from_multiordermap_fits_file\(.*?, (.*?)\)", RESULT_FILES.read_text())
    options = ast.literal_eval(re.sub(r"(\w+)=", r"'\1':", f"{{{recipe[1]}}}"))
    region = mocpy.MOC.from_multiordermap_fits_file(str(path), **options)
    assert region.sky_fraction == pytest.approx(1 / 768)
    assert region.probability_in_multiordermap(str(path)) >= 0.9


def test_multi_order_map_is_readable_by_mhealpy(result, encoded, tmp_path):
    path = tmp_path / "map.multiorder.fits"
    path.write_bytes(encoded)
    read = HealpixMap.read_map(str(path), field=1, density=True)
    skymap = multi_order_map(result)
    assert read.is_moc
    np.testing.assert_array_equal(read.uniq, skymap.uniq)
    np.testing.assert_array_equal(np.asarray(read.data), skymap.density)


def test_multi_order_map_is_readable_as_ligo_skymap_reads_it(encoded, tmp_path):
    # ligo.skymap.io.read_sky_map(moc=True): Table.read, UNIQ as int64, COORDSYS = C, ORDERING = NUNIQ, times as ISO
    path = tmp_path / "map.multiorder.fits"
    path.write_bytes(encoded)
    table = Table.read(path, format="fits")
    assert table.meta["COORDSYS"] == "C"
    assert table.meta["ORDERING"] == "NUNIQ"
    assert table["UNIQ"].dtype == np.dtype(">i8")
    assert table["PROBDENSITY"].unit == "sr-1"
    assert Time(table.meta["DATE-OBS"], format="fits", scale="utc").mjd == pytest.approx(60280.71416774572, abs=1e-8)


def test_flat_map_is_readable_by_healpy(result, tmp_path):
    path = tmp_path / "map.fits.gz"
    path.write_bytes(encode(result, flat_fits))
    flat, header = healpy.read_map(str(path), h=True, nest=True, dtype=np.float64)
    skymap = multi_order_map(result)
    np.testing.assert_array_equal(flat, np.concatenate([*flat_blocks(skymap)]))
    assert flat.sum() == pytest.approx(1, abs=1e-12)
    cards = dict(header)
    assert (cards["ORDERING"], cards["COORDSYS"], cards["TTYPE1"], cards["TUNIT1"]) == ("NESTED", "C", "PROB", "pix-1")
    assert (cards["RA"], cards["DEC"]) == pytest.approx((skymap.best.ra, skymap.best.dec), abs=1e-4)
    ring = healpy.read_map(str(path), dtype=np.float64)  # as healpy returns it unless told
    pixels = healpy.ang2pix(2**skymap.max_order, skymap.ra, skymap.dec, lonlat=True)
    density = skymap.density[skymap.cells_at(skymap.ra, skymap.dec)]
    np.testing.assert_allclose(
        ring[pixels] / healpy.nside2pixarea(2**skymap.max_order), density, rtol=1e-12, atol=1e-300
    )


def test_multi_order_map_is_not_taken_for_a_flat_one_by_healpy(scan, bowl):
    """A file of one level has as many rows as a flat map has pixels."""
    for plan in (((8, 0),), ((8, 0), (64, 12))):
        content = encode(scan(bowl(138.65, 0.15, 3.0), plan))
        with fits.open(io.BytesIO(content)) as file, pytest.raises((ValueError, IndexError)):
            healpy.read_map(file, field=1)


def test_flat_map_has_the_bytes_of_a_table_in_memory(result):
    """As astropy writes the same table from an array with all pixels."""
    content = gzip.decompress(encode(result, flat_fits))
    column = fits.Column(
        name="PROB", format="D", unit="pix-1", array=np.concatenate([*flat_blocks(multi_order_map(result))])
    )
    table = fits.BinTableHDU.from_columns([column])
    with fits.open(io.BytesIO(content)) as file:
        primary = fits.PrimaryHDU(header=file[0].header)
        table.header.extend(file[1].header.cards[len(table.header) :])
    whole = io.BytesIO()
    fits.HDUList([primary, table]).writeto(whole)
    assert content == whole.getvalue()


def test_flat_map_is_made_in_small_pieces(track, scan, bowl):
    for made in (track, scan(bowl(138.65, 0.15, 0.3), ((8, 0), (64, 12), (512, 12), (1024, 12)))):
        skymap = multi_order_map(made)
        regions = contours(skymap)
        tracemalloc.start()
        for _ in flat_fits(made, skymap, regions):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20e6, "a map of 1024 takes 100 MB"


def test_equal_results_give_equal_bytes(track):
    for encoder in (multi_order_fits, flat_fits):
        assert encode(track, encoder) == encode(track, encoder)
    assert encode(track, flat_fits)[4:8] == b"\0\0\0\0", "gzip's time"
    assert gzip.decompress(encode(track, flat_fits))[:6] == b"SIMPLE"


@pytest.mark.parametrize("encoder", [multi_order_fits, flat_fits])
def test_checksums_are_those_of_astropy(result, metadata, encoder, tmp_path):
    """astropy warns where one is wrong, and warnings are errors here."""
    for number in range(4):  # the encoding of a checksum has special cases
        named = ScanResult(result.levels, metadata(result.levels, event_id=number, complete=result.metadata.complete))
        content = encode(named, encoder)
        path = tmp_path / "map.fits"
        path.write_bytes(gzip.decompress(content) if encoder is flat_fits else content)
        with fits.open(path, checksum=True) as file:
            file.verify("exception")
            assert [hdu.verify_checksum() for hdu in file] == [1, 1]
            assert [hdu.verify_datasum() for hdu in file] == [1, 1]


@given(st.integers(0, 2**32 - 1))
def test_encoded_checksum_sums_up_to_its_value(value):
    letters = encode_checksum(value)
    assert letters.isascii()
    assert letters.isalnum()
    turned = (letters[1:] + letters[:1]).encode()
    assert sum_words([turned]) == sum_words([b"0" * 16, value.to_bytes(4, "big")])


def test_long_texts_are_announced(track, calibrated):
    for rule in (WILKS, calibrated):
        with fits.open(io.BytesIO(encode(track, rule=rule))) as file:
            continued = b"CONTINUE" in file[1].header.tostring().encode()
            assert ("LONGSTRN" in file[1].header) == continued


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        ("gfu-gold", "ICECUBE_ASTROTRACK_GOLD"),
        ("EHE-bronze", "ICECUBE_ASTROTRACK_BRONZE"),
        ("cascade", "ICECUBE_CASCADE"),
        ("neutrino", None),
    ],
)
def test_fits_header_names_type_and_stream_of_the_alert(track, metadata, kind, stream):
    with fits.open(io.BytesIO(encode(ScanResult(track.levels, metadata(track.levels, event_type=kind))))) as file:
        header = file[1].header
        assert (header["EVENT-TYPE"], header["I3TYPE"], header.get("ALERT-STREAM")) == (kind, kind, stream)


@pytest.mark.parametrize("mjd", [41317.0, 53000.5, 60280.71416774572])
def test_times_agree_with_astropy(mjd):
    assert Time(mjd_to_iso(mjd), scale="utc").mjd == pytest.approx(mjd, abs=1e-8)


def test_invalid_time_is_omitted():
    assert mjd_to_iso(1e9) == ""
