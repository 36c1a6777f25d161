"""The pixels that are done, with their bests, as they are collected."""

from __future__ import annotations

from collections.abc import Mapping

from skymap_scanner.broker.protocol import Reader
from skymap_scanner.errors import BrokerError
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.rejected_messages import RejectedMessages
from skymap_scanner.roles.task_frames import PixelFit
from skymap_scanner.scan.pixels import Pixel


class CollectedReader:
    """Reads ``collected`` from its start; as for the saver, a pixel's first best counts."""

    def __init__(self, reader: Reader, topic: str, expected: FitValidator) -> None:
        self._reader = reader
        self._refusals = RejectedMessages(topic)
        self._expected = expected
        self._bests: dict[Pixel, PixelFit] = {}

    def update(self, timeout: float) -> Mapping[Pixel, PixelFit]:
        """Take in what is there; wait for the first if there is none. Returns all, and keeps them up to date."""
        message = self._reader.receive(timeout)
        while message is not None:
            try:
                best = self._expected.best(message)
            except BrokerError as error:
                self._refusals.add(message, error)
            else:
                self._bests.setdefault(best.pixel, best)
            message = self._reader.receive(timeout=0)
        return self._bests
