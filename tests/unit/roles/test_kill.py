"""Whole scans as processes that are killed at random moments: the finished map is bit for bit the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Command

MakeCommand = Callable[..., Command]

SCAN = ["--levels", "1:0", "4:4", "--seeds", "3", "--reconstruction", "dummy", "--workers", "2"]
DUMMY = ["--parameter", "ra=200", "--parameter", "dec=20", "--parameter", "seconds=0.02"]
FORMATS = ["--format", "json"]


def words(event: Path, folder: str) -> list[str]:
    return ["run", str(event), "-o", folder, *SCAN, *DUMMY, *FORMATS]


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("run*"))}


def eventually(probe: Callable[[], object], until: str, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not probe():
        assert time.monotonic() < deadline, f"after {within} s still not: {until}"
        time.sleep(0.01)


def children(process: subprocess.Popen[str]) -> dict[str, list[int]]:
    """Roles of a running ``run`` and their process ids."""
    found: dict[str, list[int]] = {}
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for pid in map(int, listed.read_text().split() if listed.exists() else []):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):  # it ended between the two looks
            continue
        if b"skymap_scanner" in arguments:
            found.setdefault(arguments[arguments.index(b"skymap_scanner") + 1].decode(), []).append(pid)
    return found


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def running(command: Command) -> Iterator[subprocess.Popen[str]]:
    process = command.start()
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


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
def test_a_role_may_be_killed_again_and_again(
    role: str, expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    chance = random.Random(role)
    with running(command(*words(event_file, "killed"))) as run:
        for _ in range(3):
            eventually(lambda: children(run).get(role) or run.poll() is not None, f"{role} is running")
            time.sleep(chance.uniform(0.0, 1.5))
            for pid in children(run).get(role, [])[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                eventually(lambda pid=pid: not is_alive(pid), "the killed process is gone")
        assert run.wait(120) == 0
    assert outputs(tmp_path / "killed") == expected


def test_roles_may_be_asked_to_end_by_somebody_else(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    with running(command(*words(event_file, "asked"))) as run:
        for role in ("worker", "collector", "saver", "producer"):
            eventually(lambda role=role: children(run).get(role) or run.poll() is not None, f"{role} is running")
            for pid in children(run).get(role, [])[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                eventually(lambda pid=pid: not is_alive(pid), "it has ended")
        assert run.wait(120) == 0
    assert outputs(tmp_path / "asked") == expected


def test_the_whole_run_may_be_killed_and_the_same_command_goes_on(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    chance = random.Random(5)
    for _ in range(4):
        with running(command(*words(event_file, "killed"))) as run:
            eventually(lambda run=run: len(children(run)) == 4 or run.poll() is not None, "all roles are started")
            time.sleep(chance.uniform(0.0, 2.0))
            pids = [pid for role in children(run).values() for pid in role]
            run.kill()
            run.wait()
            eventually(lambda pids=pids: not any(map(is_alive, pids)), "the roles have ended with it")
    done = command(*words(event_file, "killed")).run()
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "killed") == expected


def test_ctrl_c_stops_cleanly_and_says_how_to_resume(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    with running(command(*words(event_file, "stopped"))) as run:
        eventually(lambda: len(children(run)) == 4, "all roles are started")
        pids = [pid for role in children(run).values() for pid in role]
        run.send_signal(signal.SIGINT)
        _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "The same command goes on:" in told
    assert "skymap-scanner run" in told
    assert not any(map(is_alive, pids))
    done = command(*words(event_file, "stopped")).run()
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "stopped") == expected


def test_a_finished_folder_shows_its_result_and_refuses_another_scan(
    expected: dict[str, bytes], command: MakeCommand, event_file: Path, tmp_path: Path
) -> None:
    first = command(*words(event_file, "done")).run()
    again = command(*words(event_file, "done")).run()
    assert again.returncode == 0
    assert "finished" in again.stderr
    assert again.stdout == first.stdout
    other = command(*words(event_file, "done"), "--keep-all-seeds").run()
    assert other.returncode == 1
    assert "other keep_all_seeds (False instead of True)" in other.stderr
    assert outputs(tmp_path / "done") == expected
    anew = command(*words(event_file, "done"), "--keep-all-seeds", "--restart").run()
    assert anew.returncode == 0, anew.stderr


def test_two_runs_do_not_share_a_folder(command: MakeCommand, event_file: Path) -> None:
    with running(command(*words(event_file, "shared"))) as run:
        eventually(lambda: children(run), "the first run is at work")
        second = command(*words(event_file, "shared")).run()
        assert second.returncode == 1
        assert "in use by another run" in second.stderr
        assert run.wait(120) == 0


def test_a_role_that_explains_itself_ends_the_run_with_its_words(command: MakeCommand, event_file: Path) -> None:
    done = command("run", event_file, "-o", "x", "--levels", "1:0", "--reconstruction", "magic").run()
    assert done.returncode == 1
    assert "no reconstruction is named 'magic'" in done.stderr
    assert "Traceback" not in done.stderr
