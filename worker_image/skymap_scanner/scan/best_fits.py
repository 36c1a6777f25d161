"""Best of the seeds: what the collector decides. A repeat changes nothing, a NaN never wins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from skymap_scanner.scan.pixels import Pixel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SeedFit(Generic[T]):
    """A fit as far as the choice goes: its pixel, seed and -ln L (NaN: failed), and the message it came in."""

    pixel: Pixel
    seed: int
    llh: float
    source: T


@dataclass(frozen=True, slots=True)
class CompletePixel(Generic[T]):
    """A pixel with all its fits, best first, and every message that brought them, repeats included."""

    fits: Sequence[SeedFit[T]]
    sources: Sequence[T]


def best_first(fits: Sequence[SeedFit[T]]) -> list[SeedFit[T]]:
    """Sort by -ln L, failed fits last, ties by seed: the order does not depend on the order of arrival."""
    return sorted(fits, key=lambda fit: (math.isnan(fit.llh), 0.0 if math.isnan(fit.llh) else fit.llh, fit.seed))


@dataclass
class Slots(Generic[T]):
    """The fits of the pixels that are not complete yet; ``seeds`` fits complete a pixel."""

    seeds: int
    #: Repeats whose -ln L was not that of the first to arrive.
    contradictions: int = 0
    _open: dict[Pixel, list[SeedFit[T]]] = field(default_factory=dict)

    def add(self, fit: SeedFit[T]) -> CompletePixel[T] | None:
        """Keep ``fit``; when it completes its pixel, return the pixel and forget it."""
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
        """Return the seeds of a pixel whose fits are here."""
        return {fit.seed for fit in self._open.get(pixel, ())}

    def drop(self, pixels: Iterable[Pixel]) -> list[T]:
        """Forget those of ``pixels`` that are open here; return the messages of their fits."""
        return [one.source for pixel in pixels for one in self._open.pop(pixel, ())]

    def give_back(self) -> list[T]:
        """Forget all open pixels; return the messages of their fits."""
        return self.drop([*self._open])


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
