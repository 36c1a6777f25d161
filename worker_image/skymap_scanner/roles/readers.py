"""Reading what other roles have sent: the plan as it grows, and the best fits.

Messages that this scanner did not send are skipped and counted, since one of them must not end a scan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from skymap_scanner.broker.protocol import Broker, Closing, Message, arrived
from skymap_scanner.errors import BrokerError
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan, ScanEntry, decode_entry

log = logging.getLogger(__name__)


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

        Raises BrokerError if an entry cannot be decoded.
        """
        for message in arrived(self._reader, timeout):
            self.plan.add(decode_entry(message.payload))
            self.entries += 1
        return self.plan

    def wait_for_scan(self, stop: Stop) -> ScanEntry | None:
        """Wait until the producer has announced the scan; None if a stop was requested first."""
        while self.update(timeout=0.5).scan is None:
            if stop.requested:
                return None
        return self.plan.scan


class CollectedReader(Closing):
    """Reads ``collected`` from its start, acknowledges nothing and keeps nothing.

    Invalid messages are skipped and logged.
    """

    def __init__(self, broker: Broker, topic: str, validator: FitValidator) -> None:
        self._reader = broker.reader(topic)
        self._rejected = RejectedMessages(topic)
        self._validator = validator
        self.scan = validator.scan

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def arrived(self, timeout: float = 0.0) -> Iterator[tuple[PixelFit, bytes]]:
        """Yield the best fits that have arrived, with their frames; wait up to ``timeout`` seconds for the first.

        A pixel may have several.
        """
        for message in arrived(self._reader, timeout):
            try:
                best_fit = self._validator.best_fit(message)
            except BrokerError as error:
                self._rejected.add(message, error)
            else:
                yield best_fit, message.payload


class BestFitReader(CollectedReader):
    """Reads ``collected`` and keeps the best fits: the first of each pixel, so all roles use the same one."""

    def __init__(self, broker: Broker, topic: str, validator: FitValidator) -> None:
        super().__init__(broker, topic, validator)
        self.best_fits: dict[Pixel, PixelFit] = {}

    def receive(self, timeout: float) -> tuple[PixelFit, bytes] | None:
        """Return the next new pixel: its best fit and the frames; None if none arrives within ``timeout`` seconds."""
        for best_fit, frames in self.arrived(timeout):
            if best_fit.pixel not in self.best_fits:
                self.best_fits[best_fit.pixel] = best_fit
                return best_fit, frames
        return None

    def update(self, timeout: float = 0.0) -> None:
        """Read everything that has arrived; wait up to ``timeout`` seconds for the first message."""
        for best_fit, _ in self.arrived(timeout):
            self.best_fits.setdefault(best_fit.pixel, best_fit)


class RejectedMessages:
    """Counts the rejected messages of one topic; the first is logged as a warning, the others at debug level."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.count = 0

    def add(self, message: Message, reason: object) -> None:
        """Count and log a rejected message."""
        self.count += 1
        level = logging.WARNING if self.count == 1 else logging.DEBUG
        log.log(level, "rejected a message (key %s) on %s: %s", message.key, self._topic, reason)
