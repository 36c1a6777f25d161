"""Seeds: the vertex positions that the fits of one pixel start from, and the rounds in which they are fitted.

A scan either fits every pixel from all seeds, in one round, or from the first seeds only, and where `need` finds it
necessary in a second round, which has a fit from the best neighbour's. On the first level it has the other seeds too;
on finer levels all seeds lie around a solved vertex, and find little more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skymap_scanner.errors import InputError
from skymap_scanner.scan.pixels import Pixel, is_resimulation

#: The vertex itself and 20 m along each axis, in the order of the position variation index (Millipede's scans).
VARIATIONS: tuple[tuple[float, float, float], ...] = (
    (0.0, 0.0, 0.0),
    (-20.0, 0.0, 0.0),
    (20.0, 0.0, 0.0),
    (0.0, -20.0, 0.0),
    (0.0, 20.0, 0.0),
    (0.0, 0.0, -20.0),
    (0.0, 0.0, 20.0),
)


class Round(NamedTuple):
    """One round of a pixel: 0 is that of the first seeds, 1 that of the others."""

    pixel: Pixel
    number: int


@dataclass(frozen=True, slots=True)
class Seeding:
    """Seeds of a pixel around a vertex (``total``), and how many of them every pixel is fitted from (``first``).

    ``first_nside`` is that of the first level. Raises InputError if there are not 1 to 7 seeds, or more first ones than
    seeds.
    """

    total: int
    first: int
    first_nside: int

    def __post_init__(self) -> None:
        check_seeds(self.total)
        if not 1 <= self.first <= self.total:
            raise InputError(f"first seeds {self.first}: choose 1 to {self.total}, the number of seeds")

    @property
    def rounds(self) -> int:
        """Most rounds of a pixel."""
        return 1 if self.first == self.total else 2

    @property
    def fits(self) -> int:
        """Number of different starts of a pixel: its seeds and, with two rounds, the best neighbour's fit."""
        return self.total + self.rounds - 1

    @property
    def neighbour_seed(self) -> int | None:
        """Number of the seed that is the fit of the best neighbour; None if all seeds are fitted at once."""
        return None if self.rounds == 1 else self.total

    def seeds_of(self, one: Round) -> range:
        """Return the seeds of a round; a re-simulation has one."""
        if is_resimulation(one.pixel):
            return range(1)
        if one.number == 0:
            return range(self.first)
        return range(self.first if one.pixel.nside == self.first_nside else self.total, self.fits)

    def round_of(self, seed: int) -> int:
        """Return the round of a seed."""
        return int(seed >= self.first)


class RoundSet:
    """A set of rounds, stored as pixels by number of the round: a scan may have millions."""

    def __init__(self) -> None:
        self._pixels: defaultdict[int, set[Pixel]] = defaultdict(set)

    def __contains__(self, one: Round) -> bool:
        return one.pixel in self._pixels[one.number]

    def __len__(self) -> int:
        return sum(map(len, self._pixels.values()))

    def add(self, one: Round) -> None:
        """Add a round."""
        self._pixels[one.number].add(one.pixel)


def check_seeds(count: int) -> int:
    """Return ``count`` if it is a valid number of seeds; raises InputError if it is not."""
    if not 1 <= count <= len(VARIATIONS):
        raise InputError(f"seeds {count}: choose 1 to {len(VARIATIONS)}")
    return count


def seed_position(vertex: Sequence[float], seed: int) -> tuple[float, float, float]:
    """Return the position of a seed around ``vertex`` (m)."""
    (x, y, z), (dx, dy, dz) = vertex, VARIATIONS[seed]
    return x + dx, y + dy, z + dz


def seed_positions(vertex: Sequence[float], count: int) -> list[tuple[float, float, float]]:
    """Return the first ``count`` seed positions around ``vertex`` (m)."""
    return [seed_position(vertex, seed) for seed in range(count)]
