"""The operator's metrics for Prometheus. Their names are part of the interface: ``docs/reference/metrics.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from skymap_api.names import NamespacedName
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.observe.state import Backlog
from skymap_operator.runtime.workqueue import By

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: How a look can end.
DONE, REFUSED, PULSAR_AWAY, CLUSTER_AWAY, CHANGED, GONE, FAILED = (
    "done",
    "refused",
    "pulsar_away",
    "cluster_away",
    "changed",
    "gone",
    "failed",
)
OUTCOMES = (DONE, REFUSED, PULSAR_AWAY, CLUSTER_AWAY, CHANGED, GONE, FAILED)

_OVER = (Phase.SUCCEEDED, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is told of one scan: its status, its queue where that could be read, and how long it may take (s)."""

    status: SkymapScanStatus
    tasks: Backlog | None = None
    target: float | None = None

    @property
    def degraded(self) -> Reason | None:
        """What is in its way."""
        return self._reason(ConditionType.DEGRADED, "True")

    @property
    def failed(self) -> Reason | None:
        """Why it has failed."""
        return self._reason(ConditionType.SUCCEEDED, "False")

    def _reason(self, kind: ConditionType, truth: str) -> Reason | None:
        found = (one.reason for one in self.status.conditions if (one.type, one.status) == (kind, truth))
        return next(found, None)


class Metrics:
    """The operator's figures, in a registry of their own."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._registry = CollectorRegistry()
        self._looks = Counter(
            "skymap_operator_looks", "Looks at scans, by how they ended", ["outcome"], registry=self._registry
        )
        for outcome in OUTCOMES:
            self._looks.labels(outcome)
        self._seconds = Histogram(
            "skymap_operator_look_seconds",
            "How long a look took, with all that was done (s)",
            buckets=(0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=self._registry,
        )
        self._decisions = Counter(
            "skymap_operator_scaling_decisions",
            "Decisions about the number of workers of a scan, one a look, by what they did and why",
            ["direction", "cause"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "skymap_operator_reconcile_latency_seconds",
            "From when a look was due to its end, by what it was due: news, or its time (s)",
            ["by"],
            buckets=(0.1, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 60),
            registry=self._registry,
        )
        for by in By:
            self._latency.labels(by.value)
        self._requests = Counter(
            "skymap_operator_api_requests",
            "Requests sent, by to whom and by the answer (none: without)",
            ["to", "method", "code"],
            registry=self._registry,
        )
        self._scans = Gauge("skymap_operator_scans", "Scans, by their phase", ["phase"], registry=self._registry)
        self._degraded = Gauge(
            "skymap_operator_scans_degraded", "Scans that something is in the way of", registry=self._registry
        )
        self._wanted = Gauge("skymap_operator_workers_wanted", "Workers wanted, of all scans", registry=self._registry)
        self._overdue = Gauge(
            "skymap_operator_overdue_seconds", "For how long the latest look is due (s)", registry=self._registry
        )
        self._seen: dict[NamespacedName, Seen] = {}
        self._registry.register(_Scans(self._seen, clock))

    def looked(self, outcome: str, seconds: float) -> None:
        """Count a look."""
        self._looks.labels(outcome).inc()
        self._seconds.observe(seconds)

    def scaled(self, direction: Direction, cause: Cause) -> None:
        """Count a decision about the number of workers."""
        self._decisions.labels(direction.value, cause.value).inc()

    def late(self, seconds: float, by: By) -> None:
        """Take in how long after it was due a look has ended, and by what it was due."""
        self._latency.labels(by.value).observe(seconds)

    def asked(self, to: str, method: str, code: int | None) -> None:
        """Count a request to ``kubernetes`` or ``pulsar``; ``code`` of the answer, None where there was none."""
        self._requests.labels(to, method, "none" if code is None else str(code)).inc()

    def seen(self, key: NamespacedName, seen: Seen | None) -> None:
        """Take a scan into the figures; None: the scan is gone, and its own figures with it."""
        if seen is None:
            self._seen.pop(key, None)
        else:
            self._seen[key] = seen

    def text(self, overdue: float) -> bytes:
        """Return all figures in Prometheus' text format."""
        phases = [seen.status.phase for seen in self._seen.values()]
        for phase in Phase:
            self._scans.labels(phase.value).set(phases.count(phase))
        self._degraded.set(sum(seen.degraded is not None for seen in self._seen.values()))
        workers = [seen.status.workers for seen in self._seen.values()]
        self._wanted.set(sum(one.wanted for one in workers if one is not None))
        self._overdue.set(overdue)
        return generate_latest(self._registry)


class _Scans(Collector):
    """The figures of each scan; of one that is done only those that stay."""

    def __init__(self, seen: dict[NamespacedName, Seen], clock: Callable[[], datetime]) -> None:
        self._seen = seen
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Make the figures, anew each time: a scan that is gone leaves none behind."""
        families = (
            _Family("workers", "Workers of a scan that goes on", "state"),
            _Family("tasks", "Fits of a scan that wait for a worker, and that workers have in hand", "state"),
            _Family("pixels", "Pixels of a scan", "state"),
            _Family("degraded", "1 for a scan that something is in the way of, with the reason", "reason"),
            _Family("failed", "1 for a scan that has failed, with the reason", "reason"),
            _Family("seconds", "Of a scan that goes on: since it started, to its end by estimate, and target", "state"),
        )
        for key, seen in self._seen.items():
            for family, figures in zip(families, _figures(seen, self._clock()), strict=True):
                for label, value in figures.items():
                    family.add_metric([key.namespace, key.name, label], value)
        return families


class _Family(GaugeMetricFamily):
    """A figure of each scan."""

    def __init__(self, name: str, help_text: str, label: str) -> None:
        super().__init__(f"skymap_scan_{name}", help_text, labels=["namespace", "scan", label])


def _figures(seen: Seen, now: datetime) -> tuple[dict[str, float], ...]:
    """Return workers, tasks, pixels and degraded of one scan, by their last label; none of what is not known."""
    goes_on, pixels = seen.status.phase not in _OVER, seen.status.pixels
    workers, tasks = (seen.status.workers, seen.tasks) if goes_on else (None, None)
    return (
        {} if workers is None else {"wanted": workers.wanted, "ready": workers.ready, "busy": workers.busy},
        {} if tasks is None else {"waiting": tasks.waiting, "in_hand": tasks.unacked},
        {} if pixels is None else {"done": pixels.done, "planned": pixels.planned, "failed": pixels.failed},
        {} if seen.degraded is None else {seen.degraded.value: 1},
        {} if seen.failed is None else {seen.failed.value: 1},
        _seconds(seen, now) if goes_on else {},
    )


def _seconds(seen: Seen, now: datetime) -> dict[str, float]:
    """Return how long a scan has taken, will take, and may take; nothing of one that has not started."""
    start, eta = seen.status.start_time, seen.status.eta
    if start is None:
        return {}
    elapsed = {"elapsed": max((now - start).total_seconds(), 0.0)}
    left = {} if eta is None else {"left": max((eta - now).total_seconds(), 0.0)}
    return elapsed | left | ({} if seen.target is None else {"target": seen.target})
