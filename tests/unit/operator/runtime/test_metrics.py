"""The operator's metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from skymap_api.names import NamespacedName
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.status import Condition, ConditionType, Phase, Pixels, Reason, WorkersStatus
from skymap_operator.decide.scaling import Cause, Direction
from skymap_operator.runtime.metrics import Metrics, Result, ScanFigures
from skymap_operator.runtime.workqueue import Load, Trigger

DEGRADED = Condition(
    type=ConditionType.DEGRADED,
    status="True",
    last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
    reason=Reason.QUOTA_EXCEEDED,
)
FAILED = DEGRADED.model_copy(
    update={"type": ConditionType.SUCCEEDED, "status": "False", "reason": Reason.EVENT_UNUSABLE}
)
NOT_NOTIFIED = FAILED.model_copy(update={"type": ConditionType.NOTIFIED, "reason": Reason.NOTICES_FAILED})
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_metrics_show_what_was_observed() -> None:
    metrics, key = Metrics(lambda: NOON), NamespacedName("ns", "a")
    metrics.reconciled(Result.SUCCESS, 0.2)
    metrics.scaled(Direction.UP, Cause.WORK)
    metrics.waited(Trigger.EVENT, 0.2, 0.4)
    metrics.requested("kubernetes", "GET", 200)
    metrics.requested("pulsar", "GET", None)
    status = SkymapScanStatus(
        phase=Phase.SCANNING,
        workers=WorkersStatus(desired=7, ready=5, busy=4),
        pixels=Pixels(done=3, planned=12, failed=1),
        conditions=(DEGRADED,),
        start_time=NOON - timedelta(seconds=300),
        eta=NOON + timedelta(seconds=90),
    )
    metrics.observed(key, ScanFigures(status, Subscription(30, 4), 600.0))
    failed = SkymapScanStatus(phase=Phase.FAILED, conditions=(FAILED, NOT_NOTIFIED))
    metrics.observed(NamespacedName("ns", "b"), ScanFigures(failed))
    lines = metrics.text(Load(3, 2.5, 1.5, 0.5)).decode().splitlines()
    for line in (
        'skymap_operator_reconcile_total{result="success"} 1.0',
        'skymap_operator_reconcile_time_seconds_bucket{le="0.3"} 1.0',
        'skymap_operator_reconcile_latency_seconds_bucket{le="0.5",trigger="event"} 1.0',
        'skymap_operator_workqueue_queue_duration_seconds_bucket{le="0.3",trigger="event"} 1.0',
        "skymap_operator_workqueue_depth 3.0",
        "skymap_operator_workqueue_longest_running_processor_seconds 2.5",
        "skymap_operator_workqueue_longest_overdue_seconds 1.5",
        'skymap_operator_rest_client_requests_total{code="200",method="GET",server="kubernetes"} 1.0',
        'skymap_operator_rest_client_requests_total{code="none",method="GET",server="pulsar"} 1.0',
        'skymap_operator_scans{phase="Scanning"} 1.0',
        "skymap_operator_scans_degraded 1.0",
        'skymap_operator_scaling_decisions_total{cause="Work",direction="up"} 1.0',
        'skymap_scan_workers{namespace="ns",scan="a",state="desired"} 7.0',
        'skymap_scan_workers{namespace="ns",scan="a",state="ready"} 5.0',
        'skymap_scan_workers{namespace="ns",scan="a",state="busy"} 4.0',
        'skymap_scan_tasks{namespace="ns",scan="a",state="waiting"} 30.0',
        'skymap_scan_tasks{namespace="ns",scan="a",state="in_flight"} 4.0',
        'skymap_scan_pixels{namespace="ns",scan="a",state="done"} 3.0',
        'skymap_scan_pixels{namespace="ns",scan="a",state="planned"} 12.0',
        'skymap_scan_pixels{namespace="ns",scan="a",state="failed"} 1.0',
        'skymap_scan_degraded{namespace="ns",reason="QuotaExceeded",scan="a"} 1.0',
        'skymap_scan_failed{namespace="ns",reason="EventUnusable",scan="b"} 1.0',
        'skymap_scan_not_notified{namespace="ns",reason="NoticesFailed",scan="b"} 1.0',
        'skymap_scan_seconds{namespace="ns",scan="a",state="elapsed"} 300.0',
        'skymap_scan_seconds{namespace="ns",scan="a",state="remaining"} 90.0',
        'skymap_scan_seconds{namespace="ns",scan="a",state="target"} 600.0',
        "skymap_operator_workers_desired 7.0",
    ):
        assert line in lines


def test_scans_are_named_only_where_that_is_wanted() -> None:
    """Whoever can reach the port can read the page."""
    metrics = Metrics(of_scans=False)
    status = SkymapScanStatus(phase=Phase.SCANNING, workers=WorkersStatus(desired=7))
    metrics.observed(NamespacedName("tenant-ns", "secret-alert"), ScanFigures(status, Subscription(1, 1), 60.0))
    page = metrics.text(Load()).decode()
    assert 'skymap_operator_scans{phase="Scanning"} 1.0' in page
    assert "skymap_operator_workers_desired 7.0" in page
    assert not any(word in page for word in ("tenant-ns", "secret-alert", "skymap_scan_"))


def test_metrics_of_a_deleted_scan_are_dropped() -> None:
    metrics, key = Metrics(), NamespacedName("ns", "a")
    workers, pixels = WorkersStatus(desired=7), Pixels(done=12, planned=12)
    running = SkymapScanStatus(phase=Phase.SCANNING, workers=workers, pixels=pixels)

    def names() -> set[str]:
        lines = metrics.text(Load()).decode().splitlines()
        return {line.partition("{")[0] for line in lines if line.startswith("skymap_scan_")}

    metrics.observed(key, ScanFigures(running))
    assert names() == {"skymap_scan_workers", "skymap_scan_pixels"}, "the queue could not be read"
    metrics.observed(key, ScanFigures(running, Subscription(1, 1)))
    assert names() == {"skymap_scan_workers", "skymap_scan_tasks", "skymap_scan_pixels"}
    metrics.observed(key, ScanFigures(running.model_copy(update={"phase": Phase.SUCCEEDED}), Subscription(0, 0)))
    assert names() == {"skymap_scan_pixels"}
    metrics.forget(key)
    assert names() == set()
    assert 'skymap_operator_scans{phase="Scanning"} 0.0' in metrics.text(Load()).decode()
