from __future__ import annotations

from typing import Any

import click
import pytest
from testing.manifests import cases
from tests.unit.operator.recipes import (
    FULL,
    HASH,
    LOST_NODE,
    URL,
    Manifest,
    everything,
    labels,
    made,
    pods,
    scan,
)
from tests.unit.operator.world import SETTINGS

from skymap_api.resource.status import RunsWith, SkymapScanStatus
from skymap_operator import manifests
from skymap_operator.pulsar.access import pulsar_access, runs_with


@pytest.mark.parametrize("values", [case.spec for case in cases.ACCEPTED], ids=[case.name for case in cases.ACCEPTED])
def test_every_pod_is_restricted(values: Manifest) -> None:
    """The rules of the pod security level `restricted`, and ours: read-only, without a token."""
    if "path" in values["event"]:
        return
    for pod in pods(made(values)).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        kinds = {kind for volume in pod["volumes"] for kind in volume} - {"name"}
        assert kinds <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        for one in [*pod["containers"], *pod.get("initContainers", [])]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
            }
            assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("values", [case.spec for case in cases.ACCEPTED], ids=[case.name for case in cases.ACCEPTED])
def test_every_command_is_accepted_by_the_scanner(values: Manifest, tmp_path: Any) -> None:
    from skymap_scanner.cli import group  # noqa: PLC0415 - the operator itself never imports it

    if "path" in values["event"]:
        return
    keys = frozenset({"ca.crt", "tls.crt", "tls.key"})
    for role, pod in pods(made(values, tls_keys=keys)).items():
        for one in [*pod["containers"], *pod.get("initContainers", [])]:
            words = [_existing(word, tmp_path) for word in one["args"]]
            command = group.get_command(click.Context(group), words[0])
            assert command is not None
            context = command.make_context(words[0], words[1:], parent=click.Context(group))
            assert role == words[0] or words[0] == "simulate"
            if words[0] != "simulate":
                assert context.params["name"] == "alerts.alert"


def _existing(word: str, folder: Any) -> str:
    """A file of a Secret, which the command checks."""
    if not word.startswith("/pulsar/"):
        return word
    path = folder / word.replace("/", "_")
    path.write_text("x")
    return str(path)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 600}, LOST_NODE[:1]),
        ({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}, LOST_NODE),
        ({"operator": "Exists"}, []),
    ],
)
def test_user_toleration_replaces_ours(given: Manifest, ours: list[Manifest]) -> None:
    spec = FULL | {"workers": {"podTemplate": {"tolerations": [given]}}}
    assert manifests.workers(made(spec), 0)["spec"]["template"]["spec"]["tolerations"] == [given, *ours]


def test_pod_template_is_merged_into_the_workers() -> None:
    settings = SETTINGS.model_copy(update={"image_pull_secrets": ("ours", "registry")})
    found = manifests.workers(made(FULL, settings), 0)["spec"]["template"]
    assert found["metadata"]["labels"] == labels("worker") | {"team": "realtime"}
    assert found["metadata"]["annotations"]["example.org/contact"] == "shift@example.org"
    pod = found["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"] == [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}, *LOST_NODE]
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("realtime", "skymap-worker")
    assert pod["imagePullSecrets"] == [{"name": "ours"}, {"name": "registry"}]
    for job in manifests.jobs(made(FULL, settings)).values():  # they use the same image
        assert job["spec"]["template"]["spec"]["imagePullSecrets"] == pod["imagePullSecrets"]
        assert "nodeSelector" not in job["spec"]["template"]["spec"]
    assert pod["affinity"] == FULL["workers"]["podTemplate"]["affinity"]
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert pod["automountServiceAccountToken"] is False


def test_realtime_pods_get_the_configured_priority_class() -> None:
    urgent, settings = URL | {"priority": "Realtime"}, SETTINGS.model_copy(update={"realtime_priority_class": "alerts"})
    assert {pod.get("priorityClassName") for pod in pods(made(urgent, settings)).values()} == {"alerts"}
    for one in (made(URL, settings), made(urgent)):
        assert {pod.get("priorityClassName") for pod in pods(one).values()} == {None}
    own = made(urgent | {"workers": {"podTemplate": {"priorityClassName": "mine"}}}, settings)
    assert {role: pod["priorityClassName"] for role, pod in pods(own).items()} == {
        "producer": "alerts",
        "collector": "alerts",
        "saver": "alerts",
        "worker": "mine",
    }


def test_changed_manifest_has_another_digest() -> None:
    def digests(values: Manifest) -> list[str]:
        return [one["metadata"]["annotations"][HASH] for one in everything(made(values))]

    assert digests(URL) == digests(URL)
    changed = digests(URL | {"workers": {"resources": {"limits": {"memory": "4Gi"}}}})
    assert [a == b for a, b in zip(digests(URL), changed, strict=True)] == [False, True, True, True, False, True]
    workers = [manifests.workers(made(URL), count)["metadata"]["annotations"][HASH] for count in (0, 9)]
    assert workers[0] == workers[1]  # the number of workers is no part of the digest


def test_jobs_take_retries_and_deadline_from_the_spec() -> None:
    for job in manifests.jobs(made(FULL)).values():
        assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (5, 7200)


def test_running_scan_keeps_its_image_and_pulsar() -> None:
    began = RunsWith(image="old:1", service_url="pulsar://old:6650", admin_url="http://old:8080", tenant="past")
    assert runs_with(None, SkymapScanStatus(runs_with=began), SETTINGS) == began
    given = {"serviceUrl": "pulsar://mine:6650", "tenant": "own"}
    assert runs_with(scan(URL | {"pulsar": given}).spec, SkymapScanStatus(), SETTINGS) == RunsWith(
        image="registry.example/scanner:1",
        service_url="pulsar://mine:6650",
        admin_url="http://pulsar:8080",
        tenant="own",
    )


def test_operator_credentials_are_only_for_its_own_pulsar() -> None:
    settings = SETTINGS.model_copy(update={"pulsar_token_secret": "ours", "pulsar_tls_secret": "certificates"})
    access = pulsar_access(scan(URL).spec, SkymapScanStatus(), settings)
    assert (access.own, access.token and access.token.name, access.tls_secret) == (True, "ours", "certificates")
    access = pulsar_access(
        scan(URL | {"pulsar": {"adminUrl": "http://elsewhere:8080"}}).spec, SkymapScanStatus(), settings
    )
    assert (access.own, access.token, access.tls_secret) == (False, None, None)
    access = pulsar_access(scan(URL | {"pulsar": {"tokenSecret": {"name": "mine"}}}).spec, SkymapScanStatus(), settings)
    assert (access.own, access.token and access.token.name) == (True, "mine")
