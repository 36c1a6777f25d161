"""Chooses the best fit of a pixel among its seeds. A duplicate changes nothing, and NaN never wins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from skymap_scanner.scan.pixels import Pixel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SeedFit(Generic[T]):
    """A fit for the choice: its pixel, seed and -ln L (NaN: failed), and the message that holds it (``source``)."""

    pixel: Pixel
    seed: int
    llh: float
    source: T


@dataclass(frozen=True, slots=True)
class CompletePixel(Generic[T]):
    """A pixel with the fits of all seeds, best first, and all their messages, including duplicates."""

    fits: Sequence[SeedFit[T]]
    sources: Sequence[T]


def best_first(fits: Sequence[SeedFit[T]]) -> list[SeedFit[T]]:
    """Sort by -ln L, failed fits last, ties by seed, so the order does not depend on the order of arrival."""
    return sorted(fits, key=lambda fit: (math.isnan(fit.llh), 0.0 if math.isnan(fit.llh) else fit.llh, fit.seed))


@dataclass
class Slots(Generic[T]):
    """The fits of incomplete pixels; a pixel is complete with the fits of ``seeds`` seeds."""

    seeds: int
    #: Duplicates with another -ln L than the first fit of their seed.
    contradictions: int = 0
    _open: dict[Pixel, list[SeedFit[T]]] = field(default_factory=dict)

    def add(self, fit: SeedFit[T]) -> CompletePixel[T] | None:
        """Add a fit; if it completes its pixel, forget the pixel and return it."""
        arrived = self._open.setdefault(fit.pixel, [])
        first = next((one for one in arrived if one.seed == fit.seed), None)
        self.contradictions += first is not None and not _same(first.llh, fit.llh)
        arrived.append(fit)
        by_seed = {one.seed: one for one in reversed(arrived)}  # the first to arrive counts
        if len(by_seed) < self.seeds:
            return None
        del self._open[fit.pixel]
        return CompletePixel(best_first(list(by_seed.values())), [one.source for one in arrived])

    def seeds_of(self, pixel: Pixel) -> set[int]:
        """Return the seeds of a pixel that have a fit."""
        return {fit.seed for fit in self._open.get(pixel, ())}

    def drop(self, pixels: Iterable[Pixel]) -> list[T]:
        """Forget the incomplete pixels among ``pixels``; return the messages of their fits."""
        return [one.source for pixel in pixels for one in self._open.pop(pixel, ())]

    def drop_all(self) -> list[T]:
        """Forget all incomplete pixels; return the messages of their fits."""
        return self.drop([*self._open])


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
