"""Policies for the number of workers: the operator, KEDA, an HPA by CPU, and a fixed number."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.scaling.hpa import SYNC, Stabilizer, by_average_value, by_utilization
from benchmarks.scaling.parts import Pod, Scan
from benchmarks.scaling.world import Look, World

from skymap_operator.decide.allocation import Desired, allocate
from skymap_operator.decide.scaling import Demand, learned_seconds, scale

#: terminationGracePeriodSeconds: that of our Deployments, longer than the longest fit; and Kubernetes' default (s).
LONG_GRACE, SHORT_GRACE = 630.0, 30.0


@dataclass
class Operator:
    """The operator's own functions, called as its plan calls them, with the default settings."""

    ceiling: int = 1000
    interval: float = 10.0
    retry: float = 5.0
    startup: float = 20.0
    first: int = 8
    known: float = 1.0
    grace: float = LONG_GRACE
    _created: dict[str, datetime] = field(default_factory=dict)
    _desired: dict[str, Desired] = field(default_factory=dict)
    _learned: dict[str, float] = field(default_factory=dict)

    def begin(self, world: World, scan: Scan) -> None:
        """Decide now and at each interval."""
        self._created[scan.order.name] = datetime.fromtimestamp(len(self._created), UTC)
        self._tick(world, scan)

    def _tick(self, world: World, scan: Scan) -> None:
        name = scan.order.name
        if scan.finished is not None:
            self._desired.pop(name, None)
            return
        look = world.look(scan)
        self._learned[name] = learned_seconds(look.done, look.spent) or self._learned.get(name, self.known)
        wanted = scale(self._demand(world, scan, look, None)).replicas
        self._desired[name] = Desired(wanted, scan.order.urgent, self._created[name])
        allocation = allocate(self._desired, self.ceiling)[name]
        if allocation < wanted:
            wanted = scale(self._demand(world, scan, look, allocation)).replicas
        changed = wanted != scan.wanted
        if changed:
            world.resize(scan, wanted, look.busy)
        world.at(world.now + (self.retry if changed else self.interval), self._tick, world, scan)

    def _demand(self, world: World, scan: Scan, look: Look, allocation: int | None) -> Demand:
        return Demand(
            waiting=look.waiting,
            in_flight=look.in_flight,
            planned=len(scan.seconds) - scan.queued,
            busy=len(look.busy),
            current=scan.wanted,
            pending=max(scan.wanted - look.ready, 0),
            producer_done=scan.producer_done,
            minimum=0,
            maximum=scan.order.maximum,
            seconds_per_task=self._learned[scan.order.name],
            startup=self.startup,
            elapsed=0.0 if scan.started is None else world.now - scan.started,
            target=scan.order.target,
            allocation=allocation,
            first=self.first,
        )


@dataclass
class Keda:
    """KEDA's Pulsar scaler with an HPA behind it.

    Sources: https://keda.sh/docs/latest/scalers/pulsar/ (msgBacklog, which counts unacknowledged messages too, over
    msgBacklogThreshold, 10 by default, as an average value; active above activationMsgBacklogThreshold, 0),
    https://keda.sh/docs/latest/reference/scaledobject-spec/ (pollingInterval 30 s, cooldownPeriod 300 s before zero;
    without a fallback nothing changes while the metric fails). KEDA itself goes from zero to one and back, the HPA asks
    it for the metric and does the rest (https://keda.sh/docs/latest/concepts/).
    """

    threshold: float = 10.0
    grace: float = LONG_GRACE
    polling: float = 30.0
    cooldown: float = 300.0
    _active: dict[Scan, float] = field(default_factory=dict)

    def begin(self, world: World, scan: Scan) -> None:
        """Start the polling and the HPA."""
        self._poll(world, scan)
        world.at(world.now + SYNC, self._sync, world, scan, Stabilizer(1, scan.order.maximum))

    def _poll(self, world: World, scan: Scan) -> None:
        if scan.finished is not None:
            return
        backlog = _backlog(world.look(scan))
        if backlog:
            self._active[scan] = world.now
            if scan.wanted == 0:
                world.resize(scan, 1)
        elif backlog == 0 and scan.wanted and world.now > self._active[scan] + self.cooldown:
            world.resize(scan, 0)
        world.at(world.now + self.polling, self._poll, world, scan)

    def _sync(self, world: World, scan: Scan, stabilizer: Stabilizer) -> None:
        if scan.finished is not None:
            return
        backlog = _backlog(world.look(scan))
        if scan.wanted and backlog is not None:
            desired = by_average_value(backlog, self.threshold, scan.wanted)
            _set(world, scan, stabilizer.settle(world.now, scan.wanted, desired))
        world.at(world.now + SYNC, self._sync, world, scan, stabilizer)


@dataclass
class Hpa:
    """A HorizontalPodAutoscaler by CPU: a fit uses all of its worker's request, waiting uses nothing. Never zero."""

    target: float = 0.7
    grace: float = LONG_GRACE
    _before: dict[Pod, float] = field(default_factory=dict)

    def begin(self, world: World, scan: Scan) -> None:
        """Start with one worker."""
        world.resize(scan, 1)
        world.at(world.now + SYNC, self._sync, world, scan, Stabilizer(1, scan.order.maximum))

    def _sync(self, world: World, scan: Scan, stabilizer: Stabilizer) -> None:
        if scan.finished is not None:
            return
        usages, unready = [], 0
        for pod in scan.pods:
            if pod.leaving or pod.over:
                continue
            busy = pod.worked + (world.now - pod.began if pod.task is not None else 0.0)
            before = self._before.get(pod)
            if pod.ready is not None:
                self._before[pod] = busy
            if before is None:  # not ready for a whole window of metrics yet
                unready += 1
            else:
                usages.append((busy - before) / SYNC)
        desired = by_utilization(usages, unready, scan.wanted, self.target)
        _set(world, scan, stabilizer.settle(world.now, scan.wanted, desired))
        world.at(world.now + SYNC, self._sync, world, scan, stabilizer)


@dataclass
class Fixed:
    """A fixed number of workers from start to end."""

    workers: int
    grace: float = LONG_GRACE

    def begin(self, world: World, scan: Scan) -> None:
        """Start the workers."""
        world.resize(scan, self.workers)


def _backlog(look: Look) -> int | None:
    """Return Pulsar's msgBacklog: waiting and in-flight tasks."""
    return None if look.waiting is None or look.in_flight is None else look.waiting + look.in_flight


def _set(world: World, scan: Scan, wanted: int) -> None:
    if wanted != scan.wanted:
        world.resize(scan, wanted)
