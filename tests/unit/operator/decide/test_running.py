"""What a running scan creates and repeats."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.operator.decisions import (
    URL,
    actions,
    check_succeeded,
    observed,
    reconcile,
    repair,
    running,
    settle,
    snapshot,
)
from tests.unit.operator.world import SETTINGS, START, World, resource

from skymap_api.names import SCAN_LABEL, Names
from skymap_api.progress import ProgressPhase
from skymap_api.pulsar_statistics import Subscription
from skymap_operator.decide.actions import Create, Delete, EnlargeClaim, EnsureTopics
from skymap_operator.observe.children import Children, Claim, Job
from skymap_operator.observe.state import PulsarState, RefusedEnlargement

TOPICS = Names.of("alerts", "alert").topics("icecube")
EMPTY, FULL = Subscription(0, 0), Subscription(3, 0)
SCANNING, WRITING = snapshot(ProgressPhase.SCANNING), snapshot(ProgressPhase.WRITING)


def job(role: str, kind: str = "Complete", *, owned: bool = True) -> Job:
    condition = {"type": kind, "status": "True", "lastTransitionTime": START.isoformat()}
    return Job({"metadata": {"name": f"alert-{role}"}, "spec": {}, "status": {"conditions": [condition]}}, owned)


def pulsar(**changes: Any) -> PulsarState:
    everything = {topic: frozenset(TOPICS.subscriptions(topic)) for topic in TOPICS.all()}
    return PulsarState(**{"topics": everything, "tasks": EMPTY, "fits": EMPTY, "plan_ended": True} | changes)


@pytest.mark.parametrize(
    ("role", "state", "repeated"),
    [
        ("producer", pulsar(), False),
        ("producer", pulsar(plan_ended=False), True),
        ("producer", pulsar(plan_ended=False, progress=SCANNING), True),
        # The saver has everything that it needs.
        ("producer", pulsar(plan_ended=False, progress=WRITING), False),
        ("collector", pulsar(), False),
        ("collector", pulsar(plan_ended=False), True),
        ("collector", pulsar(tasks=FULL), True),
        ("collector", pulsar(fits=FULL), True),
        ("collector", pulsar(fits=None), True),
        ("collector", pulsar(fits=FULL, progress=WRITING), False),
        ("saver", pulsar(), True),
        ("saver", pulsar(progress=WRITING), True),
    ],
)
def test_job_is_recreated_when_pulsar_lost_its_work(role: str, state: PulsarState, *, repeated: bool) -> None:
    late = START + timedelta(seconds=SETTINGS.settle_seconds)
    found = actions(observed(now=late, pulsar=state, children=Children(jobs={role: job(role)})))
    assert (Delete("Job", f"alert-{role}") in found) is repeated


@pytest.mark.parametrize(
    ("seconds", "child"),
    [
        (SETTINGS.settle_seconds - 1, job("producer")),
        (SETTINGS.settle_seconds, job("producer", owned=False)),
        (SETTINGS.settle_seconds, job("producer", "Suspended")),
    ],
)
def test_job_is_not_recreated_early_or_unfinished(seconds: float, child: Job) -> None:
    state = pulsar(plan_ended=False)
    found = actions(
        observed(now=START + timedelta(seconds=seconds), pulsar=state, children=Children(jobs={"producer": child}))
    )
    assert not [action for action in found if isinstance(action, Delete)]


TOLERATION = {"key": "dedicated", "operator": "Exists"}


def taint_nodes(world: World) -> None:
    """Let the scan tolerate a taint, as a user does whose pods are unschedulable."""
    world.scan["spec"]["podTemplate"] = {"tolerations": [TOLERATION]}
    world.scan["metadata"]["generation"] += 1


def job_tolerations(world: World) -> dict[str, bool]:
    """Return whether the Job of each role tolerates the taint."""
    jobs = {name: one for (kind, name), one in world.objects.items() if kind == "Job"}
    return {name: TOLERATION in one["spec"]["template"]["spec"]["tolerations"] for name, one in jobs.items()}


def test_pod_template_of_pending_roles_can_be_corrected() -> None:
    world = World(resource(URL), quota=0)  # no pod can start
    for _ in range(3):
        reconcile(world)
        world.step()
    assert set(job_tolerations(world).values()) == {False}
    taint_nodes(world)
    for _ in range(6):
        reconcile(world)
        world.step()
    assert list(job_tolerations(world).values()) == [True] * 3
    repair(world)
    settle(world)
    check_succeeded(world)


def test_changed_pod_template_does_not_disturb_running_roles() -> None:
    world = running()
    taint_nodes(world)
    for _ in range(3):
        reconcile(world)
        world.step()
    assert list(job_tolerations(world).values()) == [False] * 3
    settle(world)
    assert world.observe().scan.succeeded


@pytest.mark.parametrize(
    ("topics", "missing"),
    [
        (pulsar().topics, ()),
        ({}, TOPICS.all()),
        ({**pulsar().topics, TOPICS.scanned: frozenset()}, (TOPICS.scanned,)),
        ({**pulsar().topics, TOPICS.scanned: frozenset({"collector", "another"})}, ()),
    ],
)
def test_missing_topics_and_subscriptions_are_created(
    topics: dict[str, frozenset[str]], missing: tuple[str, ...]
) -> None:
    found = [action for action in actions(observed(pulsar=pulsar(topics=topics))) if isinstance(action, EnsureTopics)]
    wanted = tuple((topic, TOPICS.subscriptions(topic)) for topic in missing)
    assert found == ([EnsureTopics(wanted)] if missing else [])


def test_user_claim_is_never_created() -> None:
    spec = URL | {"output": {"claim": {"name": "disk"}}}
    kinds = [
        action.manifest["kind"] for action in actions(World(resource(spec)).observe()) if isinstance(action, Create)
    ]
    assert "PersistentVolumeClaim" not in kinds


def results(size: str, phase: str = "Bound", **labels: str) -> Children:
    meta = {"name": "alert-results", "labels": labels or {SCAN_LABEL: "alert"}}
    spec = {"resources": {"requests": {"storage": size}}}
    return Children(claim=Claim({"metadata": meta, "spec": spec, "status": {"phase": phase}}))


@pytest.mark.parametrize(
    ("asked", "found", "enlarged"),
    [
        ("5Gi", results("2Gi"), True),
        ("2147483649", results("2Gi"), True),
        ("2048Mi", results("2Gi"), False),
        ("1Gi", results("2Gi"), False),  # a claim cannot shrink
        (None, results("1Gi"), False),  # a new default of the operator is for new claims
        ("5Gi", results("2Gi", "Pending"), False),  # Kubernetes would refuse it
        ("5Gi", results("2Gi", made="by hand"), False),
        ("5Gi", Children(), False),
    ],
)
def test_claim_is_enlarged_last_when_the_user_asks_for_more(
    asked: str | None, found: Children, *, enlarged: bool
) -> None:
    spec = URL if asked is None else URL | {"output": {"claim": {"size": asked}}}
    decided = actions(observed(spec, pulsar=pulsar(), children=found))
    wanted = EnlargeClaim("alert-results", asked or "")
    assert (decided[-1] == wanted) is enlarged
    assert [one for one in decided if isinstance(one, EnlargeClaim)] == ([wanted] if enlarged else [])


@pytest.mark.parametrize(
    ("asked", "seconds", "tried"),
    [("5Gi", 0, False), ("5Gi", 59, False), ("5Gi", 60, True), ("6Gi", 0, True)],
)
def test_refused_enlargement_is_tried_again_after_a_pause(asked: str, seconds: float, *, tried: bool) -> None:
    spec = URL | {"output": {"claim": {"size": asked}}}
    refused = RefusedEnlargement.of("5Gi", "no", None, START)
    now = START + timedelta(seconds=seconds)
    state = observed(spec, pulsar=pulsar(), children=results("2Gi"), refused_enlargement=refused, now=now)
    assert any(isinstance(one, EnlargeClaim) for one in actions(state)) is tried


def test_pause_before_the_next_enlargement_doubles_up_to_an_hour() -> None:
    pauses, before = [], None
    for _ in range(8):
        before = RefusedEnlargement.of("5Gi", "no", before, START)
        assert before.again == START + before.pause
        pauses.append(before.pause.total_seconds() / 60)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert RefusedEnlargement.of("6Gi", "no", before, START).pause == RefusedEnlargement.FIRST
