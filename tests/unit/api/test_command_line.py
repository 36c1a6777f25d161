"""The options written for a spec are options of the scanner, with the same meaning."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from testing.manifests import cases

from skymap_api.command_line import ScanOptions, format_words, i3_suffix, simulate_words, worker_words
from skymap_api.resource import SkymapScanSpec
from skymap_scanner.cli import producer, saver, simulate, worker

FULL: dict[str, Any] = cases.URL | {
    "event": cases.URL["event"] | {"pulseSeries": "SplitInIcePulses"},
    "levels": [{"nside": 8}, {"nside": 64, "parents": 12}],
    "area": {"nside": 1, "pixel": 4, "pixels": 400},
    "pixels": [9, 3, 3],
    "seeds": 3,
    "firstSeeds": 2,
    "predictive": 0.9,
    "calibrate": 100,
    "reconstruction": {"name": "dummy", "parameters": {"b": "x y", "a": 1, "c": 0.1, "d": True, "e": "7"}},
    "output": {"formats": ["json", "npz"], "keepAllSeeds": True, "compression": "none"},
}


@pytest.mark.parametrize("given", [cases.URL, FULL])
def test_producer_reads_the_options_of_a_spec(given: dict[str, Any]) -> None:
    options = ScanOptions.of(SkymapScanSpec.model_validate(given))
    words = ["event.json", "-n", "scan", "--broker", "sqlite:///x", *options.words()]
    parsed = producer.command.make_context("producer", words).params
    assert {name: parsed[name] for name in asdict(options)} == asdict(options)


def test_every_option_is_written() -> None:
    assert ScanOptions.of(SkymapScanSpec.model_validate(FULL)).words() == [
        *("--levels", "8:0 64:12", "--seeds", "3", "--first-seeds", "2", "--predictive", "0.9"),
        *("--reconstruction", "dummy"),
        *("--parameter", "a=1", "--parameter", 'b="x y"', "--parameter", "c=0.1", "--parameter", "d=true"),
        *("--parameter", 'e="7"', "--area", "1,4,400", "--pixel-list", "3,9", "--pulses", "SplitInIcePulses"),
        *("--keep-all-seeds", "--calibrate", "100"),
    ]


def test_saver_and_worker_read_the_options_of_a_spec() -> None:
    spec = SkymapScanSpec.model_validate(FULL)
    common = ["-n", "scan", "--broker", "sqlite:///x"]
    words = [*common, "-o", f"x{i3_suffix(spec.output)}", *format_words(spec.output)]
    assert saver.command.make_context("saver", words).params["formats"] == ("json", "npz")
    assert i3_suffix(SkymapScanSpec.model_validate(cases.URL).output) == ".i3.zst"
    assert worker_words(spec) == ["--max-attempts", "10", "--max-task-seconds", "600.0"]
    parsed = worker.command.make_context("worker", [*common, *worker_words(spec)]).params
    assert (parsed["max_attempts"], parsed["max_task_seconds"]) == (10, 600.0)


def test_simulate_reads_the_options_of_a_spec() -> None:
    given = {"topology": "cascade", "ra": 10.5, "dec": -20.25, "energy": 1e6, "seed": 7}
    event = SkymapScanSpec.model_validate({"event": {"simulate": given}}).event.simulate
    assert event is not None
    parsed = simulate.command.make_context("simulate", ["event.i3.zst", *simulate_words(event)]).params
    assert {name: parsed[name] for name in given} == given
