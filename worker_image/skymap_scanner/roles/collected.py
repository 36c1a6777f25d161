"""Reading the best fits of a scan from ``collected``."""

from __future__ import annotations

from dataclasses import dataclass

from skymap_scanner.broker.protocol import Broker, Closing, Message
from skymap_scanner.errors import BrokerError
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.rejected_messages import RejectedMessages
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.scan.pixels import Pixel


@dataclass(frozen=True, slots=True)
class CollectedPixel:
    """A pixel's best fit, and the frames that hold it (``payload``)."""

    best_fit: PixelFit
    payload: bytes


class CollectedReader(Closing):
    """Reads ``collected`` from its start and acknowledges nothing.

    The first valid best fit of a pixel counts, so all roles use the same one. Invalid messages are skipped and logged.
    """

    def __init__(self, broker: Broker, topic: str, validator: FitValidator) -> None:
        self._reader = broker.reader(topic)
        self._rejected = RejectedMessages(topic)
        self._validator = validator
        self.scan = validator.scan
        self.best_fits: dict[Pixel, PixelFit] = {}

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def receive(self, timeout: float) -> CollectedPixel | None:
        """Return the next new pixel, or None if none arrives within ``timeout`` seconds."""
        message = self._reader.receive(timeout)
        while message is not None:
            best_fit = self._validated(message)
            if best_fit is not None and best_fit.pixel not in self.best_fits:
                self.best_fits[best_fit.pixel] = best_fit
                return CollectedPixel(best_fit, message.payload)
            message = self._reader.receive(0)
        return None

    def update(self, timeout: float = 0.0) -> list[Pixel]:
        """Read everything that has arrived; wait for the first message if there is none. Return the new pixels."""
        new = []
        found = self.receive(timeout)
        while found is not None:
            new.append(found.best_fit.pixel)
            found = self.receive(0)
        return new

    def _validated(self, message: Message) -> PixelFit | None:
        try:
            return self._validator.best_fit(message)
        except BrokerError as error:
            self._rejected.add(message, error)
            return None
