"""Tasks that crash or hang every worker: the scan ends, and its files state which tasks failed and why."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testing.plugins import install_reconstruction
from tests.unit.roles.conftest import Command, Scan

from skymap_api.exit_codes import ExitCode
from skymap_scanner.broker import Outgoing, open_broker
from skymap_scanner.i3 import read_frames
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.worker.crash_reports import CrashReport, decode_crash_report, task_identity

MakeScan = Callable[..., Scan]

#: A reconstruction of another package: the dummy, but with a fault for directions above the horizon.
POISON = """
import math, os, re, signal
from skymap_scanner.reconstruction.dummy import Dummy

class Poison(Dummy):
    def __init__(self, *, how: str) -> None:
        super().__init__(ra=200.0, dec=20.0)
        self.how = how

    def set_up(self, event):
        fitter = super().set_up(event)
        fit, how = fitter.fit, self.how

        def poisoned(start):
            if start.zenith < math.pi / 2:
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if how == "hang":
                    re.match(r"(a+)+$", "a" * 60 + "b")
                if how == "raise":
                    raise ValueError("a matrix is singular")
            return fit(start)

        fitter.fit = poisoned
        return fitter
"""


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_reconstruction(tmp_path, monkeypatch, "poison", POISON)


def reasons(scan: Scan) -> list[str]:
    frames = read_frames(scan.folder / "scan.i3")
    return [frame["SCAN_FailureReason"].value for frame in frames if "SCAN_FailureReason" in frame]


def reports(scan: Scan) -> Iterator[CrashReport]:
    with scan.open() as broker, broker.reader(scan.topics.crash_reports) as reader:
        while (message := reader.receive(0)) is not None:
            report = decode_crash_report(message.payload)
            assert report is not None
            yield report


def supervise(scan: Scan, worker: Command) -> list[int]:
    """Run the scan with one worker process, restarted whenever it ends; return its exit codes."""
    ends: list[int] = []
    over = threading.Event()

    def supervised() -> None:
        while not over.is_set():
            process = worker.start()
            while process.poll() is None and not over.wait(0.02):
                pass
            if process.poll() is None:
                process.terminate()
            process.communicate()
            ends.append(process.returncode)

    thread = threading.Thread(target=supervised)
    thread.start()
    try:
        scan.run(workers=0)
    finally:
        over.set()
        thread.join(30)
    return ends


@pytest.mark.parametrize(
    ("how", "end", "reason"),
    [
        ("kill", -signal.SIGKILL, "given up after 2 attempts: 2 ended their worker (killed or crashed)"),
        ("hang", -signal.SIGALRM, "given up after 2 attempts: 2 took longer than 1 s"),
    ],
)
def test_task_that_ends_every_worker_becomes_a_failed_fit(
    how: str,
    end: int,
    reason: str,
    scan: MakeScan,
    place: Callable[[Scan], list[str]],
    command: Callable[..., Command],
    poison: Path,
    tmp_path: Path,
) -> None:
    one = scan("1:0", seeds=1, pixels="0,8", reconstruction="poison", parameters={"how": how})
    options = [*place(one), "--max-attempts", "2", "--max-task-seconds", "1"]
    ends = supervise(one, command("worker", "-n", one.settings.name, *options))
    assert ends == [end, end, ExitCode.TERMINATED]
    assert reasons(one) == [reason]
    assert [(report.name, bool(report.hung_at)) for report in reports(one)] == [
        ("pixel 8 of nside 1, seed 0", how == "hang")
    ] * 2
    assert list((tmp_path / "state").iterdir()) == []


def test_unexpected_reconstruction_error_is_a_failed_fit(
    scan: MakeScan, command: Callable[..., Command], poison: Path
) -> None:
    one = scan("1:0", seeds=1, pixels="0,8", reconstruction="poison", parameters={"how": "raise"})
    assert supervise(one, command("worker", "-n", "scan", "-b", one.url)) == [ExitCode.TERMINATED]
    assert reasons(one) == ["the reconstruction raised ValueError: a matrix is singular"]


def test_crashes_reported_by_other_machines_count(scan: MakeScan) -> None:
    one = scan("1:0", seeds=1)
    with open_broker(one.url) as broker:
        produce(broker, one.topics, one.event, one.settings, Stop())
        with (
            broker.reader(one.topics.to_be_scanned) as tasks,
            broker.producer(one.topics.crash_reports, "other") as other,
        ):
            for died in (10, 9):
                task = tasks.receive(1)
                assert task is not None
                identity = task_identity(task.payload, task.properties)
                for number in range(died):
                    report = CrashReport(task=identity, name=f"{task.key}", attempt=f"{number}", limit=600.0)
                    other.send(Outgoing(report.encode()), Outgoing(report.encode()))
            other.send(Outgoing(b"no death"))
    one.run()
    assert reasons(one) == ["given up after 10 attempts: 10 ended their worker (killed or crashed)"]
