"""The collector: waits for all seeds of a pixel and passes on the best.

    scanned ─▶ best of the seeds ─▶ collected

A fit that is none of this scan, or nonsense (``expected``), is refused and its task sent again (``repeats``). It may
have been the answer to another task than it says, or not say any: where nothing comes for a while after one was
refused, all tasks without an answer are sent again. Until then it is not acknowledged: the next collector is to know.
Bests are stored in batches of what is there. Which pixels are done, also by other collectors, is read from
``collected`` itself: a fit of such a pixel is a repeat.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from types import TracebackType
from typing import Self

from skymap_api.names import COLLECTOR_SUBSCRIPTION, ScanTopics
from skymap_scanner.broker.protocol import Broker, Consumer, Message, Outgoing, SubscriptionType
from skymap_scanner.errors import BrokerError
from skymap_scanner.roles.fit_validation import FitValidator, RejectedFitError
from skymap_scanner.roles.plan_reader import PlanReader
from skymap_scanner.roles.rejected_messages import RejectedMessages
from skymap_scanner.roles.republishing import Republisher
from skymap_scanner.roles.stop import Stop
from skymap_scanner.scan.best_fits import CompletePixel, SeedFit, Slots
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import ScanEntry

log = logging.getLogger(__name__)

#: Fits taken before the bests among them are stored: a tenth of a second of them, at the rate that one collector bears.
BATCH = 500

#: Seconds to wait for the first of them.
WAIT = 0.1

#: Seconds between two looks at what others have collected, while there is work.
LOOK_EVERY = 1.0

#: Seconds without any fit after which a key-shared collector gives back those that wait for others; each time in vain
#: it waits twice as long, since fits may simply take that long.
PATIENCE, LONGEST_PATIENCE = 5.0, 60.0

#: Seconds without any fit after which, where one was refused, the tasks without an answer are sent again.
SILENCE, LONGEST_SILENCE = 60.0, 3600.0


def collect(broker: Broker, topics: ScanTopics, stop: Stop, *, key_shared: bool = False) -> bool:
    """Collect: True when every planned pixel has its best, False when asked to stop before.

    ``key_shared``: several collectors work at a time, each on the pixels whose keys the broker gives it; else one works
    while others stand by.

    Raises
    ------
    BrokerError
        If the broker refuses; BrokerUnavailable if it cannot be reached.
    """
    kind = SubscriptionType.KEY_SHARED if key_shared else SubscriptionType.FAILOVER
    with PlanReader(broker, topics.plan) as plan:
        scan = plan.wait_for_scan(stop)
        if scan is None:
            return False
        with (
            broker.consumer(topics.scanned, COLLECTOR_SUBSCRIPTION, kind) as scanned,
            broker.producer(topics.collected, f"collector-{uuid.uuid4()}") as collected,
            Done(broker, topics.collected, scan) as done,
            Republisher(broker, topics, scan, plan) as repeats,
        ):
            sorter = _Sorter(scan, plan, done, topics.scanned)
            patience = IdleTimeout(time.monotonic(), PATIENCE, LONGEST_PATIENCE)
            silence = IdleTimeout(time.monotonic(), SILENCE, LONGEST_SILENCE)
            complete = False
            while not (complete or stop.requested):
                messages = _gather(scanned)
                settled = sorter.drop(done.look(at_once=not messages))
                best_fits, sorted_out = sorter.sort(messages)
                settled += sorted_out
                if best_fits:
                    collected.send(*best_fits)
                for lost in sorter.lost():
                    repeats.send(*lost)
                if settled:
                    scanned.ack(*settled)
                for one in (patience, silence):
                    one.look(time.monotonic(), len(messages), len(best_fits))
                if messages:
                    continue
                complete = plan.complete(done.pixels)
                if sorter.doubt and (complete or silence.is_over(time.monotonic())):
                    if not complete:  # pixels that were begun on a guess may lack their fits for good
                        _send_missing(sorter, repeats)
                    scanned.ack(*sorter.settle_doubt())
                if key_shared and patience.is_over(time.monotonic()):
                    scanned.nack(*sorter.slots.give_back())
    log.info(
        "%d pixels are collected, %d of them here; %d repeated fits were passed over, %d of them with another -ln L; "
        "%d messages were refused, for which %d tasks were sent again and %d given up",
        len(done.pixels),
        sorter.collected,
        sorter.repeats,
        sorter.slots.contradictions,
        sorter.rejected.count,
        repeats.repeated,
        repeats.given_up,
    )
    return complete


def _send_missing(sorter: _Sorter, repeats: Republisher) -> None:
    for pixel, seeds in sorter.missing():
        repeats.send(pixel, seeds, "no answer has come, but one that was refused", counted=False)


def _gather(scanned: Consumer) -> list[Message]:
    """Take what is there, or the first to come."""
    messages: list[Message] = []
    message = scanned.receive(WAIT)
    while message is not None:
        messages.append(message)
        message = scanned.receive(0) if len(messages) < BATCH else None
    return messages


class _Sorter:
    """Decides what becomes of each fit."""

    def __init__(self, scan: ScanEntry, plan: PlanReader, done: Done, topic: str) -> None:
        self._scan = scan
        self._plan = plan
        self._done = done
        self._expected = FitValidator(scan)
        self._refused: list[RejectedFitError] = []
        self.doubt: list[Message] = []  # the first that was refused, whatever task it may have been the answer to
        self.slots: Slots[Message] = Slots(scan.seeds)
        self.collected = 0
        self.repeats = 0
        self.rejected = RejectedMessages(topic)

    def drop(self, pixels: Collection[Pixel]) -> list[Message]:
        """Forget pixels that others have collected; return the messages of their fits, to acknowledge."""
        dropped = self.slots.drop(pixels)
        self.repeats += len(dropped)
        return dropped

    def sort(self, messages: Sequence[Message]) -> tuple[list[Outgoing], list[Message]]:
        """Return the bests that ``messages`` complete, and all messages to acknowledge once those are stored."""
        best_fits: list[Outgoing] = []
        settled: list[Message] = []
        for message in messages:
            fit = self._read(message)
            if fit is None:
                (settled if self.doubt else self.doubt).append(message)
            elif fit.pixel in self._done.pixels:
                self.repeats += 1
                settled.append(message)
            elif (pixel := self.slots.add(fit)) is not None:
                self.collected += 1
                self.repeats += len(pixel.sources) - len(pixel.fits)
                best_fits.append(self._best(pixel))
                settled += pixel.sources
                self._done.pixels.add(fit.pixel)
        return best_fits, settled

    def _read(self, message: Message) -> SeedFit[Message] | None:
        """Read a fit; None if it is none, or of no task of this scan."""
        try:
            best = self._expected.fit(message)
        except RejectedFitError as error:
            self.rejected.add(message, error)
            self._refused.append(error)
            return None
        if not self._started(best.pixel):
            self.rejected.add(message, f"the scan has no pixel {best.pixel.index} of nside {best.pixel.nside} yet")
            return None
        return SeedFit(best.pixel, best.seed, best.llh, message)

    def _started(self, pixel: Pixel) -> bool:
        # The entry of the plan is older than the fit, but may not have been read here.
        return self._plan.plan.has_started(pixel) or self._plan.update().has_started(pixel)

    def lost(self) -> Iterator[tuple[Pixel, Collection[int], str]]:
        """Give the tasks that may have no other answer than the fits refused since the last call, and why those were.

        Where a message does not say which seed it is of, these are all seeds of its pixel that are not here.
        """
        by_task = {task: str(refused) for refused in self._refused for task in refused.tasks}
        self._refused.clear()
        for (pixel, seed), why in by_task.items():
            if pixel in self._done.pixels or not self._started(pixel):
                continue
            missing = set(range(self._scan.seeds)) - self.slots.seeds_of(pixel)
            yield pixel, missing if seed is None else missing & {seed}, why

    def missing(self) -> Iterator[tuple[Pixel, Collection[int]]]:
        """Give all tasks without an answer."""
        for pixel in self._plan.update().started:
            if pixel not in self._done.pixels:
                yield pixel, set(range(self._scan.seeds)) - self.slots.seeds_of(pixel)

    def settle_doubt(self) -> list[Message]:
        """Return the refused message that was kept, to acknowledge it."""
        settled, self.doubt = self.doubt, []
        return settled

    def _best(self, pixel: CompletePixel[Message]) -> Outgoing:
        kept = pixel.fits if self._scan.keep_all_seeds else pixel.fits[:1]
        return Outgoing(b"".join(one.source.payload for one in kept), key=kept[0].pixel.key)


class Done:
    """The pixels that are done, by this collector or any other."""

    def __init__(self, broker: Broker, topic: str, scan: ScanEntry) -> None:
        self.pixels: set[Pixel] = set()
        self._expected = FitValidator(scan)
        self._reader = broker.reader(topic)
        self._next_look = 0.0
        self.look(at_once=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def look(self, *, at_once: bool) -> Collection[Pixel]:
        """Read what has been collected meanwhile, and return the pixels among it that are news.

        Not ``at_once``: only when the last look was a while ago.
        """
        news: set[Pixel] = set()
        if not at_once and time.monotonic() < self._next_look:
            return news
        self._next_look = time.monotonic() + LOOK_EVERY
        while (message := self._reader.receive(0)) is not None:
            with contextlib.suppress(BrokerError):  # passed over; the saver says so
                news.add(self._expected.best(message).pixel)
        news -= self.pixels
        self.pixels |= news
        return news


class IdleTimeout:
    """Tells when fits were waited for long enough: ``first`` seconds, then twice as long, up to ``longest``."""

    def __init__(self, now: float, first: float, longest: float) -> None:
        self._since = now
        self._seconds = self._first = first
        self._longest = longest

    def look(self, now: float, fits: int, best_fits: int) -> None:
        """Take note of so many fits, and so many pixels that they completed."""
        if fits:
            self._since = now
        if best_fits:
            self._seconds = self._first

    def is_over(self, now: float) -> bool:
        """Tell whether it is time to give the fits back; then the next wait is longer."""
        if now - self._since < self._seconds:
            return False
        self._since = now
        self._seconds = min(2 * self._seconds, self._longest)
        return True
