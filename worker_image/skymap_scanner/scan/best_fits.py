"""Chooses the best fit of a pixel among the seeds of a round. A duplicate changes nothing, and NaN never wins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from skymap_scanner.scan.pixels import Pixel
from skymap_scanner.scan.seeds import Round, Seeding

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SeedFit(Generic[T]):
    """A fit for the choice: its pixel, seed and -ln L (NaN: failed), and the message that holds it (``source``)."""

    pixel: Pixel
    seed: int
    llh: float
    source: T


@dataclass(frozen=True, slots=True)
class CompleteRound(Generic[T]):
    """The fits of all seeds of a round, best first, and all their messages, including duplicates."""

    fits: Sequence[SeedFit[T]]
    sources: Sequence[T]


def best_first(fits: Sequence[SeedFit[T]]) -> list[SeedFit[T]]:
    """Sort by -ln L, failed fits last, ties by seed, so the order does not depend on the order of arrival."""
    return sorted(fits, key=lambda fit: (math.isnan(fit.llh), 0.0 if math.isnan(fit.llh) else fit.llh, fit.seed))


@dataclass
class Slots(Generic[T]):
    """The fits of incomplete rounds; a round is complete with the fits of all its seeds."""

    seeding: Seeding
    #: Duplicates with another -ln L than the first fit of their seed.
    contradictions: int = 0
    _open: dict[Round, list[SeedFit[T]]] = field(default_factory=dict)

    def add(self, fit: SeedFit[T]) -> CompleteRound[T] | None:
        """Add a fit; if it completes its round, forget the round and return it."""
        one = Round(fit.pixel, self.seeding.round_of(fit.seed))
        arrived = self._open.setdefault(one, [])
        first = next((other for other in arrived if other.seed == fit.seed), None)
        self.contradictions += first is not None and not _same(first.llh, fit.llh)
        arrived.append(fit)
        by_seed = {other.seed: other for other in reversed(arrived)}  # the first to arrive counts
        if len(by_seed) < len(self.seeding.seeds_of(one)):
            return None
        del self._open[one]
        return CompleteRound(best_first(list(by_seed.values())), [other.source for other in arrived])

    def seeds_of(self, pixel: Pixel) -> set[int]:
        """Return the seeds of the pixel's incomplete rounds that have a fit."""
        rounds = (Round(pixel, number) for number in range(self.seeding.rounds))
        return {fit.seed for one in rounds for fit in self._open.get(one, ())}

    def drop(self, rounds: Iterable[Round]) -> list[T]:
        """Forget the incomplete rounds among ``rounds``; return the messages of their fits."""
        return [fit.source for one in rounds for fit in self._open.pop(one, ())]

    def drop_all(self) -> list[T]:
        """Forget all incomplete rounds; return the messages of their fits."""
        return self.drop([*self._open])


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
