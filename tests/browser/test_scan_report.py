"""A whole scan writes its report, and the command makes the same one again from the files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect
from tests.browser.conftest import Open

from skymap_scanner.report import history_from_csv

SCAN = ["--reconstruction", "dummy", "--parameter", "ra=200", "--parameter", "dec=20", "--parameter", "seconds=0.02"]


def command(*words: str | Path) -> str:
    line = [sys.executable, "-P", "-m", "skymap_scanner", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scan_ends_with_a_report_of_its_workers(open_page: Open, tmp_path: Path) -> None:
    command("run", "demo", "-o", tmp_path, "--levels", "2:0", "8:4", "--seeds", "2", "--workers", "2", *SCAN)
    (report,) = tmp_path.glob("*.report.html")
    (history,) = tmp_path.glob("*.history.csv")
    fits = history_from_csv(history.read_bytes())
    assert {(one.nside, one.attempt) for one in fits} == {(2, 1), (8, 1)}
    workers = {one.worker for one in fits}
    assert 1 <= len(workers) <= 2  # the first may have made all fits before the other began
    assert all(name.startswith(f"{socket.gethostname()}-") for name in workers)
    assert all(one.ended - one.began > 0.018 for one in fits)
    opened = open_page(report)
    expect(opened.page.locator("#workers tr")).to_have_count(len(workers))
    for name in workers:
        expect(opened.page.locator("#workers")).to_contain_text(name)
    expect(opened.page.locator("#event .facts")).to_contain_text("hit DOMs")
    assert opened.errors == []

    written = report.read_bytes()
    report.unlink()
    assert command("report", tmp_path).strip() == str(report)
    assert report.read_bytes() == written
    command("report", "--index", tmp_path)
    assert open_page(tmp_path / "index.html").page.get_by_role("link").count() == 1
