"""What the operator counts, for Prometheus. The names are part of the interface: ``docs/operator.md`` lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from skymap_operator.models import SkymapScanStatus
from skymap_operator.models.status import ConditionType, Phase
from skymap_operator.rounds import Key

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


class Metrics:
    """The operator's figures, in a registry of their own."""

    def __init__(self) -> None:
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
        self._scans = Gauge("skymap_operator_scans", "Scans, by their phase", ["phase"], registry=self._registry)
        self._degraded = Gauge(
            "skymap_operator_scans_degraded", "Scans that something is in the way of", registry=self._registry
        )
        self._wanted = Gauge("skymap_operator_workers_wanted", "Workers wanted, of all scans", registry=self._registry)
        self._overdue = Gauge(
            "skymap_operator_overdue_seconds", "For how long the latest look is due (s)", registry=self._registry
        )
        self._statuses: dict[Key, SkymapScanStatus] = {}

    def looked(self, outcome: str, seconds: float) -> None:
        """Count a look."""
        self._looks.labels(outcome).inc()
        self._seconds.observe(seconds)

    def seen(self, key: Key, status: SkymapScanStatus | None) -> None:
        """Take a scan's status into the figures; None: the scan is gone."""
        if status is None:
            self._statuses.pop(key, None)
        else:
            self._statuses[key] = status

    def text(self, overdue: float) -> bytes:
        """Return all figures in Prometheus' text format."""
        phases = [status.phase for status in self._statuses.values()]
        for phase in Phase:
            self._scans.labels(phase.value).set(phases.count(phase))
        self._degraded.set(sum(map(_is_degraded, self._statuses.values())))
        workers = [status.workers for status in self._statuses.values()]
        self._wanted.set(sum(one.wanted for one in workers if one is not None))
        self._overdue.set(overdue)
        return generate_latest(self._registry)


def _is_degraded(status: SkymapScanStatus) -> bool:
    return any(one.type is ConditionType.DEGRADED and one.status == "True" for one in status.conditions)
