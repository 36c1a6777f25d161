"""A worker that is stopped during a fit: the fit is finished and stored, and other tasks are delivered again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Scan

from skymap_scanner.broker import open_broker
from skymap_scanner.reconstruction import dummy
from skymap_scanner.reconstruction.protocol import Fit, Start
from skymap_scanner.roles.producer.producer import produce
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.worker.in_flight import InFlightFile
from skymap_scanner.roles.worker.worker import WorkerSettings, work


@pytest.mark.parametrize("prefetch", [0, 5])
def test_stopped_worker_finishes_its_fit_and_returns_prefetched_tasks(
    scan: Callable[..., Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefetch: int
) -> None:
    begun, may_end, fit = threading.Event(), threading.Event(), dummy._Bowl.fit

    def slow(bowl: dummy._Bowl, start: Start) -> Fit:
        begun.set()
        assert may_end.wait(60)
        return fit(bowl, start)

    monkeypatch.setattr(dummy._Bowl, "fit", slow)
    one, stop = scan("1:0", seeds=1), Stop()

    def worker() -> None:
        with open_broker(one.url) as broker, InFlightFile(tmp_path / "state", alarm=False) as in_flight:
            work(broker, one.topics, stop, in_flight, WorkerSettings(prefetch=prefetch))

    with open_broker(one.url) as broker:
        assert produce(broker, one.topics, one.event, one.settings, Stop())
        leaving = threading.Thread(target=worker)
        leaving.start()
        assert begun.wait(60)
        stop.request()
        leaving.join(1.0)
        assert leaving.is_alive(), "it finishes the fit first"
        assert broker.backlog(one.topics.scanned, "collector").waiting == 0
        may_end.set()
        leaving.join(60)
        assert not leaving.is_alive()
        assert broker.backlog(one.topics.scanned, "collector").waiting == 1
        left = broker.backlog(one.topics.to_be_scanned, "workers")
        assert (left.waiting, left.unacked) == (11, 0)
