"""The live page beside a scan: whatever happens to it, the scan ends as it would without."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from testing.waiting import eventually
from tests.unit.roles.conftest import Command, running

WORDS = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1", "--format", "json"]


def pixels(folder: Path) -> int:
    (found,) = folder.glob("run*_1.json")
    return len(json.loads(found.read_bytes())["nside-1"]["data"])


def children(process: int) -> dict[int, str]:
    """Return the command lines of the processes that a process has started."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            words = (path.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if parent == process:
            found[int(path.parent.name)] = words
    return found


def test_killed_page_is_a_warning(event_file: Path, tmp_path: Path, command: Callable[..., Command]) -> None:
    slow = ["--parameter", "seconds=0.4"]
    with running(command("run", event_file, "-o", "out", *WORDS, *slow, "--page")) as scan:

        def page() -> int | None:
            return next((number for number, words in children(scan.pid).items() if " page " in words), None)

        found = eventually(page, within=60)
        assert found is not None
        os.kill(found, signal.SIGKILL)
        _, errors = scan.communicate(timeout=120)
    assert scan.returncode == 0, errors
    assert re.search(r"WARNING .*: the live page has ended \(exit code -9\); the scan goes on", errors)
    assert pixels(tmp_path / "out") == 12


def test_port_in_use_is_a_warning(event_file: Path, tmp_path: Path, command: Callable[..., Command]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = command("run", event_file, "-o", "out", *WORDS, "--page", "--page-port", str(port)).run()
    assert done.returncode == 0, done.stderr
    assert f"there is no live page: port {port} cannot be used (Address already in use)" in done.stderr
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
        page = eventually(lambda: [one for one, words in children(scan.pid).items() if " page " in words], within=60)
        scan.kill()
        scan.wait()
        eventually(lambda: Path(f"/proc/{page[0]}").exists(), lambda exists: not exists, within=30)


def test_page_port_without_page_is_rejected(event_file: Path, command: Callable[..., Command]) -> None:
    done = command("run", event_file, "-o", "out", *WORDS, "--page-port", "8000").run()
    assert done.returncode == 2
    assert "--page-port is for the live page: give --page too" in done.stderr
