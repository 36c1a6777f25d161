"""``skymap-scanner save``: the files are made from what the topics hold, whatever the scan's saver does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from tests.unit.roles.conftest import Scan

from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.broker.protocol import arrived
from skymap_scanner.cli.save import command
from skymap_scanner.errors import InputError
from skymap_scanner.i3 import read_frames
from skymap_scanner.results.requirements import MIB
from skymap_scanner.roles import requirements
from skymap_scanner.roles.saver.saver import save_now

MakeScan = Callable[..., Scan]


def unfinished_copy(scan: Scan, url: str, *, plan: int, fits: int) -> None:
    """Copy a scan to another broker, with the first entries of its plan and the first best fits."""
    with scan.open() as source, open_broker(url) as target:
        for topic in source.topics():
            most = {scan.topics.plan: plan, scan.topics.collected: fits}.get(topic, 10**6)
            with source.reader(topic) as reader, target.producer(topic, "copy") as producer:
                for message in islice(arrived(reader, 0), most):
                    producer.send(Outgoing(message.payload, key=message.key, properties=message.properties))


def messages(url: str) -> dict[str, int]:
    with open_broker(url) as broker:
        return {topic: sum(1 for _ in arrived(broker.reader(topic), 0)) for topic in broker.topics()}


def run_save(url: str, folder: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["-n", "scan", "--broker", url, "-o", str(folder), *words])
    return done.exit_code, done.output if done.exception is None else str(done.exception)


def test_finished_scan_is_saved_as_its_saver_saved_it(scan: MakeScan, tmp_path: Path) -> None:
    one = scan("1:0 4:3", "one")
    one.run()
    code, output = run_save(one.url, tmp_path / "again", "--format", "json")
    assert (code, output.splitlines()) == (0, [f"60 pixels written to {tmp_path / 'again'}"])
    (again,) = (tmp_path / "again").glob("*.json")
    assert again.read_bytes() == one.json
    (frames,) = (tmp_path / "again").glob("*.i3.zst")
    assert [f.to_bytes() for f in read_frames(frames)] == [f.to_bytes() for f in read_frames(one.folder / "scan.i3")]


@pytest.mark.parametrize(("plan", "fits", "complete"), [(2, 7, [False]), (2, 12, [False]), (3, 20, [True, False])])
def test_unfinished_scan_is_saved_as_partial(
    scan: MakeScan, tmp_path: Path, plan: int, fits: int, complete: list[bool]
) -> None:
    one = scan("1:0 4:3", "one")
    one.run()
    url = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    unfinished_copy(one, url, plan=plan, fits=fits)
    before = messages(url)
    code, output = run_save(url, tmp_path / "part", "--format", "json", "--format", "summary")
    planned = 12 if plan == 2 else 60
    more = "; more fits follow" if fits == planned else ""
    assert (code, output.splitlines()[0]) == (
        0,
        f"The scan is not complete: these files have {fits} of {planned} planned pixels{more}.",
    )
    (found,) = (tmp_path / "part").glob("*_*[0-9].json")
    levels = json.loads(found.read_bytes()).values()
    assert [level["metadata"]["complete"] for level in levels] == complete
    assert sum(len(level["data"]) for level in levels) == fits
    (frames,) = (tmp_path / "part").glob("*.i3.zst")
    assert sum("SCAN_HealpixPixel" in frame for frame in read_frames(frames)) == fits
    assert messages(url) == before, "nothing is published"


def test_files_without_room_are_refused_before_any_fit_is_read(
    scan: MakeScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scan("1:0", "one")
    one.run()
    monkeypatch.setattr(requirements, "memory_limit", lambda: 150 * MIB)
    code, output = run_save(one.url, tmp_path / "all")
    assert code == 0
    assert sorted(path.suffix for path in (tmp_path / "all").iterdir()) == [".json", ".npz", ".zst"]
    code, output = run_save(one.url, tmp_path / "png", "--format", "png")
    assert (code, "the format png needs up to" in output) == (1, True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    code, output = run_save(one.url, tmp_path / "full", "--format", "json")
    assert (code, "of disk, and 0 MiB is free" in output) == (1, True)
    assert [path for name in ("png", "full") for path in (tmp_path / name).iterdir()] == []


def test_what_cannot_be_saved_is_a_clear_error(scan: MakeScan, tmp_path: Path) -> None:
    one = scan("1:0", "one")
    one.run()
    code, error = run_save(f"sqlite:///{tmp_path / 'none.sqlite'}", tmp_path / "x")
    assert (code, "there is no such file" in error) == (1, True)
    assert not (tmp_path / "none.sqlite").exists()
    url = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    unfinished_copy(one, url, plan=2, fits=0)
    code, error = run_save(url, tmp_path / "x")
    assert (code, error) == (1, "the scan has no fit yet: there is nothing to save")
    settings = replace(one.saver, output=tmp_path / "y.i3")
    with open_broker(url) as broker:
        with pytest.raises(InputError, match="no scan of this name"):
            save_now(broker, type(one.topics).of("other"), settings)
        broker.delete_topic(one.topics.plan)
        broker.create_topic(one.topics.plan)
        with pytest.raises(InputError, match="has not begun yet"):
            save_now(broker, one.topics, settings)


def test_folder_of_a_run_is_left_to_it(scan: MakeScan, tmp_path: Path) -> None:
    one = scan("1:0", "one")
    one.run()
    (tmp_path / "result").mkdir()
    (tmp_path / "result/scan.json").touch()
    code, output = run_save(one.url, tmp_path / "result", "--format", "json")
    assert (code, [path.name for path in (tmp_path / "result").iterdir()]) == (1, ["scan.json"])
    assert "is the folder of a run, which writes its own files there: choose another folder" in output
