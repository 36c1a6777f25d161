"""Folders and files whose names are not UTF-8, as a home from before UTF-8 has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Command

from skymap_scanner.roles.worker.in_flight import scan_folder

WORDS = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1"]
BROKER = ["-n", "scan", "-b", os.fsdecode(b"sqlite:///b\xe9.sqlite")]
EVENT, OUT = os.fsdecode(b"\xe9vent.i3"), os.fsdecode(b"out\xe9")


@pytest.fixture
def folder(tmp_path: Path, event_file: Path) -> Path:
    """Return a folder with an event, both of such names."""
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    event_file.rename(folder / EVENT)
    return folder


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_scan_runs_in_a_folder_that_is_not_utf_8(folder: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for _ in range(2):  # the second call shows the results
        done = Command(["run", EVENT, "-o", OUT, *WORDS], folder).run()
        assert done.returncode == 0, done.stderr
        assert r"Files in out\udce9:" in done.stdout
    drawn = Command(["plot", str(next((folder / OUT).glob("*.npz"))), "-o", f"drawn-{OUT}"], folder).run()
    assert drawn.returncode == 0, drawn.stderr
    assert list((folder / f"drawn-{OUT}").glob("*.plot_allsky.png"))


def test_roles_one_by_one_use_a_broker_that_is_not_utf_8(folder: Path) -> None:
    planned = Command(["producer", EVENT, *BROKER, *WORDS[:-2]], folder).run()
    assert planned.returncode == 0, planned.stderr
    listed = Command(["topics", *BROKER[2:], "list", "--json"], folder).run()
    assert listed.returncode == 0, listed.stderr
    assert '"waiting": 12' in listed.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["run", "no-such-\udce9", "-o", "o", *WORDS],
        ["run", "demo", "-o", "o", *WORDS, "--parameter", "ra=\udce9"],
        ["run", "demo", "-o", "o", *WORDS, "--broker", "pulsar://\udce9"],
        ["run", "http://127.0.0.1:1/\udce9", "-o", "o", *WORDS],
        ["topics", "-b", "sqlite:///\udce9.sqlite", "list"],
        ["submit", "http://host/a.json", "--set", "reconstruction.parameters.a=\udce9", "--dry-run"],
        ["submit", "http://host/a.json", "--set", 'reconstruction.parameters.a="\\ud800"', "--dry-run"],
        ["submit", "http://host/a.json", "--set", "output.path=\udce9", "--dry-run"],
        ["logs", "\udce9"],
    ],
)
def test_words_that_are_not_utf_8_are_one_error(command: Callable[..., Command], words: list[str]) -> None:
    done = command(*words).run()
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")


def test_brokers_of_any_path_have_folders_of_their_own(tmp_path: Path) -> None:
    urls = [f"sqlite:///M{name}ller/scan.sqlite" for name in ("\udcfc", "ü", r"\udcfc")]
    assert len({scan_folder(tmp_path, url, "topic") for url in urls}) == 3
