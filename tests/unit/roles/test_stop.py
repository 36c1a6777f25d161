"""Exit codes of roles that are stopped, before and after their part is done."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from testing.waiting import eventually
from tests.unit.roles.conftest import Command, running

pytestmark = pytest.mark.slow

MakeCommand = Callable[..., Command]

SCAN = ["--levels", "1:0", "--seeds", "1", "--reconstruction", "dummy"]
#: The second level waits for the best fits of the first, which no worker fits.
WORDS = {"producer": ["event.i3", *SCAN, "--levels", "1:0", "2:1"], "worker": [], "collector": [], "saver": []}


@pytest.mark.parametrize("role", list(WORDS))
@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_role_exits_with_the_code_of_the_signal(
    role: str, how: signal.Signals, code: int, command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    with running(command(role, *WORDS[role], "-n", "scan", "-b", "sqlite:///scan.sqlite")) as process:
        eventually((tmp_path / "scan.sqlite").exists)
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == code


def test_finished_roles_exit_with_0(command: MakeCommand, event_file: Path, tmp_path: Path) -> None:
    where = ["-n", "scan", "-b", "sqlite:///scan.sqlite"]
    with running(command("worker", *where)) as worker:
        assert command("producer", event_file, *SCAN, *where).run().returncode == 0
        assert command("collector", *where).run().returncode == 0
        assert command("saver", "-o", "out/scan.i3", "--format", "json", *where).run().returncode == 0
        worker.terminate()
        worker.communicate(timeout=60)
    assert worker.returncode == 143
    assert (tmp_path / "out/scan.i3").exists()
