"""A small event, and whole scans of it: in threads of this process, or as processes that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from skymap_api.names import ScanTopics
from skymap_scanner.broker import Broker, open_broker
from skymap_scanner.event.model import Event, PreparedEvent
from skymap_scanner.event.preparation import prepare
from skymap_scanner.i3 import (
    PULSE_DTYPE,
    Frame,
    FrameWriter,
    I3EventHeader,
    I3RecoPulseSeriesMap,
    I3String,
    I3Time,
    I3TimeWindow,
    OMKey,
)
from skymap_scanner.reconstruction.protocol import EventFitter, Fit, Start
from skymap_scanner.roles.collector.collector import collect
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.saver.saver import SaverSettings, save
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.worker import fitters
from skymap_scanner.roles.worker.in_flight import InFlightFile
from skymap_scanner.roles.worker.worker import work
from skymap_scanner.scan.levels import parse_levels

HLC = 7


@pytest.fixture(scope="session")
def event() -> Event:
    """Four DOMs of string 36, hit one after the other."""
    pulses = {
        OMKey(36, om): np.array([(9500.0 + 60 * om, 2.0 + om / 10, 8.0, HLC)], PULSE_DTYPE) for om in range(20, 24)
    }
    frames = {stop: Frame(stop) for stop in "GCDQP"}
    physics = frames["P"]
    physics["I3EventHeader"] = I3EventHeader(run_id=1, event_id=2, start_time=I3Time(2024, 10**15))
    physics["SplitInIcePulses"] = I3RecoPulseSeriesMap(pulses)
    physics["SplitInIcePulsesTimeRange"] = I3TimeWindow(9000.0, 14000.0)
    physics["SCAN_EventName"] = I3String("run00000001.evt000000000002.test")
    return Event("run00000001.evt000000000002.test", frames)


@pytest.fixture(scope="session")
def prepared(event: Event) -> PreparedEvent:
    return prepare(event)


def write_event(event: Event, path: Path) -> Path:
    with FrameWriter(path) as writer:
        for frame in event.frames.values():
            writer.write(frame)
    return path


@pytest.fixture
def event_file(event: Event, tmp_path: Path) -> Path:
    return write_event(event, tmp_path / "event.i3")


@dataclass
class Scan:
    """One scan in threads: every role of it, until the saver is done."""

    folder: Path
    event: Event
    settings: ScanSettings
    opened: Callable[[str], Broker] = open_broker
    saver: SaverSettings = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url = f"sqlite:///{self.folder / 'scan.sqlite'}"
        self.topics = ScanTopics.of(self.settings.name)
        self.saver = SaverSettings(self.folder / "scan.i3", self.folder, ("json",))

    def rename(self, name: str) -> None:
        """Give the scan another name, before it runs."""
        self.settings = replace(self.settings, name=name)
        self.topics = ScanTopics.of(name)

    def run(self, workers: int = 2, producers: int = 1, collectors: int = 1) -> None:
        stop = Stop()
        failures: list[BaseException] = []
        roles: list[Callable[[Broker], object]] = [
            *[lambda broker: produce(broker, self.topics, self.event, self.settings, stop) for _ in range(producers)],
            *[lambda broker: collect(broker, self.topics, stop) for _ in range(collectors)],
            *[lambda broker: self._work(broker, stop) for _ in range(workers)],
        ]

        def guarded(role: Callable[[Broker], object]) -> None:
            try:
                with self.open() as broker:
                    role(broker)
            except BaseException as error:  # noqa: BLE001 - reported below
                failures.append(error)
                stop.request()

        threads = [threading.Thread(target=guarded, args=(role,)) for role in roles]
        for thread in threads:
            thread.start()
        try:
            with self.open() as broker:
                save(broker, self.topics, self.saver, stop)
        finally:
            stop.request()
            for thread in threads:
                thread.join(30)
        if failures:
            raise failures[0]

    def _work(self, broker: Broker, stop: Stop) -> None:
        with InFlightFile(self.folder / "state", alarm=False) as in_flight:  # the alarm is for processes
            work(broker, self.topics, stop, in_flight)

    def open(self) -> Broker:
        return self.opened(self.url)

    @property
    def json(self) -> bytes:
        return next(self.folder.glob("*.json")).read_bytes()

    @property
    def i3(self) -> bytes:
        return (self.folder / "scan.i3").read_bytes()


@pytest.fixture
def scan(tmp_path: Path, event: Event) -> Callable[..., Scan]:
    def make(levels: str = "1:0 4:2", folder: str = "scan", **settings: object) -> Scan:
        values = {"reconstruction": "dummy", "parameters": {"ra": 200.0, "dec": 20.0}, "seeds": 3} | settings
        return Scan(tmp_path / folder, event, ScanSettings("scan", parse_levels(levels), **values))  # type: ignore[arg-type]

    return make


class Wrapped:
    """A reconstruction whose fits pass through ``change``."""

    def __init__(self, inner: EventFitter, change: Callable[[Start, Fit], Fit]) -> None:
        self._inner = inner
        self._change = change

    def fit(self, start: Start) -> Fit:
        return self._change(start, self._inner.fit(start))


@pytest.fixture
def change_fits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Start, Fit], Fit]], None]:
    def install(change: Callable[[Start, Fit], Fit]) -> None:
        original = fitters.load

        def load(name: str, parameters: dict[str, object]) -> object:
            reconstruction = original(name, parameters)

            class Changed:
                identity = reconstruction.identity

                def set_up(self, event: object) -> Wrapped:
                    return Wrapped(reconstruction.set_up(event), change)  # type: ignore[arg-type]

            return Changed()

        monkeypatch.setattr(fitters, "load", load)

    return install


@dataclass
class Command:
    """A ``skymap-scanner`` process."""

    words: Sequence[str]
    folder: Path

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "skymap_scanner", *self.words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"COLUMNS": "200", "SKYMAP_STATE": str(self.folder / "state")}

    def run(self, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "skymap_scanner", *self.words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self._environment,
        )


@contextmanager
def running(command: Command) -> Iterator[subprocess.Popen[str]]:
    process = command.start()
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Command]:
    return lambda *words: Command([str(word) for word in words], tmp_path)
