"""What follows from a rejected fit: the tasks it may have answered are republished, and finally given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from skymap_scanner.broker.protocol import Message
from skymap_scanner.roles.fit_validation import RejectedFitError, TaskName
from skymap_scanner.scan.pixels import Pixel

#: How often a task is republished. A broken worker always answers wrong; one hit by chance answers wrong once.
MAX_REPUBLISHES = 3


@dataclass(frozen=True, slots=True)
class Republication:
    """Tasks of one pixel to publish again (``seeds``), and those to answer with a failed fit (``given_up``)."""

    pixel: Pixel
    reason: str
    seeds: Collection[int] = ()
    given_up: Collection[int] = ()


class RejectedFits:
    """Decides which tasks are republished because their fits were rejected; does no I/O.

    A task that a rejected fit names is republished, at most `MAX_REPUBLISHES` times, then given up. A rejected fit may
    also have answered a task that it does not name. Such an unattributed rejection cannot be resolved at once, so the
    first rejected message is kept unacknowledged until an idle timeout expires. All tasks without a fit are republished
    then. A collector that restarts before receives the kept message again.
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
