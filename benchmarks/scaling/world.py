"""A discrete-event simulation of Kubernetes and Pulsar: pods start, nodes fail, workers fit, tasks are redelivered.

A policy uses `World.at`, `World.look` and `World.resize`; the rest happens by events.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.scaling.parts import SEEDS, Node, Order, Pod, Scan
from benchmarks.scaling.replicaset import Place, leave_first

#: From the resource to the first task in the queue, and from a level's last fit to the next level's tasks (s), as
#: measured on a small cluster.
PREPARE, DECIDE = 10.0, 1.0
#: A worker's start beyond its container's: imports and the event's tables (s; docs/how-to/build-images.md).
SET_UP = 1.3
#: From a decision to the ReplicaSet's action; and from SIGTERM to the end of a worker without a fit (s).
ACT, LEAVE = 1.0, 1.0
#: A dead node: the broker misses its workers after twice keepAliveIntervalSeconds; Kubernetes calls it unreachable
#: after --node-monitor-grace-period, and evicts its pods after the toleration that every pod has by default (s).
BROKER_NOTICES, UNREACHABLE, EVICTED = 60.0, 50.0, 50.0 + 300.0


@dataclass(frozen=True)
class Site:
    """The cluster. ``start``: median and sigma of a container's start (s); ``pull``: least and most for an image."""

    nodes: int = 40
    places: int = 16
    start: tuple[float, float] = (1.5, 0.5)
    pull: tuple[float, float] = (10.0, 30.0)
    #: When some nodes die (s), and how many.
    loss: tuple[float, int] | None = None
    #: From when to when (s) statistics cannot be read.
    silent: tuple[float, float] | None = None


@dataclass(frozen=True)
class Look:
    """What a policy can observe of a scan; ``waiting`` and ``in_flight`` are None if statistics are unavailable.

    ``done``, ``spent``: the broker's figures for the connected workers, as the operator reads them.
    """

    waiting: int | None
    in_flight: int | None
    busy: list[Pod]
    ready: int
    done: int = 0
    spent: float = 0.0


@dataclass(frozen=True)
class Sample:
    """One moment of one scan, for the picture."""

    time: float
    backlog: int
    wanted: int
    ready: int
    busy: int


class Policy(Protocol):
    """Decides the number of workers."""

    #: Grace period of a terminated worker (s).
    grace: float

    def begin(self, world: World, scan: Scan) -> None:
        """Start to scale a scan."""


