"""Roles that cannot reach the broker are restarted with a growing back-off, without limit."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tests.unit.roles.local import shell

from skymap_scanner.errors import SkymapError
from skymap_scanner.roles.local import local, local_role
from skymap_scanner.roles.local.local import LocalScan, run_local
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.levels import parse_levels

SETTINGS = ScanSettings("scan", parse_levels("1:0"), reconstruction="dummy")


def scan(folder: Path) -> LocalScan:
    return LocalScan(Path("event.i3"), folder, SETTINGS, workers=1, output=folder / "x.i3")


def test_unavailable_broker_is_waited_for_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lives = tmp_path / "lives"
    most = 3 * local_role.MAX_CRASHES
    script = f"echo . >> {lives}; [ $(wc -l < {lives}) -gt {most} ] || {{ echo no answer; exit 75; }}"
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", script]})
    monkeypatch.setattr(local_role, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(local_role, "LONGEST_PAUSE", 0.01)
    with caplog.at_level(logging.WARNING):
        assert run_local(scan(tmp_path), lambda _: None, Stop(), shell.start)
    assert len(lives.read_text().splitlines()) == most + 1
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ["the broker is unavailable; saver waits for it (no answer)"]


def test_crashes_between_waits_still_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = tmp_path / "lives"
    script = f"echo . >> {lives}; [ $(( $(wc -l < {lives}) % 2 )) = 0 ] && exit 70; exit 75"
    monkeypatch.setattr(local, "role_commands", lambda _: {"saver": ["sh", "-c", script]})
    monkeypatch.setattr(local_role, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(local_role, "LONGEST_PAUSE", 0.01)
    with pytest.raises(SkymapError, match=r"saver crashed 5 times in a row \(exit code 70\)"):
        run_local(scan(tmp_path), lambda _: None, Stop(), shell.start)
    assert len(lives.read_text().splitlines()) == 2 * local_role.MAX_CRASHES
