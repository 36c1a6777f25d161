"""Failed fits and the rows of another implementation in the benchmark of nside 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from benchmarks.reconstruction.nside1 import Row, event_name, fit_pixel, read_others, report

from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.preparation import prepare
from skymap_scanner.event.sources import read_event
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.protocol import Fit, Start, failed_fit

START = Start(1.0, 1.0, (0.0, 0.0, 0.0), 0.0)


def fit(llh: float, start: Start = START) -> Fit:
    return replace(failed_fit(start, FitStatus.OK, ""), llh=llh)


@dataclass
class Fitter:
    """Fails the first fit of every seven; the third has the lowest -ln L."""

    starts: list[Start] = field(default_factory=list)

    def fit(self, start: Start) -> Fit:
        self.starts.append(start)
        return fit([math.nan, 5.0, 3.0, 4.0, 6.0, 7.0, 8.0][(len(self.starts) - 1) % 7], start)


def test_failed_first_fit_is_not_the_best() -> None:
    row = Row(0, [fit(math.nan), fit(5.0), fit(3.0)], 1.0, 1.0)
    assert (row.best.llh, row.spread) == (3.0, 2.0)
    failed = Row(0, [fit(math.nan)] * 7, 1.0, 1.0)
    assert math.isnan(failed.best.llh)
    assert math.isnan(failed.spread)


def test_warm_fits_start_from_the_best_fit() -> None:
    fitter = Fitter()
    row = fit_pixel(fitter, prepare(read_event(str(demo_event_path()))), 5)
    assert row.best.llh == 3.0
    assert fitter.starts[7].position == row.best.position == fitter.starts[2].position


def test_best_pixel_is_one_with_a_fit(capsys: pytest.CaptureFixture[str]) -> None:
    report("X", [Row(0, [fit(math.nan)], 1.0, 1.0), Row(1, [fit(5.0)], 1.0, 1.0)], None)
    printed = capsys.readouterr().out
    assert "best pixel 1;" in printed
    assert "--against" not in printed


@pytest.mark.parametrize("name", ["a.evt1", "a.evt1.i3", "a.evt1.i3.zst", "a.evt1.json"])
def test_rows_of_another_implementation_are_found_by_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.csv").write_text("event,pixel,llh_best,ms_per_fit\na.evt1,0,4.5,9\n")
    others = read_others(tmp_path / "other.csv")
    rows = [Row(0, [fit(5.0)], 1.0, 1.0)]
    report(event_name(Path("folder") / name), rows, others)
    printed = capsys.readouterr().out
    assert "+0.50" in printed
    assert "no row" not in printed
    report("b", rows, others)
    assert "no row of --against names the event b; it has: a.evt1" in capsys.readouterr().out
