"""A `run` that is killed or stopped during a fit: the next one repeats the fit, and counts no crash of a worker."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from testing.processes import children, is_alive
from testing.waiting import eventually
from tests.unit.roles.conftest import Command, running

from skymap_scanner.roles.worker.in_flight import read_in_flight_file

WORDS = ["--reconstruction", "dummy", "--parameter", "seconds=8", "--levels", "1:0", "--pixel-list", "0"]
OUTPUT = ["--seeds", "1", "--workers", "1", "--format", "json", "--format", "report"]


def fitting(state: Path) -> bool:
    """Return whether a task is in flight."""
    return any(read_in_flight_file(path.read_bytes()) for path in state.glob("*/*"))


@pytest.mark.parametrize("everything", [False, True])
def test_fit_that_ends_with_its_run_is_no_crash(
    event_file: Path, tmp_path: Path, command: Callable[..., Command], everything: bool
) -> None:
    scan = command("run", event_file, "-o", "out", *WORDS, *OUTPUT)
    with running(scan) as run:
        eventually(lambda: fitting(tmp_path / "state"), within=60)
        [server] = children(run.pid)
        roles = children(server)
        for process in (run.pid, server, *roles) if everything else (run.pid,):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        run.wait()
        eventually(lambda: any(map(is_alive, roles)), lambda alive: not alive, within=30)
    assert fitting(tmp_path / "state")  # the file is left
    done = scan.run()
    assert done.returncode == 0, done.stderr
    [history] = (tmp_path / "out").glob("*.history.csv")
    with history.open() as file:
        [fit] = csv.DictReader(file)
    assert (fit["attempt"], fit["failure"]) == ("1", "")
    assert "was killed or crashed" not in (tmp_path / "out/logs/worker-0.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_exit_code_names_the_signal(
    event_file: Path, tmp_path: Path, command: Callable[..., Command], number: signal.Signals
) -> None:
    with running(command("run", event_file, "-o", "out", *WORDS, *OUTPUT)) as run:
        eventually(lambda: fitting(tmp_path / "state"), within=60)
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
    assert (run.returncode, "The same command resumes the scan" in errors) == (128 + number, True)
