"""The operator's metrics for Prometheus.

Names follow those of controller-runtime (https://book.kubebuilder.io/reference/metrics-reference) with our prefix. They
are part of the interface: ``docs/reference/metrics.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from skymap_api.names import NamespacedName
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import ConditionType, Phase
from skymap_operator.cluster.clock import ServerClock
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.runtime.workqueue import Load, Trigger

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_WAITS = (0.1, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 60)
_FINISHED = (Phase.SUCCEEDED, Phase.FAILED)


class Result(StrEnum):
    """How a reconcile ended."""

    SUCCESS = "success"
    REFUSED = "refused"
    PULSAR_UNAVAILABLE = "pulsar_unavailable"
    API_SERVER_UNAVAILABLE = "api_server_unavailable"
    CONFLICT = "conflict"
    DELETED = "deleted"
    OTHER_OPERATOR = "other_operator"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """What the metrics show of a scan: its status, its task queue if that could be read, and its target time (s)."""

    status: SkymapScanStatus
    tasks: Subscription | None = None
    target: float | None = None

    def reason(self, kind: ConditionType, truth: str) -> dict[str, float]:
        """Return 1 by the reason of a condition if the condition has this status."""
        found = self.status.condition(kind)
        return {found.reason.value: 1} if found is not None and found.status == truth else {}


class Metrics(Collector):
    """The operator's metrics, in a registry of their own, which collects those of each scan here.

    ``clock``: the API server's time, without it that of this machine. ``of_scans``: whether those of each scan are
    shown, with its name.
    """

    def __init__(self, clock: Callable[[], datetime] | None = None, *, of_scans: bool = True) -> None:
        self._of_scans = of_scans
        self._registry = CollectorRegistry()
        ours: Any = {"namespace": "skymap_operator", "registry": self._registry}
        self._reconciles = Counter("reconcile", "Number of reconciles by result.", ["result"], **ours)
        self._reconcile_time = Histogram(
            "reconcile_time_seconds", "Duration of a reconcile.", buckets=(0.03, 0.1, 0.3, 1, 3, 10, 30), **ours
        )
        self._queue_duration = Histogram(
            "workqueue_queue_duration_seconds",
            "Time from when a reconcile is due to its start, by trigger (event or requeue).",
            ["trigger"],
            buckets=_WAITS,
            **ours,
        )
        self._latency = Histogram(
            "reconcile_latency_seconds",
            "Time from when a reconcile is due to its end, by trigger (event or requeue).",
            ["trigger"],
            buckets=_WAITS,
            **ours,
        )
        for result in Result:  # every series exists from the start
            self._reconciles.labels(result.value)
        for trigger in Trigger:
            self._queue_duration.labels(trigger.value)
            self._latency.labels(trigger.value)
        self._depth = Gauge("workqueue_depth", "Number of scans that wait for a reconcile.", **ours)
        self._longest_running = Gauge(
            "workqueue_longest_running_processor_seconds",
            "Time since the start of the longest running reconcile.",
            **ours,
        )
        self._overdue = Gauge(
            "workqueue_longest_overdue_seconds",
            "Time since the longest overdue reconcile, waiting or running, became due; scans with a Pulsar of "
            "their own do not count.",
            **ours,
        )
        self._requests = Counter(
            "rest_client_requests",
            "Number of requests by server (kubernetes or pulsar), method and status code (none: no answer).",
            ["server", "method", "code"],
            **ours,
        )
        self._decisions = Counter(
            "scaling_decisions",
            "Number of decisions about the workers of a scan by direction and cause, one per reconcile.",
            ["direction", "cause"],
            **ours,
        )
        self._scans = Gauge("scans", "Number of scans by phase.", ["phase"], **ours)
        self._degraded = Gauge("scans_degraded", "Number of scans with condition Degraded.", **ours)
        self._desired = Gauge("workers_desired", "Desired workers of all scans.", **ours)
        self._clock = clock or ServerClock().now
        self._figures: dict[NamespacedName, ScanFigures] = {}
        self._registry.register(self)

    def reconciled(self, result: Result, seconds: float) -> None:
        """Count a reconcile and its duration."""
        self._reconciles.labels(result.value).inc()
        self._reconcile_time.observe(seconds)

    def scaled(self, direction: Direction, cause: Cause) -> None:
        """Count a decision about the number of workers."""
        self._decisions.labels(direction.value, cause.value).inc()

    def waited(self, trigger: Trigger, queued: float, total: float) -> None:
        """Observe how long after it was due a reconcile started (``queued``) and ended (``total``), in seconds."""
        self._queue_duration.labels(trigger.value).observe(queued)
        self._latency.labels(trigger.value).observe(total)

    def requested(self, server: str, method: str, code: int | None) -> None:
        """Count a request to ``kubernetes`` or ``pulsar``; ``code`` is None if there was no answer."""
        self._requests.labels(server, method, "none" if code is None else str(code)).inc()

    def observed(self, key: NamespacedName, figures: ScanFigures) -> None:
        """Show a scan as it was last observed."""
        self._figures[key] = figures

    def forget(self, key: NamespacedName) -> None:
        """Drop the metrics of a scan that no longer exists."""
        self._figures.pop(key, None)

    def text(self, load: Load) -> bytes:
        """Return all metrics, with the load of the work queue, in Prometheus' text format."""
        self._depth.set(load.depth)
        self._longest_running.set(load.longest_running)
        self._overdue.set(load.longest_overdue)
        phases = [figures.status.phase for figures in self._figures.values()]
        for phase in Phase:
            self._scans.labels(phase.value).set(phases.count(phase))
        degraded = [one for one in self._figures.values() if one.reason(ConditionType.DEGRADED, "True")]
        self._degraded.set(len(degraded))
        workers = [figures.status.workers for figures in self._figures.values()]
        self._desired.set(sum(one.desired for one in workers if one is not None))
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Build the metrics of each scan anew each time, so that a deleted scan leaves none behind."""
        families = [
            GaugeMetricFamily(f"skymap_scan_{name}", text, labels=["namespace", "scan", label])
            for name, text, label in _FAMILIES
            if self._of_scans
        ]
        if not families:
            return families
        for key, figures in self._figures.items():
            for family, values in zip(families, _values(figures, self._clock()), strict=True):
                for label, value in values.items():
                    family.add_metric([key.namespace, key.name, label], value)
        return families


#: The metrics of each scan: name, help and last label. A finished scan keeps only its pixels and its conditions.
_FAMILIES = (
    ("workers", "Number of workers of an unfinished scan.", "state"),
    ("tasks", "Number of tasks of an unfinished scan that wait or are in flight.", "state"),
    ("pixels", "Number of pixels of a scan.", "state"),
    ("degraded", "1 for each scan with condition Degraded.", "reason"),
    ("failed", "1 for each failed scan.", "reason"),
    ("not_notified", "1 for each scan with a notice that was not sent.", "reason"),
    ("seconds", "Elapsed, estimated remaining, and target time of an unfinished scan.", "state"),
)


def _values(figures: ScanFigures, now: datetime) -> tuple[dict[str, float], ...]:
    """Return the values of one scan for each family by its last label; an unknown value is left out."""
    finished, pixels = figures.status.phase in _FINISHED, figures.status.pixels
    workers, tasks = (None, None) if finished else (figures.status.workers, figures.tasks)
    return (
        {} if workers is None else {"desired": workers.desired, "ready": workers.ready, "busy": workers.busy},
        {} if tasks is None else {"waiting": tasks.waiting, "in_flight": tasks.unacked},
        {} if pixels is None else {"done": pixels.done, "planned": pixels.planned, "failed": pixels.failed},
        figures.reason(ConditionType.DEGRADED, "True"),
        figures.reason(ConditionType.SUCCEEDED, "False"),
        figures.reason(ConditionType.NOTIFIED, "False"),
        {} if finished else _seconds(figures, now),
    )


def _seconds(figures: ScanFigures, now: datetime) -> dict[str, float]:
    """Return the times of a scan (s); none before it starts."""
    start, eta = figures.status.start_time, figures.status.eta
    if start is None:
        return {}
    elapsed = {"elapsed": max((now - start).total_seconds(), 0.0)}
    remaining = {} if eta is None else {"remaining": max((eta - now).total_seconds(), 0.0)}
    return elapsed | remaining | ({} if figures.target is None else {"target": figures.target})