class World:
    """One run: a cluster, some scans, one policy."""

    def __init__(self, site: Site, orders: Sequence[Order], policy: Policy, seed: int) -> None:
        self.now = 0.0
        self.scans: list[Scan] = []
        self._site = site
        self._policy = policy
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._nodes = [Node(number, site.places) for number in range(site.nodes)]
        self._homeless: deque[Pod] = deque()
        for number, order in enumerate(orders):
            seconds = order.fits.draw(sum(order.levels) * SEEDS, seed * 1000 + number)
            scan = Scan(order, seconds, open_seeds=[SEEDS] * sum(order.levels))
            self.scans.append(scan)
            self.at(order.arrives, policy.begin, self, scan)
            self.at(order.arrives + PREPARE, self._queue_level, scan)
        if site.loss is not None:
            self.at(site.loss[0], self._lose_nodes, site.loss[1])

    def at(self, time: float, act: Callable[..., None], *what: Any) -> None:
        """Schedule an event at a time (s)."""
        self._count += 1
        heapq.heappush(self._events, (time, self._count, act, what))

    def run(self) -> None:
        """Process events until none is left."""
        events, pop = self._events, heapq.heappop
        while events:
            self.now, _, act, what = pop(events)
            act(*what)

    def trace(self, scan: Scan, every: float) -> list[Sample]:
        """Take samples of a scan until it has finished."""
        samples: list[Sample] = []

        def sample() -> None:
            ready = sum(pod.ready is not None and not pod.leaving for pod in scan.pods)
            backlog = scan.waiting + scan.in_flight
            samples.append(Sample(self.now, backlog, scan.wanted, ready, len(scan.busy())))
            if scan.finished is None:
                self.at(self.now + every, sample)

        self.at(scan.order.arrives, sample)
        return samples

    def look(self, scan: Scan) -> Look:
        """Return what a policy can observe of a scan."""
        silent = self._site.silent
        away = silent is not None and silent[0] <= self.now < silent[1]
        ready = sum(pod.ready is not None and pod.seen_ready and not pod.leaving for pod in scan.pods)
        if away:
            return Look(None, None, [], ready)
        connected = [(pod.had - 1, pod.began - pod.connected) for pod in scan.pods if pod.had and pod.connected]
        done, spent = (sum(figures) for figures in zip((0, 0.0), *connected, strict=True))
        return Look(scan.waiting, scan.in_flight, scan.busy(), ready, int(done), spent)

    def resize(self, scan: Scan, wanted: int, busy: Sequence[Pod] | None = None) -> None:
        """Set the number of workers; with ``busy``, first mark these pods to stay."""
        if scan.finished is None:
            scan.wanted = wanted
            self.at(self.now + ACT, self._replicate, scan, busy)

    def _replicate(self, scan: Scan, busy: Sequence[Pod] | None) -> None:
        active = [pod for pod in scan.pods if not pod.leaving]
        if busy is not None:
            marked = set(busy)
            for pod in active:
                pod.cost = 100 if pod in marked else 0
        wanted = 0 if scan.finished is not None else scan.wanted
        for _ in range(wanted - len(active)):
            pod = Pod(scan, self.now, self._chance.random())
            scan.pods[pod] = None
            self._homeless.append(pod)
        self._schedule()
        if len(active) > wanted:
            for pod in leave_first(active, len(active) - wanted, _place, self.now):
                self._dismiss(pod)

    def _schedule(self) -> None:
        """Bind pods in order, each to the node with most room."""
        while self._homeless:
            pod = self._homeless[0]
            if not pod.over:
                node = max(self._nodes, key=_room)
                if node.free < 1 or node.lost:
                    return
                self._bind(pod, node)
            self._homeless.popleft()

    def _bind(self, pod: Pod, node: Node) -> None:
        node.free -= 1
        pod.node, pod.bound = node, self.now
        if node.image_at is None:
            node.image_at = self.now + self._chance.uniform(*self._site.pull)
        median, sigma = self._site.start
        start = median * self._chance.lognormvariate(0.0, sigma)
        self.at(max(self.now, node.image_at) + start, self._ready, pod)

    def _ready(self, pod: Pod) -> None:
        if pod.over:
            return
        pod.ready = self.now
        if pod.scan.started is None:
            pod.scan.started = self.now
        self.at(self.now + SET_UP, self._able, pod)

    def _able(self, pod: Pod) -> None:
        if not pod.over and not pod.leaving:
            pod.connected = self.now
            self._next(pod)

    def _next(self, pod: Pod) -> None:
        """Give a worker the next task, redelivered ones first."""
        scan = pod.scan
        if scan.again:
            task = scan.again.popleft()
        elif scan.next_task < scan.queued:
            task = scan.next_task
            scan.next_task += 1
        else:
            scan.idle[pod] = None
            return
        scan.in_flight += 1
        pod.task, pod.began, pod.had = task, self.now, pod.had + 1
        pod.until = self.now + scan.seconds[task]
        self.at(pod.until, self._done, pod, task)

    def _done(self, pod: Pod, task: int) -> None:
        if pod.over:
            return
        scan = pod.scan
        scan.in_flight -= 1
        seconds = scan.seconds[task]
        scan.useful += seconds
        pod.worked += seconds
        pod.task = None
        if pod.leaving:
            self._end(pod)
        else:
            self._next(pod)
        pixel = task // SEEDS
        scan.open_seeds[pixel] -= 1
        if not scan.open_seeds[pixel]:
            self._pixel_done(scan)

    def _pixel_done(self, scan: Scan) -> None:
        scan.pixels_done += 1
        if scan.pixels_done == scan.planned:
            scan.finished = self.now
            self._replicate(scan, None)
        elif scan.pixels_done == sum(scan.order.levels[: scan.level + 1]):
            self.at(self.now + DECIDE, self._queue_level, scan)

    def _queue_level(self, scan: Scan) -> None:
        scan.level += 1
        scan.queued += scan.order.levels[scan.level] * SEEDS
        self._wake(scan)

    def _wake(self, scan: Scan) -> None:
        """Give waiting tasks to idle workers."""
        while scan.idle and scan.waiting:
            pod = next(iter(scan.idle))
            del scan.idle[pod]
            self._next(pod)

    def _dismiss(self, pod: Pod) -> None:
        """Terminate a worker (SIGTERM): it finishes its fit if the grace period is long enough."""
        pod.leaving = True
        pod.scan.idle.pop(pod, None)
        if pod.task is None or (pod.node is not None and pod.node.lost):
            self.at(self.now + (LEAVE if pod.ready is not None else 0.0), self._end, pod)
            return
        pod.scan.asked += 1
        if pod.until > self.now + self._policy.grace:
            self.at(self.now + self._policy.grace, self._kill, pod)

    def _kill(self, pod: Pod) -> None:
        if pod.over or pod.task is None:
            return
        pod.scan.killed += 1
        self._give_back(pod)
        self._end(pod)

    def _give_back(self, pod: Pod) -> None:
        scan, task = pod.scan, pod.task
        if task is not None:
            pod.task = None
            scan.in_flight -= 1
            scan.again.append(task)
            self._wake(scan)

    def _end(self, pod: Pod) -> None:
        if pod.over:
            return
        pod.over = True
        pod.scan.pods.pop(pod, None)
        node = pod.node
        if node is not None and not node.lost:
            pod.scan.paid += self.now - pod.bound
            node.free += 1
            self._schedule()

    def _lose_nodes(self, count: int) -> None:
        """Fail the fullest nodes: their pods and in-flight tasks are lost, which nobody has noticed yet."""
        for node in sorted(self._nodes, key=lambda one: one.free)[:count]:
            node.lost, node.free = True, 0
        for scan in self.scans:
            for pod in [pod for pod in scan.pods if pod.node is not None and pod.node.lost]:
                pod.over = True
                scan.paid += self.now - pod.bound
                scan.idle.pop(pod, None)
                self.at(self.now + BROKER_NOTICES, self._give_back, pod)
                self.at(self.now + UNREACHABLE, _unready, pod)
                self.at(self.now + EVICTED, self._evict, pod)

    def _evict(self, pod: Pod) -> None:
        """Remove a lost pod from its ReplicaSet, which then creates another."""
        if pod.scan.pods.pop(pod, pod) is None:
            self._replicate(pod.scan, None)


def _unready(pod: Pod) -> None:
    pod.seen_ready = False


def _room(node: Node) -> int:
    return -1 if node.lost else node.free


def _place(pod: Pod) -> Place:
    node = None if pod.node is None else pod.node.number
    ready = pod.ready if pod.seen_ready else None
    return Place(pod.created, pod.uid, node, pod.ready is not None, ready, pod.cost)
