"""Reading the plan of a scan as it grows."""

from __future__ import annotations

from skymap_scanner.broker.protocol import Broker, Closing
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.plan import Plan, ScanEntry, decode_entry


class PlanReader(Closing):
    """Reads the plan from its start; ``entries`` is the number of entries read so far."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._reader = broker.reader(topic)
        self.plan = Plan()
        self.entries = 0

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def update(self, timeout: float = 0.0) -> Plan:
        """Read to the end of the plan; wait for the first new entry if there is none.

        Raises
        ------
        BrokerError
            If an entry cannot be decoded.
        """
        message = self._reader.receive(timeout)
        while message is not None:
            self.plan.add(decode_entry(message.payload))
            self.entries += 1
            message = self._reader.receive(0.0)
        return self.plan

    def wait_for_scan(self, stop: Stop) -> ScanEntry | None:
        """Wait until the producer has announced the scan; None when asked to stop before."""
        while self.update(timeout=0.5).scan is None:
            if stop.requested:
                return None
        return self.plan.scan
