"""A whole scan over a real Pulsar while the broker and every role are killed: the same files, nothing left behind.

The checker of histories judges what the topics hold (`tests/unit/roles/test_history.py` shows what it finds).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from testing.history import read_history, violations
from testing.killing import LocalScan, scan_with_kills
from testing.pulsar.brokers import access_to
from testing.pulsar.server import PulsarServer

from skymap_api.names import ScanTopics
from skymap_scanner.broker import open_broker
from skymap_scanner.event.demo import demo_event_path

DUMMY = ("--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20", "--parameter", "seconds=0.05")
LEVELS = ("1:0", "4:4", "8:4")


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, str]:
    """The checksums of the files of a scan over a broker in a file, to which nothing happened."""
    scan = LocalScan(demo_event_path(), tmp_path / "undisturbed", LEVELS, more=DUMMY)
    assert scan.start().wait(240) == 0
    files = scan.digest()
    assert sorted(Path(name).suffix for name in files) == [".json", ".npz", ".zst"]
    return files


def test_killed_broker_and_roles_do_not_change_the_files(
    expected: dict[str, str], own_pulsar: Callable[..., PulsarServer], tmp_path: Path
) -> None:
    server = own_pulsar()
    victims = ["worker", "producer", "collector", "saver", "worker", "broker", "worker", "collector", "saver", "broker"]
    scan = LocalScan(demo_event_path(), tmp_path / "killed", LEVELS, server, DUMMY)
    killed = scan_with_kills(scan, victims, pause=1.0, seed=4)
    assert scan.digest() == expected
    assert killed["broker"] == 2
    assert sum(killed.values()) >= 8  # a role that has finished cannot be killed

    with open_broker(server.url, access_to(server)) as broker:
        history = read_history(broker, ScanTopics.of("killed"), next(scan.folder.glob("run*.i3.zst")))
    assert len(history.map) == len({*history.map}) == 12 + 4 * 16 + 4 * 4
    # A fit that is stored twice may be left when the collector has ended.
    assert violations(replace(history, left={})) == []

    address = server.address
    words = ["topics", "delete", "-n", "killed", "--yes", "--broker", address.url, "--admin-url", address.admin_url]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "skymap_scanner", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for namespace in ("skymap", "skymap_metadata"):
        assert server.request("GET", f"/admin/v2/persistent/icecube/{namespace}").json() == []
