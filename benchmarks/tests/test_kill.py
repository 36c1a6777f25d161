"""The verdict of scans whose roles are killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.faults import kill

SAME = {"map.npz": "0123"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Kill the worker and the saver once; the files after the saver's kill are those given."""

    def run(after_saver: Mapping[str, str]) -> None:
        class Scan:
            def __init__(self, _event: Any, folder: Any, *_: Any) -> None:
                self.victim = folder.name

            def start(self) -> Any:
                return SimpleNamespace(wait=lambda: 0)

            def digest(self) -> Mapping[str, str]:
                return after_saver if self.victim == "saver" else SAME

            def repeats(self) -> str:
                return "no repeated fits"

        monkeypatch.setattr(kill, "LocalScan", Scan)
        monkeypatch.setattr(kill, "scan_with_kills", lambda _scan, victims, *_: Counter(victims))
        kill.main(["event.json", "--kills", "saver=1", "worker=1"])

    return run


def test_files_that_differ_after_a_kill_fail(
    run: Callable[[Mapping[str, str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run({"map.npz": "4567"})
    assert ended.value.code == "the files differ after kills of: saver"  # a text is printed, with exit code 1
    assert "worker: killed 1 times" in capsys.readouterr().out  # the other victims are tried as well


def test_same_files_after_kills_succeed(run: Callable[[Mapping[str, str]], None]) -> None:
    run(dict(SAME))
