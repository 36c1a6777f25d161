"""How often the saver reports: what it costs is held to a part of its time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.roles.conftest import Scan

from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.readers import BestFitReader, PlanReader
from skymap_scanner.roles.saver import progress_reporter
from skymap_scanner.roles.saver.progress_reporter import Outlook, ProgressReporter, SaveAttempts
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import FitStatement


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_reporter, "time", clock)
    return clock


def taking(clock: Clock, cost: float, began: list[float], work: Callable[..., object]) -> Callable[..., object]:
    """Return ``work``, which takes ``cost`` seconds and notes when it began."""

    def slow(*arguments: object) -> object:
        began.append(clock.now)
        clock.now += cost
        return work(*arguments)

    return slow


@pytest.mark.parametrize(("cost", "pause"), [(0.01, 10), (2, 40), (16, 320)])
def test_reports_take_a_twentieth_of_the_time(
    scan: Callable[..., Scan], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, cost: float, pause: float
) -> None:
    one = scan("2:0")
    one.run()
    partial: list[float] = []
    snapshots: list[float] = []
    monkeypatch.setattr(progress_reporter, "scan_result", taking(clock, cost, partial, progress_reporter.scan_result))
    outgoing = SimpleNamespace(send=taking(clock, cost, snapshots, lambda _: None))
    with one.open() as broker, PlanReader(broker, one.topics.plan) as plan:
        found = plan.wait_for_scan(Stop())
        assert found is not None
        plan.update()
        with BestFitReader(broker, one.topics.collected, FitValidator(found)) as collected:
            outlook = Outlook(last=None, left_out="", shortage=lambda: "")
            reporter = ProgressReporter(
                outgoing, plan.plan, collected, lambda _: FitStatement(), tmp_path, SaveAttempts(), outlook
            )
            while collected.receive(0) is not None:
                clock.now += 20
                reporter.report()
    for times, least in ((partial, pause), (snapshots, max(1.0, 20 * cost))):
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert len(pauses) > 1
        assert least <= min(pauses) <= max(pauses) <= least + 20 + 2 * cost
