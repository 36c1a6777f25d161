"""Workers that cannot fit a scan, started again and again: they take no task, and a right one makes the whole map."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from testing.plugins import install_reconstruction
from testing.waiting import eventually
from tests.unit.roles.conftest import Command, Scan

from skymap_api.exit_codes import ExitCode
from skymap_api.names import WORKERS_SUBSCRIPTION
from skymap_scanner.broker import Outgoing
from skymap_scanner.errors import BrokerError, InputError, ReconstructionError, SkymapError, SoftwareMismatchError
from skymap_scanner.i3 import read_frames
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.topics import create_topics
from skymap_scanner.roles.worker import fitters
from skymap_scanner.roles.worker.in_flight import InFlightFile
from skymap_scanner.roles.worker.worker import MAX_REJECTED, WorkerSettings, work

MakeScan = Callable[..., Scan]
Place = Callable[[Scan], list[str]]

#: More starts than the deliveries after which a worker gives a task up.
STARTS = 15

#: A reconstruction of another package: the dummy, unless FLAVOUR makes the worker another one, or kills it.
FLAVOUR = """
import os, signal, sys
from skymap_scanner.reconstruction.dummy import Dummy

def is_worker():
    return "worker" in sys.argv

class Flavour(Dummy):
    def __init__(self) -> None:
        super().__init__(ra=200.0, dec=20.0)

    @property
    def identity(self) -> str:
        return "flavour " + (os.environ.get("FLAVOUR", "") if is_worker() else "")

    def set_up(self, event):
        if is_worker() and os.environ.get("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().set_up(event)
"""


@pytest.fixture
def flavour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_reconstruction(tmp_path, monkeypatch, "flavour", FLAVOUR)


def fail_with(error: SkymapError) -> Callable[..., object]:
    def fail(*_: object) -> object:
        raise error

    return fail


def another_version(patch: pytest.MonkeyPatch) -> type[SkymapError]:
    patch.setattr("skymap_scanner.roles.readers.__version__", "0.0.9")
    return SoftwareMismatchError


def another_likelihood(patch: pytest.MonkeyPatch) -> type[SkymapError]:
    patch.setattr(fitters, "software_of", lambda _: "skymap-scanner 0.1.0, dummy of another kind of processor")
    return SoftwareMismatchError


def no_reconstruction(patch: pytest.MonkeyPatch) -> type[SkymapError]:
    patch.setattr(fitters, "load", fail_with(ReconstructionError("no IceTray here")))
    return ReconstructionError


def no_event(patch: pytest.MonkeyPatch) -> type[SkymapError]:
    patch.setattr(fitters, "read_metadata", fail_with(BrokerError("deleted")))
    return BrokerError


def no_set_up(patch: pytest.MonkeyPatch) -> type[SkymapError]:
    patch.setattr("skymap_scanner.reconstruction.dummy.Dummy.set_up", fail_with(InputError("no photon table")))
    return InputError


def start_worker(scan: Scan, settings: WorkerSettings | None = None) -> None:
    with scan.open() as broker, InFlightFile(scan.folder / "state", alarm=False) as in_flight:
        work(broker, scan.topics, Stop(), in_flight, settings)


def whole_map(scan: Scan) -> tuple[bytes, bytes]:
    """Run a scan to its end, check that no fit failed, and return its files."""
    scan.run()
    assert not any("SCAN_FailureReason" in frame for frame in read_frames(scan.folder / "scan.i3"))
    return scan.json, scan.i3


@pytest.mark.parametrize("fault", [another_version, another_likelihood, no_reconstruction, no_event, no_set_up])
def test_unable_worker_takes_no_task(
    fault: Callable[[pytest.MonkeyPatch], type[SkymapError]],
    scan: MakeScan,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = scan("1:0", seeds=1)
    place(one)
    with one.open() as broker:
        produce(broker, one.topics, one.event, one.settings, Stop())
    with monkeypatch.context() as patch:
        error = fault(patch)
        for _ in range(STARTS):
            with pytest.raises(error):
                start_worker(one)
    with one.open() as broker:
        backlog = broker.backlog(one.topics.to_be_scanned, WORKERS_SUBSCRIPTION)
    assert (backlog.waiting, backlog.unacked) == (12, 0)
    undisturbed = scan("1:0", "undisturbed", seeds=1)
    undisturbed.rename(one.settings.name)
    assert whole_map(one) == whole_map(undisturbed)


def test_worker_with_a_missing_reconstruction_of_its_own_takes_no_task(scan: MakeScan) -> None:
    one = scan("1:0", seeds=1)
    with one.open() as broker:
        produce(broker, one.topics, one.event, one.settings, Stop())
    for _ in range(STARTS):
        with pytest.raises(ReconstructionError, match="no reconstruction is named 'magic'"):
            start_worker(one, WorkerSettings(reconstruction="magic"))
    whole_map(one)


@pytest.mark.parametrize("begun", [False, True])
def test_expected_reconstruction_is_loaded_before_the_scan_begins(
    scan: MakeScan, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    one, loaded = scan("1:0", seeds=1), threading.Event()
    monkeypatch.setattr("skymap_scanner.reconstruction.dummy.Dummy.compile", lambda _: loaded.set())
    if begun:
        with one.open() as broker:
            produce(broker, one.topics, one.event, one.settings, Stop())
    stop = Stop()

    def run_worker() -> None:
        with one.open() as broker, InFlightFile(one.folder / "state", alarm=False) as in_flight:
            work(broker, one.topics, stop, in_flight, WorkerSettings(expected="dummy"))

    worker = threading.Thread(target=run_worker)
    worker.start()
    if not begun:
        assert loaded.wait(60)
        with one.open() as broker:
            produce(broker, one.topics, one.event, one.settings, Stop())
    with one.open() as broker, broker.reader(one.topics.scanned) as scanned:
        assert scanned.receive(60) is not None
    stop.request()
    worker.join()
    assert loaded.is_set() is not begun


def test_missing_expected_reconstruction_disturbs_no_scan(scan: MakeScan, caplog: pytest.LogCaptureFixture) -> None:
    one, stop = scan("1:0", seeds=1), Stop()
    stop.request()
    caplog.set_level(logging.INFO)
    with one.open() as broker, InFlightFile(one.folder / "state", alarm=False) as in_flight:
        work(broker, one.topics, stop, in_flight, WorkerSettings(expected="magic"))
    assert any(line.startswith("magic is not loaded ahead: no reconstruction is named") for line in caplog.messages)
    whole_map(one)


def test_last_line_of_a_worker_whose_set_up_hangs_names_its_limit(
    scan: MakeScan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The alarm ends such a worker at once, whatever it does."""
    one = scan("1:0", seeds=1)
    with one.open() as broker:
        produce(broker, one.topics, one.event, one.settings, Stop())
    last: list[str] = []

    def hang(*_: object) -> object:
        last.append(caplog.messages[-1])
        raise InputError("killed")

    monkeypatch.setattr("skymap_scanner.reconstruction.dummy.Dummy.set_up", hang)
    with caplog.at_level(logging.INFO), pytest.raises(InputError):
        start_worker(one, WorkerSettings(max_task_seconds=90))
    assert last == ["setting up the event; this may take 90 s (--max-task-seconds)"]


@pytest.mark.parametrize(("foreign", "ends"), [(MAX_REJECTED - 1, False), (MAX_REJECTED, True)])
def test_worker_among_tasks_of_another_scan_ends_with_advice(scan: MakeScan, foreign: int, ends: bool) -> None:
    one = scan("1:0", seeds=1)
    with one.open() as broker:
        create_topics(broker, one.topics)
        with broker.producer(one.topics.to_be_scanned, "stranger") as stranger:
            stranger.send(*[Outgoing(b"hello", key=str(number)) for number in range(foreign)])
        produce(broker, one.topics, one.event, one.settings, Stop())
    if ends:
        with pytest.raises(BrokerError, match=r"none of the first 10 tasks is of this scan .* topics delete"):
            start_worker(one)
    whole_map(one)  # what follows the foreign tasks is not lost


def test_worker_before_the_producer_waits_until_it_is_stopped(scan: MakeScan) -> None:
    one, stop = scan("1:0", seeds=1), Stop()
    with one.open() as broker, InFlightFile(one.folder / "state", alarm=False) as in_flight:
        thread = threading.Thread(target=work, args=(broker, one.topics, stop, in_flight))
        thread.start()
        eventually(lambda: one.topics.plan in broker.topics())
        assert thread.is_alive()
        stop.request()
        thread.join(60)
        assert not thread.is_alive()
        assert one.topics.to_be_scanned not in broker.topics()


def test_unable_processes_lose_no_fit(
    scan: MakeScan,
    place: Place,
    command: Callable[..., Command],
    flavour: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = scan("1:0", seeds=1, reconstruction="flavour", parameters={})
    options = ["--max-attempts", "1", *place(one)]
    worker = command("worker", "-n", one.settings.name, *options)
    with one.open() as broker:
        produce(broker, one.topics, one.event, one.settings, Stop())
    ends = []
    for variables in ({"FLAVOUR": "bitter"}, {"KILLED": "yes"}) * 2:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            done = worker.run()
        ends.append(done.returncode)
        if done.returncode > 0:
            line = done.stderr.splitlines()[-1]
            assert line.startswith("Error: the scan is fitted by 'skymap-scanner ")
            assert "this worker is 'skymap-scanner " in line
            assert "flavour bitter" in line
    assert ends == [ExitCode.OTHER_SOFTWARE, -signal.SIGKILL] * 2
    whole_map(one)
