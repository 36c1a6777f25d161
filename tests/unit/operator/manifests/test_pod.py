"""The pods of all roles."""

from __future__ import annotations

from typing import Any

import click
import pytest
from testing.manifests import cases
from tests.unit.operator.recipes import FULL, URL, Manifest, made, pods
from tests.unit.operator.world import SETTINGS


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
        assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)
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


def test_signed_token_of_its_own_role_alone_is_mounted() -> None:
    settings = SETTINGS.model_copy(update={"pulsar_signing_key_file": "/keys/key"})
    for role, pod in pods(made(URL, settings)).items():
        [volume] = [one for one in pod["volumes"] if "secret" in one]
        assert volume == {
            "name": "pulsar-token",
            "secret": {"secretName": "scan-uid-1-tokens", "items": [{"key": role, "path": "token"}]},
        }
        [main] = pod["containers"]
        [mount] = [one for one in main["volumeMounts"] if one["name"] == "pulsar-token"]
        assert mount == {"name": "pulsar-token", "mountPath": "/pulsar/token", "readOnly": True}, "no subPath: renewed"
        assert main["args"][main["args"].index("--auth-token") + 1] == "/pulsar/token/token"


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (set(), []),
        ({"ca.crt"}, ["--tls-trust-certs", "/pulsar/tls/ca.crt"]),
        (
            {"tls.crt", "tls.key", "other"},
            ["--tls-certificate", "/pulsar/tls/tls.crt", "--tls-key", "/pulsar/tls/tls.key"],
        ),
    ],
)
def test_only_existing_certificate_files_are_named(keys: set[str], options: list[str]) -> None:
    for pod in pods(made(FULL, tls_keys=frozenset(keys))).values():
        [main] = pod["containers"]
        assert [word for word in main["args"] if "tls" in word] == options
        mounted = {one["name"]: one["mountPath"] for one in main["volumeMounts"]}
        assert (mounted["pulsar-token"], mounted["pulsar-tls"]) == ("/pulsar/token", "/pulsar/tls")
