"""The fork server: roles are processes of their own, and whatever ends, none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from testing.processes import children, is_alive, roles
from testing.waiting import eventually

from skymap_scanner.cli.fork_server import ForkServer


@pytest.fixture
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        yield server


@pytest.fixture
def waiting(tmp_path: Path) -> list[str]:
    """Return the command line of a worker whose scan never begins."""
    return ["worker", "-n", "none", "--broker", f"sqlite:///{tmp_path}/scan.sqlite", "--end-with-parent"]


def process_of(role: str) -> int:
    [found] = eventually(lambda: roles(os.getpid()).get(role), within=60)
    return found


def server_process() -> int:
    [found] = [one for one in children(os.getpid()) if "fork_server" in Path(f"/proc/{one}/cmdline").read_text()]
    return found


def test_exit_code_and_output_are_those_of_the_command(server: ForkServer, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("before\n")
    assert server.start("worker-0", ["worker", "--help"], log).wait(60) == 0
    assert server.start("worker-0", ["worker", "--colour"], log).wait(60) == 2
    text = log.read_text()
    assert text.startswith("before\nUsage: skymap-scanner worker")
    assert "No such option '--colour'" in text


def test_roles_end_by_signals(server: ForkServer, waiting: list[str], tmp_path: Path) -> None:
    role = server.start("worker-0", waiting, tmp_path / "log")
    process = process_of("worker")
    eventually((tmp_path / "scan.sqlite").exists, within=60)  # it handles signals by then
    assert role.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        role.wait(0.0)
    role.terminate()
    assert role.wait(60) == 143
    assert not is_alive(process)
    role = server.start("worker-0", waiting, tmp_path / "log")
    role.kill()
    assert role.wait(60) == -signal.SIGKILL
    role.kill()  # nobody is left to be killed
    assert role.poll() == -signal.SIGKILL


def gone(process: int) -> None:
    """Wait until a process has ended: the server only waits until it has closed its files."""
    eventually(lambda: is_alive(process), lambda alive: not alive)


def test_killed_server_ends_its_roles_and_is_replaced(server: ForkServer, waiting: list[str], tmp_path: Path) -> None:
    role = server.start("worker-0", waiting, tmp_path / "log")
    process = process_of("worker")
    os.kill(server_process(), signal.SIGKILL)
    assert role.wait(60) == -signal.SIGKILL
    gone(process)  # whoever starts another role need not wait
    assert server.start("worker-0", ["worker", "--help"], tmp_path / "log").wait(60) == 0


def test_closed_server_leaves_no_process(waiting: list[str], tmp_path: Path) -> None:
    with ForkServer() as server:
        server.start("worker-0", waiting, tmp_path / "log")
        process, own = process_of("worker"), server_process()
    assert not is_alive(own)
    gone(process)


def test_role_without_a_log_fails_alone(server: ForkServer, tmp_path: Path) -> None:
    role = server.start("worker-0", ["worker", "--help"], tmp_path / "missing" / "log")
    assert role.wait(60) == 1
    assert server.start("worker-1", ["worker", "--help"], tmp_path / "log").wait(60) == 0


def test_output_of_imports_is_not_taken_for_replies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with ForkServer() as server:
        assert server.start("worker-0", ["worker", "--help"], tmp_path / "log").wait(60) == 0


def test_role_that_hangs_is_not_waited_for_without_end(
    server: ForkServer,
    waiting: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("skymap_scanner.cli.fork_server.END_TIMEOUT", 0.2)
    role = server.start("worker-0", waiting, tmp_path / "log")
    process = process_of("worker")
    os.kill(process, signal.SIGSTOP)
    os.kill(server_process(), signal.SIGKILL)
    assert role.wait(60) == -signal.SIGKILL
    assert "a role does not end, 0.2 s after its fork server" in caplog.text
    os.kill(process, signal.SIGKILL)
