"""What scans may add to their pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.operator.decisions import URL, check_succeeded, observed, reconcile, running, settle, status
from tests.unit.operator.recipes import spec_of
from tests.unit.operator.world import NAMESPACE, SETTINGS, World, resource

from skymap_api.resource.status import ConditionType, Reason
from skymap_operator.decide.actions import Patch, SetStatus
from skymap_operator.decide.allowed import not_allowed
from skymap_operator.decide.plan import decide
from skymap_operator.settings import AllowedInPods

APPARMOR = {"annotations": {"k8s.v1.cni.cncf.io/networks": "host"}}


def refused(template: dict[str, Any], **allowed: Any) -> str:
    settings = SETTINGS.model_copy(update={"allowed_in_pods": AllowedInPods.model_validate(allowed)})
    found = not_allowed(NAMESPACE, spec_of(URL | {"podTemplate": template}), settings)
    return "" if found is None else found.message


@pytest.mark.parametrize(
    "template",
    [
        {"nodeSelector": {"disk": "ssd"}, "imagePullSecrets": [{"name": "own"}]},
        {"tolerations": [{"operator": "Exists"}, {"key": "gpu"}]},
        {"affinity": {"podAffinity": {}}},
        {"labels": {}, "annotations": {}, "tolerations": [], "securityContext": {}},
    ],
)
def test_placement_is_allowed_by_default(template: dict[str, Any]) -> None:
    assert refused(template) == ""


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ({"labels": {"azure.workload.identity/use": "true"}}, "labels (azure.workload.identity/use)"),
        ({"labels": {"sidecar.istio.io/inject": "true"}}, "labels (sidecar.istio.io/inject)"),
        ({"annotations": {"sidecar.istio.io/proxyImage": "x"}}, "annotations (sidecar.istio.io/proxyImage)"),
        ({"annotations": {"cni.projectcalico.org/hostIP": "x"}}, "annotations (cni.projectcalico.org/hostIP)"),
        ({"priorityClassName": "urgent"}, "priorityClassName (urgent)"),
        ({"serviceAccountName": "admin"}, "serviceAccountName (admin)"),
        ({"securityContext": {"runAsUser": 1000}}, "securityContext.runAsUser (1000)"),
        ({"securityContext": {"runAsGroup": 0}}, "securityContext.runAsGroup (0)"),
        ({"securityContext": {"fsGroup": 7}}, "securityContext.fsGroup (7)"),
        ({"securityContext": {"supplementalGroups": [8]}}, "securityContext.supplementalGroups (8)"),
    ],
)
def test_what_gives_rights_is_off_unless_allowed(template: dict[str, Any], named: str) -> None:
    assert refused(template).startswith(f"the administrator does not allow podTemplate.{named} - leave it out")


@pytest.mark.parametrize(
    ("allowed", "template", "named"),
    [
        ({"annotations": ["example.org/*"]}, {"annotations": {"example.org/a": ""}}, ""),
        ({"annotations": ["example.org/*"]}, {"annotations": {"example.organ/a": ""}}, "annotations (example.organ/a)"),
        ({"labels": ["*", "!istio.io/*"]}, {"labels": {"a": "b", "istio.io/a": "b"}}, "labels (istio.io/a)"),
        ({"labels": []}, {"labels": {"a": "b"}}, "labels (a)"),
        ({"nodeSelector": ["pool"]}, {"nodeSelector": {"pools": "a"}}, "nodeSelector (pools)"),
        ({"tolerations": ["gpu"]}, {"tolerations": [{"key": "gpu"}]}, ""),
        ({"tolerations": ["gpu"]}, {"tolerations": [{"operator": "Exists"}]}, "tolerations (every taint)"),
        ({"tolerations": ["*", "!a"]}, {"tolerations": [{"operator": "Exists"}]}, "tolerations (every taint)"),
        ({"affinity": False}, {"affinity": {}}, "affinity"),
        ({"imagePullSecrets": ["site-*"]}, {"imagePullSecrets": [{"name": "own"}]}, "imagePullSecrets (own)"),
        ({"priorityClassName": ["science-*"]}, {"priorityClassName": "science-low"}, ""),
        ({"userIds": ["1000-1999"]}, {"securityContext": {"runAsUser": 1999}}, ""),
        ({"userIds": ["1000-1999", 5]}, {"securityContext": {"runAsUser": 5}}, ""),
        ({"userIds": ["1000-1999"]}, {"securityContext": {"runAsUser": 2000}}, "securityContext.runAsUser (2000)"),
        ({"userIds": ["7"]}, {"securityContext": {"runAsGroup": 7}}, "securityContext.runAsGroup (7)"),
        ({"groupIds": ["7"]}, {"securityContext": {"fsGroup": 7, "supplementalGroups": [7]}}, ""),
    ],
)
def test_allow_lists_are_applied(allowed: dict[str, Any], template: dict[str, Any], named: str) -> None:
    found = refused(template, **allowed)
    assert f" {named} - " in found.replace("podTemplate.", "") if named else found == ""


def test_templates_of_scan_and_workers_are_both_checked() -> None:
    many = {"annotations": {f"a{number}": "" for number in range(4)}}
    settings = SETTINGS.model_copy(update={"allowed_in_pods": AllowedInPods(annotations=("a0",))})
    found = not_allowed(NAMESPACE, spec_of(URL | {"podTemplate": many, "workers": {"podTemplate": many}}), settings)
    assert found is not None
    assert found.reason is Reason.NOT_ALLOWED
    assert "podTemplate.annotations (a3), workers.podTemplate.annotations (a1)" in found.message
    assert "and 1 more" in found.message


@pytest.mark.parametrize(
    ("namespaces", "namespace", "allowed"),
    [
        (("*",), "tenant", True),
        (("alerts", "alerts-*"), "alerts-test", True),
        (("alerts", "alerts-*"), "tenant", False),
        (("*", "!tenant"), "tenant", False),
        ((), "alerts", False),
    ],
)
def test_realtime_needs_a_namespace_that_is_allowed(
    namespaces: tuple[str, ...], namespace: str, *, allowed: bool
) -> None:
    """Otherwise any tenant would take workers, and the PriorityClass of realtime scans, from the alerts."""
    settings = SETTINGS.model_copy(update={"realtime_namespaces": namespaces, "realtime_priority_class": "alerts"})
    assert not_allowed(namespace, spec_of(URL), settings) is None
    found = not_allowed(namespace, spec_of(URL | {"priority": "Realtime"}), settings)
    assert (found is None) is allowed
    both = not_allowed(namespace, spec_of(URL | {"priority": "Realtime", "podTemplate": APPARMOR}), settings)
    assert both is not None
    if found is not None:
        assert found.reason is Reason.NOT_ALLOWED
        assert found.message == (
            f"the administrator does not allow priority (Realtime in the namespace {namespace}) - leave it out, or ask "
            "the administrator for it (settings.realtimeNamespaces of the chart)"
        )
        assert both.message.endswith("(settings.realtimeNamespaces and settings.allowedInPods of the chart)")


def test_realtime_scan_of_another_namespace_creates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    only = SETTINGS.model_copy(update={"realtime_namespaces": ("prompt",)})
    monkeypatch.setattr("tests.unit.operator.decisions.SETTINGS", only)
    world = World(resource(URL | {"priority": "Realtime"}))
    for _ in range(3):
        reconcile(world)
        world.step()
    assert (world.objects, world.topics) == ({}, {})
    assert status_of(world).reason is Reason.NOT_ALLOWED
    world.scan["spec"]["priority"] = "Normal"
    settle(world)
    check_succeeded(world)


def test_unlisted_pulsar_creates_nothing_and_says_why() -> None:
    """The fault of Pulsar does not hide what else is not allowed."""
    elsewhere = {"adminUrl": "http://169.254.169.254", "tenant": "others"}
    world = World(resource(URL | {"pulsar": elsewhere, "podTemplate": APPARMOR}))
    for _ in range(3):
        reconcile(world)
        world.step()
    assert (world.objects, world.topics, world.scan["metadata"]["finalizers"]) == ({}, {}, [])
    condition = status_of(world)
    assert (condition.status, condition.reason) == ("True", Reason.NOT_ALLOWED)
    assert condition.message == (
        "the administrator does not allow pulsar.adminUrl (http://169.254.169.254), pulsar.tenant (others), "
        "podTemplate.annotations (k8s.v1.cni.cncf.io/networks) - leave it out, or ask the administrator for it "
        "(settings.allowedPulsars and settings.allowedInPods of the chart)"
    )


def test_scan_that_asks_for_too_much_creates_nothing_and_says_why() -> None:
    found = decide(observed(URL | {"podTemplate": APPARMOR}), SETTINGS).actions
    condition = status(list(found)).condition(ConditionType.DEGRADED)
    assert (condition.status, condition.reason) == ("True", Reason.NOT_ALLOWED)
    world = World(resource(URL | {"workers": {"podTemplate": APPARMOR}}))
    for _ in range(3):
        reconcile(world)
        world.step()
    assert (world.objects, world.topics) == ({}, {})


def test_scan_that_asks_for_too_much_until_its_deadline_ends_with_that_reason() -> None:
    world = World(resource(URL | {"podTemplate": APPARMOR, "startingDeadlineSeconds": 60}))
    settle(world)
    condition = world.observe().scan.status.condition(ConditionType.SUCCEEDED)
    assert condition is not None
    assert condition.reason is Reason.NEVER_STARTED
    assert "60: the administrator does not allow podTemplate.annotations" in condition.message


def test_running_scan_that_asks_for_too_much_is_left_as_it_is() -> None:
    world = running()
    before = {name: one["metadata"] for name, one in world.objects.items()}
    world.scan["spec"]["podTemplate"] = APPARMOR
    found = decide(world.observe(), SETTINGS).actions
    assert [type(one) for one in found if type(one) is not SetStatus and type(one).__name__ != "Emit"] == []
    assert {name: one["metadata"] for name, one in world.objects.items()} == before
    del world.scan["spec"]["podTemplate"]
    reconcile(world)
    condition = status_of(world)
    assert condition.reason is Reason.AS_EXPECTED


@pytest.mark.parametrize(("most", "allocation", "left"), [(100, 3, 3), (2, None, 2), (2, 5, 2), (100, None, None)])
def test_scan_that_asks_for_too_much_keeps_no_more_workers_than_it_may_have(
    most: int, allocation: int | None, left: int | None
) -> None:
    """Otherwise one wrong annotation would keep its workers from a realtime scan."""
    world = running()
    world.objects["Deployment", "alert-workers"]["spec"]["replicas"] = 6
    world.scan["spec"] |= {"podTemplate": APPARMOR, "workers": {"max": most}}
    decision = decide(replace(world.observe(), allocation=allocation), SETTINGS)
    patches = [one.patch for one in decision.actions if isinstance(one, Patch) and one.kind == "Deployment"]
    assert patches == ([] if left is None else [{"spec": {"replicas": left}}])
    workers = status(list(decision.actions)).workers
    assert workers.desired == (6 if left is None else left)


def status_of(world: World) -> Any:
    return world.observe().scan.status.condition(ConditionType.DEGRADED)
