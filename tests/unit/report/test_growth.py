from __future__ import annotations

import math

import numpy as np
import pytest
from testing.reports import DEC, RA, make_report

from skymap_scanner.report.growth import done_rounds, growth
from skymap_scanner.report.history import FitRecord
from skymap_scanner.results import WILKS
from skymap_scanner.results.skymap import multi_order_map


def record(pixel: int, seed: int, llh: float, ended: float, number: int = 0) -> FitRecord:
    return FitRecord(8, pixel, number, seed, llh, "w", ended - 1, ended, 1)


def test_round_is_done_with_its_last_fit_and_lowest_value() -> None:
    fits = [record(1, 0, 5.0, 30.0), record(1, 1, 4.0, 10.0), record(2, 0, math.nan, 20.0), record(1, 3, 3.0, 40.0, 1)]
    fits.append(FitRecord(0, 1, 0, 0, 1.0, "w", 1.0, 2.0, 1))  # a re-simulation
    found = done_rounds(fits)
    assert [(one.pixel, one.ended) for one in found] == [(2, 20.0), (1, 30.0), (1, 40.0)]
    assert [one.llh for one in found[1:]] == [4.0, 3.0]
    assert math.isnan(found[0].llh)


def test_curves_end_with_the_best_fit_and_area_of_the_map() -> None:
    report = make_report()
    points = growth(report.result, WILKS, done_rounds(report.history))
    skymap = multi_order_map(report.result, WILKS)
    inside = (skymap.owner >= 0) & (skymap.delta[skymap.owner] <= 4.61)
    assert points[-1].offset == 0
    assert (points[-1].ra, points[-1].dec) == (skymap.best.ra, skymap.best.dec)
    assert points[-1].area == pytest.approx(skymap.area[inside].sum() * (180 / np.pi) ** 2)
    assert abs(points[-1].ra - RA) < 1
    assert abs(points[-1].dec - DEC) < 1


def test_area_is_not_known_before_the_first_level_is_complete() -> None:
    report = make_report()
    points = growth(report.result, WILKS, done_rounds(report.history))
    known = [point.area is not None for point in points]
    assert known == sorted(known)
    assert 0 < sum(known) < len(known)
    assert [one.time for one in points] == sorted(one.time for one in points)


def test_scan_without_history_has_no_curves() -> None:
    assert growth(make_report().result, WILKS, []) == []


def test_failed_fits_alone_have_no_curves() -> None:
    report = make_report()
    assert growth(report.result, WILKS, done_rounds([record(1, 0, math.nan, 1.0)])) == []
