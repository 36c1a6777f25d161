"""Following the plan: what is wanted, and whether it is all there."""

from __future__ import annotations

from collections.abc import Container
from types import TracebackType
from typing import Self

from skymap_scanner.broker.protocol import Broker
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan, ScanEntry, decode_entry


class PlanReader:
    """Reads the plan as it grows."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._reader = broker.reader(topic)
        self.plan = Plan()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def update(self, timeout: float = 0.0) -> Plan:
        """Take in what was planned meanwhile; wait for the first new entry if there is none."""
        message = self._reader.receive(timeout)
        while message is not None:
            self.plan.add(decode_entry(message.payload))
            message = self._reader.receive(0.0)
        return self.plan

    def wait_for_scan(self, stop: Stop) -> ScanEntry | None:
        """Wait until the producer has announced the scan; None when asked to stop before."""
        while self.update(timeout=0.5).scan is None:
            if stop.requested:
                return None
        return self.plan.scan

    def complete(self, done: Container[Pixel]) -> bool:
        """Tell whether the plan has ended and every planned pixel is in ``done``."""
        return self.update().complete(done)
