"""The chart's objects: restricted pods, minimal permissions, the generated definition."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from testing.chart import (
    CASES,
    CHART,
    NAMESPACE,
    RELEASE,
    ROOT,
    Manifest,
    defaults,
    environment,
    find,
    helm,
    pods,
    render,
    values,
)

from skymap_operator.runtime.scope import lease_name
from skymap_operator.settings import matches

DEFINITION = "skymapscans.skymap.icecube.wisc.edu"
EACH = pytest.mark.parametrize("case", CASES)


def test_versions_equal_the_project_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (project["version"], project["version"])


def test_definition_is_the_generated_one() -> None:
    made = yaml.safe_load((ROOT / "crds" / "skymapscans.yaml").read_text())
    found = find(render(), "CustomResourceDefinition", DEFINITION)
    assert found["spec"] == made["spec"]
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    not_kept = find(render({"crds": {"keep": False}}), "CustomResourceDefinition", DEFINITION)
    assert "annotations" not in not_kept["metadata"]
    kinds = [one["kind"] for one in render({"crds": {"install": False}})]
    assert "CustomResourceDefinition" not in kinds


@EACH
def test_every_object_has_the_common_labels(case: str) -> None:
    names = set()
    for one in render(values(case)):
        meta = one["metadata"]
        assert meta["labels"]["app.kubernetes.io/instance"] == "skymap", meta["name"]
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "Helm", meta["name"]
        name = (one["kind"], meta.get("namespace"), meta["name"])
        assert name not in names
        names.add(name)


@EACH
def test_every_pod_is_restricted(case: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, and a read-only root file system."""
    found = dict(pods(render(values(case))))
    assert {name.rpartition("-")[2] for name in found} >= {"operator", "uninstall", "check"}
    for name, spec in found.items():
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        if case == "openshift":  # it rejects ids out of the namespace's own range
            assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(security), name
        else:
            assert security["runAsUser"] >= 1000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers")), name
        allowed = {"configMap", "emptyDir", "secret"}
        assert all(set(volume) - {"name"} <= allowed for volume in spec.get("volumes", ())), name
        assert all(volume["emptyDir"].get("sizeLimit") for volume in spec.get("volumes", ()) if "emptyDir" in volume), (
            name
        )
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        }, name
        assert container["resources"]["limits"]["memory"], name
        assert re.search(r":[^:/]+$", container["image"]), name


def test_labels_and_annotations_reach_every_pod_and_never_replace_ours() -> None:
    given = values("full")
    for part in ("operator", "pulsar", "page"):
        given[part]["podLabels"] = {"team": "realtime", "app.kubernetes.io/name": "other"}
        given[part]["podAnnotations"] = {"example.org/note": "yes", "checksum/configuration": "other"}
    given["pulsar"].pop("evaluation", None)
    found = [one["spec"]["template"]["metadata"] for one in render(given) if "template" in one.get("spec", {})]
    assert {meta["labels"]["app.kubernetes.io/component"] for meta in found} == {
        *("operator", "check", "uninstall", "pulsar", "page")
    }
    for meta in found:
        assert (meta["labels"]["team"], meta["labels"]["app.kubernetes.io/name"]) == ("realtime", "skymap-scanner")
        assert meta["annotations"]["example.org/note"] == "yes"
        if meta["labels"]["app.kubernetes.io/component"] == "pulsar":
            assert len(meta["annotations"]["checksum/configuration"]) == 64


def rules(objects: list[Manifest]) -> list[tuple[Manifest, dict[str, Any]]]:
    return [(one, rule) for one in objects if one["kind"] in {"Role", "ClusterRole"} for rule in one["rules"]]


