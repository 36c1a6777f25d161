"""What site and user add to pods: the order of templates, and what they cannot change."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator.recipes import LOST_NODE, URL, Manifest, labels, made
from tests.unit.operator.world import NAMESPACE, SETTINGS

from skymap_api.names import JOB_ROLES, WORKER
from skymap_api.resource.pods import PodTemplate
from skymap_operator import manifests
from skymap_operator.manifests.additions import lay_over
from skymap_operator.settings import Settings

ROLES = (*JOB_ROLES, WORKER)


def template(**fields: Any) -> PodTemplate:
    return PodTemplate.model_validate(fields)


def settings(**fields: Any) -> Settings:
    """Return settings whose template for all scans, and for the scan's namespace, are these."""
    given = {"pod_template": template(**fields.pop("everywhere", {}))}
    given["namespace_pod_templates"] = {NAMESPACE: template(**fields.pop("here", {})), "other": template(labels={})}
    return SETTINGS.model_copy(update=given | fields)


def templates(spec: Manifest, given: Settings = SETTINGS) -> dict[str, Manifest]:
    """Return the pod templates of all roles."""
    recipe = made(URL | spec, given)
    found = manifests.jobs(recipe) | {WORKER: manifests.workers(recipe, 1)}
    return {role: one["spec"]["template"] for role, one in found.items()}


def test_site_settings_reach_the_pods_of_every_role() -> None:
    toleration = {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}
    given = settings(
        everywhere={
            "labels": {"policy": "a"},
            "annotations": {"example.org/owner": "b"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [toleration],
            "affinity": affinity,
            "priorityClassName": "science",
            "serviceAccountName": "scans",
            "imagePullSecrets": [{"name": "site"}],
            "securityContext": {"runAsUser": 7, "supplementalGroups": [8]},
        },
    )
    for role, found in templates({}, given).items():
        pod = found["spec"]
        assert found["metadata"]["labels"] == labels(role) | {"policy": "a"}
        assert found["metadata"]["annotations"]["example.org/owner"] == "b"
        assert pod["nodeSelector"] == {"disk": "ssd"}
        assert pod["tolerations"] == [*LOST_NODE, toleration]
        assert pod["affinity"] == affinity
        assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("science", "scans")
        assert pod["imagePullSecrets"] == [{"name": "site"}]
        assert pod["securityContext"] == {
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsNonRoot": True,
            "runAsUser": 7,
            "seccompProfile": {"type": "RuntimeDefault"},
            "supplementalGroups": [8],
        }


def test_cluster_assigns_ids_that_nobody_sets() -> None:
    """OpenShift gives each namespace its own range, and rejects a pod with another user."""
    for found in templates({}, settings()).values():
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(found["spec"]["securityContext"])
        assert found["spec"]["securityContext"]["runAsNonRoot"] is True


def test_scan_goes_over_namespace_over_site_and_workers_over_all() -> None:
    given = settings(
        everywhere={"labels": {"a": "site", "b": "site"}, "priorityClassName": "site", "nodeSelector": {"n": "site"}},
        here={"labels": {"b": "here", "c": "here"}, "securityContext": {"runAsUser": 5, "fsGroup": 5}},
    )
    spec = {
        "podTemplate": {
            "labels": {"c": "scan", "d": "scan"},
            "priorityClassName": "scan",
            "securityContext": {"runAsUser": 6},
        },
        "workers": {"podTemplate": {"labels": {"d": "worker"}, "nodeSelector": {"n": "worker", "m": "worker"}}},
    }
    for role, found in templates(spec, given).items():
        worker = role == WORKER
        expected = {"a": "site", "b": "here", "c": "scan", "d": "worker" if worker else "scan"}
        assert found["metadata"]["labels"] == labels(role) | expected
        assert found["spec"]["nodeSelector"] == ({"n": "worker", "m": "worker"} if worker else {"n": "site"})
        assert found["spec"]["priorityClassName"] == "scan"
        security = found["spec"]["securityContext"]
        assert (security["runAsUser"], security["fsGroup"], "runAsGroup" in security) == (6, 5, False)


def test_template_of_another_namespace_does_not_apply() -> None:
    given = SETTINGS.model_copy(update={"namespace_pod_templates": {"other": template(nodeSelector={"a": "b"})}})
    assert not any("nodeSelector" in found["spec"] for found in templates({}, given).values())


def test_realtime_class_goes_over_the_site_and_under_the_scan() -> None:
    given = settings(everywhere={"priorityClassName": "site"}, realtime_priority_class="alerts")
    urgent = {"priority": "Realtime"}
    own = urgent | {"workers": {"podTemplate": {"priorityClassName": "mine"}}}
    assert {found["spec"]["priorityClassName"] for found in templates({}, given).values()} == {"site"}
    assert {found["spec"]["priorityClassName"] for found in templates(urgent, given).values()} == {"alerts"}
    classes = {role: found["spec"]["priorityClassName"] for role, found in templates(own, given).items()}
    assert classes == dict.fromkeys(JOB_ROLES, "alerts") | {WORKER: "mine"}


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        (
            {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "value": "1"}]},
            {"tolerations": [{"key": "b", "value": "1"}, {"key": "b", "value": "2"}]},
            {
                "tolerations": [
                    {"key": "a", "operator": "Exists"},
                    {"key": "b", "value": "1"},
                    {"key": "b", "value": "2"},
                ]
            },
        ),
        (
            {"affinity": {"nodeAffinity": {}, "podAffinity": {}}},
            {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
            {
                "affinity": {
                    "nodeAffinity": {},
                    "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
                }
            },
        ),
        (
            {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]},
            {"imagePullSecrets": [{"name": "c"}, {"name": "a"}]},
            {"imagePullSecrets": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
        ),
        ({"labels": {"a": "b"}}, {"labels": {}}, {"labels": {"a": "b"}}),
    ],
)
def test_templates_are_merged_by_key(below: Manifest, above: Manifest, expected: Manifest) -> None:
    assert lay_over(template(**below), template(**above)) == template(**expected)


def test_additions_cannot_weaken_a_pod() -> None:
    """Their fields cannot express more, and what the operator needs wins."""
    names = set(PodTemplate.model_json_schema()["properties"])
    assert names == {
        *("labels", "annotations", "nodeSelector", "tolerations", "affinity"),
        *("priorityClassName", "serviceAccountName", "imagePullSecrets", "securityContext"),
    }
    security = PodTemplate.model_json_schema()["$defs"]["SecurityContext"]["properties"]
    assert set(security) == {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"}
