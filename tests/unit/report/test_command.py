"""Where ``skymap-scanner report`` writes, and what it links to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from testing.reports import make_report

from skymap_scanner.cli.report import command
from skymap_scanner.errors import InputError
from skymap_scanner.results import ScanResult, write_results


def written(folder: Path, run: int = 138632) -> Path:
    """Write the JSON file of a scan."""
    result = make_report().result
    (path,) = write_results(ScanResult(result.levels, replace(result.metadata, run_id=run)), folder, ["json"])
    return path


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [*map(str, words)])


def links(report: str) -> bool:
    return "<a href=" in Path(report.strip()).read_text()


def test_report_beside_its_result_links_to_its_files(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    for words in ((path,), (path, "-o", tmp_path / "b" / ".." / "a")):
        (tmp_path / "b").mkdir(exist_ok=True)
        done = call(*words)
        assert done.exit_code == 0, done.output
        assert links(done.stdout)


def test_report_in_a_new_folder_has_no_links(tmp_path: Path) -> None:
    done = call(written(tmp_path / "a"), "-o", tmp_path / "new" / "b")
    assert done.exit_code == 0, done.output
    assert Path(done.stdout.strip()).parent == tmp_path / "new" / "b"
    assert not links(done.stdout)


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    done = call(path, "-o", path / "b")
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith(f"{path / 'b'}: cannot make this folder")


def test_reports_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    first, second, other = written(tmp_path / "a"), written(tmp_path / "b"), written(tmp_path / "c", run=1)
    done = call(first, second, "-o", tmp_path / "d")
    assert isinstance(done.exception, InputError)
    assert f"the reports of {first} and {second} would have one name" in str(done.exception)
    for words in ((first, other, "-o", tmp_path / "d"), (first, second)):
        done = call(*words)
        assert done.exit_code == 0, done.output
        assert len(done.stdout.split()) == 2


@pytest.mark.parametrize("words", [(), ("--i3", "x.i3")])
def test_without_results_the_command_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "x.i3").touch()
    assert call(*(tmp_path / word if word == "x.i3" else word for word in words)).exit_code == 2
