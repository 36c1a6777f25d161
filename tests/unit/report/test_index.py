from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from testing.reports import HOSTILE, make_report

from skymap_scanner.cli.report import command
from skymap_scanner.errors import InputError
from skymap_scanner.report.index import index_html, read_card
from skymap_scanner.report.page import report_html


def written(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.report.html"
    path.write_bytes(report_html(make_report(name)))
    return path


def test_card_is_read_from_the_head_of_a_report(tmp_path: Path) -> None:
    card = read_card(written(tmp_path, "IC231202A"))
    assert (card.name, card.run, card.event, card.complete) == ("IC231202A", 138632, 31747601, True)
    assert card.time == "2023-12-02T17:08:24"
    assert card.area is not None
    assert card.rule == "calibrated"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b'<script type="application/json" id="card">[]</script>',
        b'<script type="application/json" id="card">' + b"[" * 10_000 + b"</script>",
        b'<script type="application/json" id="card">{"name": "x", "run": -1}</script>',
    ],
)
def test_other_files_are_no_reports(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.report.html").write_bytes(content)
    with pytest.raises(InputError, match="is no report of a scan"):
        read_card(tmp_path / "x.report.html")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.report.html")
    (tmp_path / "y.report.html").mkdir()
    for name in ("x", "y"):
        with pytest.raises(InputError, match="is no regular file"):
            read_card(tmp_path / f"{name}.report.html")


def test_index_links_to_names_that_are_not_unicode(tmp_path: Path) -> None:
    written(tmp_path / os.fsdecode(b"a\xff"), "first")
    done = CliRunner().invoke(command, ["--index", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert 'href="a%FF/run.report.html"' in (tmp_path / "index.html").read_text()


def test_index_lists_all_reports_below_a_folder(tmp_path: Path) -> None:
    written(tmp_path / "a b", "first")
    written(tmp_path / 'c"><script>', HOSTILE)
    (tmp_path / "broken.report.html").write_text("")
    done = CliRunner().invoke(command, ["--index", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "broken.report.html: is no report of a scan" in done.output
    text = (tmp_path / "index.html").read_text()
    assert 'href="a%20b/run.report.html"' in text
    assert text.count("<script>") == 1
    assert "<img" not in text


def test_index_of_nothing_is_an_empty_list() -> None:
    assert b"0 scans" in index_html({})