@EACH
def test_permissions_have_no_wildcard_and_name_every_secret(case: str) -> None:
    given = values(case)
    wanted = set(given.get("rbac", {}).get("secretNames", defaults()["rbac"]["secretNames"]))
    wanted |= {given["pulsar"]["tlsSecret"]} if given.get("pulsar", {}).get("tlsSecret") else set()
    signed = "SKYMAP_OPERATOR_PULSAR_SIGNING_KEY_FILE" in environment(
        find(render(given), "Deployment", f"{given.get('fullnameOverride', 'skymap')}-operator")
    )
    named = set()
    own = lease_name(f"{NAMESPACE}/{given.get('fullnameOverride', 'skymap')}-operator")
    for role, rule in rules(render(given)):
        name = role["metadata"]["name"]
        if "leases" in rule["resources"] and not set(rule["verbs"]) <= {"list", "create"}:
            assert (rule["resources"], rule["resourceNames"]) == (["leases"], [own]), name
            continue
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], name
        assert "nonResourceURLs" not in rule, name
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"]), name
        assert not any("/" in one and one.partition("/")[0] == "pods" for one in rule["resources"]), name
        if "secrets" in rule["resources"]:
            assert rule["resources"] == ["secrets"], name
            if name.endswith("-pulsar-keys"):
                assert (rule["verbs"], rule["resourceNames"]) == (["get", "update"], [name])
            elif "resourceNames" in rule:
                assert rule["verbs"] == ["get"], name
                named |= set(rule["resourceNames"])
            else:  # each of the other verbs returns a Secret's content
                assert rule["verbs"] == ["create", "update"], name
                assert signed, name
    assert named == (wanted if given.get("rbac", {}).get("create", True) else set())


def test_namespaced_release_has_no_cluster_permissions() -> None:
    objects = render(values("namespaces"))
    assert not [one for one in objects if "namespace" not in one["metadata"]]
    places = {one["metadata"]["namespace"] for one in objects if one["metadata"]["name"] == "scanner:skymap"}
    assert places == {"alerts", "tests"}
    assert {
        one["metadata"]["namespace"] for one in objects if one["metadata"]["name"] == "skymap-check-leases"
    } == places
    alone = render({"rbac": {"aggregate": False}})
    assert not [one for one in alone if one["kind"].startswith("Cluster")], "the default"
    (role,) = (one for one in alone if one["kind"] == "Role" and one["metadata"]["name"] == "scanner:skymap")
    assert role["metadata"]["namespace"] == NAMESPACE


POLICY = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"


@pytest.mark.parametrize(
    ("served", "enabled", "policies"),
    [
        ([], True, 4),  # nothing is known of the cluster
        (["v1/Pod", POLICY], True, 4),
        (["v1/Pod"], True, 0),
        (["v1/Pod", POLICY], False, 0),
    ],
)
def test_account_is_limited_by_policies_that_the_cluster_serves(
    served: list[str], enabled: bool, policies: int
) -> None:
    words = [word for one in served for word in ("--api-versions", one)]
    text = helm("template", RELEASE, CHART, *words, given={"admissionPolicy": {"enabled": enabled}})
    kinds = [one["kind"] for one in yaml.safe_load_all(text) if one]
    assert kinds.count("ValidatingAdmissionPolicy") == kinds.count("ValidatingAdmissionPolicyBinding") == policies


@pytest.mark.parametrize(
    ("settings", "expression"),
    [
        ({}, "one == '')"),
        ({"podTemplate": {"serviceAccountName": "a.b"}}, r"one == '' || (one.matches(r'^(a\.b)$')))"),
        (
            {"allowedInPods": {"serviceAccountName": ["scan.*", "b", "!scan.admin*"]}},
            r"one == '' || (one.matches(r'^(scan\..*|b)$') && !one.matches(r'^(scan\.admin.*)$')))",
        ),
    ],
)
def test_policy_names_the_allowed_service_accounts(settings: dict[str, Any], expression: str) -> None:
    found = find(render({"settings": settings}), "ValidatingAdmissionPolicy", f"{NAMESPACE}.skymap.new-pods")
    assert found["spec"]["validations"][-1]["expression"].endswith(f".all(one, {expression}")


def test_user_roles_extend_view_edit_and_admin() -> None:
    objects = render()
    label = "rbac.authorization.k8s.io/aggregate-to-"
    granted = {}
    for name in ("view", "edit"):
        role = find(objects, "ClusterRole", f"scanner:skymap:{name}")
        to = {key.removeprefix(label) for key in role["metadata"]["labels"] if key.startswith(label)}
        granted[name] = (to, {verb for rule in role["rules"] for verb in rule["verbs"]})
    assert granted["view"] == ({"view", "edit", "admin"}, {"get", "list", "watch"})
    assert granted["edit"] == ({"edit", "admin"}, {"create", "delete", "deletecollection", "patch", "update"})
    names = [one["metadata"]["name"] for one in render({"rbac": {"aggregate": False}})]
    assert not [name for name in names if name.endswith((":view", ":edit"))]


