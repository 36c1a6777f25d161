"""Every decision of the collector, without I/O.

`PixelCollector` decides what becomes of a fit: kept, passed on with its round, or rejected. `RejectedFits` decides
which tasks are published again, and `IdleTimeout` when the collector stops waiting.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from skymap_api.text import bounded_line
from skymap_scanner.broker.protocol import Message, Outgoing
from skymap_scanner.roles.fit_validation import FitValidator, RejectedFitError, TaskName
from skymap_scanner.roles.readers import RejectedMessages
from skymap_scanner.roles.task_frames import PixelFit, decode_statement
from skymap_scanner.roles.work import MAX_FAILURE, WORK_PROPERTY, SeedWork, decode_work, encode_round
from skymap_scanner.scan.best_fits import CompleteRound, SeedFit, Slots
from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.plan import Plan
from skymap_scanner.scan.seeds import Round, RoundSet, Seeding

#: How often a task is republished. The fits of a broken worker are always invalid; a transient error occurs once.
MAX_REPUBLISHES = 3


@dataclass(frozen=True, slots=True)
class Republication:
    """Tasks of one pixel to publish again (``seeds``), and those to publish a failed fit for (``given_up``)."""

    pixel: Pixel
    reason: str
    seeds: Collection[int] = ()
    given_up: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class ReceivedFit:
    """A message on ``scanned``, and the fit in it or the reason why it is rejected."""

    message: Message
    fit: PixelFit | RejectedFitError

    def rounds(self, seeding: Seeding) -> set[Round]:
        """Return the rounds that it names: their entry of the plan must be read before it is decided about."""
        if isinstance(self.fit, RejectedFitError):
            return {Round(pixel, seeding.round_of(seed or 0)) for pixel, seed in self.fit.tasks}
        return {Round(self.fit.pixel, seeding.round_of(self.fit.seed))}


@dataclass
class Decision:
    """Best fits to store, tasks to republish, and the messages to acknowledge once both are done."""

    best_fits: list[Outgoing] = field(default_factory=list)
    republications: list[Republication] = field(default_factory=list)
    to_acknowledge: list[Message] = field(default_factory=list)


class PixelCollector:
    """Collects the fits of every round of a pixel until all its seeds are there; does no I/O.

    ``done`` holds the rounds whose best fit is stored, by this collector or by another, or is in a decision about to be
    stored; a further fit of such a round is a duplicate.
    """

    def __init__(self, validator: FitValidator, topic: str) -> None:
        self._validator = validator
        self._scan = validator.scan
        self._seeding = validator.scan.seeding
        self._slots: Slots[Message] = Slots(self._seeding)
        self._rejected_messages = RejectedMessages(topic)
        self.rejected = RejectedFits()
        self.done = RoundSet()
        self.collected = 0
        self.duplicates = 0

    @property
    def summary(self) -> str:
        """What was collected, for the log."""
        return (
            f"{len(self.done)} rounds are collected, {self.collected} of them here; {self.duplicates} duplicate fits, "
            f"{self._slots.contradictions} of them with a different -ln L; "
            f"{self._rejected_messages.count} messages rejected"
        )

    def validate(self, messages: Iterable[Message]) -> list[ReceivedFit]:
        """Read the fits in the messages."""
        return [ReceivedFit(message, self._fit(message)) for message in messages]

    def known(self, fits: Iterable[ReceivedFit], plan: Plan) -> bool:
        """Return whether the plan holds the rounds of all ``fits``."""
        return all(plan.has_started(*one) for fit in fits for one in fit.rounds(self._seeding))

    def decide(self, fits: Sequence[ReceivedFit], plan: Plan, collected: Iterable[PixelFit] = ()) -> Decision:
        """Decide about new ``fits``, and about those of the rounds whose best fits any collector has ``collected``.

        ``plan`` must be read after the fits are received, unless it holds the rounds of all of them.
        """
        rounds = [self._round(best_fit) for best_fit in collected]
        dropped = self._slots.drop(rounds)
        self.duplicates += len(dropped)
        for one in rounds:
            self.done.add(one)
        decision = Decision(to_acknowledge=dropped)
        for received in fits:
            self._add(received, plan, decision)
        decision.republications = self.rejected.republications(lambda pixel: self._missing_seeds(pixel, plan))
        return decision

    def missing(self, plan: Plan) -> Iterator[Republication]:
        """Return all tasks of the plan without a fit."""
        for pixel in dict.fromkeys(plan.started):
            seeds = self._missing_seeds(pixel, plan)
            if seeds:
                yield Republication(pixel, "no fit has arrived, but one was rejected", seeds)

    def drop_incomplete(self) -> list[Message]:
        """Forget the fits of incomplete rounds; return their messages, to be delivered again."""
        return self._slots.drop_all()

    def _add(self, received: ReceivedFit, plan: Plan, decision: Decision) -> None:
        message, fit = received.message, received.fit
        if not isinstance(fit, RejectedFitError) and not plan.has_started(*self._round(fit)):
            name = f"pixel {fit.pixel.index} of nside {fit.pixel.nside}, seed {fit.seed}"
            fit = RejectedFitError(f"the plan has no {name} yet")
        if isinstance(fit, RejectedFitError):
            self._rejected_messages.add(message, fit)
            decision.to_acknowledge += self.rejected.add(message, fit)
        elif self._round(fit) in self.done:
            self.duplicates += 1
            decision.to_acknowledge.append(message)
        elif (complete := self._slots.add(SeedFit(fit.pixel, fit.seed, fit.llh, message))) is not None:
            self.done.add(self._round(fit))
            self.collected += 1
            self.duplicates += len(complete.sources) - len(complete.fits)
            decision.best_fits.append(self._best_fit(complete))
            decision.to_acknowledge += complete.sources

    def _round(self, fit: PixelFit) -> Round:
        return Round(fit.pixel, self._seeding.round_of(fit.seed))

    def _fit(self, message: Message) -> PixelFit | RejectedFitError:
        try:
            return self._validator.fit(message)
        except RejectedFitError as error:
            return error

    def _missing_seeds(self, pixel: Pixel, plan: Plan) -> set[int]:
        started = (Round(pixel, number) for number in range(plan.rounds_of(pixel)))
        expected = {seed for one in started if one not in self.done for seed in self._seeding.seeds_of(one)}
        return expected - self._slots.seeds_of(pixel)

    def _best_fit(self, complete: CompleteRound[Message]) -> Outgoing:
        kept = complete.fits if self._scan.keep_all_seeds else complete.fits[:1]
        payload = b"".join(fit.source.payload for fit in kept)
        return Outgoing(payload, key=kept[0].pixel.key, properties={WORK_PROPERTY: encode_round(_works(complete))})


def _works(complete: CompleteRound[Message]) -> Iterator[SeedWork]:
    """Yield the work on the fits of a round that state it."""
    for fit in complete.fits:
        if (work := decode_work(fit.source.properties)) is not None:
            failed = math.isnan(fit.llh)
            yield SeedWork(
                seed=fit.seed,
                llh=None if failed else fit.llh,
                failure=bounded_line(decode_statement(fit.source.payload).reason, MAX_FAILURE) if failed else "",
                **work.model_dump(),
            )


class RejectedFits:
    """Decides which tasks are republished because their fits were rejected; does no I/O.

    A task that a rejected fit names is republished, at most `MAX_REPUBLISHES` times, then given up. Any rejected fit
    may belong to a task that it does not name, so the first rejected message stays unacknowledged until an idle timeout
    expires. All tasks without a fit are republished then. If the collector restarts before that, it receives the kept
    message again.
    """

    def __init__(self) -> None:
        self.kept: Message | None = None
        self._reasons: dict[TaskName, str] = {}
        self._rejections: Counter[tuple[Pixel, int]] = Counter()

    def add(self, message: Message, error: RejectedFitError) -> list[Message]:
        """Record a rejected fit; return the messages that may be acknowledged."""
        self._reasons |= dict.fromkeys(error.tasks, str(error))
        if self.kept is None:
            self.kept = message
            return []
        return [message]

    def republications(self, missing_seeds: Callable[[Pixel], set[int]]) -> list[Republication]:
        """Return what to do about the tasks named by the fits that were rejected since the last call.

        ``missing_seeds`` returns the seeds of a pixel without a fit. All of them are republished if a message names a
        pixel and no seed.
        """
        found = []
        for (pixel, seed), reason in self._reasons.items():
            missing = missing_seeds(pixel)
            tasks = missing if seed is None else missing & {seed}
            if tasks:
                found.append(self._republication(pixel, tasks, reason))
        self._reasons.clear()
        return found

    def release(self) -> list[Message]:
        """Return the kept message, if any, so that it can be acknowledged."""
        released = [] if self.kept is None else [self.kept]
        self.kept = None
        return released

    def _republication(self, pixel: Pixel, seeds: set[int], reason: str) -> Republication:
        self._rejections.update((pixel, seed) for seed in seeds)
        given_up = {seed for seed in seeds if self._rejections[pixel, seed] > MAX_REPUBLISHES}
        return Republication(pixel, reason, seeds - given_up, given_up)


class IdleTimeout:
    """Expires after ``first`` seconds without a fit; each time it expires the timeout doubles, up to ``longest``.

    A completed pixel resets it to ``first``. The caller passes the time (s), so the class itself reads no clock.
    """

    def __init__(self, now: float, first: float, longest: float) -> None:
        self._idle_since = now
        self._seconds = self._first = first
        self._longest = longest

    def record(self, now: float, *, fits: int, completed: int) -> None:
        """Record the number of fits received, and of pixels that they completed."""
        if fits:
            self._idle_since = now
        if completed:
            self._seconds = self._first

    def expired(self, now: float) -> bool:
        """Return whether the timeout has expired; if so, restart it with twice the time."""
        if now - self._idle_since < self._seconds:
            return False
        self._idle_since = now
        self._seconds = min(2 * self._seconds, self._longest)
        return True
