"""``run`` over a broker that other scans, and workers elsewhere, use too."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.unit.roles.conftest import Command

from skymap_api.names import ScanTopics
from skymap_scanner.broker import open_broker
from skymap_scanner.cli import group, local_run
from skymap_scanner.errors import InputError
from skymap_scanner.roles.local.local import LocalScan
from skymap_scanner.roles.local.record import Record, read_record
from skymap_scanner.roles.topics import create_topics

pytestmark = pytest.mark.slow

MakeCommand = Callable[..., Command]

SCAN = ["--levels", "1:0", "--seeds", "1", "--reconstruction", "dummy", "--format", "json"]
NAME = "run00000001.evt000000000002.test-"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shared.sqlite'}"


def topics_on(url: str) -> list[str]:
    with open_broker(url) as broker:
        return broker.topics()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[LocalScan]:
    """Stand in for the roles: make topics, and end the scan at once, stopped or (with a file ``done``) finished."""
    scans: list[LocalScan] = []

    def run_local(wanted: LocalScan, *_: object) -> bool:
        scans.append(wanted)
        with open_broker(wanted.broker) as broker:
            create_topics(broker, ScanTopics.of(wanted.settings.name))
        return (wanted.folder / "done").exists()

    monkeypatch.setattr(local_run, "run_local", run_local)
    return scans


def run(*words: object) -> Result:
    return CliRunner().invoke(group, ["run", *map(str, words)], standalone_mode=False)


def record(folder: Path) -> Record:
    found = read_record(folder)
    assert found is not None
    return found


def test_shared_broker_gives_the_same_files(command: MakeCommand, event_file: Path, tmp_path: Path, url: str) -> None:
    own = command("run", event_file, "-o", "own", *SCAN, "--workers", 1).run()
    assert own.returncode == 0, own.stderr
    words = ["run", event_file, "-o", "shared", *SCAN, "--workers", 1, "-b", url]
    shared = command(*words).run()
    assert shared.returncode == 0, shared.stderr
    name = record(tmp_path / "shared").name
    assert name.startswith(NAME)
    assert f"Scan {name} over {url}" in shared.stderr
    assert f"skymap-scanner topics delete -n {name} --broker {url}" in shared.stderr
    for path in (tmp_path / "own").glob("run*"):
        assert (tmp_path / "shared" / path.name).read_bytes() == path.read_bytes()
    assert topics_on(url) != []
    again = command(*words, "--delete-topics").run()
    assert "holds this scan already" in again.stderr
    assert topics_on(url) == []


def test_scan_without_local_workers_uses_remote_ones(
    command: MakeCommand, event_file: Path, tmp_path: Path, url: str
) -> None:
    worker = command("worker", "-n", "elsewhere", "-b", url).start()
    try:
        words = ["run", event_file, "-o", "out", *SCAN, "--workers", 0, "-b", url, "-n", "elsewhere", "--delete-topics"]
        done = command(*words).run()
    finally:
        worker.terminate()
        worker.communicate(timeout=30)
    assert done.returncode == 0, done.stderr
    assert f"skymap-scanner worker -n elsewhere --broker {url}" in done.stderr
    result = json.loads(next((tmp_path / "out").glob("run*.json")).read_text())
    assert len(result["nside-1"]["data"]) == 12
    assert not list((tmp_path / "out/logs").glob("worker*"))
    assert topics_on(url) == []


def test_same_command_resumes_under_the_same_name(
    begun: list[LocalScan], event_file: Path, tmp_path: Path, url: str
) -> None:
    words = [event_file, "-o", tmp_path / "out", *SCAN, "-b", url]
    for _ in range(2):
        assert run(*words).return_value == 143
    assert begun[0] == begun[1]
    assert begun[0].settings.name == record(tmp_path / "out").name
    assert begun[0].broker == record(tmp_path / "out").broker == url
    (tmp_path / "out/done").touch()
    assert run(*words).return_value is None
    event_file.unlink()  # the name of a finished scan needs no event
    finished = run(*words)
    assert (finished.exit_code, finished.return_value) == (0, None)
    assert len(begun) == 3


def test_resume_command_omits_restart(
    begun: list[LocalScan], event_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", str(event_file), "-o", "out dir", *SCAN]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["skymap-scanner", *words, "--restart"])
    stopped = run(*words[1:], "--restart")
    assert stopped.stderr.splitlines()[-1].strip() == shlex.join(["skymap-scanner", *words])


def test_default_name_is_unique_to_a_scan(begun: list[LocalScan], event_file: Path, tmp_path: Path, url: str) -> None:
    for folder, more in (("a", []), ("b", []), ("c", ["--keep-all-seeds"]), ("d", ["--predictive", "0.5"])):
        run(event_file, "-o", tmp_path / folder, *SCAN, "-b", url, *more)
    run(event_file, "-o", tmp_path / "e", *SCAN, "-b", url, "-n", "mine")
    run(event_file, "-o", tmp_path / "f", *SCAN)
    names = [one.settings.name for one in begun]
    assert names[0] == names[1] == names[3]
    assert names[2] != names[0]
    assert all(name.startswith(NAME) for name in names[:4])
    assert names[4:] == ["mine", "scan"]


def test_folder_belongs_to_one_broker_and_name(
    begun: list[LocalScan], event_file: Path, tmp_path: Path, url: str
) -> None:
    words = [event_file, "-o", tmp_path / "out", *SCAN]
    run(*words, "-b", url, "-n", "a")
    for more, why in (
        ([], f"holds a scan over {url}, not over an embedded broker"),
        (["-b", "sqlite:///other.sqlite"], f"over {url}, not over sqlite:////"),
        (["-b", url, "-n", "b"], "with name a, not b"),
        (["--restart"], f"is on {url}: give the same --broker"),
    ):
        refused = run(*words, *more)
        assert isinstance(refused.exception, InputError)
        assert why in str(refused.exception)
    assert record(tmp_path / "out").broker == url
    assert len(begun) == 1


def test_restart_deletes_only_the_scan_of_the_folder(
    begun: list[LocalScan], event_file: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [event_file, "-o", tmp_path / "out", *SCAN, "-b", url]
    run(*words, "-n", "a")
    run(event_file, "-o", tmp_path / "other", *SCAN, "-b", url, "-n", "a-b")
    seen: list[list[str]] = []

    def look(wanted: LocalScan, *_: object) -> bool:
        seen.append(topics_on(wanted.broker))
        return True

    monkeypatch.setattr(local_run, "run_local", look)
    assert run(*words, "-n", "a", "--restart").exit_code == 0
    assert seen == [sorted(topic for topic in topics_on(url) if "/a-b-" in topic)]
    assert seen[0] != []


def test_invalid_record_can_be_replaced(begun: list[LocalScan], event_file: Path, tmp_path: Path, url: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "scan.json").write_text("{")
    assert isinstance(run(event_file, "-o", folder, *SCAN, "-b", url).exception, InputError)
    run(event_file, "-o", folder, *SCAN, "-b", url, "--restart")
    assert record(folder).broker == url


def test_manifest_runs_over_a_shared_broker(begun: list[LocalScan], event_file: Path, tmp_path: Path, url: str) -> None:
    manifest = tmp_path / "scan.yaml"
    manifest.write_text(
        "apiVersion: skymap.icecube.wisc.edu/v1alpha1\nkind: SkymapScan\nmetadata: {name: alert}\n"
        f"spec: {{event: {{path: {event_file.name}}}, reconstruction: {{name: dummy}}, workers: {{max: 3}}}}\n"
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out/done").touch()
    done = run(manifest, "-o", tmp_path / "out", "-b", url, "--workers", 0, "--delete-topics")
    assert done.exit_code == 0, done.exception
    assert (begun[0].settings.name, begun[0].broker, begun[0].workers) == ("alert", url, 0)
    assert topics_on(url) == []


def test_delete_topics_requires_a_shared_broker(event_file: Path, tmp_path: Path) -> None:
    refused = run(event_file, "-o", tmp_path / "out", *SCAN, "--delete-topics")
    assert isinstance(refused.exception, click.UsageError)
    assert not (tmp_path / "out").exists()


def test_restart_in_a_used_folder_is_rejected(event_file: Path, tmp_path: Path, url: str) -> None:
    from skymap_scanner.cli.scan_folder import locked  # noqa: PLC0415

    folder = tmp_path / "out"
    folder.mkdir()
    with locked(folder):
        refused = run(event_file, "-o", folder, *SCAN, "-b", url, "--restart")
    assert isinstance(refused.exception, InputError)
    assert "is in use by another run" in str(refused.exception)
