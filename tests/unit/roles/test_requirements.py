"""A scan whose results have no room hears so before its first fit."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from tests.unit.roles.conftest import Scan

from skymap_api.names import RESULT_FORMATS
from skymap_api.progress import Progress, ProgressPhase
from skymap_scanner.broker.protocol import arrived
from skymap_scanner.cli import local_run
from skymap_scanner.cli.local_run import RunRequest
from skymap_scanner.cli.run import command
from skymap_scanner.errors import InputError, TooLittleMemoryError
from skymap_scanner.results.requirements import MIB, requirements
from skymap_scanner.roles import requirements as module
from skymap_scanner.roles.local.record import write_record
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.requirements import free_disk, lacking_disk, scan_requirements, writable_formats
from skymap_scanner.scan.levels import most_pixels, parse_area, parse_levels
from skymap_scanner.scan.seeds import Seeding

MakeScan = Callable[..., Scan]


@pytest.mark.parametrize(
    ("levels", "area", "pixels", "most"),
    [
        ("8:0 64:12 512:24", None, None, {8: 768, 64: 768, 512: 1536}),
        ("1:0 8:192", None, None, {1: 12, 8: 768}),
        ("8:0 16:0.999:192", "1,4,100", None, {8: 100, 16: 400}),
        ("8:0 16:192", "1,4,100", "0-9,20", {8: 11, 16: 44}),
    ],
)
def test_most_pixels_follow_levels_area_and_list(
    levels: str, area: str | None, pixels: str | None, most: dict[int, int]
) -> None:
    assert most_pixels(parse_levels(levels), None if area is None else parse_area(area), pixels) == most


@pytest.mark.parametrize(("seeds", "first", "keep_all", "kept"), [(3, 3, False, 1), (3, 1, False, 2), (3, 1, True, 4)])
def test_kept_fits_follow_the_seeds(seeds: int, first: int, keep_all: bool, kept: int) -> None:
    seeding = Seeding(seeds, first, 8)
    for resimulations in (0, 60):
        assert scan_requirements({8: 100}, seeding, resimulations, keep_all=keep_all) == requirements(
            {8: 100}, 100 * kept + resimulations
        )


def test_disk_of_a_folder_that_may_not_be_searched_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", stat)  # as it raises in Python 3.11 to 3.13
    assert free_disk(tmp_path / "closed" / "new") is None
    assert lacking_disk(10**30, tmp_path) == ""


def test_format_without_memory_is_left_out_of_all_and_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "memory_limit", lambda: 300 * MIB)
    need = requirements({8: 768}, 768)
    with caplog.at_level(logging.WARNING):
        writable, reasons = writable_formats(need, (), named=False)
    assert writable == tuple(name for name in RESULT_FORMATS if name != "png")
    assert len(reasons) == 1
    assert "the format png is left out: it needs up to" in caplog.text
    with pytest.raises(TooLittleMemoryError, match="the format png needs"):
        writable_formats(need, ("png",), named=True)
    assert writable_formats(need, ("json",), named=True) == (("json",), [])


def test_scan_without_memory_fails_before_its_first_fit(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_limit", lambda: 10 * MIB)
    one = scan("4:0")
    with pytest.raises(
        TooLittleMemoryError, match=r"the results of this scan need up to .* of memory, and the limit is 10 MiB"
    ):
        one.run()
    with one.open() as broker, broker.reader(one.topics.progress) as reader:
        assert reader.receive(0) is None


def test_progress_names_the_formats_that_are_left_out(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_limit", lambda: 150 * MIB)
    one = scan("1:0")
    one.saver = replace(one.saver, formats=())
    one.run()
    with one.open() as broker, broker.reader(one.topics.progress) as reader:
        *_, last = (Progress.model_validate_json(message.payload) for message in arrived(reader, 0))
    assert last.left_out is not None
    assert last.left_out.startswith(
        "the format summary is left out: it needs up to 231 MiB of memory, and the limit is "
    )
    assert last.left_out.count("is left out: ") == 7
    assert [Path(name).suffix for name in last.outputs] == [".i3", ".json", ".npz"]


def test_progress_shows_a_disk_that_will_be_too_small(scan: MakeScan, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [SimpleNamespace(free=1000)]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free[0])
    one = scan("1:0 4:2")
    one.run()  # nothing is refused: somebody may make room until the end
    with one.open() as broker, broker.reader(one.topics.progress) as reader:
        first, *_, last = (Progress.model_validate_json(message.payload) for message in arrived(reader, 0))
    assert first.obstacle is not None
    assert first.obstacle.startswith("the results need up to 1 MiB of disk, and 0 MiB is free in ")
    assert (last.phase, last.obstacle) == (ProgressPhase.DONE, None)
    assert lacking_disk(1000, one.folder) == ""
    assert lacking_disk(1001, one.folder / "new" / "folder") != ""


@pytest.mark.parametrize(
    ("restart", "name", "known", "enough"),
    [
        (True, "scan.sqlite", False, True),
        (True, "scan.sqlite-consumers/one", False, True),
        (True, "run00000001.evt000000000001.x_4.npz", True, True),
        (True, "run00000001.evt000000000001.x_4.npz", False, False),  # without a record it stays
        (True, "other.npz", True, False),
        (False, "run00000001.evt000000000001.x_4.npz", True, True),
        (False, "partial.json", True, True),
        (False, "scan.sqlite", True, False),  # the scan goes on with it
    ],
)
def test_files_that_will_be_replaced_count_as_free_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restart: bool, name: str, known: bool, enough: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    settings = ScanSettings("scan", parse_levels("1:0"), reconstruction="dummy")
    request = RunRequest("event.i3", tmp_path / "out", settings, formats=("json",), restart=restart)
    file = request.folder / name
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(MIB))
    if known:
        write_record(request.folder, request.record)
    if enough:
        assert local_run._with_room(request).written == ("json",)
    else:
        with pytest.raises(InputError, match="of disk, and 0 MiB is free"):
            local_run._with_room(request)
    assert file.exists()


@pytest.mark.parametrize("restart", [[], ["--restart"]])
def test_run_refuses_before_it_touches_the_folder(
    event_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restart: list[str]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "run00000001.evt000000000001.x_4.json").write_text("earlier")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    words = [str(event_file), "-o", str(folder), "--levels", "4:0", "--reconstruction", "dummy", *restart]
    done = CliRunner().invoke(command, words)
    assert isinstance(done.exception, InputError)
    assert "of disk, and 0 MiB is free" in str(done.exception)
    assert [path.name for path in folder.iterdir()] == ["run00000001.evt000000000001.x_4.json"]
