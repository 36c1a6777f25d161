"""The chart's own Pulsar: tokens for every client, keys that Helm never sees, and who may reach it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from testing.chart import CHART, NAMESPACE, RELEASE, Manifest, Values, environment, find, helm, render, values

KEYS = "skymap-pulsar-keys"


def configuration(objects: list[Manifest]) -> dict[str, str]:
    """Return the settings of the broker."""
    text = find(objects, "ConfigMap", "skymap-pulsar")["data"]["standalone.conf"]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = dict(line.split("=", 1) for line in lines)
    assert len(found) == len(lines), "no key twice"
    return found


def pulsar_pod(objects: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = find(objects, "StatefulSet", "skymap-pulsar")["spec"]["template"]["spec"]
    return spec


def keys_job(objects: list[Manifest]) -> Manifest:
    (found,) = (one for one in objects if one["kind"] == "Job" and one["metadata"]["name"].startswith(KEYS))
    return found


def mounted(pod: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the Secret that a pod's container mounts read-only at a path."""
    (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == path)
    assert mount["readOnly"] is True
    (volume,) = (one for one in pod["volumes"] if one["name"] == mount["name"])
    secret: dict[str, Any] = volume["secret"]
    return secret


def test_evaluation_pulsar_is_deleted_with_its_data() -> None:
    objects = render()
    pulsar = find(objects, "StatefulSet", "skymap-pulsar")["spec"]
    assert pulsar["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert pulsar["template"]["spec"]["automountServiceAccountToken"] is False
    args = pulsar["template"]["spec"]["containers"][0]["args"]
    address = args[args.index("--advertised-address") + 1]
    assert address == f"skymap-pulsar-0.{pulsar['serviceName']}.{NAMESPACE}.svc"
    headless = find(objects, "Service", pulsar["serviceName"])["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
    outside = [one["metadata"]["name"] for one in render(values("external"))]
    assert not [name for name in outside if "pulsar" in name]


def test_every_client_needs_a_token() -> None:
    found = configuration(render())
    assert (found["authenticationEnabled"], found["authorizationEnabled"]) == ("true", "true")
    assert found["superUserRoles"].split(",") == ["pulsar-broker", "skymap-operator"]
    assert found["tokenSecretKey"] == "file:///keys/key"
    assert found["brokerClientAuthenticationParameters"] == "file:///keys/broker-token"
    assert found["authenticateMetricsEndpoint"] == "true"
    assert "anonymousUserRole" not in found


def test_operator_has_the_key_and_not_the_token() -> None:
    objects = render()
    for kind, name in (("Deployment", "skymap-operator"), ("Job", "skymap-check"), ("Job", "skymap-uninstall")):
        workload = find(objects, kind, name)
        given = environment(workload)
        assert given["SKYMAP_OPERATOR_PULSAR_SIGNING_KEY_FILE"] == "/pulsar/signing/key"
        assert given["SKYMAP_OPERATOR_PULSAR_OPERATOR_ROLE"] == "skymap-operator"
        secret = mounted(workload["spec"]["template"]["spec"], "/pulsar/signing")
        assert secret == {"secretName": KEYS, "items": [{"key": "key", "path": "key"}]}
    broker = mounted(pulsar_pod(objects), "/keys")
    assert broker["secretName"] == KEYS
    assert {(one["key"], one["path"]) for one in broker["items"]} == {("key", "key"), ("broker-token", "broker-token")}


def test_keys_are_made_in_the_cluster_and_never_rendered() -> None:
    objects = render()
    secret = find(objects, "Secret", KEYS)
    assert not {"data", "stringData"} & set(secret)
    job = keys_job(objects)
    assert "annotations" not in job["metadata"], "no hook: the Secret must be there first"
    pod = job["spec"]["template"]["spec"]
    args = pod["containers"][0]["args"]
    assert args == ["keys", "--namespace", NAMESPACE, "--secret", KEYS, "--role", "pulsar-broker"]
    assert pod["serviceAccountName"] == KEYS
    (rule,) = find(objects, "Role", KEYS)["rules"]
    assert rule == {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [KEYS], "verbs": ["get", "update"]}
    (subject,) = find(objects, "RoleBinding", KEYS)["subjects"]
    assert (subject["name"], subject["namespace"]) == (KEYS, NAMESPACE)


def test_changed_job_of_the_keys_is_another_job() -> None:
    first, same = keys_job(render()), keys_job(render({"settings": {"maxWorkers": 5}}))
    assert first == same
    other = keys_job(render({"operator": {"image": {"tag": "2"}}}))
    assert other["metadata"]["name"] != first["metadata"]["name"]
    assert len(keys_job(render({"fullnameOverride": "skymap"}))["metadata"]["name"]) <= 63


def test_given_secret_is_used_and_none_is_made() -> None:
    objects = render(values("given"))
    assert not [one for one in objects if KEYS in one["metadata"]["name"]]
    secret = mounted(find(objects, "Deployment", "skymap-operator")["spec"]["template"]["spec"], "/pulsar/signing")
    assert secret == {"secretName": "pulsar-key", "items": [{"key": "secret.key", "path": "secret.key"}]}
    broker = mounted(pulsar_pod(objects), "/keys")
    assert broker["secretName"] == "pulsar-key"
    assert {"key": "secret.key", "path": "key"} in broker["items"]
    assert configuration(objects)["authenticationEnabled"] == "true"


@pytest.mark.parametrize("given", [{"authentication": False}, values("external")["pulsar"]])
def test_no_keys_are_made_where_none_are_needed(given: Values) -> None:
    objects = render({"pulsar": given})
    assert not [one for one in objects if KEYS in one["metadata"]["name"]]
    assert "SKYMAP_OPERATOR_PULSAR_SIGNING_KEY_FILE" not in environment(find(objects, "Deployment", "skymap-operator"))


def test_notes_warn_of_a_pulsar_without_tokens(tmp_path: Path) -> None:
    """A copy of the chart renders its notes as an object, since helm shows them only with a cluster."""
    chart = shutil.copytree(CHART, tmp_path / "chart")
    shown = '{{ include (print $.Template.BasePath "/NOTES.txt") . | toJson }}'
    (chart / "templates" / "notes.yaml").write_text(f"kind: Notes\ntext: {shown}\n")

    def notes(pulsar: Values) -> str:
        objects = yaml.safe_load_all(helm("template", RELEASE, chart, given={"pulsar": pulsar}))
        (found,) = (one["text"] for one in objects if one and one["kind"] == "Notes")
        return str(found)

    warning = "WARNING: this Pulsar requires no token"
    assert warning in notes({"authentication": False})
    assert warning not in notes({})
    assert warning not in notes(values("external")["pulsar"] | {"authentication": False})
    objects = render({"pulsar": {"authentication": False}})
    assert "authenticationEnabled" not in configuration(objects)
    assert "keys" not in {one["name"] for one in pulsar_pod(objects)["volumes"]}


def test_pod_of_pulsar_follows_its_configuration() -> None:
    def checksum(given: Values) -> str:
        template = find(render(given), "StatefulSet", "skymap-pulsar")["spec"]["template"]
        found: str = template["metadata"]["annotations"]["checksum/configuration"]
        return found

    assert checksum({}) == checksum({"settings": {"maxWorkers": 5}})
    assert checksum({}) != checksum({"pulsar": {"operator": {"role": "another"}}})
    assert checksum({}) != checksum({"pulsar": {"authentication": False}})


def test_readiness_probe_needs_no_token() -> None:
    (container,) = pulsar_pod(render())["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/status.html", "port": "admin"}
    (mount,) = (one for one in container["volumeMounts"] if one["name"] == "configuration")
    assert configuration(render())["statusFilePath"] == f"{mount['mountPath']}/standalone.conf"


def test_startup_probe_uses_a_token_where_one_is_required() -> None:
    def command(given: Values) -> str:
        (container,) = pulsar_pod(render({"pulsar": given}))["containers"]
        shell, option, script = container["startupProbe"]["exec"]["command"]
        assert (shell, option) == ("sh", "-c")
        return str(script)

    assert '"$(cat /keys/broker-token)" | curl --config - ' in command({})
    assert command({"authentication": False}).startswith("curl ")


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        ("-Xmx1g", "-Xmx1g -XX:+ExitOnOutOfMemoryError"),
        ("-Xmx1g -XX:+CrashOnOutOfMemoryError", "-Xmx1g -XX:+CrashOnOutOfMemoryError"),
    ],
)
def test_java_exits_without_memory(memory: str, used: str) -> None:
    (container,) = pulsar_pod(render({"pulsar": {"memory": memory}}))["containers"]
    assert {one["name"]: one["value"] for one in container["env"]}["PULSAR_MEM"] == used


def ingress(given: Values) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = find(render(given), "NetworkPolicy", "skymap-pulsar")["spec"]["ingress"]
    return rules


def test_namespaces_of_scans_and_the_operator_reach_pulsar() -> None:
    scans, own = ingress(values("namespaces"))
    names = ({"matchLabels": {"kubernetes.io/metadata.name": name}} for name in ("alerts", "tests"))
    assert scans["from"] == [{"namespaceSelector": one} for one in names], "no label of a pod, which anybody can set"
    (one,) = own["from"]
    assert one["podSelector"]["matchExpressions"][0]["values"] == ["operator", "uninstall", "check", "page"]
    assert "namespaceSelector" not in one, "the release's"
    everywhere, _ = ingress(values("cluster"))
    assert everywhere["from"] == [{"namespaceSelector": {}}]


def test_administrator_says_who_reaches_pulsar() -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"scans": "yes"}}}]
    scans, own = ingress({"scope": "cluster", "networkPolicy": {"pulsarIngress": peers}})
    assert scans["from"] == peers
    assert own == ingress({})[1]
