"""The chart's values: every one has an effect, all are in the schema, and invalid ones are rejected with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter
from testing.chart import (
    CASES,
    NAMESPACE,
    RELEASE,
    HelmError,
    Values,
    at,
    defaults,
    environment,
    find,
    leaves,
    render,
    schema,
    values,
    without,
)

from skymap_api.resource.base import DataKey, ObjectName
from skymap_api.resource.pods import PodTemplate, SecurityContext
from skymap_api.resource.quantities import Quantity
from skymap_operator.settings import PREFIX, NamePattern, Settings, read_settings


def operator_environment(case: str) -> dict[str, str]:
    return environment(find(render(values(case)), "Deployment", "skymap-operator"))


def test_defaults_equal_those_of_the_operator() -> None:
    read = read_settings(operator_environment("default"))
    own = Settings(
        image="skymap-scanner/worker:0.1.0",
        pulsar_service_url=f"pulsar://skymap-pulsar.{NAMESPACE}.svc:6650",
        pulsar_admin_url=f"http://skymap-pulsar.{NAMESPACE}.svc:8080",
        name=f"{NAMESPACE}/skymap-operator",
        pulsar_signing_key_file="/pulsar/signing/key",  # the evaluation Pulsar requires tokens
        namespaces=(NAMESPACE,),  # the chart's scope is that of the release, where it knows its namespace
    )
    assert read == own


def test_every_operator_setting_can_be_set() -> None:
    default = read_settings(operator_environment("default")).model_dump()
    changed = [read_settings(operator_environment(case)).model_dump() for case in ("full", "external", "signed")]
    same = [name for name in Settings.model_fields if all(one[name] == default[name] for one in changed)]
    assert same == ["name"], "which is that of the Deployment"


def test_ids_of_scans_can_be_left_to_the_cluster() -> None:
    assert read_settings(operator_environment("openshift")).pod_template == PodTemplate()
    full = read_settings(operator_environment("full"))
    assert full.pod_template.security_context == SecurityContext(run_as_user=1500, run_as_group=1501, fs_group=1502)
    assert full.namespace_pod_templates["alerts"].security_context == SecurityContext(run_as_user=1000660000)


def test_images_can_be_named_by_digest() -> None:
    objects = render(values("full"))
    worker = read_settings(environment(find(objects, "Deployment", "skymap-operator"))).image
    pods = [one["spec"]["template"]["spec"] for one in objects if "template" in one.get("spec", {})]
    named = {worker, *(container["image"] for pod in pods for container in pod["containers"])}
    parts = (("worker:1.2", "a"), ("operator:1.2", "b"))
    images = {f"registry.example.org/icecube/{name}@sha256:{64 * letter}" for name, letter in parts}
    assert named >= images | {f"registry.example.org/pulsar:4.0.9@sha256:{64 * 'c'}"}


def test_all_commands_have_the_same_settings() -> None:
    objects = render(values("full"))
    (uninstall,) = (one for one in objects if one["metadata"]["name"] == "skymap-uninstall")
    checks = find(objects, "Job", "skymap-check")
    assert environment(uninstall) == environment(checks) == operator_environment("full")


def test_large_numbers_stay_integers() -> None:
    assert operator_environment("full")[f"{PREFIX}MAX_WORKERS"] == "2000000"


def _used(path: tuple[str, ...]) -> bool:
    """Return whether some case renders differently without the value at this path."""
    for case in CASES:
        given = values(case)
        try:
            if at(given, path) == at(defaults(), path):
                continue
        except (KeyError, TypeError):
            continue
        try:
            if render(without(given, path)) != render(given):
                return True
        except HelmError:  # the value is required
            return True
    return False


#: Tested elsewhere: nameOverride has no effect beside fullnameOverride.
ELSEWHERE = {("nameOverride",), ("metrics", "serviceMonitor", "enabled")}


@pytest.mark.parametrize("path", [path for path in leaves(defaults()) if path not in ELSEWHERE], ids=".".join)
def test_every_value_has_an_effect(path: tuple[str, ...]) -> None:
    assert _used(path), "no case in ci/ renders differently with it"


def test_names_of_objects_are_configurable() -> None:
    kinds = {(one["kind"], one["metadata"]["name"]) for one in render({"nameOverride": "maps"})}
    assert ("Deployment", "skymap-maps-operator") in kinds
    (selector,) = (
        one["spec"]["selector"]["matchLabels"]
        for one in render({"nameOverride": "maps"})
        if one["kind"] == "Deployment"
    )
    assert selector == {
        "app.kubernetes.io/name": "maps",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": "operator",
    }


def objects_of(part: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Return all objects of the schema that have properties, by their path."""
    part = schema()["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    if "properties" not in part:
        return []
    inner = [one for name, below in part["properties"].items() for one in objects_of(below, (*path, name))]
    return [(path, part), *inner]


def test_schema_and_defaults_name_the_same_values() -> None:
    for path, part in objects_of(schema()):
        if path and path[-1].lower().endswith("resources"):
            assert set(part["properties"]) == {"requests", "limits"}
            continue
        if path and path[-1] == "podTemplate":
            assert set(part["properties"]) == set(PodTemplate.model_json_schema()["properties"])
            continue
        if path[-2:] == ("podTemplate", "securityContext"):
            assert set(part["properties"]) == set(SecurityContext.model_json_schema()["properties"])
            continue
        assert set(part["properties"]) - {"global"} == set(at(defaults(), path)), path


@pytest.mark.parametrize(
    ("definition", "kind"),
    [("key", DataKey), ("name", ObjectName), ("quantity", Quantity), ("patterns", NamePattern)],
)
def test_schema_accepts_the_same_texts_as_the_operator(definition: str, kind: Any) -> None:
    """What only the operator rejects would end it at its start."""
    given, own = schema()["definitions"][definition], TypeAdapter(kind).json_schema()
    given = given.get("items", given)
    bounds = ("pattern", "maxLength", "minimum")
    assert {name: given.get(name) for name in bounds} == {name: own.get(name) for name in bounds}


@pytest.mark.parametrize("path", [path for path, _ in objects_of(schema())], ids=lambda path: ".".join(path) or "top")
def test_mistyped_name_is_rejected(path: tuple[str, ...]) -> None:
    given: Values = {"typo": 1}
    for key in reversed(path):
        given = {key: given}
    with pytest.raises(HelmError, match="typo"):
        render(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scope": "everywhere"}, "scope"),
        ({"namespaces": ["alerts"], "scope": "cluster"}, "set scope to namespaces, or list none"),
        ({"namespaces": ["Alerts"]}, "namespaces"),
        ({"admissionPolicy": {"enabled": "yes"}}, "enabled"),
        ({"uninstall": {"scans": "Keep"}}, "scans"),
        ({"uninstall": {"timeoutSeconds": 0}}, "timeoutSeconds"),
        ({"worker": {"image": {"tag": "a b"}}}, "tag"),
        ({"worker": {"image": {"digest": "sha256:abc"}}}, "digest"),
        ({"worker": {"image": {"pullPolicy": "Sometimes"}}}, "pullPolicy"),
        # Pull secrets of the scans' pods have one place: settings.podTemplate.
        ({"worker": {"imagePullSecrets": ["registry"]}}, "imagePullSecrets"),
        ({"settings": {"maxWorkers": 0}}, "maxWorkers"),
        (
            {"settings": {"allowedInPods": {"labels": ["!istio.io/*"]}}},
            'settings.allowedInPods.labels: only exclusions allow nothing: write ["*","!istio.io/*"]',
        ),
        (
            {"settings": {"notices": [{"name": "a", "to": "slack", "namespaces": ["!b"]}]}},
            'notices (a).namespaces: only exclusions allow nothing: write ["*","!b"]',
        ),
        *(
            (
                {"settings": {"notices": [{"name": "a", "to": f"webhook=https://a.org:{port}/"}]}},
                f"settings.notices (a).to: {port} is no port",
            )
            for port in ("99999", "65536", "0", "x")
        ),
        (
            {"settings": {"realtimeNamespaces": ["!a"]}},
            'realtimeNamespaces: only exclusions allow nothing: write ["*","!a"]',
        ),
        ({"settings": {"allowedPulsars": [{"adminUrl": "http://a:8080"}]}}, "serviceUrl"),
        ({"settings": {"allowedPulsars": [{"tenants": ["!a"]}]}}, "allowedPulsars.tenants: only exclusions allow"),
        ({"settings": {"allowedPulsars": [{"addresses": ["!10.0.0.0/8"]}]}}, 'write ["public","!10.0.0.0/8"]'),
        ({"settings": {"eventAddresses": ["!10.0.0.0/8"]}}, 'nothing: write ["public","!10.0.0.0/8"]'),
        ({"settings": {"claimSize": "2 GB"}}, "claimSize"),
        ({"settings": {"claimSize": "2K"}}, "claimSize"),
        ({"settings": {"workerResources": {"limits": {"memory": "much"}}}}, "memory"),
        # It could not take away the ids of settings.podTemplate.
        ({"settings": {"namespacePodTemplates": {"alerts": {"securityContext": None}}}}, "securityContext"),
        ({"pulsar": {"tenant": "ice/cube"}}, "tenant"),
        ({"pulsar": {"serviceUrl": "http://pulsar:8080", "evaluation": False}}, "serviceUrl"),
        ({"pulsar": {"serviceUrl": "pulsar://pulsar:6650"}}, "set pulsar.evaluation to false"),
        ({"pulsar": {"adminUrl": "http://pulsar:8080"}}, "set pulsar.evaluation to false"),
        (
            {"pulsar": {"evaluation": False, "adminUrl": "http://p:8080"}},
            "set pulsar.serviceUrl to the broker",
        ),
        (
            {"pulsar": {"evaluation": False, "serviceUrl": "pulsar://p:6650"}},
            "set pulsar.adminUrl to the admin interface",
        ),
        (
            {"scope": "cluster", "networkPolicy": {"scanPods": True}},
            "networkPolicy.scanPods requires scope: namespaces",
        ),
        (
            {"pulsar": {"role": "scans", "operator": {"signingSecret": "key"}}},
            "a token of its own: leave out pulsar.tokenSecret and pulsar.role",
        ),
        ({"pulsar": {"tokenSecret": "t"}}, "pulsar.authentication gives each role of a scan a token of its own"),
        ({"pulsar": {"operator": {"role": "a,b"}}}, "role"),
        (
            {
                "page": {"enabled": True, "pulsar": {"role": "scans", "tokenSecret": "page"}},
                "pulsar": {
                    "evaluation": False,
                    "serviceUrl": "pulsar://p:6650",
                    "adminUrl": "http://p:8080",
                    "role": "scans",
                },
            },
            "page.pulsar.role is scans, as pulsar.role: the page needs a role of its own",
        ),
        (
            {"page": {"enabled": True, "pulsar": {"role": "pulsar-broker"}}},
            "page.pulsar.role is pulsar-broker, as the evaluation Pulsar's own role",
        ),
        (
            {"page": {"enabled": True, "pulsar": {"role": "skymap-operator"}}},
            "page.pulsar.role is skymap-operator, as pulsar.operator.role",
        ),
        ({"rbac": {"create": False}}, "name a Secret with them in pulsar.operator.signingSecret"),
        ({"pulsar": {"tokenSeconds": 59}}, "tokenSeconds"),
        ({"serviceAccount": {"create": False}}, "set serviceAccount.name"),
        ({"metrics": {"dashboard": {"enabled": True}}}, "set metrics.scans to true"),
        ({"metrics": {"prometheusRule": {"enabled": True}}}, "set metrics.scans to true"),
    ],
)
def test_invalid_values_are_rejected_with_a_reason(given: Values, message: str) -> None:
    with pytest.raises(HelmError) as caught:
        render(given)
    assert message in str(caught.value)
