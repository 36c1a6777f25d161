"""The status of a scan, and the Events that report its changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.operator.decisions import URL, actions, observed, running, snapshot, status
from tests.unit.operator.world import START, World, resource, wire

from skymap_api.progress import MAX_OBSTACLE, ProgressPhase
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource import SkymapScanStatus
from skymap_api.resource.base import to_manifest
from skymap_api.resource.status import BestFitStatus, CalibrationStatus, Condition, ConditionType, Phase, Reason
from skymap_operator.decide.actions import Emit
from skymap_operator.decide.diagnose import Finding
from skymap_operator.decide.status import Verdict, condition_events, next_status, phase_of, rounded, update_status
from skymap_operator.observe.children import Children, Job
from skymap_operator.observe.state import ObservedScan, Pod, PulsarState
from skymap_operator.version import VERSION


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
    found = wire(status(actions(World(resource(URL)).observe())))
    commands = found["runsWith"].pop("commands")
    assert [one["container"] for one in commands] == ["producer", "collector", "saver", "worker"]
    assert found == {
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
            "operator": VERSION,
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


def test_names_of_files_have_no_control_characters_in_the_status() -> None:
    state = PulsarState(progress=snapshot(ProgressPhase.DONE, outputs=("map\x1b[2J.i3", "\n" * 255, "ν.fits")))
    found = next_status(observed(pulsar=state), Verdict(Phase.SUCCEEDED)).outputs
    assert found is not None
    assert found.files == (r"map\x1b[2J.i3", r"\n" * 127 + "\\", "ν.fits")


def test_formats_that_are_left_out_fit_into_the_status_with_their_escapes() -> None:
    """A status that is too long would be rejected in every pass, and nothing else would be done."""
    state = PulsarState(progress=snapshot(ProgressPhase.WRITING, left_out="\0" * MAX_OBSTACLE))
    found = status(actions(observed(pulsar=state)))
    assert SkymapScanStatus.model_validate(to_manifest(found)).left_out == "\\x00" * (MAX_OBSTACLE // 4)


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


def child(role: str, *, complete: bool = False) -> Job:
    conditions = [{"type": "Complete", "status": "True"}] if complete else []
    return Job({"metadata": {"name": f"alert-{role}"}, "spec": {}, "status": {"conditions": conditions}})


def roles(*names: str) -> tuple[Pod, ...]:
    return tuple(Pod(f"alert-{name}-x", name, "Running", ready=True, started=START) for name in names)


BEGUN = PulsarState(tasks=Subscription(0, 0), fits=Subscription(0, 0))
BUSY = PulsarState(tasks=Subscription(3, 1), fits=Subscription(0, 0))
FITTING = "the workers are fitting pixels"


@pytest.mark.parametrize(
    ("pulsar", "complete", "running", "phase", "message"),
    [
        (BEGUN, (), (), Phase.PENDING, "waiting for the first pod to start"),
        (BEGUN, (), ("collector",), Phase.PREPARING, "waiting for the producer to start"),
        (BEGUN, (), ("producer",), Phase.PREPARING, "the producer is preparing the event"),
        (BUSY, (), ("producer", "collector", "saver", "worker"), Phase.SCANNING, FITTING),
        (BUSY, (), ("producer", "collector", "worker"), Phase.SCANNING, f"{FITTING}; waiting for saver to start"),
        (
            PulsarState(tasks=Subscription(), fits=Subscription(2, 0)),
            ("producer",),
            ("worker",),
            Phase.SCANNING,
            f"{FITTING}; waiting for collector and saver to start",
        ),
        (
            PulsarState(tasks=Subscription(done=7), fits=Subscription()),
            (),
            ("producer", "collector", "saver"),
            Phase.SCANNING,
            FITTING,
        ),
        (BEGUN, ("producer",), ("collector", "saver"), Phase.SCANNING, FITTING),
        (
            BEGUN,
            ("producer", "collector"),
            ("worker",),
            Phase.WRITING,
            "all pixels are fitted; waiting for the saver to start",
        ),
        (BEGUN, ("producer", "collector"), ("saver",), Phase.WRITING, "the saver is writing the results"),
    ],
)
def test_phase_and_message_do_not_depend_on_the_saver(
    pulsar: PulsarState, complete: tuple[str, ...], running: tuple[str, ...], phase: Phase, message: str
) -> None:
    jobs = {role: child(role, complete=role in complete) for role in ("producer", "collector", "saver")}
    state = observed(pulsar=pulsar, children=Children(jobs=jobs), pods=roles(*running))
    found = next_status(state, Verdict(phase_of(state)))
    progressing = found.condition(ConditionType.PROGRESSING)
    assert progressing is not None
    assert (found.phase, progressing.message) == (phase, message)


def test_shortage_of_workers_is_told_once() -> None:
    shortage = Finding(Reason.UNSCHEDULABLE, "w-2: 0/3 nodes are available")
    state = observed()
    first = update_status(state, Verdict(Phase.SCANNING, shortage=shortage))
    told = Emit("Normal", "Unschedulable", "others work: w-2: 0/3 nodes are available")
    assert told in first
    new = status(list(first))
    assert new.workers.obstacle == shortage.message
    degraded = new.condition(ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.status == "False"
    after = replace(state, scan=replace(state.scan, status=new))
    assert update_status(after, Verdict(Phase.SCANNING, shortage=shortage)) == ()
    other = update_status(after, Verdict(Phase.SCANNING, shortage=Finding(Reason.UNSCHEDULABLE, "w-3: other words")))
    assert [one for one in other if isinstance(one, Emit)] == []
    assert status(list(update_status(after, Verdict(Phase.SCANNING)))).workers.obstacle is None
