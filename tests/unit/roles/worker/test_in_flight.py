"""Files of workers that live, end, are killed, and hang, each in a process of its own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from skymap_scanner.errors import InputError, ReconstructionError
from skymap_scanner.roles.full_disk import retry_while_disk_full
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.worker.crash_reports import CrashReport
from skymap_scanner.roles.worker.in_flight import InFlightFile, forget_crashes, read_in_flight_file, scan_folder

HOLD = """
import os, re, signal, sys, time
from pathlib import Path
from skymap_scanner.errors import ReconstructionError
from skymap_scanner.roles.worker.in_flight import InFlightFile
with InFlightFile(Path(sys.argv[1]), alarm=True) as in_flight:
    with in_flight.task("before", "an earlier task", 0.2):
        pass
    with in_flight.task("t", "pixel 7 of nside 8, seed 3", 0.2 if sys.argv[2] == "hang" else 60.0):
        print("ready", flush=True)
        def hang():
            re.match(r"(a+)+$", "a" * 60 + "b")  # runs for ages in C and never lets go of Python's lock
        {"hang": hang, "sleep": lambda: time.sleep(600), "raise": lambda: 1 / 0, "end": lambda: None}[sys.argv[2]]()
    print("done", flush=True)
    if sys.argv[2] == "end":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def start(folder: Path, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=30)  # reads to the end: a closed pipe would end what still prints
    return process.returncode


def reported(folder: Path) -> list[CrashReport]:
    reports: list[CrashReport] = []
    with InFlightFile(folder, alarm=False) as in_flight:
        in_flight.report_crashes(reports.append)
    return reports


def test_killed_worker_is_reported_once(tmp_path: Path) -> None:
    folder = tmp_path / "state/scan"
    process = start(folder, "sleep")
    assert reported(folder) == []  # it lives
    process.kill()
    end(process)
    (report,) = reported(folder)
    assert (report.task, report.name, report.limit, report.hung_at) == ("t", "pixel 7 of nside 8, seed 3", 60.0, "")
    assert "was killed or crashed while fitting pixel 7" in str(report)
    assert reported(folder) == []
    assert not folder.exists()


def test_worker_hanging_in_native_code_is_terminated_with_traceback(tmp_path: Path) -> None:
    process = start(tmp_path / "scan", "hang")
    assert end(process) == -signal.SIGALRM
    (report,) = reported(tmp_path / "scan")
    assert (report.task, report.limit) == ("t", 0.2)
    assert "in hang" in report.hung_at
    assert "exceeded 0.2 s on pixel 7 of nside 8, seed 3" in str(report)


def test_unexpected_error_counts_as_a_crash(tmp_path: Path) -> None:
    assert end(start(tmp_path / "scan", "raise")) == 1
    (report,) = reported(tmp_path / "scan")
    assert (report.task, report.hung_at) == ("t", "")


def test_worker_killed_between_tasks_is_not_reported(tmp_path: Path) -> None:
    process = start(tmp_path / "scan", "end")
    assert end(process) == -signal.SIGKILL
    assert len(list((tmp_path / "scan").iterdir())) == 1
    assert reported(tmp_path / "scan") == []
    assert not (tmp_path / "scan").exists()


def test_forgotten_crash_is_not_reported(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    forget_crashes(folder)  # not there
    lives, killed = start(folder, "sleep"), start(folder, "sleep")
    killed.kill()
    end(killed)
    forget_crashes(folder)
    assert reported(folder) == []
    lives.kill()
    end(lives)
    assert len(reported(folder)) == 1


def test_reported_error_is_not_a_crash(tmp_path: Path) -> None:
    in_flight = InFlightFile(tmp_path / "scan", alarm=False)
    with pytest.raises(ReconstructionError), in_flight, in_flight.task("t", "a task", 60.0):
        raise ReconstructionError("cannot run here")
    in_flight.close()
    assert not (tmp_path / "scan").exists()


def test_crash_report_is_kept_until_stored(tmp_path: Path) -> None:
    process = start(tmp_path, "sleep")
    process.kill()
    end(process)

    def refuse(report: CrashReport) -> None:
        raise ReconstructionError("the broker is away")

    with InFlightFile(tmp_path, alarm=False) as in_flight:
        with pytest.raises(ReconstructionError):
            in_flight.report_crashes(refuse)
        reports: list[CrashReport] = []
        in_flight.report_crashes(reports.append)
    assert [report.task for report in reports] == ["t"]


def test_concurrent_workers_report_a_crash_once(tmp_path: Path) -> None:
    for _ in range(3):
        process = start(tmp_path, "sleep")
        process.kill()
        end(process)
    reports: list[CrashReport] = []
    hands = [InFlightFile(tmp_path, alarm=False) for _ in range(4)]
    threads = [threading.Thread(target=in_flight.report_crashes, args=(reports.append,)) for in_flight in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for in_flight in hands:
        in_flight.close()
    assert len({report.attempt for report in reports}) == len(reports) == 3


def test_concurrent_workers_share_a_folder_without_conflict(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(100):
                with InFlightFile(tmp_path / "scan", alarm=False) as in_flight, in_flight.task("t", "a task", 60.0):
                    in_flight.report_crashes(lambda report: failures.append(AssertionError(report)))
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not (tmp_path / "scan").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"\xff\xfe", b"\n" * 5000])
def test_file_without_a_task_is_not_a_crash(content: bytes) -> None:
    assert read_in_flight_file(content) is None


def test_scans_share_a_folder_only_with_broker_and_topic(tmp_path: Path) -> None:
    folder = scan_folder(tmp_path, "sqlite:////scan.sqlite", "tasks")
    assert folder == scan_folder(tmp_path, "sqlite:////scan.sqlite", "tasks")
    assert folder != scan_folder(tmp_path, "sqlite:////scan.sqlite", "other tasks")
    assert folder != scan_folder(tmp_path, "pulsar://localhost:6650", "tasks")


def test_default_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    state = scan_folder(None, "pulsar://localhost:6650", "tasks").parent
    assert state == tmp_path / f"skymap-scanner-{os.getuid()}"
    assert state.stat().st_mode & 0o777 == 0o700
    state.rmdir()
    state.symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"belongs to another user, or is a link.*Choose another folder with --state"):
        scan_folder(None, "pulsar://localhost:6650", "tasks")
    state.unlink()
    state.mkdir()
    state.chmod(0o755)
    with pytest.raises(InputError, match=r"other users may use it.*Choose another folder with --state"):
        scan_folder(None, "pulsar://localhost:6650", "tasks")


def test_missing_folder_for_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", missing)
    with pytest.raises(InputError, match=r"temporary files: No usable .*Choose another folder with --state"):
        scan_folder(None, "pulsar://localhost:6650", "tasks")


def test_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*Choose another folder with --state"):
        InFlightFile(tmp_path / "file/scan", alarm=False)


def test_worker_on_a_full_disk_leaves_no_file_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, tries = tmp_path / "state/scan", []
    original = os.pwrite

    def pwrite(file: int, content: bytes, place: int) -> int:
        tries.append(list(folder.iterdir()))
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(file, content, place)

    monkeypatch.setattr("os.pwrite", pwrite)
    in_flight = retry_while_disk_full(lambda: InFlightFile(folder, alarm=False), Stop(), pause=0.01)
    assert in_flight is not None
    with in_flight:
        assert len(list(folder.iterdir())) == 1
    assert [len(files) for files in tries] == [1, 1, 1]
