"""Single decisions whose order or exact words matter; `test_convergence` tests whole scans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.operator.decisions import URL, actions, running, status
from tests.unit.operator.world import SETTINGS, World, resource

from skymap_api.resource.status import ConditionType, Reason
from skymap_operator.decide.actions import (
    AddFinalizer,
    Create,
    Delete,
    Emit,
    EnsureTopics,
    Patch,
    Replace,
    SetStatus,
)
from skymap_operator.decide.plan import decide
from skymap_operator.observe.state import ObservedScan


def test_first_pass_creates_everything_in_order() -> None:
    world = World(resource(URL))
    found = decide(world.observe(), SETTINGS)
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
    assert decide(world.observe(), SETTINGS).requeue_after == SETTINGS.retry_interval


def test_pods_stay_while_the_certificates_secret_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their commands name its keys, so without it they would be replaced by pods that trust no certificate."""
    monkeypatch.setattr(
        "tests.unit.operator.decisions.SETTINGS", settings := SETTINGS.model_copy(update={"pulsar_tls_secret": "tls"})
    )
    world = World(resource(URL), quota=0)
    known = frozenset({"ca.crt"})
    for _ in range(3):
        for action in decide(replace(world.observe(), tls_keys=known), settings).actions:
            world.apply(action)
        world.step()
    assert actions(replace(world.observe(), tls_keys=known)) == []
    assert {type(action) for action in actions(replace(world.observe(), tls_keys=None))} == {SetStatus, Emit}
    changed = {type(one) for one in actions(replace(world.observe(), tls_keys=known | {"tls.crt", "tls.key"}))}
    assert changed == {SetStatus, Emit, Delete, Replace}


def test_no_pod_is_created_without_the_certificates_secret() -> None:
    world = World(resource(URL))
    found = actions(replace(world.observe(), tls_keys=None))
    assert {type(action) for action in found} == {SetStatus, Emit}
    degraded = status(found).condition(ConditionType.DEGRADED)
    assert degraded is not None
    assert degraded.reason is Reason.SECRET_NOT_FOUND
