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
from skymap_scanner.roles.deaths import Death
from skymap_scanner.roles.inhand import InHand, read_death, scan_folder
from skymap_scanner.roles.room import until_there_is_room
from skymap_scanner.roles.stop import Stop

HOLD = """
import os, re, signal, sys, time
from pathlib import Path
from skymap_scanner.errors import ReconstructionError
from skymap_scanner.roles.inhand import InHand
with InHand(Path(sys.argv[1]), alarm=True) as hand:
    with hand.holding("before", "an earlier task", 0.2):
        pass
    with hand.holding("t", "pixel 7 of nside 8, seed 3", 0.2 if sys.argv[2] == "hang" else 60.0):
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


def reported(folder: Path) -> list[Death]:
    deaths: list[Death] = []
    with InHand(folder, alarm=False) as hand:
        hand.report(deaths.append)
    return deaths


def test_a_worker_that_is_killed_is_reported_once(tmp_path: Path) -> None:
    folder = tmp_path / "state/scan"
    process = start(folder, "sleep")
    assert reported(folder) == []  # it lives
    process.kill()
    end(process)
    (death,) = reported(folder)
    assert (death.task, death.name, death.limit, death.hung_at) == ("t", "pixel 7 of nside 8, seed 3", 60.0, "")
    assert "was killed, or crashed" in death.told()
    assert reported(folder) == []
    assert not folder.exists()


def test_a_worker_that_hangs_in_native_code_is_ended_and_reported_with_its_place(tmp_path: Path) -> None:
    process = start(tmp_path / "scan", "hang")
    assert end(process) == -signal.SIGALRM
    (death,) = reported(tmp_path / "scan")
    assert (death.task, death.limit) == ("t", 0.2)
    assert "in hang" in death.hung_at
    assert "took longer than 0.2 s over pixel 7 of nside 8, seed 3" in death.told()


def test_an_error_that_nobody_foresaw_counts_as_a_death(tmp_path: Path) -> None:
    assert end(start(tmp_path / "scan", "raise")) == 1
    (death,) = reported(tmp_path / "scan")
    assert (death.task, death.hung_at) == ("t", "")


def test_a_worker_killed_between_two_tasks_had_nothing_in_hand(tmp_path: Path) -> None:
    process = start(tmp_path / "scan", "end")
    assert end(process) == -signal.SIGKILL
    assert len(list((tmp_path / "scan").iterdir())) == 1
    assert reported(tmp_path / "scan") == []
    assert not (tmp_path / "scan").exists()


def test_an_explained_error_is_no_death_and_nothing_is_left(tmp_path: Path) -> None:
    hand = InHand(tmp_path / "scan", alarm=False)
    with pytest.raises(ReconstructionError), hand, hand.holding("t", "a task", 60.0):
        raise ReconstructionError("cannot run here")
    hand.close()
    assert not (tmp_path / "scan").exists()


def test_a_death_stays_until_it_is_stored(tmp_path: Path) -> None:
    process = start(tmp_path, "sleep")
    process.kill()
    end(process)

    def refuse(death: Death) -> None:
        raise ReconstructionError("the broker is away")

    with InHand(tmp_path, alarm=False) as hand:
        with pytest.raises(ReconstructionError):
            hand.report(refuse)
        deaths: list[Death] = []
        hand.report(deaths.append)
    assert [death.task for death in deaths] == ["t"]


def test_two_that_look_at_once_report_a_death_once(tmp_path: Path) -> None:
    for _ in range(3):
        process = start(tmp_path, "sleep")
        process.kill()
        end(process)
    deaths: list[Death] = []
    hands = [InHand(tmp_path, alarm=False) for _ in range(4)]
    threads = [threading.Thread(target=hand.report, args=(deaths.append,)) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for hand in hands:
        hand.close()
    assert len({death.attempt for death in deaths}) == len(deaths) == 3


def test_workers_that_come_and_go_at_once_do_not_trip_over_each_other(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(100):
                with InHand(tmp_path / "scan", alarm=False) as hand, hand.holding("t", "a task", 60.0):
                    hand.report(lambda death: failures.append(AssertionError(death)))
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not (tmp_path / "scan").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"\xff\xfe", b"\n" * 5000])
def test_a_file_that_names_no_task_is_no_death(content: bytes) -> None:
    assert read_death(content) is None


def test_scans_of_other_names_or_brokers_have_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    here = scan_folder(tmp_path, "sqlite:///scan.sqlite", "tasks")
    assert here == scan_folder(tmp_path, f"sqlite:///{tmp_path}/scan.sqlite", "tasks")
    assert here != scan_folder(tmp_path, "sqlite:///scan.sqlite", "other tasks")
    assert here != scan_folder(tmp_path, "pulsar://localhost:6650", "tasks")
    monkeypatch.chdir(tmp_path / "other")
    assert here != scan_folder(tmp_path, "sqlite:///scan.sqlite", "tasks")


def test_the_default_folder_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    state = scan_folder(None, "pulsar://localhost:6650", "tasks").parent
    assert state == tmp_path / f"skymap-scanner-{os.getuid()}"
    assert state.stat().st_mode & 0o777 == 0o700
    state.rmdir()
    state.symlink_to(tmp_path)
    with pytest.raises(InputError, match="belongs to somebody else: choose another folder with --state"):
        scan_folder(None, "pulsar://localhost:6650", "tasks")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*choose another folder with --state"):
        InHand(tmp_path / "file/scan", alarm=False)


def test_a_worker_without_room_leaves_nothing_and_goes_on_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tries = tmp_path / "state/scan", []
    original = os.pwrite

    def pwrite(file: int, content: bytes, place: int) -> int:
        tries.append(list(folder.iterdir()))
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(file, content, place)

    monkeypatch.setattr("os.pwrite", pwrite)
    hand = until_there_is_room(lambda: InHand(folder, alarm=False), Stop(), pause=0.01)
    assert hand is not None
    with hand:
        assert len(list(folder.iterdir())) == 1
    assert [len(files) for files in tries] == [1, 1, 1]