def test_credentials_of_the_operator_are_mounted_secrets() -> None:
    objects = render(values("external"))
    deployment = find(objects, "Deployment", "skymap-operator")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"] if one.get("readOnly")}
    volumes = {one["name"]: one for one in deployment["spec"]["template"]["spec"]["volumes"]}
    for variable, path, secret in (
        ("TOKEN_FILE", "/pulsar/token/jwt", "operator-pulsar-token"),
        ("KEY_FILE", "/pulsar/certificate/tls.key", "operator-pulsar-certificate"),
        ("TRUSTED_FILE", "/pulsar/trusted/authority.pem", "pulsar-authority"),
    ):
        assert given[f"SKYMAP_OPERATOR_PULSAR_{variable}"] == path
        assert volumes[mounts[path.rpartition("/")[0]]]["secret"] == {"secretName": secret}


def test_key_of_the_tokens_is_mounted_where_they_are_signed() -> None:
    objects = render(values("signed"))
    for kind, name in (("Deployment", "skymap-operator"), ("Job", "skymap-check"), ("Job", "skymap-uninstall")):
        pod = find(objects, kind, name)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        given = {one["name"]: one["value"] for one in container["env"]}
        assert given["SKYMAP_OPERATOR_PULSAR_SIGNING_KEY_FILE"] == "/pulsar/signing/secret.key"
        assert given["SKYMAP_OPERATOR_PULSAR_OPERATOR_ROLE"] == "scanner"
        secret = {"secretName": "pulsar-key", "items": [{"key": "secret.key", "path": "secret.key"}]}
        assert {"name": "pulsar-signing", "secret": secret} in pod["volumes"]
        mount = {"name": "pulsar-signing", "mountPath": "/pulsar/signing", "readOnly": True}
        assert mount in container["volumeMounts"]


def test_disruption_budget_never_blocks_a_drain() -> None:
    budgets = [one["spec"] for one in render(values("full")) if one["kind"] == "PodDisruptionBudget"]
    assert [(one["maxUnavailable"], "minAvailable" in one) for one in budgets] == [(1, False)] * 3
    assert not [one for one in render() if one["kind"] == "PodDisruptionBudget"]


