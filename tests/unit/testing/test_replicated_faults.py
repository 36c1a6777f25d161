"""Faults of a replicated Pulsar: a strike that fails ends its scan, so that the next one has the machine for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from testing.faults import replicated
from testing.faults.replicated import play
from testing.faults.stage import DUMMY
from testing.faults.strikes import Fault, Mend
from testing.killing import LocalScan
from testing.processes import is_alive, roles
from testing.waiting import eventually

from skymap_scanner.broker import Broker, open_broker
from skymap_scanner.event.demo import demo_event_path


@dataclass
class EmbeddedStage:
    """A stage whose scans have the embedded broker: for faults that need no cluster."""

    folder: Path

    def scan(self, name: str, fit_seconds: float) -> LocalScan:
        more = (*DUMMY, "--workers", "1", "--parameter", f"seconds={fit_seconds}")
        return LocalScan(demo_event_path(), self.folder / name, ["1:0"], more=more)

    @contextmanager
    def token(self, *_: object) -> Iterator[None]:
        yield

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        with open_broker(f"sqlite:///{self.folder / 'witness.db'}") as broker:
            yield broker

    def collected(self, name: str) -> int:
        return len(list((self.folder / name / "logs").glob("worker*.log"))) * replicated.STRUCK_AFTER


def test_strike_that_raises_ends_its_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = []

    def strike(stage: EmbeddedStage, name: str) -> Mend:
        [scan] = roles(os.getpid())["run"]
        started = eventually(
            lambda: roles(scan), lambda found: set(found) >= {"producer", "worker", "collector", "saver"}
        )
        running.extend([scan, *chain.from_iterable(started.values())])
        raise AssertionError("the cluster has not noticed it")

    monkeypatch.setitem(replicated.FAULTS, "unnoticed", Fault(strike, fit_seconds=60))
    with pytest.raises(AssertionError, match="the cluster has not noticed it"):
        play(EmbeddedStage(tmp_path), "unnoticed", "struck")
    eventually(lambda: not any(map(is_alive, running)))
