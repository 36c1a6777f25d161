"""What several commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from skymap_scanner.cli.display import LONGEST_SUMMARY, show_results


def test_summary_is_printed_up_to_its_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.summary.txt").write_text("a" * 10**6)
    show_results(tmp_path, ["run.summary.txt"])
    printed, *_, file = capsys.readouterr().out.splitlines()
    assert printed == "a" * LONGEST_SUMMARY
    assert file == "  run.summary.txt"
