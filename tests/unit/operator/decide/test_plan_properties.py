"""A decision never raises, whatever a cluster holds, and every status that it writes is valid."""

from __future__ import annotations

import copy
import sys
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.operator.decisions import URL, snapshot
from tests.unit.operator.world import SETTINGS, START, children, resource, wire

from skymap_api.names import FINALIZER
from skymap_api.progress import ProgressPhase
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import INT32
from skymap_api.resource.status import LevelStatus
from skymap_operator.decide.actions import SetStatus
from skymap_operator.decide.plan import decide
from skymap_operator.observe.state import (
    ObservedScan,
    ObservedState,
    Pod,
    PulsarState,
    Termination,
)

TIMES = st.sampled_from([datetime.min.replace(tzinfo=UTC), START, datetime.max.replace(tzinfo=UTC)])
COUNTS = st.sampled_from([0, 7, INT32])
POSITIVE = st.sampled_from([5e-324, 1.0, sys.float_info.max])
LIMITS = st.sampled_from([None, 1, INT32])


def given_values(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    lives = given_values(
        succeeded=draw(st.sampled_from([0, INT32, None])), failed=draw(st.sampled_from([0, INT32, None]))
    )
    spec = URL | given_values(
        activeDeadlineSeconds=draw(LIMITS),
        startingDeadlineSeconds=draw(LIMITS),
        suspend=draw(st.sampled_from([False, False, True])),
        ttlSecondsAfterFinished=lives,
    )
    times = {"creationTimestamp": draw(TIMES).isoformat(), "finalizers": draw(st.sampled_from([[], [FINALIZER]]))}
    scan = resource(
        spec, **times, **given_values(deletionTimestamp=draw(st.sampled_from([None, None, START.isoformat()])))
    )
    truth = draw(st.sampled_from(["Unknown", "Unknown", "True", "False"]))
    condition = {"status": truth, "lastTransitionTime": draw(TIMES).isoformat(), "reason": "InProgress"}
    scan["status"] = {
        "conditions": [condition | {"type": kind} for kind in ("Succeeded", "Progressing")],
        "workers": {"secondsPerTask": draw(POSITIVE)},
    }
    scan["status"] |= given_values(
        startTime=draw(st.none() | TIMES.map(datetime.isoformat)),
        completionTime=draw(st.none() | TIMES.map(datetime.isoformat)),
    )
    return scan


@st.composite
def pulsars(draw: st.DrawFn) -> PulsarState:
    level = LevelStatus(nside=8, done=draw(COUNTS), planned=draw(COUNTS), decided=draw(st.booleans()))
    progress = snapshot(
        draw(st.sampled_from(ProgressPhase)),
        levels=(level,),
        rate=draw(POSITIVE),
        eta=draw(st.sampled_from([None, 0.0, float(INT32)])),
        outputs=draw(st.sampled_from([(), ("a.i3",)])),
        obstacle=draw(st.none() | st.text(max_size=50)),
    )
    done = st.sampled_from([0, 10, 2**63])
    queue = st.builds(Subscription, COUNTS, COUNTS, st.just(frozenset[str]()), done, POSITIVE) | st.none()
    return PulsarState(
        topics=draw(st.sampled_from([{"topic": frozenset[str]()}, {}])),
        tasks=draw(queue),
        fits=draw(queue),
        plan_ended=draw(st.booleans()),
        progress=draw(st.sampled_from([progress, None])),
        progress_time=draw(TIMES),
    )


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    return Pod(
        "a",
        draw(st.sampled_from(["producer", "worker", "another"])),
        draw(st.sampled_from(["Pending", "Running", "Failed"])),
        created=draw(st.none() | TIMES),
        started=draw(st.none() | TIMES),
        ready=draw(st.booleans()),
        terminating=draw(st.booleans()),
        ends=draw(st.none() | TIMES),
        unschedulable=draw(st.none() | st.text(max_size=50)),
        failure=draw(st.none() | st.tuples(st.text(max_size=9), st.text(max_size=50))),
        termination=Termination(draw(st.integers(0, 255)), "Error", draw(st.text(max_size=50))),
        waiting=draw(st.sampled_from([None, ("CrashLoopBackOff", ""), ("", "secret x not found")])),
        restarts=draw(COUNTS),
    )


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["Complete", "Failed", "Suspended"]))
    condition = {"type": kind, "status": "True", "lastTransitionTime": draw(TIMES).isoformat()}
    owner = {"uid": draw(st.sampled_from(["uid-1", "another"]))}
    name = {"name": "alert-producer", "uid": "uid-p", "ownerReferences": [owner]}
    return {"metadata": name, "spec": {}, "status": {"conditions": [condition]}}


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(resources(), pulsars(), st.lists(pods(), max_size=2), st.none() | jobs(), TIMES)
def test_decision_for_any_observed_state_writes_a_valid_status(
    scan: dict[str, Any], pulsar: PulsarState, found: list[Pod], job: dict[str, Any] | None, now: datetime
) -> None:
    observed = ObservedState(
        now,
        ObservedScan.of(copy.deepcopy(scan)),
        pulsar,
        children({} if job is None else {("Job", "alert-producer"): job}),
        tuple(found),
    )
    decided = decide(observed, SETTINGS)
    assert decided.requeue_after >= 0
    for action in decided.actions:
        if isinstance(action, SetStatus):
            SkymapScanStatus.model_validate(wire(action.status))
