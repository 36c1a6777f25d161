"""The benchmark that counts the fits of a scan."""

from __future__ import annotations

import sys

import pytest
from benchmarks.scans import fits


def test_choices_are_compared_with_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fits", "--reconstruction", "dummy"]
    for first in ("7", "1"):
        words += ["--choice", "4:0 8:0.9:20 16:5", "7", first]
    monkeypatch.setattr(sys, "argv", words)
    fits.main()
    head, _, every, by_need = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    column = dict(zip(head, range(len(head)), strict=True))
    pixels = sum(map(int, every[column["pixels"]].split(" + ")))
    assert int(every[column["fits"]]) == 7 * pixels
    assert pixels < int(by_need[column["fits"]]) < 3 * pixels
    same = [column[name] for name in ("pixels", "−ln L", "RA, Dec", "90 % deg²", "inside")]
    assert [every[place] for place in same] == [by_need[place] for place in same]
    assert by_need[column["change"]] == "+0.0 %"
