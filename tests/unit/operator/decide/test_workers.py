"""Decisions about the workers of a running scan."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.operator.decisions import URL, actions, running, status

from skymap_api.progress import FitCounts, ProgressPhase
from skymap_api.pulsar_statistics import Subscription
from skymap_api.resource.status import CalibrationStatus, LevelStatus
from skymap_operator.decide.actions import (
    Patch,
    SetStatus,
)
from skymap_operator.observe.state import Pod, PulsarState


def test_busy_workers_are_marked_before_scaling_down() -> None:
    world = running(passes=5)
    observed = world.observe()
    assert observed.children.deployment is not None
    observed.children.deployment.spec["replicas"] = 6
    pods = tuple(
        Pod(f"w-{number}", "worker", "Running", ready=True, ip=f"10.1.0.{number}", deletion_cost=100 * (number == 1))
        for number in range(6)
    )
    pulsar = observed.pulsar
    assert isinstance(pulsar, PulsarState)
    held = replace(
        pulsar,
        tasks=Subscription(0, 3, frozenset(f"10.1.0.{number}" for number in (0, 4, 5))),
        progress=None,
    )
    found = [action for action in actions(replace(observed, pods=pods, pulsar=held)) if isinstance(action, Patch)]
    cost = "controller.kubernetes.io/pod-deletion-cost"
    assert [(one.name, one.patch) for one in found] == [
        *((name, {"metadata": {"annotations": {cost: "100"}}}) for name in ("w-0",)),
        ("w-1", {"metadata": {"annotations": {cost: "0"}}}),
        *((name, {"metadata": {"annotations": {cost: "100"}}}) for name in ("w-4", "w-5")),
        ("alert-workers", {"spec": {"replicas": 3}}),
    ]
    # Behind a proxy the busy workers are unknown: as many stay as tasks are in flight.
    unknown = replace(held, tasks=Subscription(0, 5, frozenset({"192.168.0.1"})))
    [scaled] = [
        action
        for action in actions(replace(observed, pods=pods, pulsar=unknown))
        if isinstance(action, Patch) and action.kind == "Deployment"
    ]
    assert scaled.patch == {"spec": {"replicas": 5}}


def test_planned_tasks_outside_the_queue_count() -> None:
    world = running({**URL, "workers": {"max": 1000}}, passes=5)
    observed = world.observe()
    pulsar, progress = observed.pulsar, observed.pulsar.progress  # type: ignore[union-attr]
    assert isinstance(pulsar, PulsarState)
    assert progress is not None
    first = LevelStatus(nside=1, done=5, planned=48, decided=True)
    fits = FitCounts(done=5, started=48, planned=148)
    later = progress.model_copy(update={"levels": (first, LevelStatus(nside=8, done=0, planned=100)), "fits": fits})
    seen = replace(pulsar, progress=later, tasks=Subscription(30, 5))

    def reason(pulsar: PulsarState) -> str:
        return str(status(actions(replace(observed, pulsar=pulsar))).workers.reason)

    assert reason(seen).startswith("30 tasks waiting, 5 in flight, 100 planned, ")
    # The second level is in the queue already, but the snapshot is older.
    assert reason(replace(seen, tasks=Subscription(120, 5))).startswith("120 tasks waiting, 5 in flight, 18 planned, ")
    assert "planned" not in reason(replace(seen, tasks=Subscription(140, 5)))
    known = later.model_copy(update={"fits": FitCounts(done=5, started=148, planned=148)})
    for progress in (known, later.model_copy(update={"phase": ProgressPhase.WRITING}), None):
        assert "planned" not in reason(replace(seen, progress=progress))


def test_resimulations_take_as_long_as_their_rate_says() -> None:
    world = running({**URL, "workers": {"max": 1000}}, passes=5)
    observed = world.observe()
    pulsar, progress = observed.pulsar, observed.pulsar.progress  # type: ignore[union-attr]
    assert isinstance(pulsar, PulsarState)
    assert progress is not None
    pods = tuple(Pod(f"w-{n}", "worker", "Running", ready=True, ip=f"10.1.0.{n}") for n in range(4))
    tasks = Subscription(90, 4, frozenset(pod.ip for pod in pods if pod.ip), 1000, 50.0)  # 50 ms a fit on average

    def seconds(done: int, rate: float) -> str:
        counts = CalibrationStatus(done=done, planned=100)
        seen = replace(pulsar, tasks=tasks, progress=progress.model_copy(update={"calibration": counts, "rate": rate}))
        reason = str(status(actions(replace(observed, pods=pods, pulsar=seen))).workers.reason)
        return reason.partition(" in flight, ")[2].partition(":")[0]

    assert seconds(done=0, rate=2.0) == "0.05 s each"
    assert seconds(done=6, rate=2.0) == "2 s each"  # 4 workers
    assert seconds(done=6, rate=200.0) == "0.05 s each"  # the rate still has the fits of pixels
    assert seconds(done=6, rate=0.0) == "0.05 s each"
    assert seconds(done=6, rate=1e-300) == "8.64e+04 s each"


def test_learned_fit_time_is_kept_while_workers_are_new() -> None:
    observed = running(passes=5).observe()
    pulsar = observed.pulsar
    assert isinstance(pulsar, PulsarState)

    def learned(*paces: tuple[int, float]) -> list[float | None]:
        found: list[float | None] = []
        scan = observed.scan
        for pace in paces:
            seen = replace(observed, scan=scan, pulsar=replace(pulsar, tasks=Subscription(100, 20, frozenset(), *pace)))
            written = next((one.status for one in actions(seen) if isinstance(one, SetStatus)), scan.status)
            assert written.workers is not None
            found.append(written.workers.seconds_per_task)
            scan = replace(scan, status=written)
        return found

    assert learned((400, 1000.0), (3, 600.0), (20, 100.0)) == [2.5, 2.5, 5.0]
