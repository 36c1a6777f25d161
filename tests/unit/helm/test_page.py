"""The page of the chart: off by default, few rights, and credentials from Secrets alone."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from testing.chart import HelmError, Manifest, Values, environment, find, render, values

from skymap_scanner.cli import group

ON: Values = {"page": {"enabled": True}}


def container(objects: list[Manifest]) -> dict[str, Any]:
    (found,) = find(objects, "Deployment", "skymap-page")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def rights(objects: list[Manifest]) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Return verb and resource that each role of the page grants, by kind and namespace."""
    roles = [
        one for one in objects if one["kind"] in {"Role", "ClusterRole"} and one["metadata"]["name"].endswith(":page")
    ]
    return {
        (one["kind"], one["metadata"].get("namespace", "")): {
            (verb, resource) for rule in one["rules"] for verb in rule["verbs"] for resource in rule["resources"]
        }
        for one in roles
    }


def test_page_is_off_by_default() -> None:
    assert [one["metadata"]["name"] for one in render() if "page" in one["metadata"]["name"]] == []
    assert "SKYMAP_OPERATOR_PULSAR_PAGE_ROLE" not in environment(find(render(), "Deployment", "skymap-operator"))


REVIEWS = {("create", "tokenreviews"), ("create", "subjectaccessreviews")}
READS = {("list", "skymapscans"), ("watch", "skymapscans")}


def test_rights_are_to_read_scans_and_to_ask() -> None:
    assert rights(render(values("cluster"))) == {("ClusterRole", ""): REVIEWS | READS}
    found = rights(render(values("namespaces") | ON))
    assert found == {("ClusterRole", ""): REVIEWS, ("Role", "alerts"): READS, ("Role", "tests"): READS}
    assert rights(render(ON | {"rbac": {"create": False}, "pulsar": {"authentication": False}})) == {}


@pytest.mark.parametrize("case", ["full", "cluster"])
def test_arguments_are_those_of_the_command(case: str) -> None:
    found = container(render(values(case)))
    command, *words = found["args"]
    assert command == "cluster-page"
    done = CliRunner().invoke(group, [command, *words, "--help"])
    assert done.exit_code == 0, done.output
    assert found["ports"] == [{"name": "page", "containerPort": int(words[words.index("--port") + 1])}]
    assert ("--namespace" in words) == (case == "full")
    assert ("--proxy-prefix sso:" in " ".join(words)) == (case == "full")


def test_secrets_are_mounted_and_never_in_arguments() -> None:
    objects = render(values("full"))
    given = {one["name"]: one["value"] for one in container(objects)["env"]}
    pod = find(objects, "Deployment", "skymap-page")["spec"]["template"]["spec"]
    volumes = {one["name"]: one["secret"] for one in pod["volumes"] if "secret" in one}
    mounted = {one["mountPath"]: volumes.get(one["name"]) for one in container(objects)["volumeMounts"]}
    assert mounted["/secrets/token"]["secretName"] == "page-pulsar-token"
    assert mounted["/secrets/proxy"]["secretName"] == "page-proxy"
    assert set(given.items()) >= {
        ("SKYMAP_AUTH_TOKEN_FILE", "/secrets/token/jwt"),
        ("SKYMAP_PAGE_PROXY_SECRET_FILE", "/secrets/proxy/password"),
        ("SKYMAP_TLS_CERTIFICATE", "/secrets/certificate/tls.crt"),
    }
    assert "/secrets/serving/tls.key" in container(objects)["args"]
    probes = [container(objects)[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert {one["scheme"] for one in probes} == {"HTTPS"}
    (port,) = find(objects, "Service", "skymap-page")["spec"]["ports"]
    assert (port["name"], port["port"]) == ("https", 443)


def test_evaluation_pulsar_gives_the_page_a_token_alone() -> None:
    objects = render(ON)
    pod = find(objects, "Deployment", "skymap-page")["spec"]["template"]["spec"]
    secrets = [one["secret"] for one in pod["volumes"] if "secret" in one]
    token = {"key": "page-token", "path": "page-token"}
    assert secrets == [{"secretName": "skymap-pulsar-keys", "items": [token]}]
    (job,) = (
        one for one in objects if one["kind"] == "Job" and one["metadata"]["name"].startswith("skymap-pulsar-keys")
    )
    words = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert words[-2:] == ["--page-role", "skymap-page"]
    given = environment(find(objects, "Deployment", "skymap-operator"))
    assert given["SKYMAP_OPERATOR_PULSAR_PAGE_ROLE"] == "skymap-page"


def test_given_keys_need_a_token_for_the_page() -> None:
    given = {"pulsar": {"operator": {"signingSecret": "keys"}}, "page": {"enabled": True}}
    with pytest.raises(HelmError, match=r"name a Secret with one in page.pulsar.tokenSecret"):
        render(given)
    given["page"] = {"enabled": True, "pulsar": {"tokenSecret": "page-token"}}
    assert container(render(given))["env"]


def test_page_without_credentials_has_no_role() -> None:
    given = {"pulsar": {"authentication": False}} | ON
    objects = render(given)
    assert "SKYMAP_OPERATOR_PULSAR_PAGE_ROLE" not in environment(find(objects, "Deployment", "skymap-operator"))
    assert "SKYMAP_AUTH_TOKEN_FILE" not in {one["name"] for one in container(objects)["env"]}


def test_only_given_peers_reach_the_page() -> None:
    policy = lambda given: find(render(given), "NetworkPolicy", "skymap-page")["spec"]  # noqa: E731
    assert policy(ON)["ingress"] == [{"ports": [{"port": "page"}]}]
    assert policy(values("full"))["ingress"][0]["from"] == values("full")["page"]["ingress"]
