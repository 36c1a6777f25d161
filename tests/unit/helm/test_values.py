"""What may be set: all of it counts, none of it is forgotten, and what cannot be is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
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

from skymap_operator.settings import PREFIX, Settings, read_settings


def operator_environment(case: str) -> dict[str, str]:
    return environment(find(render(values(case)), "Deployment", "skymap-operator"))


def test_the_defaults_are_those_of_the_operator() -> None:
    read = read_settings(operator_environment("default"))
    own = Settings(
        image="skymap-scanner/worker:0.1.0",
        pulsar_service_url=f"pulsar://skymap-pulsar.{NAMESPACE}.svc:6650",
        pulsar_admin_url=f"http://skymap-pulsar.{NAMESPACE}.svc:8080",
    )
    assert read == own


def test_every_setting_of_the_operator_can_be_set() -> None:
    default = read_settings(operator_environment("default")).model_dump()
    changed = [read_settings(operator_environment(case)).model_dump() for case in ("full", "external")]
    same = [name for name in Settings.model_fields if all(one[name] == default[name] for one in changed)]
    assert same == []


def test_every_command_has_the_same_settings() -> None:
    objects = render(values("full"))
    (uninstall,) = (one for one in objects if one["metadata"]["name"] == "skymap-uninstall")
    checks = find(objects, "Job", "skymap-check")
    assert environment(uninstall) == environment(checks) == operator_environment("full")


def test_numbers_stay_whole() -> None:
    assert operator_environment("full")[f"{PREFIX}MAX_WORKERS"] == "2000000"


def _used(path: tuple[str, ...]) -> bool:
    """Whether some case looks different without the value at this path."""
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
        except HelmError:  # cannot be without it
            return True
    return False


#: Set by other tests: with a name of its own there is no name to be made of it.
ELSEWHERE = {("nameOverride",), ("metrics", "serviceMonitor", "enabled")}


@pytest.mark.parametrize("path", [path for path in leaves(defaults()) if path not in ELSEWHERE], ids=".".join)
def test_every_value_counts(path: tuple[str, ...]) -> None:
    assert _used(path), "no values in ci/ change anything by it"


def test_names_can_be_chosen() -> None:
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
    """All objects of the schema with fields of their own."""
    part = schema()["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    if "properties" not in part:
        return []
    inner = [one for name, below in part["properties"].items() for one in objects_of(below, (*path, name))]
    return [(path, part), *inner]


def test_the_schema_and_the_defaults_name_the_same_values() -> None:
    for path, part in objects_of(schema()):
        if path and path[-1].lower().endswith("resources"):
            assert set(part["properties"]) == {"requests", "limits"}
            continue
        assert set(part["properties"]) - {"global"} == set(at(defaults(), path)), path


@pytest.mark.parametrize("path", [path for path, _ in objects_of(schema())], ids=lambda path: ".".join(path) or "top")
def test_a_mistyped_name_is_refused(path: tuple[str, ...]) -> None:
    given: Values = {"typo": 1}
    for key in reversed(path):
        given = {key: given}
    with pytest.raises(HelmError, match="typo"):
        render(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scope": "everywhere"}, "scope"),
        ({"namespaces": ["alerts"]}, "set scope to namespaces, or list none"),
        ({"namespaces": ["Alerts"], "scope": "namespaces"}, "namespaces"),
        ({"uninstall": {"scans": "Keep"}}, "scans"),
        ({"uninstall": {"timeoutSeconds": 0}}, "timeoutSeconds"),
        ({"worker": {"image": {"tag": "a b"}}}, "tag"),
        ({"worker": {"image": {"pullPolicy": "Sometimes"}}}, "pullPolicy"),
        ({"settings": {"maxWorkers": 0}}, "maxWorkers"),
        ({"settings": {"claimSize": "2 GB"}}, "claimSize"),
        ({"settings": {"workerResources": {"limits": {"memory": "much"}}}}, "memory"),
        ({"pulsar": {"tenant": "ice/cube"}}, "tenant"),
        ({"pulsar": {"serviceUrl": "http://pulsar:8080", "evaluation": False}}, "serviceUrl"),
        ({"pulsar": {"serviceUrl": "pulsar://pulsar:6650"}}, "set pulsar.evaluation to false"),
        ({"pulsar": {"adminUrl": "http://pulsar:8080"}}, "set pulsar.evaluation to false"),
        (
            {"pulsar": {"evaluation": False, "adminUrl": "http://p:8080"}},
            "pulsar.serviceUrl must say where the broker is",
        ),
        (
            {"pulsar": {"evaluation": False, "serviceUrl": "pulsar://p:6650"}},
            "pulsar.adminUrl must say where the admin interface is",
        ),
        ({"networkPolicy": {"scanPods": True}}, "networkPolicy.scanPods needs scope: namespaces"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name must say which account"),
    ],
)
def test_what_cannot_be_is_refused(given: Values, said: str) -> None:
    with pytest.raises(HelmError) as caught:
        render(given)
    assert said in str(caught.value)
