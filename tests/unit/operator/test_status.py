"""The status of a scan, and the Events that report its changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.operator.plans import observed, running, snapshot
from tests.unit.operator.world import START

from skymap_api.progress import ProgressPhase
from skymap_api.resource.status import BestFitStatus, Condition, ConditionType, Phase, Reason
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
