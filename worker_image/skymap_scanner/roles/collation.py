"""What becomes of every fit that the collector receives: kept, passed on with its pixel, or rejected."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from skymap_scanner.broker.protocol import Message, Outgoing
from skymap_scanner.roles.fit_validation import FitValidator, RejectedFitError
from skymap_scanner.roles.rejected_fits import RejectedFits, Republication
from skymap_scanner.roles.rejected_messages import RejectedMessages
from skymap_scanner.scan.best_fits import CompletePixel, SeedFit, Slots
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan


@dataclass
class Decision:
    """Best fits to store, tasks to republish, and the messages to acknowledge once both are done."""

    best_fits: list[Outgoing] = field(default_factory=list)
    republications: list[Republication] = field(default_factory=list)
    settled: list[Message] = field(default_factory=list)


class Collation:
    """Collects the fits of every pixel until all seeds are there; does no I/O.

    ``done`` holds the pixels whose best fit is stored, by this collector or by another; a further fit of such a pixel
    is a duplicate.
    """

    def __init__(self, validator: FitValidator, topic: str) -> None:
        self._validator = validator
        self._scan = validator.scan
        self._slots: Slots[Message] = Slots(validator.scan.seeds)
        self._rejected_messages = RejectedMessages(topic)
        self.rejected = RejectedFits()
        self.done: set[Pixel] = set()
        self.collected = 0
        self.duplicates = 0

    @property
    def summary(self) -> str:
        """What was collected, for the log."""
        return (
            f"{len(self.done)} pixels are collected, {self.collected} of them here; {self.duplicates} duplicate fits, "
            f"{self._slots.contradictions} of them with a different -ln L; "
            f"{self._rejected_messages.count} messages rejected"
        )

    def decide(self, messages: Sequence[Message], plan: Plan, collected: Collection[Pixel] = ()) -> Decision:
        """Decide about new ``messages``, and about the fits of the pixels newly ``collected`` by any collector.

        ``plan`` must be read after the messages are received, so that it holds the pixels of all of them.
        """
        dropped = self._slots.drop(collected)
        self.duplicates += len(dropped)
        self.done.update(collected)
        decision = Decision(settled=dropped)
        for message in messages:
            self._add(message, plan, decision)
        decision.republications = self.rejected.republications(lambda pixel: self._missing_seeds(pixel, plan))
        return decision

    def missing(self, plan: Plan) -> Iterator[Republication]:
        """Return all tasks of the plan without a fit."""
        for pixel in plan.started:
            seeds = self._missing_seeds(pixel, plan)
            if seeds:
                yield Republication(pixel, "no fit has arrived, but one was rejected", seeds)

    def give_back(self) -> list[Message]:
        """Forget the fits of incomplete pixels; return their messages, to be delivered again."""
        return self._slots.give_back()

    def _add(self, message: Message, plan: Plan, decision: Decision) -> None:
        try:
            fit = self._read(message, plan)
        except RejectedFitError as error:
            self._rejected_messages.add(message, error)
            decision.settled += self.rejected.add(message, error)
            return
        if fit.pixel in self.done:
            self.duplicates += 1
            decision.settled.append(message)
        elif (pixel := self._slots.add(fit)) is not None:
            self.done.add(fit.pixel)
            self.collected += 1
            self.duplicates += len(pixel.sources) - len(pixel.fits)
            decision.best_fits.append(self._best_fit(pixel))
            decision.settled += pixel.sources

    def _read(self, message: Message, plan: Plan) -> SeedFit[Message]:
        fit = self._validator.fit(message)
        if not plan.has_started(fit.pixel):
            raise RejectedFitError(f"the plan has no pixel {fit.pixel.index} of nside {fit.pixel.nside} yet")
        return SeedFit(fit.pixel, fit.seed, fit.llh, message)

    def _missing_seeds(self, pixel: Pixel, plan: Plan) -> set[int]:
        if pixel in self.done or not plan.has_started(pixel):
            return set()
        return set(range(self._scan.seeds)) - self._slots.seeds_of(pixel)

    def _best_fit(self, pixel: CompletePixel[Message]) -> Outgoing:
        kept = pixel.fits if self._scan.keep_all_seeds else pixel.fits[:1]
        return Outgoing(b"".join(fit.source.payload for fit in kept), key=kept[0].pixel.key)