def test_uninstall_job_runs_before_the_release_is_deleted() -> None:
    for given, words in (
        ({}, ["uninstall", "--scans", "Delete", "--timeout", "120"]),
        (values("full"), ["uninstall", "--scans", "Release", "--timeout", "300"]),
    ):
        job = find(render(given), "Job", "skymap-uninstall")
        notes = job["metadata"]["annotations"]
        assert notes["helm.sh/hook"] == "pre-delete"
        assert notes["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["args"] == words
        assert job["spec"]["activeDeadlineSeconds"] == int(words[-1]) + 120
        operator = find(render(given), "Deployment", "skymap-operator")["spec"]["template"]["spec"]
        assert job["spec"]["template"]["spec"]["serviceAccountName"] == operator["serviceAccountName"]


def policy(case: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return the spec of a network policy of a case."""
    (found,) = (
        one["spec"]
        for one in render(values(case))
        if (one["kind"], one["metadata"]["name"], one["metadata"].get("namespace"))
        == ("NetworkPolicy", name, namespace)
    )
    return found


def test_hooks_accept_no_connections() -> None:
    policy = find(render(values("default")), "NetworkPolicy", "skymap-hooks")["spec"]
    assert policy["podSelector"]["matchExpressions"][0]["values"] == ["uninstall", "check", "keys"]
    assert policy["policyTypes"] == ["Ingress"]
    assert "ingress" not in policy


def test_scan_pods_reach_only_pulsar_and_event_sources() -> None:
    scans = policy("namespaces", "skymap-scans", "alerts")
    assert scans["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in scans
    names, pulsar = scans["egress"]
    assert {one["port"] for one in names["ports"]} == {53}
    assert pulsar["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "pulsar"
    producers = policy("namespaces", "skymap-producers", "tests")
    assert producers["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "producer"}
    assert producers["egress"] == [{}]


@pytest.mark.parametrize(
    ("service", "admin", "ports"),
    [
        ("pulsar://pulsar.example.org", "http://pulsar.example.org", [6650, 80]),
        ("pulsar+ssl://pulsar.example.org", "https://pulsar.example.org/path", [6651, 443]),
        ("pulsar://a:6650,b:6660", "http://a:8080", [6650, 6660, 8080]),
        ("pulsar+ssl://a:7000,b", "https://a:8443,b/", [7000, 6651, 8443, 443]),
        ("pulsar://[fd00::1:2]:6650", "http://[fd00::7]/path:90", [6650, 80]),
    ],
)
def test_ports_of_an_external_pulsar_are_open(service: str, admin: str, ports: list[int]) -> None:
    given = {
        "scope": "namespaces",
        "pulsar": {"evaluation": False, "serviceUrl": service, "adminUrl": admin},
        "networkPolicy": {"scanPods": True},
    }
    spec = find(render(given), "NetworkPolicy", "skymap-scans")["spec"]
    assert [one["port"] for one in spec["egress"][1]["ports"]] == ports
    listed = {"allowedPulsars": [{"tenants": ["a"]}, {"serviceUrl": service, "adminUrl": admin}]}
    evaluation = given | {"pulsar": {}, "settings": listed}
    spec = find(render(evaluation), "NetworkPolicy", "skymap-scans")["spec"]
    assert [[one["port"] for one in rule["ports"]] for rule in spec["egress"][1:]] == [["broker", "admin"], ports]


@pytest.mark.parametrize(
    ("listed", "ports"),
    [
        ([], None),
        (["slack", "webhook"], [443]),
        (["webhook=https://a.org/hook:80", "cloudevents=https://[2001:db8::1]/", "gcn"], [443, 9092]),
        (["webhook=https://a.org:8443/hook", "webhook=https://[2001:db8::1]:9443"], [8443, 9443]),
        (["cloudevents=https://a.org:0443", "gcn=gcn.notices.a.b"], [443, 9092]),
    ],
)
def test_savers_reach_the_ports_of_notices(listed: list[str], ports: list[int] | None) -> None:
    specs = saver_policies([{"name": f"n{number}", "to": to, "namespaces": ["*"]} for number, to in enumerate(listed)])
    found = [[port["port"] for port in spec["egress"][0]["ports"]] for spec in specs.values()]
    assert found == ([ports] * 3 if ports else [])
    assert all(
        spec["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "saver"} for spec in specs.values()
    )


def saver_policies(notices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the specs of the savers' policies by their namespaces, of the three that have scans."""
    given = {
        "scope": "namespaces",
        "namespaces": ["alerts", "alerts-2", "tests"],
        "settings": {"notices": notices},
        "networkPolicy": {"scanPods": True},
    }
    found = [one for one in render(given) if one["metadata"]["name"] == "skymap-savers"]
    return {one["metadata"]["namespace"]: one["spec"] for one in found}


@pytest.mark.parametrize(
    "namespaces", [[], ["alerts"], ["alert*"], ["*", "!tests"], ["*"], ["*", "!alerts*"], ["a.erts"], ["elsewhere"]]
)
def test_savers_without_open_destination_reach_none(namespaces: list[str]) -> None:
    """The operator decides by the same patterns."""
    found = saver_policies([{"name": "a", "to": "slack", "namespaces": namespaces}])
    assert list(found) == [one for one in ("alerts", "alerts-2", "tests") if matches(one, namespaces)]


def test_web_server_can_be_limited_to_monitoring_and_checks() -> None:
    assert policy("default", "skymap-operator")["ingress"] == [{"ports": [{"port": "http"}]}]
    (rule,) = policy("full", "skymap-operator")["ingress"]
    monitoring, check = rule["from"]
    assert monitoring["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert check["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "check"


def test_operator_egress_can_be_limited() -> None:
    assert policy("default", "skymap-operator")["policyTypes"] == ["Ingress"]
    limited = policy("full", "skymap-operator")
    assert (limited["policyTypes"], len(limited["egress"])) == (["Ingress", "Egress"], 1)
