"""Errors of kubectl; their texts are those of kubectl 1.34."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skymap_scanner.errors import ClusterError, ClusterUnavailable
from skymap_scanner.kubectl.client import Kubectl, explain_failure, redacted

REFUSED = "The connection to the server localhost:8080 was refused - did you specify the right host or port?"


@pytest.mark.parametrize(
    ("stderr", "message", "temporary"),
    [
        (
            "E1123 11:00:00.1 1 memcache.go:265] couldn't get current server API group list: dial tcp\n" + REFUSED,
            "The connection to the server localhost:8080 was refused: check that the cluster runs",
            True,
        ),
        ("Unable to connect to the server: dial tcp 10.0.0.1:443: i/o timeout", "cluster runs", True),
        (
            "Unable to connect to the server: dial tcp: lookup nowhere: no such host",
            "cluster runs",
            True,
        ),
        (
            "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown",
            "the cluster's certificate is not trusted",
            False,
        ),
        (
            'Error from server (Forbidden): pods is forbidden: User "me" cannot list resource "pods" in API group ""',
            'pods is forbidden: User "me" cannot list',
            False,
        ),
        ('error: the server doesn\'t have a resource type "skymapscans"', "install the operator there", False),
        (
            'error: resource mapping not found for name: "demo" from "STDIN": no matches for kind "SkymapScan" in',
            "install the operator there",
            False,
        ),
        ("error: You must be logged in to the server (Unauthorized)", "log in to the cluster again", False),
        (
            "Unable to connect to the server: getting credentials: exec: executable gke-gcloud-auth-plugin not found",
            "log in to the cluster again",
            False,
        ),
        ('error: context "nope" does not exist', "choose one with --context", False),
        ('Error from server (NotFound): namespaces "nix" not found', "choose another with --namespace", False),
        ("Warning: deprecated\nError from server (Conflict): it has changed", "it has changed", False),
    ],
)
def test_known_errors_become_one_line_with_advice(stderr: str, message: str, temporary: bool) -> None:
    error = explain_failure(stderr)
    assert message in str(error)
    assert "\n" not in str(error)
    assert isinstance(error, ClusterUnavailable) == temporary


def test_unknown_errors_keep_only_their_reason() -> None:
    assert str(explain_failure("error: Error from server (Invalid): it is wrong")) == "it is wrong"
    assert str(explain_failure("", 7)) == "kubectl failed with exit code 7 and no message"
    assert len(str(explain_failure("x" * 10_000))) == 600


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:secret@host/event?x=1", "GET https://***@host/event?x=1"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("Authorization: Basic bWU6c2VjcmV0", "Authorization: Basic ***"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.sig-1 given", "token *** given"),
        ("pulsar://broker:6650 a@b basic losses", "pulsar://broker:6650 a@b basic losses"),
    ],
)
def test_secrets_are_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown


def program(folder: Path, body: str) -> str:
    """Return the path of a program that stands in for kubectl."""
    path = folder / "kubectl"
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_context_and_namespace_are_passed_to_kubectl(tmp_path: Path) -> None:
    kubectl = Kubectl(program(tmp_path, "print(sys.argv[1:], sys.stdin.read())"), "c", "n")
    printed = kubectl.run("get", "pods", stdin="given")
    assert printed == ("['--context', 'c', '--namespace', 'n', 'get', 'pods', '--request-timeout=20s'] given\n")
    assert Kubectl.of({"SKYMAP_KUBECTL": "k"}, None, None) == Kubectl("k")
    assert Kubectl.of({"SKYMAP_KUBECTL": ""}, None, "n").command("get") == ["kubectl", "--namespace", "n", "get"]


def test_missing_kubectl_is_reported(tmp_path: Path) -> None:
    missing = Kubectl(str(tmp_path / "kubectl"))
    for call in (lambda: missing.run("get"), lambda: missing.start("logs", stdin=-3, stderr=-3)):
        with pytest.raises(ClusterError, match=r"cannot run .*kubectl .No such file.*: install kubectl, or name it in"):
            call()


def test_output_that_is_not_json_is_reported(tmp_path: Path) -> None:
    for printed in ("hello", "[1]"):
        with pytest.raises(ClusterError, match=r"is .* really kubectl"):
            Kubectl(program(tmp_path, f"print({printed!r})")).get("pods")
    assert Kubectl(program(tmp_path, "")).get("pods", "x") is None
    assert Kubectl(program(tmp_path, "")).items("pods") == []


def test_hanging_call_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skymap_scanner.kubectl.client.CALL_TIMEOUT", 0.5)
    with pytest.raises(ClusterUnavailable, match=r"kubectl get has not finished within 0\.5 s"):
        Kubectl(program(tmp_path, "import time; time.sleep(60)")).run("get")


def test_failed_call_raises_the_explained_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailable, match="cluster runs"):
        Kubectl(program(tmp_path, f"sys.exit({REFUSED!r})")).get("pods")
