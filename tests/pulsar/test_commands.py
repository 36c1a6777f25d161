"""The commands over a real Pulsar: the original's session in four processes, ``run``, ``watch`` and ``topics``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from testing.pulsar.server import PulsarAddress, PulsarServer

from skymap_scanner.broker import Access, open_broker
from skymap_scanner.event.demo import demo_event_path

Start = Callable[..., "subprocess.Popen[str]"]

ROLES = {"producer", "worker", "collector", "saver"}
# Every pixel from all seeds, as `producer` does by default and `run` does not.
SEEDS = ["--seeds", "7", "--first-seeds", "7"]
SCAN = ["--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20", *SEEDS]


@pytest.fixture
def start(pulsar_server: PulsarAddress, tmp_path: Path) -> Iterator[Start]:
    """Start commands that know the broker from their environment; end them with the test."""
    processes: list[subprocess.Popen[str]] = []
    where = {"SKYMAP_BROKER": pulsar_server.url, "SKYMAP_ADMIN_URL": pulsar_server.admin_url}

    def begin(*words: object, own_broker: bool = False) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "skymap_scanner", *map(str, words)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ({} if own_broker else where) | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], within: float = 120) -> str:
    """Wait for the end of a command that should succeed; return what it printed."""
    out, err = process.communicate(timeout=within)
    assert process.returncode == 0, err
    return out


@pytest.fixture
def embedded(start: Start, tmp_path: Path) -> Path:
    """The folder of the same scan over a broker in a file."""
    words = ["--levels", "1:0", "--workers", 1, "--format", "json", *SCAN]
    finish(start("run", "demo", "-o", "embedded", *words, own_broker=True))
    return tmp_path / "embedded"


def test_original_session_gives_the_same_files_and_leaves_nothing(
    start: Start, embedded: Path, pulsar_namespace: str, pulsar_server: PulsarAddress, tmp_path: Path
) -> None:
    tasks, fits, best_fits = (
        ["-t", f"{pulsar_namespace}/to_be_scanned"],
        ["-s", f"{pulsar_namespace}/scanned"],
        ["-c", f"{pulsar_namespace}/collected"],
    )
    frames = ["-m", f"{pulsar_namespace}_metadata/mf_"]
    everything = [*tasks, *fits, *best_fits, *frames]
    name = ["-n", "session"]
    made = finish(start("topics", "create", *name, *everything))
    assert f"{pulsar_namespace}/session-to_be_scanned  created" in made.splitlines()

    watch = start("watch", *name, *tasks, "--json")
    saver = start(*name, *tasks, *best_fits, "saver", "--nside", 1, "-o", "out/session.i3.zst", "--format", "json")
    collector = start("collector", *name, *tasks, *fits, *best_fits)
    worker = start("worker", *name, *tasks, *fits)
    producer = start("producer", demo_event_path(), "--nside", 1, *name, *tasks, *best_fits, *frames, *SCAN)
    for role in (producer, collector, saver):
        finish(role)
    worker.terminate()
    worker.communicate(timeout=60)
    assert worker.returncode == 143

    assert json.loads(finish(watch).splitlines()[-1])["phase"] == "done"
    (i3,), (result,) = embedded.glob("*.i3.zst"), embedded.glob("run*.json")
    assert (tmp_path / "out/session.i3.zst").read_bytes() == i3.read_bytes()
    assert (tmp_path / "out" / result.name).read_bytes() == result.read_bytes()

    listed = json.loads(finish(start("topics", "list", "--json", *everything)))
    assert (listed["name"], listed["phase"], listed["done"], listed["waiting"]) == ("session", "done", 12, 0)
    deleted = finish(start("topics", "delete", *name, *everything))
    assert sorted(line.split()[0] for line in deleted.splitlines()) == sorted(
        [*listed["topics"], *listed["metadata_topics"]]
    )
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        assert broker.topics(pulsar_namespace) == []


def test_run_deletes_its_topics(start: Start, embedded: Path, pulsar_server: PulsarAddress, tmp_path: Path) -> None:
    name = f"test-{uuid4().hex[:12]}"
    words = ["--levels", "1:0", "--workers", 1, "--format", "json", *SCAN]
    finish(start("run", "demo", "-o", "out", "-n", name, *words, "--delete-topics"))
    for path in embedded.glob("run*"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        assert [topic for topic in broker.topics("persistent://icecube/skymap/") if name in topic] == []


def test_run_works_without_automatic_topic_creation(
    start: Start, embedded: Path, own_pulsar: Callable[..., PulsarServer], tmp_path: Path
) -> None:
    address = own_pulsar(configuration={"allowAutoTopicCreation": "false"}).address
    where = ["--broker", address.url, "--admin-url", address.admin_url]
    words = ["--levels", "1:0", "--workers", 1, "--format", "json", *SCAN, *where]
    finish(start("run", "demo", "-o", "out", "-n", "scan", *words, own_broker=True))
    for path in embedded.glob("run*"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert len(finish(start("topics", "delete", "-n", "scan", *where, own_broker=True)).splitlines()) == 11


def command_lines() -> list[str]:
    """The command lines of all processes of this machine, as every user can read them."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_credentials_reach_every_role_and_stay_hidden(
    start: Start, own_pulsar: Callable[..., PulsarServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_pulsar(authentication=True, tls=True)
    assert server.certificates is not None
    token, file = server.token("admin"), tmp_path / "token"
    file.write_text(f"{token}\n")
    reach = [
        "--broker",
        server.url,
        "--admin-url",
        server.admin_url,
        "--tls-trust-certs",
        server.certificates.authority,
    ]
    words = ["--levels", "1:0", "--workers", 1, "--format", "json", *SCAN]
    run = start("run", "demo", "-o", "out", "-n", "guarded", *words, *reach, "-a", file, own_broker=True)
    while run.poll() is None:
        assert not [line for line in command_lines() if token in line]
    out, err = run.communicate()
    assert run.returncode == 0, err
    logs = list((tmp_path / "out/logs").iterdir())
    assert {path.stem.partition("-")[0] for path in logs} == ROLES  # none of them could do without
    told = out + err + "".join(path.read_text() for path in logs)
    assert token not in told

    monkeypatch.setenv("SKYMAP_AUTH_TOKEN", token)
    listed = finish(start("topics", "list", "--json", *reach, own_broker=True))
    assert json.loads(listed)["phase"] == "done"
    monkeypatch.setenv("SKYMAP_AUTH_TOKEN", server.token("nobody"))
    refused = start("topics", "list", *reach, own_broker=True)
    assert "Check the token" in refused.communicate(timeout=60)[1]
    assert refused.returncode == 1
