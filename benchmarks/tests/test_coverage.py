"""The coverage benchmark where events cannot be drawn or fitted, and which events its report is about."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.coverage import events, locate, run, scan
from benchmarks.coverage.events import Case, Physics, make_cases
from benchmarks.coverage.locate import LocateSettings
from benchmarks.coverage.scan import ScanShape

from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.event.model import PreparedEvent
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.dummy import Dummy
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Start, failed_fit
from skymap_scanner.scan.levels import parse_levels

(CASE,) = make_cases(0, 1, 7, (1e5, 1e6))
SHAPE = ScanShape(parse_levels("1:0"), 1, 1, "spice_mie", Physics(varied=False))


@dataclass
class Grid:
    """Its ``failing`` fits, counted from 1, fail."""

    inner: EventFitter
    failing: range
    count: int = 0

    def fit(self, start: Start) -> Fit:
        self.count += 1
        if self.count in self.failing:
            return failed_fit(start, FitStatus.GeneralFailure, "no light there")
        return self.inner.fit(start)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the reconstruction by one that fits all but these times, and cannot set up events of these names."""

    def install(failing: range = range(0), unfit: str = "nothing") -> None:
        class Reconstruction:
            def set_up(self, event: PreparedEvent) -> Grid:
                if unfit in event.name:
                    raise ReconstructionError("no charge is left to fit")
                return Grid(Dummy(ra=200.0, dec=20.0).set_up(event), failing)

        monkeypatch.setattr(scan, "load", lambda *_: Reconstruction())
        monkeypatch.setattr(locate, "load", lambda *_: Reconstruction())

    return install


def simulated_name() -> str:
    return events.draw_event(CASE, SHAPE.physics)[0].name


def failed(reason: str) -> dict[str, Any]:
    return {"key": "cascade-0", "topology": "cascade", "light": "table", "failed": reason, "cpu": 0.0}


def test_event_that_cannot_be_set_up_is_a_failed_record(install: Callable[..., None]) -> None:
    install(unfit=simulated_name())
    assert scan.run_case(CASE, SHAPE) == failed("no charge is left to fit")
    assert locate.locate_case(CASE, LocateSettings(SHAPE.physics)) == failed("no charge is left to fit")


def test_reconstruction_that_fits_no_event_ends_the_run(install: Callable[..., None]) -> None:
    install(unfit="")
    with pytest.raises(ReconstructionError, match="no charge is left to fit"):
        scan.run_case(CASE, SHAPE)
    with pytest.raises(ReconstructionError, match="no charge is left to fit"):
        locate.locate_case(CASE, LocateSettings(SHAPE.physics))


@pytest.mark.parametrize(
    ("name", "reason"), [("prepare", "all are excluded"), ("simulate", "none of 20 events triggered; draw from higher")]
)
def test_event_that_cannot_be_drawn_is_a_failed_record(
    name: str, reason: str, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise InputError("all are excluded")

    install()
    monkeypatch.setattr(events, name, fail)
    for found in (scan.run_case(CASE, SHAPE), locate.locate_case(CASE, LocateSettings(SHAPE.physics))):
        assert found.pop("failed").startswith(reason)
        assert found == {key: value for key, value in failed("").items() if key != "failed"}


@pytest.mark.parametrize(
    ("first", "reason"),
    [(1, "no pixel has a fit: no light there"), (13, "no fit at the true direction: no light there")],
)
def test_event_without_a_fit_is_a_failed_record(first: int, reason: str, install: Callable[..., None]) -> None:
    install(failing=range(first, 100))
    assert scan.run_case(CASE, SHAPE) == failed(reason)


def test_pixels_without_a_fit_are_counted(install: Callable[..., None]) -> None:
    install(failing=range(3, 5))
    assert scan.run_case(CASE, SHAPE)["failed_pixels"] == 2


@pytest.fixture
def run_cases(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Run the benchmark in a folder and return its report; every event has the same record, but cascade 1 failed."""
    install()
    record = scan.run_case(CASE, SHAPE)
    assert math.isfinite(record["delta"])

    def run_case(case: Case, shape: ScanShape) -> dict[str, Any]:
        if case.key == "cascade-1":
            return events.failed_record(case, shape.physics, "no charge")
        return record | {"key": case.key, "topology": case.topology}

    def run_cases(tracks: int, cascades: int) -> str:
        run.main(["-o", str(tmp_path), "--workers", "1", "--tracks", str(tracks), "--cascades", str(cascades)])
        return (tmp_path / "report.md").read_text()

    monkeypatch.setattr(run, "run_case", run_case)
    return run_cases


def test_failed_event_is_named_and_not_run_again(run_cases: Callable[..., str], tmp_path: Path) -> None:
    text = run_cases(1, 2)
    assert "1 of 3 events have no fit and are in no figure: cascade-1 (no charge)." in text
    assert "| events with a fit | 1 | 1 |" in text
    assert "nan" not in text
    records = (tmp_path / "events.jsonl").read_text()
    assert run_cases(1, 2) == text
    assert (tmp_path / "events.jsonl").read_text() == records


def test_report_holds_the_events_that_were_asked_for(run_cases: Callable[..., str], tmp_path: Path) -> None:
    assert "| events with a fit | 3 | 1 |" in run_cases(3, 1)
    assert "| events with a fit | 2 | 1 |" in run_cases(2, 1)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == 4


def test_error_of_the_scanner_ends_in_one_line(install: Callable[..., None], tmp_path: Path) -> None:
    install(unfit="")
    with pytest.raises(SystemExit, match=r"^run: no charge is left to fit$"):
        run.main(["-o", str(tmp_path), "--workers", "1", "--tracks", "1", "--cascades", "0", "--levels", "1:0"])
