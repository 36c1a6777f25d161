from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import compress

import numpy as np
import pytest
from testing.reports import make_report

from skymap_scanner.reconstruction.protocol import Loss
from skymap_scanner.report import ScanReport
from skymap_scanner.report.content import content
from skymap_scanner.report.page import report_html
from skymap_scanner.results import PIXEL, ScanResult


def test_data_hold_every_pixel_with_its_values() -> None:
    report = make_report()
    data = content(report).data
    best = data["best"]
    for level, (nside, rows) in zip(data["levels"], report.result.levels.items(), strict=True):
        assert (level["nside"], level["index"]) == (nside, rows["index"].tolist())
        llh = [math.nan if rise is None else best["llh"] + rise for rise in level["rise"]]
        np.testing.assert_allclose(llh, rows["llh"], atol=2e-3)
        fitted = [rise is not None for rise in level["rise"]]
        assert set(compress(level["energy"], fitted)) == {340.0}


def test_contours_of_the_calibrated_rule_come_first() -> None:
    shown = content(make_report())
    assert [region["name"] for region in shown.regions] == [
        "50%, calibrated",
        "90%, calibrated",
        "50%, statistical only",
        "90%, statistical only",
        "3 sigma, statistical only",
    ]
    assert [contour["main"] for contour in shown.data["contours"]] == [True, True, False, False, False]


def test_history_is_relative_to_the_first_fit() -> None:
    report = make_report()
    history = content(report).data["history"]
    assert history["workers"] == ["worker-0", "worker-1", "worker-2"]
    assert min(history["fits"]["began"]) == 0
    assert len(history["fits"]["row"]) == len(report.history)
    assert history["rounds"]["time"] == sorted(history["rounds"]["time"])
    assert sum(history["fits"]["failed"]) == 1
    assert sum(attempt > 1 for attempt in history["fits"]["attempt"]) == 1


def test_fits_of_pixels_that_the_map_lacks_change_no_curve() -> None:
    report = make_report()
    foreign = [report.history[0]._replace(nside=nside, pixel=10**9, llh=1.0) for nside in (3, 8, 2**40)]
    shown = content(replace(report, history=[*report.history, *foreign])).data
    assert shown["growth"] == content(report).data["growth"]
    assert shown["history"]["rounds"] == content(report).data["history"]["rounds"]


def test_failed_and_repeated_fits_are_listed_with_reasons() -> None:
    troubles = content(make_report()).troubles
    assert [(one["pixel"], one["what"]) for one in troubles] == [
        ("nside 8 pixel 5", "fitted after a repeated attempt"),
        ("nside 8 pixel 700", "it diverged"),
    ]


def test_failed_pixels_without_history_are_listed() -> None:
    troubles = content(replace(make_report(), history=())).troubles
    assert [(one["pixel"], one["what"]) for one in troubles] == [("nside 8 pixel 700", "no fit succeeded")]


def test_event_has_first_times_and_total_charges() -> None:
    event = content(make_report()).data["event"]
    assert len(event["strings"]) == 86
    string, om, *_, time, charge = event["hits"][0]
    assert (string, om, time, charge) == (36, 20, 10700, 4.0)
    assert len(event["losses"]) == 11, "a loss of nothing is not drawn"
    assert np.linalg.norm(event["track"]["along"]) == pytest.approx(1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_losses_without_finite_numbers_are_not_drawn(wrong: float) -> None:
    honest = Loss((1.0, 2.0, 3.0), 9800.0, 50.0)
    at = [replace(honest, position=(1.0, wrong, 3.0)), replace(honest, time=wrong), replace(honest, energy=wrong)]
    report = replace(make_report(), losses=[*at, honest])
    assert content(report).data["event"]["losses"] == [[1.0, 2.0, 3.0, 9800, 50.0]]
    report_html(report)


def test_what_is_missing_is_said() -> None:
    shown = content(ScanReport(make_report().result))
    assert shown.data["event"] is shown.data["history"] is None
    assert shown.data["growth"] == []
    assert len(shown.notes) == 2


def test_scan_without_a_fit_has_a_page() -> None:
    rows = np.zeros(2, PIXEL)
    rows["index"], rows["llh"] = [1, 2], math.nan
    metadata = replace(make_report().result.metadata, plan={8: 768}, complete={}, rule=None)
    shown = content(ScanReport(ScanResult({8: rows}, metadata)))
    assert (shown.data["best"], shown.regions, shown.data["contours"]) == (None, [], [])
    assert len(shown.troubles) == 2
    json.dumps(shown.data, allow_nan=False)


def test_best_fit_at_the_edge_is_a_caution() -> None:
    report = make_report(text="x")
    level = report.result.levels[8]
    lowest = level[np.argsort(level["llh"])[:3]]
    shown = content(ScanReport(ScanResult({8: lowest}, report.result.metadata)))
    assert shown.cautions[:2] == ["x", "x"]
    assert "at the edge" in shown.cautions[2]
    assert b"at the edge" in report_html(ScanReport(ScanResult({8: lowest}, report.result.metadata)))


def test_large_map_keeps_its_best_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skymap_scanner.report.content.MAX_PIXELS", 100)
    report = make_report()
    shown = content(report)
    kept = [rise for level in shown.data["levels"] for rise in level["rise"]]
    every = np.concatenate([level["llh"] for level in report.result.levels.values()])
    assert len(kept) == 100
    assert max(kept) == pytest.approx(np.sort(every)[99] - np.nanmin(every), abs=1e-3)
    assert shown.notes == [f"The map has the best 100 of {report.result.scanned} pixels."]
    assert max(shown.data["history"]["rounds"]["row"]) < 100


def test_large_map_of_failed_pixels_keeps_all_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skymap_scanner.report.content.MAX_PIXELS", 100)
    report = make_report()
    rows = report.result.levels[8].copy()
    rows["llh"][60:] = math.nan
    shown = content(ScanReport(ScanResult({8: rows}, replace(report.result.metadata, plan={8: 768}, complete={}))))
    (level,) = shown.data["levels"]
    assert level["index"] == list(range(60))
    assert None not in level["rise"]


def test_long_history_keeps_the_time_of_its_first_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(make_report()).data
    monkeypatch.setattr("skymap_scanner.report.content.MAX_FITS", 100)
    shown = content(make_report()).data
    assert shown["history"]["began"] == whole["history"]["began"]
    assert shown["history"]["fits"]["began"] == whole["history"]["fits"]["began"][-100:]
    assert (shown["history"]["rounds"], shown["growth"]) == (whole["history"]["rounds"], whole["growth"])
