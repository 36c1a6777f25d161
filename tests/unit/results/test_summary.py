"""The result in words: the circular's wording to the letter, and nothing hidden."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy_healpix import healpix_to_lonlat

from skymap_scanner.event.model import OnlineDirection
from skymap_scanner.results import ScanResult
from skymap_scanner.results.cautions import cautions
from skymap_scanner.results.contours import Box, Contour, contours
from skymap_scanner.results.fits_files import multi_order_fits
from skymap_scanner.results.geojson import to_geojson
from skymap_scanner.results.mesh import Mesh
from skymap_scanner.results.result import result_from_json, result_from_npz, result_to_json, result_to_npz
from skymap_scanner.results.rule import WILKS
from skymap_scanner.results.skymap import BestFit, multi_order_map
from skymap_scanner.results.summary import area_number, direction_lines, event_name, summary_json, summary_text


def written(result, rule=None):
    skymap = multi_order_map(result, rule) if rule else multi_order_map(result)
    regions = contours(skymap)
    return summary_text(result, skymap, regions), json.loads(summary_json(result, skymap, regions))


def test_directions_are_worded_as_in_circulars():
    best = BestFit(nside=512, index=7, ra=75.894, dec=-5.2, llh=1.0, energy_in=1.0, energy_total=1.0)
    mesh = Mesh(np.empty((0, 3)), np.empty(0), np.empty((0, 3), dtype=np.int64))
    box = Box(ra_plus=0.518, ra_minus=0.561, dec_plus=0.4, dec_minus=12.345)
    for rule, covers in (("calibrated", "PSF containment"), ("wilks", "statistical only")):
        region = Contour(rule, 0.9, 4.61, 1.0, (), (), box, 1, mesh)
        assert direction_lines(best, region) == [
            f"RA: 75.89 (+0.52/-0.56 deg 90% {covers}) J2000",
            f"Dec: -5.20 (+0.40/-12.35 deg 90% {covers}) J2000",
        ]


def test_summary_contains_everything_for_a_circular(track):
    text, _ = written(track)
    for line in (
        "Event: IC231202A (run 138632, event 31747601)",
        "Time: 2023-12-02T17:08:24.093 UTC (MJD 60280.71416775)",
        "Type: neutrino",
        "Reconstruction: millipede",
        "Pixels: 768/768 at nside 8, 768/768 at nside 64, 1536/1536 at nside 512",
        "Failed pixels: none",
        "Energy losses in the detector: 120 TeV",
        "Energy losses along the track: 340 TeV",
        "RA: 138.60 (+0.69/-0.60 deg 90% statistical only) J2000",
        "Dec: 0.15 (+0.65/-0.65 deg 90% statistical only) J2000",
        "50% area: 0.400 deg2 (2 delta ln L < 1.39)",
        "90% area: 1.31 deg2 (2 delta ln L < 4.61)",
        "3 sigma area: 3.35 deg2 (2 delta ln L < 11.83)",
        "Contours by Wilks' theorem (2 degrees of freedom): statistical only.",
    ):
        assert line in text.splitlines()
    assert "not complete" not in text
    assert "CAUTION" not in text


def test_summary_text_and_json_agree(track):
    _, content = written(track)
    skymap = multi_order_map(track)
    assert content["best_fit"]["ra"] == pytest.approx(skymap.best.ra, abs=1e-6)
    assert content["best_fit"]["energy_in"] == 120e3
    assert [region["credible_level"] for region in content["regions"]] == [0.5, 0.9, 0.9973]
    assert content["regions"][1]["area_deg2"] == 1.31
    assert content["rule"] == "wilks"
    assert content["statistical_regions"] == content["regions"]
    assert content["levels"][2] == {"nside": 512, "scanned": 1536, "planned": 1536, "failed": []}


@pytest.mark.parametrize("place", [(138.65, 0.15), (0.1, -35.0), (40.0, 89.7), (266.4, -28.9)])
def test_galactic_coordinates_are_those_of_astropy(scan, bowl, place):
    text, content = written(scan(bowl(*place, 0.5)))
    best = content["best_fit"]
    expected = SkyCoord(best["ra"], best["dec"], unit="deg").galactic
    assert best["galactic_longitude"] == pytest.approx(expected.l.deg, abs=7e-5)
    assert best["galactic_latitude"] == pytest.approx(expected.b.deg, abs=7e-5)
    assert f"Galactic coordinates: l = {expected.l.deg:.2f} deg, b = {expected.b.deg:+.2f} deg" in text.splitlines()


def test_summary_quotes_calibrated_regions_and_adds_statistical_ones(track, calibrated):
    text, content = written(track, calibrated)
    quoted, statistical = text.split(WILKS.statement)
    assert calibrated.statement in quoted
    assert f"Thresholds: {calibrated.source}" in quoted
    assert "90% area: 2.27 deg2 (2 delta ln L < 8)" in quoted.splitlines()
    assert "RA: 138.60 (+0.90/-0.80 deg 90% PSF containment) J2000" in quoted.splitlines()
    assert "90% area: 1.31 deg2 (2 delta ln L < 4.61)" in statistical.splitlines()
    assert "PSF containment" not in statistical
    assert (content["rule"], content["rule_statement"]) == ("calibrated", calibrated.statement)
    assert content["rule_source"] == calibrated.source
    assert [(region["credible_level"], region["two_delta_llh"]) for region in content["regions"]] == [
        (0.5, 2.2),
        (0.9, 8.0),
    ]
    assert content["statistical_regions"] == written(track)[1]["regions"]


def test_summary_states_likelihood_and_topology(track):
    stated = replace(track.metadata, likelihood="millipede 7", topology="track")
    text, content = written(ScanResult(track.levels, stated))
    assert "Topology of the best fit: track" in text.splitlines()
    assert (content["likelihood"], content["topology"]) == ("millipede 7", "track")


def test_partial_results_and_failed_pixels_are_reported(partial):
    text, content = written(partial)
    failed = partial.failed[8][0]
    assert "Pixels: 345/768 at nside 8 (not complete)" in text
    assert f"Failed pixels: 1 (nside 8 pixel {failed})" in text
    assert "open: reaches sky without a fit, may be larger" in text
    assert "The scan is not complete" in text
    assert content["complete"] is False
    assert content["levels"] == [{"nside": 8, "scanned": 345, "planned": 768, "failed": [failed]}]


def test_many_failed_pixels_are_counted(track):
    rows = track.levels[8].copy()
    rows["llh"][:25] = np.nan
    text, content = written(ScanResult({**track.levels, 8: rows}, track.metadata))
    assert "Failed pixels: 25 (nside 8 pixel 0, " in text
    assert "and 15 more)" in text
    assert content["levels"][0]["failed"] == list(range(25))


def test_best_fit_at_the_edge_is_said_everywhere(scan, bowl, separation, metadata):
    """Of the pixels within 6 deg of a place, the one nearest to a minimum outside."""
    whole = scan(bowl(187.5, 0.0, 2.0), ((32, 0),)).levels[32]
    lon, lat = (angle.deg for angle in healpix_to_lonlat(whole["index"], 32, order="ring"))
    result = ScanResult({32: whole[separation(lon, lat, 180.0, 0.0) < 6.0]}, metadata({}))
    skymap = multi_order_map(result)
    regions = contours(skymap)
    text, content = written(result)
    assert "CAUTION: the best fit is at the edge of the sky with fits, so the minimum may lie beyond it" in text
    assert content["best_fit"]["at_edge"] is True
    assert content["cautions"] == cautions(skymap)
    assert [region["open"] for region in content["regions"]] == [True] * 3
    assert text.count("open: reaches sky without a fit") == 3
    assert to_geojson(result, skymap, regions)["features"][-1]["properties"]["at_edge"] is True
    with fits.open(io.BytesIO(multi_order_fits(result, skymap, regions))) as file:
        assert file[1].header["ATEDGE"] is file[1].header["CONTOUR_OPEN_90"] is True
        assert file[1].header["DOUBT"] == cautions(skymap)[0]


def test_best_fit_amid_fits_is_not_at_the_edge(track, partial):
    assert multi_order_map(track).best_at_edge is False
    assert cautions(multi_order_map(track)) == []
    _, content = written(track)
    assert (content["best_fit"]["at_edge"], content["cautions"]) == (False, [])
    assert multi_order_map(partial).beside_no_fit.any()


def test_lower_pixel_of_a_coarser_level_is_a_caution(track):
    """The finest fitted pixel counts; skyreader would return the coarse one."""
    coarse = track.levels[8].copy()
    refined = int(coarse["index"][coarse["llh"].argmin()])
    coarse["llh"][refined] = track.levels[512]["llh"].min() - 12.5
    result = ScanResult({**track.levels, 8: coarse}, track.metadata)
    assert multi_order_map(result).best == multi_order_map(track).best
    text, content = written(result)
    expected = f"pixel {refined} of nside 8, which finer pixels replace, has a lower -ln L than the best fit by 12.50"
    assert expected in text
    assert content["cautions"][0].startswith(expected)
    coarse["llh"][refined] = track.levels[512]["llh"].min() - 0.09  # fits of one minimum differ by so much
    assert cautions(multi_order_map(ScanResult({**track.levels, 8: coarse}, track.metadata))) == []


def test_summary_for_programs_has_frame_units_and_notice(track, calibrated):
    _, content = written(track)
    assert content["frame"] == "ICRS (J2000)"
    assert content["units"]["angle"] == "deg"
    assert Time(content["time"]).mjd == pytest.approx(content["mjd"], abs=1e-8)
    assert content["time"].endswith("Z")
    notice = content["notice"]
    assert (notice["ra"], notice["dec"]) == (138.6035, 0.1492)
    assert (notice["event_name"], notice["id"]) == (["IC231202A"], ["138632_31747601"])
    assert notice["containment_probability"] == 0.9
    assert notice["ra_dec_error"] == pytest.approx((1.31 / np.pi) ** 0.5, rel=0.01)
    assert notice["systematic_included"] is False
    assert not {"alert_tense", "pipeline", "alert_topology"} & set(notice)
    assert written(track, calibrated)[1]["notice"]["systematic_included"] is True
    simulated = ScanResult(track.levels, replace(track.metadata, is_real_event=False))
    assert written(simulated)[1]["notice"]["alert_tense"] == "test"
    alert = replace(track.metadata, event_type="gfu-bronze", topology="cascade")
    notice = written(ScanResult(track.levels, alert))[1]["notice"]
    assert (notice["pipeline"], notice["alert_topology"]) == ("Bronze Track Alert", "Shower")


def test_contour_within_one_pixel_is_marked(scan, bowl):
    text, _ = written(scan(bowl(266.4, -29.0, 0.006)))
    assert "interpolated: 1 pixel centre inside" in text
    assert "CAUTION: the 90% region is hardly larger than its pixels" in text


def test_scan_without_fits_is_reported(nothing):
    assert "No pixel has a fit" in summary_text(nothing, None, [])
    content = json.loads(summary_json(nothing, None, []))
    assert content["best_fit"] is None
    assert content["levels"][0]["failed"] == [1, 2, 3]


def test_missing_energies_are_omitted(track):
    levels = {nside: rows.copy() for nside, rows in track.levels.items()}
    for rows in levels.values():
        rows["E_in"] = rows["E_tot"] = np.nan
    text, content = written(ScanResult(levels, track.metadata))
    assert "Energy" not in text
    assert content["best_fit"]["energy_in"] is None


@pytest.mark.parametrize(
    ("area", "text"),
    [
        (0.0, "0"), (0.000123456, "0.000123"), (0.01, "0.0100"), (0.9996, "1.00"), (1.306, "1.31"), (9.999, "10.0"),
        (12.345, "12.3"), (123.45, "123"), (999.9, "1000"), (1234.5, "1230"), (41252.96, "41300"),
    ],
)  # fmt: skip
def test_areas_have_three_significant_figures(area, text):
    assert area_number(area) == text


def test_names_do_not_repeat_the_number(metadata):
    given = metadata({})
    assert event_name(given) == "IC231202A (run 138632, event 31747601)"
    for name in ("138632_31747601", "run00138632.evt000031747601.neutrino"):
        assert event_name(replace(given, name=name)) == "run 138632, event 31747601"
    assert event_name(replace(given, name="")) == "run 138632, event 31747601"


def test_sub_event_is_named_where_it_is_known(metadata):
    given = metadata({}, name="", sub_event_id=1)
    assert event_name(given) == "run 138632, event 31747601, sub-event 1"
    given = replace(given, sub_event_id=0, sub_event_stream="InIceSplit")
    assert event_name(given) == "run 138632, event 31747601, sub-event 0 (InIceSplit)"
    content = json.loads(summary_json(ScanResult({}, given), None, []))
    assert (content["sub_event_id"], content["sub_event_stream"]) == (0, "InIceSplit")


def test_other_events_that_could_be_meant_are_a_caution(metadata):
    result = ScanResult({}, metadata({}, choice="2 sub-events have light"))
    assert "\nCAUTION: 2 sub-events have light\n" in summary_text(result, None, [])
    assert json.loads(summary_json(result, None, []))["choice"] == "2 sub-events have light"
    both = ScanResult({}, metadata({}, choice="2 sub-events have light", caution="no list"))
    assert "\nCAUTION: 2 sub-events have light\nCAUTION: no list\n" in summary_text(both, None, [])
    assert json.loads(summary_json(both, None, []))["caution"] == "no list"
    assert "CAUTION" not in summary_text(ScanResult({}, metadata({})), None, [])


def test_galactic_longitude_stays_below_360(track, monkeypatch):
    monkeypatch.setattr(BestFit, "galactic", property(lambda _: (359.99997, 0.01)))
    text, content = written(track)
    assert content["best_fit"]["galactic_longitude"] == 0.0
    assert "Galactic coordinates: l = 0.00 deg, b = +0.01 deg" in text.splitlines()


@pytest.mark.parametrize("error", [0.2, None])
def test_online_direction_is_named_with_its_distance(track, error):
    best = multi_order_map(track).best
    online = OnlineDirection("l2_online_SplineMPE", best.ra, best.dec + 1.5, error)
    result = ScanResult(track.levels, replace(track.metadata, online=online))
    assert result_from_json(b"".join(result_to_json(result))).metadata.online == online
    assert result_from_npz(result_to_npz(result)).metadata.online == online
    skymap = multi_order_map(result)
    text = summary_text(result, skymap, contours(skymap))
    stated = "90% within 0.43 deg, statistical only" if error else "without an error"
    assert f"deg J2000 (l2_online_SplineMPE, {stated}), 1.50 deg from the best fit" in text
    found = json.loads(summary_json(result, skymap, contours(skymap)))["online_direction"]
    assert found["separation"] == pytest.approx(1.5)
    assert found["radius_90"] == (pytest.approx(0.4292, abs=1e-4) if error else None)
    assert "Online" not in summary_text(track, skymap, contours(skymap))
