"""The heartbeat of a role lasts as long as the role makes progress."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from testing.processes import state
from testing.waiting import consistently, eventually
from tests.unit.roles.conftest import Command, running

from skymap_scanner.roles.liveness import VARIABLE, start_heartbeat
from skymap_scanner.roles.stop import Stop

pytestmark = pytest.mark.slow

MakeCommand = Callable[..., Command]

OLD = 1_000_000_000


def age(path: Path) -> None:
    """Set the time of the last heartbeat to long ago."""
    os.utime(path, (OLD, OLD))


def fresh(path: Path) -> bool:
    return path.stat().st_mtime > OLD + 1


def beating() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "heartbeat"}


def test_heartbeat_lasts_while_the_role_checks_for_stop(tmp_path: Path) -> None:
    path, stop, others = tmp_path / "alive", Stop(), beating()
    start_heartbeat(stop, {VARIABLE: str(path)}, longest=3600.0, interval=0.01)
    (mine,) = beating() - others
    age(path)
    eventually(lambda: fresh(path))
    stop.last_checked -= 3601.0  # as if it had last looked so long ago
    mine.join(timeout=60)
    assert not mine.is_alive()
    assert stop.requested is False
    stop.last_checked -= 3601.0
    before = stop.last_checked
    assert stop.requested is False
    assert stop.last_checked > before + 3600, "to look is what counts"


def test_no_heartbeat_without_the_variable(tmp_path: Path) -> None:
    before = beating()
    start_heartbeat(Stop(), {})
    start_heartbeat(Stop(), {VARIABLE: ""})
    assert beating() == before


def test_missing_liveness_folder_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = beating()
    with caplog.at_level(logging.WARNING):
        start_heartbeat(Stop(), {VARIABLE: str(tmp_path / "missing" / "alive")})
    assert "missing/alive: No such file or directory" in caplog.text
    assert beating() == before


@pytest.mark.parametrize("role", ["worker", "collector", "saver"])
def test_frozen_role_stops_its_heartbeat(
    role: str, command: MakeCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alive"
    monkeypatch.setenv(VARIABLE, str(path))
    with running(command(role, "-n", "scan", "-b", "sqlite:///scan.sqlite")) as process:
        eventually((tmp_path / "scan.sqlite").exists)
        age(path)
        eventually(lambda: fresh(path))
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: state(process.pid), lambda found: found == "T")
        age(path)
        consistently(lambda: not fresh(path), throughout=3.0)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: fresh(path))
        process.terminate()
        process.communicate(timeout=60)
