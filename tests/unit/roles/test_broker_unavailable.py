"""Roles that cannot reach the broker are started again, later and later, for as long as it takes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from skymap_scanner.errors import SkymapError
from skymap_scanner.roles import local
from skymap_scanner.roles.local import LocalScan, pause_before, run_local
from skymap_scanner.roles.planning import ScanSettings
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.levels import parse_levels

SETTINGS = ScanSettings("scan", parse_levels("1:0"), reconstruction="dummy")


def scan(folder: Path) -> LocalScan:
    return LocalScan(Path("event.i3"), folder, SETTINGS, workers=1, output=folder / "x.i3")


def test_pauses_grow_to_half_a_minute() -> None:
    assert [pause_before(waits) for waits in (0, 1, 2, 3, 4, 5, 6, 5000)] == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_broker_that_is_away_counts_against_nobody_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lives = tmp_path / "lives"
    script = f"echo . >> {lives}; [ $(wc -l < {lives}) -gt {3 * local.MAX_CRASHES} ] || {{ echo no answer; exit 75; }}"
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", script]})
    monkeypatch.setattr(local, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(local, "LONGEST_PAUSE", 0.01)
    with caplog.at_level(logging.WARNING):
        assert run_local(scan(tmp_path), lambda _: None, Stop())
    assert len(lives.read_text().splitlines()) == 3 * local.MAX_CRASHES + 1
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the broker is away; saver waits for it (no answer)"]


def test_crashes_in_between_still_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = tmp_path / "lives"
    script = f"echo . >> {lives}; [ $(( $(wc -l < {lives}) % 2 )) = 0 ] && exit 70; exit 75"
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", script]})
    monkeypatch.setattr(local, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(local, "LONGEST_PAUSE", 0.01)
    with pytest.raises(SkymapError, match=r"saver died 5 times in a row \(exit code 70\)"):
        run_local(scan(tmp_path), lambda _: None, Stop())
    assert len(lives.read_text().splitlines()) == 2 * local.MAX_CRASHES
