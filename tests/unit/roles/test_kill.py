"""Whole scans as processes that are killed at random moments: the finished map is bit for bit the same."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from testing.processes import children, is_alive, roles
from testing.waiting import eventually
from tests.unit.roles.conftest import Command, running

pytestmark = pytest.mark.slow

MakeCommand = Callable[..., Command]

SCAN = ["--levels", "1:0", "4:4", "--seeds", "3", "--reconstruction", "dummy", "--workers", "2"]
DUMMY = ["--parameter", "ra=200", "--parameter", "dec=20", "--parameter", "seconds=0.02"]
FORMATS = ["--format", "json"]


def words(event: Path, folder: str) -> list[str]:
    return ["run", str(event), "-o", folder, *SCAN, *DUMMY, *FORMATS]


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("run*"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return {}


@pytest.fixture
def expected(undisturbed: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of a scan that nothing happened to, made once."""
    if not undisturbed:
        done = command(*words(event_file, "undisturbed")).run()
        assert done.returncode == 0, done.stderr
        undisturbed.update(outputs(tmp_path / "undisturbed"))
    assert {Path(name).suffix for name in undisturbed} == {".zst", ".json"}
    return undisturbed


@pytest.mark.parametrize("role", ["producer", "collector", "saver", "worker"])
def test_killed_roles_do_not_change_the_files(
    role: str, expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    chance = random.Random(role)
    with running(command(*words(event_file, "killed"))) as run:
        for _ in range(3):
            eventually(lambda: role in roles(run.pid) or run.poll() is not None)
            time.sleep(chance.uniform(0.0, 1.5))  # the moment is what varies
            for pid in roles(run.pid).get(role, [])[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                eventually(lambda pid=pid: not is_alive(pid))
        assert run.wait(120) == 0
    assert outputs(tmp_path / "killed") == expected


def test_killed_fork_server_does_not_change_the_files(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    with running(command(*words(event_file, "killed"))) as run:
        eventually(lambda: len(roles(run.pid)) >= 3 or run.poll() is not None)
        [server] = children(run.pid)
        os.kill(server, signal.SIGKILL)
        assert run.wait(120) == 0
    assert outputs(tmp_path / "killed") == expected


def test_terminated_roles_do_not_change_the_files(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    with running(command(*words(event_file, "asked"))) as run:
        for role in ("worker", "collector", "saver", "producer"):
            eventually(lambda role=role: role in roles(run.pid) or run.poll() is not None)
            for pid in roles(run.pid).get(role, [])[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                eventually(lambda pid=pid: not is_alive(pid))
        assert run.wait(120) == 0
    assert outputs(tmp_path / "asked") == expected


def test_killed_run_is_resumed_by_the_same_command(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    chance = random.Random(5)
    for _ in range(4):
        with running(command(*words(event_file, "killed"))) as run:
            eventually(lambda run=run: len(roles(run.pid)) == 4 or run.poll() is not None)
            time.sleep(chance.uniform(0.0, 2.0))  # the moment is what varies
            pids = [pid for role in roles(run.pid).values() for pid in role]
            run.kill()
            run.wait()
            eventually(lambda pids=pids: not any(map(is_alive, pids)))
    done = command(*words(event_file, "killed")).run()
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "killed") == expected


def test_ctrl_c_stops_the_run_and_shows_how_to_resume(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    with running(command(*words(event_file, "stopped"))) as run:
        eventually(lambda: roles(run.pid), lambda found: len(found) == 4)
        pids = [pid for role in roles(run.pid).values() for pid in role]
        run.send_signal(signal.SIGINT)
        _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "The same command resumes the scan:" in told
    assert "skymap-scanner run" in told
    assert not any(map(is_alive, pids))
    done = command(*words(event_file, "stopped")).run()
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "stopped") == expected


def test_finished_folder_shows_its_result_and_rejects_other_scans(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    first = command(*words(event_file, "done")).run()
    again = command(*words(event_file, "done")).run()
    assert again.returncode == 0
    assert "finished" in again.stderr
    assert again.stdout == first.stdout
    other = command(*words(event_file, "done"), "--keep-all-seeds").run()
    assert other.returncode == 1
    assert "with keep_all_seeds False, not True" in other.stderr
    assert outputs(tmp_path / "done") == expected
    anew = command(*words(event_file, "done"), "--keep-all-seeds", "--restart").run()
    assert anew.returncode == 0, anew.stderr


def test_second_run_in_a_folder_is_rejected(command: MakeCommand, event_file: Path) -> None:
    with running(command(*words(event_file, "shared"))) as run:
        [saver] = eventually(lambda: roles(run.pid).get("saver"))
        os.kill(saver, signal.SIGSTOP)  # so that the first run does not end while the second looks
        try:
            second = command(*words(event_file, "shared")).run()
        finally:
            os.kill(saver, signal.SIGCONT)
        assert second.returncode == 1
        assert "in use by another run" in second.stderr
        assert run.wait(120) == 0


def test_error_of_a_role_ends_the_run(command: MakeCommand, event_file: Path) -> None:
    done = command("run", event_file, "-o", "x", "--levels", "1:0", "--reconstruction", "magic").run()
    assert done.returncode == 1
    assert "no reconstruction is named 'magic'" in done.stderr
    assert "Traceback" not in done.stderr
