"""The deletion of a scan: the order of its steps, and what it waits for."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.operator.decisions import URL, actions, running, settle, status
from tests.unit.operator.world import World, resource

from skymap_api.resource.status import ConditionType, Reason
from skymap_operator.decide.actions import Delete, DeleteTopics, Replace
from skymap_operator.observe.children import Children
from skymap_operator.observe.state import Pod, PulsarFault


def test_workers_of_a_deleted_scan_end_before_their_deployment() -> None:
    world = running(passes=5)
    world.delete()
    found = actions(world.observe())
    workers = [pod.name for pod in world.observe().pods if pod.role == "worker"]
    assert workers
    (emptied,) = [action.manifest for action in found if isinstance(action, Replace)]  # no replaced worker can start
    assert (emptied["kind"], emptied["metadata"]["name"], emptied["data"]) == ("ConfigMap", "alert-scan", {})
    assert isinstance(found[found.index(Replace(emptied)) + 1], Delete)
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
    degraded = status(actions(observed)).condition(ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.message == (
        "cannot reach http://pulsar:8080 - the topics are deleted once Pulsar answers; "
        "set cleanupPolicy.topics to Never to keep them"
    )


def test_scan_without_finalizer_is_deleted_without_pulsar() -> None:
    world = World(resource(URL), pulsar_up=False)
    settle(world)
    world.delete()
    settle(world)
    assert world.deleted
