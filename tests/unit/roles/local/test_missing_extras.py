"""Installations without the extras: what the end of a scan needs is checked at its start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Command

from skymap_api.names import RESULT_FORMATS

WORDS = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1"]
#: Makes Python, with all its children, believe that packages are not installed.
WITHOUT = "import sys\nsys.modules.update(dict.fromkeys(['matplotlib', 'pulsar', 'kopf', 'aiohttp']))\n"


@pytest.fixture
def without_extras(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(WITHOUT)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep))


def formats_in(folder: Path) -> set[str]:
    endings = {"png": ".png", "json": "_1.json", "npz": ".npz", "summary": ".summary.txt", "fits": ".multiorder.fits"}
    endings |= {"flat-fits": ".fits.gz", "geojson": ".geojson", "moc": ".moc.json", "report": ".report.html"}
    return {name for name, ending in endings.items() if any(path.name.endswith(ending) for path in folder.iterdir())}


@pytest.mark.usefixtures("without_extras")
def test_scan_without_matplotlib_makes_no_pictures_and_says_so(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    done = command("run", event_file, "-o", "out", *WORDS).run()
    assert done.returncode == 0, done.stderr
    assert "the format png is not written without matplotlib: pip install 'skymap-scanner[plots]'" in done.stderr
    assert formats_in(tmp_path / "out") == {*RESULT_FORMATS} - {"png"}


@pytest.mark.usefixtures("without_extras")
def test_unwritable_format_is_rejected_before_the_first_fit(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    done = command("run", event_file, "-o", "out", *WORDS, "--format", "png").run()
    assert done.returncode == 1
    assert done.stderr == (
        "Error: the format png is not written without matplotlib: pip install 'skymap-scanner[plots]', or choose other "
        "formats\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("without_extras")
@pytest.mark.parametrize("words", [["topics", "list"], ["watch", "-n", "x"], ["worker", "-n", "x"]])
def test_missing_pulsar_client_is_explained(command: Callable[..., Command], words: list[str]) -> None:
    done = command(*words, "-b", "pulsar://127.0.0.1:1").run()
    assert done.returncode == 1
    assert "a broker at pulsar:// needs Pulsar's client" in done.stderr
    assert "pip install 'skymap-scanner[pulsar]'" in done.stderr
    assert "Internal error" not in done.stderr


@pytest.mark.usefixtures("without_extras")
def test_missing_library_of_the_live_page_is_explained(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    why = "the live page needs aiohttp: pip install 'skymap-scanner[page]'"
    alone = command("page", "-b", "sqlite:///scan.sqlite").run()
    assert (alone.returncode, alone.stderr) == (1, f"Error: {why}\n")
    scan = command("run", event_file, "-o", "out", *WORDS, "--format", "json", "--page").run()
    assert scan.returncode == 0, scan.stderr
    assert f"there is no live page: {why}" in scan.stderr
    assert formats_in(tmp_path / "out") == {"json"}


@pytest.mark.usefixtures("without_extras")
def test_missing_packages_of_the_operator_are_explained() -> None:
    program = "from skymap_operator.start import main; main()"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: the operator needs the package aiohttp: pip install 'skymap-scanner[operator]'\n"


def test_finished_scan_is_written_in_other_formats(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    out = tmp_path / "out"
    first = command("run", event_file, "-o", "out", *WORDS, "--format", "npz").run()
    assert first.returncode == 0, first.stderr
    assert formats_in(out) == {"npz"}
    (events,) = out.glob("*.i3.zst")
    written = events.stat().st_mtime_ns
    second = command("run", event_file, "-o", "out", *WORDS, "--format", "summary").run()
    assert second.returncode == 0, second.stderr
    assert "Event: run 1, event 2" in second.stdout
    assert formats_in(out) == {"npz", "summary"}
    assert json.loads((out / "scan.json").read_text())["formats"] == ["npz", "summary"]
    assert events.stat().st_mtime_ns == written, "no second scan"
    for path in out.glob("*.npz"):
        path.unlink()
    third = command("run", event_file, "-o", "out", *WORDS, "--format", "json").run()
    assert third.returncode == 1
    assert "holds neither the json nor the npz file of this finished scan" in third.stderr


def test_formats_that_are_written_need_neither_json_nor_npz(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    out = tmp_path / "out"

    def run(*formats: str) -> tuple[int, dict[str, int]]:
        named = [word for one in formats for word in ("--format", one)]
        done = command("run", event_file, "-o", "out", *WORDS, *named).run()
        return done.returncode, {path.name: path.stat().st_mtime_ns for path in out.glob("run*")}

    code, written = run("moc", "summary")
    assert (code, formats_in(out)) == (0, {"moc", "summary"})
    for formats in (["summary", "moc"], ["moc"]):
        assert run(*formats) == (0, written), formats
    assert run("moc", "geojson") == (1, written)


def test_scan_in_all_formats_keeps_that_on_record(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    for named in ([], ["--format", "summary"]):
        done = command("run", event_file, "-o", "out", *WORDS, *named).run()
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "out/scan.json").read_text())["formats"] == []


def test_other_formats_are_those_of_the_scan_that_replaced_another(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    out = tmp_path / "out"
    own = out / "run00000001.evt000000000002_notes.txt"
    assert command("run", event_file, "-o", "out", *WORDS, "--format", "npz").run().returncode == 0
    own.write_text("the user's")
    finer = ["--reconstruction", "dummy", "--levels", "1:0 2:1", "--seeds", "1", "--workers", "1"]
    replaced = command("run", event_file, "-o", "out", *finer, "--format", "npz", "--restart").run()
    assert replaced.returncode == 0, replaced.stderr
    assert [path.name[-8:] for path in out.glob("*.npz")] == ["_1_2.npz"]
    assert own.exists()
    again = command("run", event_file, "-o", "out", *finer, "--format", "summary").run()
    assert again.returncode == 0, again.stderr
    assert "4/4 at nside 2" in again.stdout
    assert len(list(out.glob("*.summary.txt"))) == 1
    assert json.loads((out / "scan.json").read_text())["software"].endswith(", dummy")


def test_restart_keeps_an_event_that_is_named_like_a_result(
    event_file: Path, tmp_path: Path, command: Callable[..., Command]
) -> None:
    own = tmp_path / "out" / f"run00000001.evt000000000002.test_9{''.join(event_file.suffixes)}"
    own.parent.mkdir()
    own.write_bytes(event_file.read_bytes())
    for more in ([], ["--restart"]):
        done = command("run", f"out/../out/{own.name}", "-o", "out", *WORDS, "--format", "summary", *more).run()
        assert done.returncode == 0, done.stderr
    assert own.read_bytes() == event_file.read_bytes()
