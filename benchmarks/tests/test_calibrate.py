"""Ranges of energy from located events, and the command that makes a calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.coverage import calibrate, locate, scan
from benchmarks.coverage.calibrate import main
from benchmarks.coverage.calibration_report import write_report as write_calibration_report
from benchmarks.coverage.events import Physics, draw_event, make_cases
from benchmarks.coverage.locate import LocateSettings, locate_case
from benchmarks.coverage.report import write_report
from benchmarks.coverage.scan import ScanShape
from benchmarks.coverage.thresholds import energy_ranges, held_out_limits, limits_of
from hypothesis import given
from hypothesis import strategies as st

from skymap_scanner.detector.coordinates import detector_to_equatorial
from skymap_scanner.errors import ReconstructionError
from skymap_scanner.event.model import PreparedEvent, Topology
from skymap_scanner.healpix import pixel_count
from skymap_scanner.i3 import FitStatus
from skymap_scanner.reconstruction.dummy import Dummy
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Located, Start, failed_fit
from skymap_scanner.results.calibration import choose_rule, read_calibration
from skymap_scanner.results.rule import WILKS
from skymap_scanner.scan.levels import DEFAULT_LEVELS, parse_levels

ENERGIES = (1e5, 1e6)


def record(number: int, delta: float, energy: float = 1e5, topology: Topology = "track") -> dict[str, Any]:
    return {
        "key": f"{topology}-{number}",
        "light": "table",
        "fitted_topology": topology,
        "fitted_energy": energy,
        "delta": delta,
    }


@given(st.lists(st.tuples(st.floats(1e3, 1e7), st.floats(0.1, 50)), min_size=10, max_size=80), st.integers(10, 40))
def test_ranges_hold_every_event_once(events: list[tuple[float, float]], least: int) -> None:
    records = [record(n, delta + n * 1e-6, energy) for n, (energy, delta) in enumerate(events)]
    ranges = energy_ranges(records, least)
    held = [sum(one.holds("track", energy) for one in ranges) for energy, _ in events]
    assert set(held) <= {0, 1}
    assert sum(one.events for one in ranges) == sum(held)
    assert energy_ranges(records[::-1], least) == ranges
    if len(events) < 2 * least:
        assert held == [1] * len(events)


def test_ranges_have_their_own_thresholds() -> None:
    random = np.random.default_rng(1)
    low = [record(n, random.chisquare(2), random.uniform(3e4, 9e4)) for n in range(150)]
    high = [record(n, 4 * random.chisquare(2), random.uniform(2e5, 1e6)) for n in range(150, 300)]
    cascades = [record(n, 1.0 + n, 5e4, "cascade") for n in range(9)]
    one, other = energy_ranges([*low, *high, *cascades])
    assert (one.topology, one.events + other.events) == ("track", 300)
    assert abs(one.events - other.events) < 10  # the edge has two significant figures
    assert other.half.value / one.half.value == pytest.approx(4, rel=0.3)
    assert limits_of(high[0], [one, other]) == (other.half.value, other.ninety.value)
    assert limits_of(cascades[0], [one, other]) == (WILKS.levels[0.5], WILKS.levels[0.9])


def test_larger_threshold_of_two_lights_counts() -> None:
    known = [record(n, 1.0 + n / 100) for n in range(100)]
    unknown = [record(100 + n, 3.0 + n / 10) | {"light": "propagated"} for n in range(50)]
    (both,) = energy_ranges([*known, *unknown])
    (alone,) = energy_ranges(unknown)
    assert (both.half, both.ninety, both.events) == (alone.half, alone.ninety, 50)
    few = [one | {"delta": 100.0} for one in unknown[:9]]
    (one,) = energy_ranges([*known, *few])
    assert (one.ninety.value < 2, one.events) == (True, 100)


def test_range_counts_the_fewest_events_behind_a_threshold() -> None:
    wide = [record(n, 1.0 + n / 10) for n in range(100)]  # 50 %: 6, 90 %: 10
    narrow = [record(100 + n, 6.5 + n / 100) | {"light": "propagated"} for n in range(60)]  # 50 %: 6.8, 90 %: 7.04
    (one,) = energy_ranges([*wide, *narrow])
    assert (one.half.value, one.ninety.value, one.events) == (pytest.approx(6.8), pytest.approx(10), 60)


@pytest.mark.parametrize(("propagated", "name"), [(49, "wilks"), (50, "calibrated")])
def test_thresholds_of_too_few_of_one_light_are_not_applied(propagated: int, name: str) -> None:
    known = [record(n, 1.0 + n / 100) | {"likelihood": "bowl 1"} for n in range(100)]
    unknown = [record(100 + n, 3.0 + n) | {"likelihood": "bowl 1", "light": "propagated"} for n in range(propagated)]
    file = read_calibration("test.json", made([*known, *unknown], range_events=200).to_json())
    assert file.content.ranges[0].events == propagated
    assert choose_rule([file], "bowl 1", "track", 1e5).name == name


def test_held_out_thresholds_do_not_know_their_event() -> None:
    records = [record(n, 1.0 + n / 100) for n in range(100)]
    limits = held_out_limits(records)
    changed = [records[0] | {"delta": 1e6}, *records[1:]]
    assert held_out_limits(changed)[0] == limits[0]
    assert held_out_limits(changed) != limits
    assert held_out_limits(records[::-1]) == limits[::-1]


@dataclass
class Bowl:
    """A locator that finds the bottom of the dummy's bowl from near enough, or the wrong minimum."""

    inner: EventFitter
    bottom: tuple[float, float]
    likelihood: str = "bowl 1"
    fails: bool = False

    def fit(self, start: Start) -> Fit:
        if self.fails:
            return failed_fit(start, FitStatus.GeneralFailure, "no light")
        return replace(self.inner.fit(start), likelihood=self.likelihood)

    def locate(self, start: Start) -> Located:
        fit = self.fit(replace(start, zenith=self.bottom[0], azimuth=self.bottom[1]))
        return Located(replace(fit, topology="track"), np.eye(2) * math.radians(1) ** 2)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Replace the reconstruction by a bowl whose bottom is ``offset`` degrees from the truth; list what was set up."""

    def install(offset: float = 1.0, **changes: Any) -> list[str]:
        events: list[str] = []

        class Bowls:
            def set_up(self, event: PreparedEvent) -> Bowl:
                events.append(event.name)
                truth = truths[event.name]
                zenith = truth.zenith + math.radians(offset) * (1 if truth.zenith < 1 else -1)
                ra, dec = truth_direction(zenith, truth.azimuth, event.mjd)
                return Bowl(Dummy(ra=ra, dec=dec).set_up(event), (zenith, truth.azimuth), **changes)

        truths: dict[str, Any] = {}

        def draw(case: Any, physics: Physics) -> Any:
            prepared, truth, attempts = draw_event(case, physics)
            truths[prepared.name] = truth
            return prepared, truth, attempts

        monkeypatch.setattr(locate, "load", lambda *_: Bowls())
        monkeypatch.setattr(locate, "draw_event", draw)
        return events

    return install


def truth_direction(zenith: float, azimuth: float, mjd: float) -> tuple[float, float]:
    ra, dec = detector_to_equatorial(zenith, azimuth, mjd)
    return math.degrees(float(ra)), math.degrees(float(dec))


def run(folder: Path, *words: str) -> Sequence[dict[str, Any]]:
    main(["-o", str(folder), "--energies", "1e5", "1e6", "--coarse-nside", "1", "--light", "table", *words])
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "cpu"} for line in lines]


def test_record_compares_truth_and_best_fit(install: Callable[..., list[str]]) -> None:
    install(offset=1.5)
    (case,) = make_cases(1, 0, 7, ENERGIES)
    found = locate_case(case, LocateSettings(coarse_nside=1))
    assert found["error"] == pytest.approx(1.5)
    assert found["delta"] == pytest.approx(1.5**2, rel=1e-3)
    assert found["area_per_delta"] == pytest.approx(math.pi, rel=1e-6)
    assert (found["fitted_topology"], found["likelihood"]) == ("track", "bowl 1")
    assert found["variation"]["efficiency"] != 1
    assert ENERGIES[0] <= found["energy"] <= ENERGIES[1]


def test_both_lights_take_turns() -> None:
    physics = Physics(varied=False, light="both")
    even, odd = (make_cases(0, 2, 3, (3e4, 3.1e4))[number] for number in (0, 1))
    assert [draw_event(case, physics)[1].light for case in (even, odd)] == ["table", "propagated"]


def test_each_light_has_its_own_coverage(tmp_path: Path) -> None:
    """The larger threshold counts: 97 % are inside, all of one light and 93 % of the other."""
    events = [
        record(n, delta)
        | {"topology": "track", "light": light, "error": 1.0, "area_per_delta": 1.0, "cpu": 1.0, "deposited": 1e5}
        | {"likelihood": "bowl 1"}
        for light, first, deltas in (("table", 0, np.linspace(0, 1, 60)), ("propagated", 100, np.linspace(2, 9, 60)))
        for n, delta in enumerate(deltas.tolist(), start=first)
    ]
    events.append({"key": "track-200", "topology": "track", "light": "propagated", "failed": "no light"})
    settings = {"seed": 1, "energies": [3e4, 1e6], "physics": {"varied": True, "light": "both"}}
    settings |= {"reconstruction": "millipede", "parameters": {}, "candidates": 2, "coarse_nside": 1}
    text = write_calibration_report(events, settings, tmp_path)
    inside = [line for line in text.splitlines() if line.startswith("| truth in the 90% region, calibrated")]
    assert [line.split("|")[2].split()[0] for line in inside] == ["97%", "93%", "100%"]
    assert "Table light alone" in text
    failed = [line for line in text.splitlines() if line.startswith("| events, and those without a fit")]
    assert [line.split("|")[2].strip() for line in failed] == ["120, 1", "60, 1", "60, 0"]


def test_nominal_physics_is_that_of_the_fit() -> None:
    (case,) = make_cases(0, 1, 7, ENERGIES)
    _, truth, _ = draw_event(case, Physics(varied=False))
    _, varied, _ = draw_event(case, Physics(varied=True))
    assert truth.variation.is_nominal
    assert truth.ice == "spice_mie"
    assert not varied.variation.is_nominal
    assert truth.vertex == varied.vertex


def test_failed_fit_is_recorded_with_its_reason(install: Callable[..., list[str]]) -> None:
    install(fails=True)
    (case,) = make_cases(1, 0, 7, ENERGIES)
    found = locate_case(case, LocateSettings(coarse_nside=1))
    assert found["failed"] == "no light"
    assert "delta" not in found


def test_reconstruction_without_free_direction_is_rejected() -> None:
    (case,) = make_cases(1, 0, 7, ENERGIES)
    with pytest.raises(ReconstructionError, match="reconstruction 'dummy' cannot fit a direction"):
        locate_case(case, LocateSettings(reconstruction="dummy"))


def test_interrupted_run_continues_with_the_same_result(install: Callable[..., list[str]], tmp_path: Path) -> None:
    events = install()
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    with pytest.raises(SystemExit, match=r"no calibration\.json: 3 events with a fit are too few"):
        run(whole, "--tracks", "2", "--cascades", "1")
    assert len(events) == 3
    records = (whole / "events.jsonl").read_text()
    torn.mkdir()
    (torn / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    (torn / "events.jsonl").write_text(records[: records.index("\n") + 20])  # killed in its second line
    with pytest.raises(SystemExit, match="no calibration"):
        run(torn, "--tracks", "2", "--cascades", "1")
    assert len(events) == 5
    assert [json.loads(line)["key"] for line in records.splitlines()] == ["track-0", "cascade-0", "track-1"]
    strip = [{k: v for k, v in json.loads(line).items() if k != "cpu"} for line in records.splitlines()]
    again = [json.loads(line) for line in (torn / "events.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in one.items() if k != "cpu"} for one in again] == strip
    assert "truth in the 90% region, as this version prints it" in (torn / "report.md").read_text()


def test_settings_of_another_run_are_not_mixed(install: Callable[..., list[str]], tmp_path: Path) -> None:
    install()
    run(tmp_path, "--tracks", "1", "--cascades", "0", "--nominal")
    with pytest.raises(SystemExit, match="choose another folder"):
        run(tmp_path, "--tracks", "1", "--cascades", "0")


def test_scanned_record_has_both_kinds_of_regions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    thresholds = {"half": {"value": 60, "low": 50, "high": 70}, "ninety": {"value": 400, "low": 300, "high": 500}}
    content = {
        "version": "1", "likelihood": "bowl 1", "command": "test", "scanner_version": "0", "simulation": "none",
        "simulated": 200, "failed": 0,
        "ranges": [thresholds | {"topology": "cascade", "energy": [0, 1e6], "events": 200}],
    }  # fmt: skip
    file = read_calibration("test.json", json.dumps(content).encode())

    class Bowls:
        def set_up(self, event: PreparedEvent) -> Bowl:
            return Bowl(Dummy(ra=200.0, dec=20.0).set_up(event), (1.0, 1.0))

    monkeypatch.setattr(scan, "load", lambda *_: Bowls())
    monkeypatch.setattr(scan, "shipped_calibrations", lambda: [file])
    (case,) = make_cases(0, 1, 7, ENERGIES)
    shape = ScanShape(parse_levels("2:0 4:3"), 1, 1, "spice_mie", Physics(varied=True))
    found = scan.run_case(case, shape)
    assert (found["rule"], found["limits"]) == ("calibrated", {"0.5": 60, "0.9": 400})
    regions = found["regions"]
    assert set(regions) == {"calibrated 0.5", "calibrated 0.9", "wilks 0.5", "wilks 0.9", "wilks 0.9973"}
    assert regions["calibrated 0.9"]["area"] > regions["wilks 0.9"]["area"]
    settings = {"seed": 7, "energies": ENERGIES, "levels": "2:0 4:3", "seeds": 1, "warm_seeds": 1, "ice": "spice_mie"}
    text = write_report([json.loads(json.dumps(found))], settings | {"varied": True, "light": "table"}, tmp_path)
    assert "each in its own ice" in text
    assert "| regions that are calibrated | 100%" in text


def test_only_the_first_level_starts_cold() -> None:
    @dataclass
    class Watched:
        inner: EventFitter
        starts: list[Start]

        def fit(self, start: Start) -> Fit:
            self.starts.append(start)
            return self.inner.fit(start)

    (case,) = make_cases(0, 1, 7, ENERGIES)
    prepared, _, _ = draw_event(case, Physics(varied=False))
    levels = [replace(level, parents=2) for level in parse_levels(DEFAULT_LEVELS)[:4]]
    fitter = Watched(Dummy(ra=200.0, dec=20.0).set_up(prepared), [])
    bests, fits = scan.scan(fitter, prepared, ScanShape(levels, 1, 2, "spice_mie", Physics(varied=False)))
    first = pixel_count(levels[0].nside)
    assert [start.warm for start in fitter.starts] == [False] * first + [True] * (fits - first)
    assert {pixel.nside for pixel in bests} == {level.nside for level in levels}


def made(records: list[dict[str, Any]], range_events: int = 100, **settings: Any) -> Any:
    given = {"reconstruction": "millipede", "energies": [3e4, 1e6], "physics": {"light": "table"}} | settings
    return calibrate.make_calibration(records, given, "3", "python -m benchmarks.coverage.calibrate", range_events)


def test_calibration_applies_to_the_likelihood_it_was_made_with() -> None:
    deltas = np.random.default_rng(2).chisquare(2, 120)
    records = [record(n, float(d)) | {"likelihood": "bowl 1"} for n, d in enumerate(deltas)]
    calibration = made([*records, {"key": "track-500", "failed": "no light"}])
    assert (calibration.simulated, calibration.failed, calibration.version) == (121, 1, "3")
    file = read_calibration("test.json", calibration.to_json())
    assert choose_rule([file], "bowl 1", "track", 1e5).name == "calibrated"
    assert choose_rule([file], "bowl 2", "track", 1e5).name == "wilks"


def test_records_without_one_named_likelihood_make_no_calibration() -> None:
    records = [record(n, 1.0 + n) | {"likelihood": ""} for n in range(20)]
    with pytest.raises(ValueError, match="millipede names no likelihood"):
        made(records)
    with pytest.raises(ValueError, match=r"several likelihoods \(a, b\)"):
        made([records[0] | {"likelihood": "a"}, records[1] | {"likelihood": "b"}])
