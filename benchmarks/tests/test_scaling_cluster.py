"""What the benchmark of scaling on a cluster reads, and what it counts as a worker that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.scaling.watched import Account, Sample, Worker, Workers, busy_hosts, draw, figures, lowered, write_csv

from skymap_api.names import NamespacedName
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Phase, WorkersStatus
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.runtime.metrics import Metrics, ScanFigures
from skymap_operator.runtime.workqueue import Load


def test_operator_metrics_are_read() -> None:
    metrics = Metrics()
    for name, busy in (("a", 4), ("b", 1)):
        status = SkymapScanStatus(phase=Phase.SCANNING, workers=WorkersStatus(desired=7, ready=5, busy=busy))
        metrics.observed(NamespacedName("ns", name), ScanFigures(status, Subscription(30, busy)))
    metrics.scaled(Direction.DOWN, Cause.MAXIMUM)
    metrics.scaled(Direction.DOWN, Cause.DONE)
    metrics.scaled(Direction.DOWN, Cause.DONE)
    metrics.scaled(Direction.UP, Cause.WORK)
    text = metrics.text(Load()).decode()
    assert figures(text, "a") == {"desired": 7, "ready": 5, "busy": 4, "waiting": 30, "in_flight": 4}
    assert figures(text, "b")["busy"] == 1
    assert figures(text, "gone") == {}
    assert lowered(text) == {"Maximum": 1, "Done": 2}


def line(name: str = "w", ip: str = "10.0.0.1", deleted: str = "", began: str = "", code: str = "") -> str:
    return f"{name},{ip},{deleted},{began},{code}\n"


@pytest.mark.parametrize(
    ("lines", "left", "held", "killed"),
    [
        # It works, is asked to end, finishes, ends as asked.
        ([line(began="t"), line(deleted="t", began="t"), line(deleted="t", code="143")], 1, 1, 0),
        # It had nothing to do.
        ([line(ip="10.0.0.9", began="t"), line(ip="10.0.0.9", deleted="t", code="143")], 1, 0, 0),
        # Its time was up, or its memory.
        ([line(began="t"), line(deleted="t", began="t"), line(deleted="t", code="137")], 1, 1, 1),
        # A container that crashed and was started again.
        ([line(began="t"), line(began="t", code="139"), line(began="t"), line(deleted="t", code="143")], 1, 1, 1),
        # Nobody saw how it ended; it was never asked to.
        ([line(began="t"), line(deleted="t", began="t")], 0, 0, 1),
        ([line(began="t")], 0, 0, 1),
        # It never ran.
        ([line(ip=""), line(ip="", deleted="t"), line(ip="", deleted="t", code="137")], 0, 0, 0),
        (["\n"], 0, 0, 0),
    ],
)
def test_ends_of_workers_are_counted(lines: list[str], left: int, held: int, killed: int) -> None:
    workers = Workers()
    for one in lines:
        workers.see(one, busy={"10.0.0.1"})
    assert len(workers.left) == left
    assert sum(worker.held for worker in workers.left) == held
    assert len(workers.killed) == killed


def test_held_task_is_the_one_at_termination() -> None:
    workers = Workers()
    workers.see(line(began="t"), busy=())
    workers.see(line(deleted="t", began="t"), busy=())
    assert workers.leaving == 1
    workers.see(line(deleted="t", code="143"), busy={"10.0.0.1"})
    assert workers.pods == {"w": Worker("10.0.0.1", ran=True, asked=True, held=False, code=143)}
    assert workers.leaving == 0


def test_account_counts_redeliveries_and_repeated_fits() -> None:
    fine, repeated = Account(tasks=100, delivered=100, fits=100), Account(tasks=100, delivered=103, fits=101)
    assert (fine.again, fine.twice) == (0, 0)
    assert (repeated.again, repeated.twice) == (3, 1)


def test_consumers_that_hold_a_message_are_busy() -> None:
    consumers = [
        {"address": "/10.0.0.1:4000", "unackedMessages": 1},
        {"address": "/10.0.0.2:4000", "unackedMessages": 0},
    ]
    assert busy_hosts({"subscriptions": {"workers": {"consumers": consumers}}}) == {"10.0.0.1"}
    assert busy_hosts({"subscriptions": {"other": {"consumers": consumers}}}) == frozenset()
    assert busy_hosts({}) == frozenset()


def test_samples_are_written_and_drawn(tmp_path: Path) -> None:
    samples = [Sample(float(second), "a", waiting=9 - second, desired=2, ready=1, busy=1) for second in range(5)]
    samples.append(Sample(5.0, "b", leaving=1))
    write_csv(samples, tmp_path / "table.csv")
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0] == "seconds,scan,waiting,in_flight,desired,ready,busy,leaving"
    assert (lines[1], lines[-1]) == ("0.0,a,9,0,2,1,1,0", "5.0,b,0,0,0,0,0,1")
    draw(samples, tmp_path / "picture.png", "a title")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
