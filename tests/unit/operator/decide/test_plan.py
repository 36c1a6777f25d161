"""Single decisions whose order or exact words matter; `test_convergence` tests whole scans."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.operator.plans import URL, actions, running, status
from tests.unit.operator.world import SETTINGS, World, resource

from skymap_api.resource.status import ConditionType, Phase, Reason
from skymap_operator.decide.actions import (
    AddFinalizer,
    Create,
    Delete,
    DeleteTopics,
    Emit,
    EnsureTopics,
    Patch,
    Replace,
    SetStatus,
)
from skymap_operator.decide.plan import plan
from skymap_operator.observe.children import Children
from skymap_operator.observe.state import ObservedScan, Pod, PulsarFault, condition, needs_other_plans


def test_first_pass_creates_everything_in_order() -> None:
    world = World(resource(URL))
    found = plan(world.observe(), SETTINGS)
    kinds = [type(action) for action in found.actions]
    assert kinds == [AddFinalizer, SetStatus, Emit, EnsureTopics, *[Create] * 6]
    [topics] = [action for action in found.actions if isinstance(action, EnsureTopics)]
    needed = {world.own.to_be_scanned: ("workers",), world.own.scanned: ("collector",)}
    assert topics.topics == tuple((topic, needed.get(topic, ())) for topic in world.own.all())
    made = [
        (action.manifest["kind"], action.manifest["metadata"]["name"])
        for action in found.actions
        if isinstance(action, Create)
    ]
    assert made == [
        ("ConfigMap", "alert-scan"),
        ("PersistentVolumeClaim", "alert-results"),
        ("Job", "alert-producer"),
        ("Job", "alert-collector"),
        ("Job", "alert-saver"),
        ("Deployment", "alert-workers"),
    ]
    assert found.requeue_after == SETTINGS.retry_interval


def test_minimum_workers_are_created_at_the_start() -> None:
    found = actions(World(resource(URL | {"workers": {"min": 4}})).observe())
    made = [one.manifest for one in found if isinstance(one, Create) and one.manifest["kind"] == "Deployment"]
    assert [one["spec"]["replicas"] for one in made] == [4]


def test_spec_changes_are_applied() -> None:
    world = running({**URL, "workers": {"max": 3}}, passes=5)
    assert world.objects["Deployment", "alert-workers"]["spec"]["replicas"] == 1
    world.scan["spec"]["retries"] = {"roleRestarts": 9}
    world.scan["spec"]["workers"]["resources"] = {"limits": {"memory": "7Gi"}}
    world.scan["metadata"]["generation"] = 2
    found = actions(world.observe())
    patched = [(one.name, one.patch) for one in found if isinstance(one, Patch) and one.kind == "Job"]
    assert ("alert-saver", {"spec": {"backoffLimit": 9}}) in patched
    [replaced] = [one.manifest for one in found if isinstance(one, Replace) and one.manifest["kind"] == "Deployment"]
    assert replaced["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"memory": "7Gi"}}
    assert status(found).observed_generation == 2


def test_workers_stay_while_pulsar_is_unavailable() -> None:
    world = running(passes=5)
    world.pulsar_up = False
    found = actions(world.observe())
    assert {type(action) for action in found} == {SetStatus, Emit}
    new, old = status(found), ObservedScan.of(world.scan).status
    assert (new.phase, new.pixels, new.best, new.backlog) == (old.phase, old.pixels, old.best, old.backlog)
    assert Emit("Warning", "PulsarUnavailable", "cannot reach http://pulsar:8080") in found
    assert plan(world.observe(), SETTINGS).requeue_after == SETTINGS.retry_interval


def test_no_pod_is_created_without_the_certificates_secret() -> None:
    world = World(resource(URL))
    found = actions(replace(world.observe(), tls_keys=None))
    assert {type(action) for action in found} == {SetStatus, Emit}
    degraded = condition(status(found), ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.reason is Reason.SECRET_NOT_FOUND


def test_suspension_does_not_count_towards_deadlines() -> None:
    world = running(URL | {"activeDeadlineSeconds": 500, "startingDeadlineSeconds": 200}, passes=4)
    for suspended in (True, False):
        world.scan["spec"]["suspend"] = suspended
        for _ in range(2):
            for action in plan(world.observe(), SETTINGS).actions:
                world.apply(action)
            world.step(5000 if suspended else 10)
    assert ObservedScan.of(world.scan).status.phase is Phase.SCANNING


def test_workers_of_a_deleted_scan_end_before_their_deployment() -> None:
    world = running(passes=5)
    world.delete()
    found = actions(world.observe())
    workers = [pod.name for pod in world.observe().pods if pod.role == "worker"]
    assert workers
    assert [action for action in found if isinstance(action, Delete)] == [
        *(Delete("Pod", name, 5) for name in workers),
        Delete("Deployment", "alert-workers"),
        *(Delete("Job", f"alert-{role}") for role in ("producer", "collector", "saver")),
    ]
    late = Pod("w-1", "worker", "Running", ready=True)  # created while the Deployment was deleted
    observed = replace(world.observe(), children=Children(), pods=(late,))
    assert [one for one in actions(observed) if isinstance(one, Delete)] == [Delete("Pod", "w-1", 5)]
    ending = replace(observed, pods=(replace(late, terminating=True),))
    assert not [one for one in actions(ending) if isinstance(one, Delete | DeleteTopics)]


def test_deletion_waits_for_pulsar_and_advises() -> None:
    world = running(passes=5)
    world.delete()
    fault = PulsarFault(Reason.PULSAR_UNAVAILABLE, "cannot reach http://pulsar:8080")
    observed = replace(world.observe(), children=Children(), pods=(), pulsar=fault)
    degraded = condition(status(actions(observed)), ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.message == (
        "cannot reach http://pulsar:8080 - the topics are deleted once Pulsar answers; "
        "set cleanupPolicy.topics to Never to keep them"
    )


def test_other_plans_are_read_only_before_topics_are_deleted() -> None:
    assert not needs_other_plans(ObservedScan.of(resource(URL)))
    assert needs_other_plans(ObservedScan.of(resource(URL, deletionTimestamp="2026-01-01T00:00:00Z")))
    never = URL | {"cleanupPolicy": {"topics": "Never"}}
    assert not needs_other_plans(ObservedScan.of(resource(never, deletionTimestamp="2026-01-01T00:00:00Z")))
