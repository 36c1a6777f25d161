from __future__ import annotations

import json
import math

from skymap_scanner.healpix import ring_to_nested
from skymap_scanner.live.fit_log import FitLog, fit_row
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.scan.pixels import Pixel, resimulation


def fit(nside: int, index: int, llh: float = 1.0) -> PixelFit:
    return PixelFit(Pixel(nside, index), 0, llh, (1.4, -2.6, 3.0), 9800.2, 1500.0, math.nan)


def test_entries_come_in_order_and_in_batches_of_one_kind() -> None:
    log = FitLog()
    log.add_pixels([Pixel(1, 3), Pixel(2, 5)])
    log.add_fit(fit(1, 3))
    log.add_fit(fit(2, 5))
    log.add_pixels([Pixel(2, 6)])
    batches = log.since(0)
    assert [(one.kind, one.end) for one in batches] == [("pixels", 2), ("fits", 4), ("pixels", 5)]
    assert batches[0].data["levels"] == [
        {"nside": 1, "index": [3], "nested": [3]},
        {"nside": 2, "index": [5], "nested": [int(ring_to_nested(2, 5))]},
    ]
    assert [row[:2] for row in batches[1].data["fits"]] == [(1, 3), (2, 5)]


def test_reader_continues_at_its_place_within_its_limit() -> None:
    log = FitLog()
    for index in range(10):
        log.add_fit(fit(1, index))
    (first,) = log.since(0, most=4)
    (second,) = log.since(first.end, most=4)
    assert [row[1] for row in second.data["fits"]] == [4, 5, 6, 7]
    assert log.since(10) == []


def test_row_is_json_without_nan() -> None:
    row = fit_row(fit(4, 7, math.nan))
    assert json.loads(json.dumps(row, allow_nan=False)) == [4, 7, None, None, 1.5, 1.0, -3.0, 3.0, 9800.0]


def test_full_log_accepts_no_further_entries() -> None:
    log = FitLog(most=3)
    log.add_pixels([Pixel(1, 0), Pixel(1, 1)])
    assert not log.full
    log.add_pixels([Pixel(1, 2), Pixel(1, 3)])
    log.add_fit(fit(1, 0))
    assert log.full
    assert len(log) == 2


def test_resimulations_are_left_out() -> None:
    log = FitLog()
    log.add_pixels([resimulation(0)])
    log.add_fit(PixelFit(resimulation(0), 0, 1.0, (0, 0, 0), 0, 0, 0))
    assert len(log) == 0
