"""The parts of the simulated world: fits, scans, nodes and pods, with what is measured of each scan."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

#: The pixels of the levels 8:0 64:12 512:24: each parent has 64.
DEFAULT_LEVELS = (768, 12 * 64, 24 * 64)
SEEDS = 7


@dataclass(frozen=True)
class Fits:
    """Durations of fits (s): lognormal, a few from a Pareto distribution; none longer than a worker's time limit."""

    median: float = 2.0
    sigma: float = 0.7
    heavy: float = 0.005
    heavy_from: float = 10.0
    heavy_index: float = 2.5
    longest: float = 600.0

    def draw(self, count: int, seed: int) -> list[float]:
        """Draw durations, the same for every policy."""
        chance = np.random.default_rng([seed, count])
        times = chance.lognormal(np.log(self.median), self.sigma, count)
        tail = self.heavy_from * (1.0 + chance.pareto(self.heavy_index, count))
        times = np.where(chance.random(count) < self.heavy, tail, times)
        taken: list[float] = np.minimum(times, self.longest).tolist()
        return taken


@dataclass(frozen=True)
class Order:
    """A requested scan: arrival (s), pixels of each level, target time and limits."""

    name: str
    arrives: float = 0.0
    levels: tuple[int, ...] = DEFAULT_LEVELS
    fits: Fits = Fits()
    target: float = 900.0
    maximum: int = 500
    urgent: bool = False


@dataclass(eq=False, slots=True)
class Node:
    """A machine with places for workers; ``image_at``: when it has the image, None before the first pod."""

    number: int
    free: int
    image_at: float | None = None
    lost: bool = False


@dataclass(eq=False, slots=True)
class Pod:
    """A worker. ``ready``: since when it runs; ``seen_ready``: what Kubernetes reports.

    ``connected``: since when it takes tasks; ``had``: how many. ``task``, ``began``, ``until``: the fit in hand, since
    and until when; ``worked``: the seconds of all before.
    """

    scan: Scan
    created: float
    uid: float
    node: Node | None = None
    bound: float = 0.0
    ready: float | None = None
    seen_ready: bool = True
    connected: float | None = None
    had: int = 0
    task: int | None = None
    began: float = 0.0
    until: float = 0.0
    worked: float = 0.0
    cost: int = 0
    leaving: bool = False
    over: bool = False


@dataclass(eq=False)
class Scan:
    """A running scan: its queue, its workers and its results."""

    order: Order
    seconds: list[float]
    pods: dict[Pod, None] = field(default_factory=dict)
    idle: dict[Pod, None] = field(default_factory=dict)
    wanted: int = 0
    level: int = -1
    next_task: int = 0
    queued: int = 0
    again: deque[int] = field(default_factory=deque)
    in_flight: int = 0
    open_seeds: list[int] = field(default_factory=list)
    pixels_done: int = 0
    started: float | None = None
    finished: float | None = None
    paid: float = 0.0
    useful: float = 0.0
    asked: int = 0
    killed: int = 0

    @property
    def waiting(self) -> int:
        """Tasks in the queue."""
        return len(self.again) + self.queued - self.next_task

    @property
    def planned(self) -> int:
        """Pixels of all levels."""
        return sum(self.order.levels)

    @property
    def producer_done(self) -> bool:
        """Whether the last level is queued."""
        return self.level == len(self.order.levels) - 1

    def busy(self) -> list[Pod]:
        """Return the workers that have an in-flight task and are not terminating."""
        return [pod for pod in self.pods if pod.task is not None and not pod.leaving]
