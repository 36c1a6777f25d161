"""The live page beside a scan: whatever happens to it, the scan ends as it would without."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from testing.processes import roles
from testing.waiting import eventually
from tests.unit.notices.receiver import Receiver
from tests.unit.roles.conftest import Command, running

from skymap_scanner.roles.local.record import read_record

WORDS = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1", "--format", "json"]


def pixels(folder: Path) -> int:
    (found,) = folder.glob("run*_1.json")
    return len(json.loads(found.read_bytes())["nside-1"]["data"])


def test_killed_page_is_a_warning(event_file: Path, tmp_path: Path, command: Callable[..., Command]) -> None:
    slow = ["--parameter", "seconds=0.4"]
    with running(command("run", event_file, "-o", "out", *WORDS, *slow, "--page")) as scan:
        [page] = eventually(lambda: roles(scan.pid).get("page"), within=60)
        os.kill(page, signal.SIGKILL)
        _, errors = scan.communicate(timeout=120)
    assert scan.returncode == 0, errors
    assert re.search(r"WARNING .*: the live page has ended \(exit code -9\); the scan goes on", errors)
    assert pixels(tmp_path / "out") == 12


def test_port_in_use_is_a_warning(event_file: Path, tmp_path: Path, command: Callable[..., Command]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = command("run", event_file, "-o", "out", *WORDS, "--page", "--page-port", str(port)).run()
    assert done.returncode == 0, done.stderr
    assert f"there is no live page: address 127.0.0.1:{port} cannot be used (Address already in use)" in done.stderr
    assert pixels(tmp_path / "out") == 12


def test_page_ends_with_its_scan(event_file: Path, tmp_path: Path, command: Callable[..., Command]) -> None:
    done = command("run", event_file, "-o", "out", *WORDS, "--page").run()
    assert done.returncode == 0, done.stderr
    link = re.search(r"^Live page: http://127\.0\.0\.1:(\d+)/scans/scan/$", done.stderr, re.MULTILINE)
    assert link
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(link[1])), timeout=5)
    assert pixels(tmp_path / "out") == 12
    assert "WARNING skymap_scanner.cli.page_process" not in done.stderr


def test_page_ends_when_its_scan_is_killed(event_file: Path, command: Callable[..., Command]) -> None:
    slow = ["--parameter", "seconds=5"]
    with running(command("run", event_file, "-o", "out", *WORDS, *slow, "--page")) as scan:
        page = eventually(lambda: roles(scan.pid).get("page"), within=60)
        scan.kill()
        scan.wait()
        eventually(lambda: Path(f"/proc/{page[0]}").exists(), lambda exists: not exists, within=30)


def link_in(scan: subprocess.Popen[str]) -> str:
    """Return the link to the live page, which a scan prints."""
    assert scan.stderr is not None
    found = next(line for line in scan.stderr if line.startswith("Live page: "))
    return found.removeprefix("Live page: ").strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_unloaded_report_delays_neither_results_nor_a_stop(
    event_file: Path,
    tmp_path: Path,
    command: Callable[..., Command],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    monkeypatch.setenv("SKYMAP_NOTIFY_SECRET", "correct horse battery staple")
    with Receiver().running() as receiver:
        words = [*WORDS, "--parameter", "seconds=0.4", "--page", "--notify", f"webhook={receiver.url}"]
        with running(command("run", event_file, "-o", "out", *words)) as scan:
            page = link_in(scan)
            with httpx.stream("GET", f"{page}events", timeout=60) as stream:
                assert "event: end" in "".join(stream.iter_text())  # and its report is never loaded
            eventually(lambda: read_record(tmp_path / "out").finished)
            eventually(lambda: len(receiver.received), lambda count: count == 2)
            assert httpx.get(page).status_code == 200  # the server still waits
            assert scan.poll() is None
            scan.send_signal(number)
            scan.communicate(timeout=8)
    assert scan.returncode == 0
    assert not (tmp_path / "out" / "scan.sqlite").exists()


@pytest.fixture
def sending(
    event_file: Path, tmp_path: Path, command: Callable[..., Command], monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[str]]:
    """A `run` whose scan is finished, and whose notice nobody accepts."""
    monkeypatch.setenv("SKYMAP_NOTIFY_SECRET", "correct horse battery staple")
    with Receiver((503, {})).running() as receiver:
        words = [*WORDS, "--notify", f"webhook={receiver.url}"]
        with running(command("run", event_file, "-o", "out", *words)) as scan:
            eventually(lambda: read_record(tmp_path / "out"), lambda one: one and one.finished)
            yield scan


def test_folder_is_in_use_until_the_last_notice_is_sent(
    event_file: Path, tmp_path: Path, command: Callable[..., Command], sending: subprocess.Popen[str]
) -> None:
    before = sorted((tmp_path / "out").glob("[ers]*"))  # event, results, record and broker
    for more in ([], ["--restart"], ["--format", "npz"]):
        second = command("run", event_file, "-o", "out", *WORDS, *more).run()
        assert (second.returncode, second.stdout) == (1, "")
        assert "out is in use by another run" in second.stderr
    assert sorted((tmp_path / "out").glob("[ers]*")) == before
    assert sending.poll() is None


def test_stop_leaves_notices_in_the_outbox(tmp_path: Path, sending: subprocess.Popen[str]) -> None:
    sending.terminate()
    _, errors = sending.communicate(timeout=8)
    assert sending.returncode == 143
    assert "The outbox keeps these notices" in errors


def test_next_run_removes_the_working_files_of_a_killed_one(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    again = command("run", event_file, "-o", "out", *WORDS)
    assert again.run().returncode == 0
    left = [tmp_path / "out" / name for name in ("scan.sqlite", "scan.sqlite-wal", "event.i3.zst")]
    for path in left:
        path.touch()
    assert again.run().returncode == 0
    assert not any(path.exists() for path in left)


def test_processes_of_a_scan_get_no_secrets_of_notices(
    event_file: Path, command: Callable[..., Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYMAP_NOTIFY_SECRET", "secret-of-a-webhook")
    monkeypatch.setenv("SKYMAP_GCN_CLIENT_SECRET", "secret-of-a-client")
    slow = ["--parameter", "seconds=5"]
    with running(command("run", event_file, "-o", "out", *WORDS, *slow, "--page")) as scan:
        running_all_along = ("worker", "collector", "saver", "page")
        found = eventually(lambda: roles(scan.pid), lambda found: found.keys() >= set(running_all_along), within=60)
        for process in (process for name in running_all_along for process in found[name]):
            assert b"secret-of" not in Path(f"/proc/{process}/environ").read_bytes()
        assert b"secret-of" in Path(f"/proc/{scan.pid}/environ").read_bytes()


def test_page_port_without_page_is_rejected(event_file: Path, command: Callable[..., Command]) -> None:
    done = command("run", event_file, "-o", "out", *WORDS, "--page-port", "8000").run()
    assert done.returncode == 2
    assert "--page-port is for the live page: give --page too" in done.stderr
