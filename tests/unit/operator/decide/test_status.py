"""The status of a scan, and the Events that report its changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.operator.decisions import URL, actions, observed, running, snapshot, status
from tests.unit.operator.world import START, World, resource, wire

from skymap_api.progress import ProgressPhase
from skymap_api.resource.status import BestFitStatus, CalibrationStatus, Condition, ConditionType, Phase, Reason
from skymap_operator.decide.actions import Emit
from skymap_operator.decide.status import Verdict, condition_events, next_status, rounded
from skymap_operator.observe.state import ObservedScan, PulsarState


def test_best_fit_is_rounded_for_the_status() -> None:
    best = BestFitStatus(nside=8, pixel=3, ra=1.50004, dec=-2.5, llh=10.00049, area_90=214.8591731740587)
    assert rounded(best) == BestFitStatus(nside=8, pixel=3, ra=1.5, dec=-2.5, llh=10.0, area_90=214.8592)
    edge = BestFitStatus(nside=8, pixel=3, ra=359.99999, dec=90.0, llh=1.0)
    assert rounded(edge) == BestFitStatus(nside=8, pixel=3, ra=0.0, dec=90.0, llh=1.0)


@pytest.mark.parametrize(
    ("eta", "published", "expected"),
    [
        (60.4, START, START + timedelta(seconds=60)),
        (None, START, None),
        (60.0, datetime.max.replace(tzinfo=UTC), None),
    ],
)
def test_eta_counts_from_the_publication(eta: float | None, published: datetime, expected: datetime | None) -> None:
    scanning = snapshot(ProgressPhase.SCANNING, eta=eta)
    state = observed(pulsar=PulsarState(progress=scanning, progress_time=published))
    assert next_status(state, Verdict(Phase.SCANNING)).eta == expected


def test_status_counts_the_resimulations() -> None:
    counts = CalibrationStatus(done=12, planned=100, failed=1)
    pulsar = PulsarState(progress=snapshot(ProgressPhase.SCANNING, calibration=counts), progress_time=START)
    assert next_status(observed(pulsar=pulsar), Verdict(Phase.SCANNING)).calibration == counts


def test_condition_change_is_reported_by_one_event() -> None:
    old = ObservedScan.of(running(passes=4).scan).status
    assert list(condition_events(old, old)) == []
    worse = Condition(
        type=ConditionType.DEGRADED,
        status="True",
        last_transition_time=START,
        reason=Reason.QUOTA_EXCEEDED,
        message="Job a: exceeded quota",
    )
    new = old.model_copy(update={"conditions": (*old.conditions[:2], worse)})
    assert list(condition_events(old, new)) == [Emit("Warning", "QuotaExceeded", "Job a: exceeded quota")]
    assert list(condition_events(new, old)) == [Emit("Normal", "Recovered", "no longer QuotaExceeded")]


def test_first_status_is_complete() -> None:
    assert wire(status(actions(World(resource(URL)).observe()))) == {
        "observedGeneration": 1,
        "phase": "Pending",
        "conditions": [
            {
                "type": kind,
                "status": truth,
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "reason": reason,
                "message": message,
            }
            for kind, truth, reason, message in (
                ("Succeeded", "Unknown", "InProgress", ""),
                ("Progressing", "True", "Waiting", "waiting for the first pod to start"),
                ("Degraded", "False", "AsExpected", ""),
            )
        ],
        "workers": {
            "desired": 0,
            "ready": 0,
            "busy": 0,
            "selector": "app.kubernetes.io/component=worker,skymap.icecube.wisc.edu/scan=alert",
            "reason": "no tasks yet",
        },
        "runsWith": {
            "image": "registry.example/scanner:1",
            "serviceUrl": "pulsar://pulsar:6650",
            "adminUrl": "http://pulsar:8080",
            "tenant": "icecube",
        },
    }


def test_status_of_a_running_scan_shows_its_progress() -> None:
    world = running(passes=6)
    found = ObservedScan.of(world.scan).status
    assert (found.phase, found.level, found.progress) == (Phase.SCANNING, 1, f"{found.pixels.done}/400")  # type: ignore[union-attr]
    assert found.best is not None
    assert (found.best.ra, found.best.dec) == (10.0, 20.0)
    assert found.eta is not None
    assert found.start_time is not None
    assert START < found.start_time < found.eta
    assert found.workers is not None
    assert found.workers.ready > 0


def test_condition_keeps_its_transition_time_while_its_status_stays() -> None:
    world = running(passes=1)
    first = ObservedScan.of(world.scan).status.condition(ConditionType.PROGRESSING)
    later = running(passes=6)
    now = ObservedScan.of(later.scan).status.condition(ConditionType.PROGRESSING)
    assert first is not None
    assert now is not None
    assert first.reason is not now.reason
    assert first.last_transition_time == now.last_transition_time
    later.scan["spec"]["suspend"] = True
    changed = status(actions(later.observe())).condition(ConditionType.PROGRESSING)
    assert changed is not None
    assert (changed.status, changed.reason, changed.last_transition_time) == ("False", Reason.SUSPENDED, later.now)
