"""Reading what other roles have sent: the plan as it grows, and the best fits.

Messages that this scanner did not send are skipped and counted, since one of them must not end a scan.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from skymap_api.text import bounded_line
from skymap_scanner import __version__
from skymap_scanner.broker.protocol import Broker, Closing, Message, arrived
from skymap_scanner.errors import BrokerError, SoftwareMismatchError
from skymap_scanner.roles.fit_validation import FitValidator
from skymap_scanner.roles.stop import Stop
from skymap_scanner.roles.task_frames import MAX_REASON, PixelFit
from skymap_scanner.roles.work import MAX_PROPERTY, WORK_PROPERTY
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.plan_entries import ScanEntry, decode_entry, software_in
from skymap_scanner.scan.seeds import Round, Seeding

log = logging.getLogger(__name__)

#: Most characters of a rejected message's key in the log.
MAX_KEY = 100


class PlanReader(Closing):
    """Reads the plan from its start; ``entries`` is the number of entries read so far.

    A missing topic is created, or without ``create`` raises BrokerError.
    """

    def __init__(self, broker: Broker, topic: str, *, create: bool = True) -> None:
        self._reader = broker.reader(topic, create=create)
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
            self._add(message)
        return self.plan

    def wait_for_scan(self, stop: Stop) -> ScanEntry | None:
        """Wait until the producer has announced the scan, and read no further; None if a stop was requested first.

        Raises SoftwareMismatchError and BrokerError as `begun_scan`.
        """
        while (scan := self.begun_scan(timeout=0.5)) is None:
            if stop.requested:
                return None
        return scan

    def begun_scan(self, timeout: float = 0.0) -> ScanEntry | None:
        """Return the scan if the producer has announced it; reads no further than that.

        Raises SoftwareMismatchError if another version of the scanner has begun it; BrokerError if the plan cannot be
        decoded.
        """
        if self.plan.scan is None and (message := self._reader.receive(timeout)) is not None:
            check_version(software_in(message.payload))
            self._add(message)
        return self.plan.scan

    def _add(self, message: Message) -> None:
        self.plan.add(decode_entry(message.payload))
        self.entries += 1


def check_version(software: str | None) -> None:
    """Check that a scan by this software was begun by this version of the scanner; None: it is not known.

    Raises SoftwareMismatchError if another version has begun it.
    """
    if software is None:
        return
    begun, own = software.partition(",")[0][:200] or "an older version", f"skymap-scanner {__version__}"
    if begun != own:
        raise SoftwareMismatchError(
            f"the scan was begun by {begun}, this is {own}: use one version for all parts of a scan, or scan again "
            "under another name"
        )


class CollectedFit(NamedTuple):
    """The best fit of a round, its ``frames``, and the ``work`` on all fits of the round (`work.decode_round`)."""

    fit: PixelFit
    frames: bytes
    work: str


class CollectedReader(Closing):
    """Reads ``collected`` from its start, acknowledges nothing and keeps nothing.

    Invalid messages are skipped and logged. ``create`` as for `PlanReader`.
    """

    def __init__(self, broker: Broker, topic: str, validator: FitValidator, *, create: bool = True) -> None:
        self._reader = broker.reader(topic, create=create)
        self._rejected = RejectedMessages(topic)
        self._validator = validator
        self.scan = validator.scan

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def arrived(self, timeout: float = 0.0) -> Iterator[CollectedFit]:
        """Yield the best fits that have arrived; wait up to ``timeout`` seconds for the first.

        A round of a pixel may have several.
        """
        for message in arrived(self._reader, timeout):
            try:
                best_fit = self._validator.best_fit(message)
            except BrokerError as error:
                self._rejected.add(message, error)
            else:
                work = message.properties.get(WORK_PROPERTY, "")
                yield CollectedFit(best_fit, message.payload, work if len(work) <= MAX_PROPERTY else "")


class BestFits(Mapping[Pixel, PixelFit]):
    """The best fit of every pixel so far, from the best fits of its rounds; the first of each round counts."""

    def __init__(self, seeding: Seeding) -> None:
        self._seeding = seeding
        self._rounds: tuple[dict[Pixel, PixelFit], ...] = tuple({} for _ in range(seeding.rounds))
        #: Number of fits that are done: those of all seeds of these rounds.
        self.fits = 0

    def add(self, best_fit: PixelFit) -> bool:
        """Add the best fit of a round; return False if the round has one."""
        one = self.round_of(best_fit)
        if self.has(one):
            return False
        self._rounds[one.number][one.pixel] = best_fit
        self.fits += len(self._seeding.seeds_of(one))
        return True

    def round_of(self, fit: PixelFit) -> Round:
        """Return the round that a fit belongs to."""
        return Round(fit.pixel, self._seeding.round_of(fit.seed))

    def has(self, one: Round) -> bool:
        """Return whether a round is done."""
        return one.pixel in self._rounds[one.number]

    @property
    def rounds(self) -> int:
        """Number of rounds that are done."""
        return sum(map(len, self._rounds))

    def of_rounds(self, pixel: Pixel, rounds: int) -> PixelFit | None:
        """Return the best fit of the first ``rounds`` rounds of a pixel; None if they are not all done."""
        found = [fits[pixel] for fits in self._rounds[:rounds] if pixel in fits]
        return min(found, key=_by_llh) if found and len(found) == rounds else None

    def __getitem__(self, pixel: Pixel) -> PixelFit:
        found = [fits[pixel] for fits in self._rounds if pixel in fits]
        if not found:
            raise KeyError(pixel)
        return min(found, key=_by_llh)

    def __contains__(self, pixel: object) -> bool:
        return any(pixel in fits for fits in self._rounds)

    def __iter__(self) -> Iterator[Pixel]:
        first, *others = self._rounds
        yield from first
        for fits in others:
            yield from (pixel for pixel in fits if pixel not in first)

    def __len__(self) -> int:
        first, *others = self._rounds
        return len(first) + sum(pixel not in first for fits in others for pixel in fits)


def _by_llh(fit: PixelFit) -> tuple[bool, float, int]:
    failed = math.isnan(fit.llh)
    return failed, 0.0 if failed else fit.llh, fit.seed


class BestFitReader(CollectedReader):
    """Reads ``collected`` and keeps the best fits: the first of each round, so all roles use the same one."""

    def __init__(self, broker: Broker, topic: str, validator: FitValidator, *, create: bool = True) -> None:
        super().__init__(broker, topic, validator, create=create)
        self.best_fits = BestFits(validator.scan.seeding)

    def receive(self, timeout: float) -> CollectedFit | None:
        """Return the best fit of the next new round; None if none arrives within ``timeout`` seconds."""
        for found in self.arrived(timeout):
            if self.best_fits.add(found.fit):
                return found
        return None

    def update(self, timeout: float = 0.0) -> None:
        """Read everything that has arrived; wait up to ``timeout`` seconds for the first message."""
        for found in self.arrived(timeout):
            self.best_fits.add(found.fit)


class RejectedMessages:
    """Counts the rejected messages of one topic; the first is logged as a warning, the others at debug level."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.count = 0

    def add(self, message: Message, reason: object) -> None:
        """Count and log a rejected message."""
        self.count += 1
        level = logging.WARNING if self.count == 1 else logging.DEBUG
        key, why = bounded_line(message.key or "none", MAX_KEY), bounded_line(str(reason), MAX_REASON)
        log.log(level, "rejected a message (key %s) on %s: %s", key, self._topic, why)
