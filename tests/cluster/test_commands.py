"""``submit``, ``status``, ``logs`` and ``abort`` on a real cluster; the tests play the operator's part.

They run as a user with the permissions that docs/reference/permissions.md lists and no others, in a namespace of the
restricted level.
"""

from __future__ import annotations

import base64
import json
import signal
from pathlib import Path

import pytest
import yaml
from testing.cluster.cluster import Namespace
from testing.cluster.users import Object, User, ended, kubeconfig_of, pod_spec, set_status, user_of
from testing.waiting import consistently, eventually

from skymap_api.names import COMPONENT_LABEL, SCAN_LABEL
from skymap_scanner.event.demo import demo_event_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def user(namespace: Namespace, definition: None, tmp_path: Path) -> User:
    return user_of(namespace, tmp_path)


# --- submit ---


def test_scan_is_submitted_once_and_never_changed(user: User) -> None:
    output = user.call("submit", "demo", "--levels", "1:0", "--set", "workers.max=3")
    assert "SkymapScan demo is created." in output
    assert "skymap-scanner status demo --watch" in output
    made = user.namespace.get("sms", "demo")
    assert made["spec"]["levels"] == [{"nside": 1, "parents": 0}]
    assert made["spec"]["event"]["configMap"]["name"].startswith("demo-")
    assert made["spec"]["workers"]["max"] == 3

    assert "exists already" in user.call("submit", "demo", "--levels", "1:0")
    error = user.refused("submit", "demo", "--levels", "2:0", "--set", "workers.max=4")
    assert "another SkymapScan demo" in error
    assert "it differs in levels, workers.max" in error
    now = user.namespace.get("sms", "demo")
    assert (now["spec"], now["metadata"]["generation"]) == (made["spec"], 1)


def test_event_file_is_stored_in_an_owned_config_map(user: User) -> None:
    event = demo_event_path()
    user.call("submit", event, "-n", "alert")
    source = user.namespace.get("sms", "alert")["spec"]["event"]["configMap"]
    carried = user.namespace.get("configmap", source["name"])
    assert base64.b64decode(carried["binaryData"][source["key"]]) == event.read_bytes()
    assert "exists already" in user.call("submit", event, "-n", "alert")

    user.namespace.kubectl("delete", "sms", "alert")
    assert "is created" in user.call("submit", event, "-n", "alert"), "at once, with the old ConfigMap on its way out"
    uid = user.namespace.get("sms", "alert")["metadata"]["uid"]
    owners = lambda: user.namespace.get("configmap", source["name"])["metadata"]["ownerReferences"]  # noqa: E731
    consistently(owners, lambda found: [owner["uid"] for owner in found] == [uid])
    user.namespace.kubectl("delete", "sms", "alert")
    eventually(lambda: user.namespace.run("get", "configmap", source["name"]).returncode)


def test_manifest_is_submitted_unchanged_and_validated_by_the_server(user: User) -> None:
    user.call("submit", ROOT / "examples/scan.yaml")
    written = yaml.safe_load((ROOT / "examples/scan.yaml").read_text())
    assert user.namespace.get("sms", "demo")["spec"]["event"]["simulate"] == written["spec"]["event"]["simulate"]
    written["metadata"]["name"] = "here"
    written["spec"]["event"] = {"path": "event.json"}
    (user.home / "scan.yaml").write_text(json.dumps(written))
    assert "path is a file on one machine" in user.refused("submit", "scan.yaml")


@pytest.mark.parametrize(("phase", "status", "code"), [("Succeeded", "True", 0), ("Failed", "False", 1)])
def test_wait_ends_when_the_scan_does(user: User, phase: str, status: str, code: int) -> None:
    with user.start("submit", "demo", "--wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "demo: New\n"
        set_status(user.namespace, phase="Scanning", progress="3/12")
        assert process.stdout.readline() == "demo: Scanning 3/12 pixels\n"
        reason = "Completed" if code == 0 else "RoleFailed"
        set_status(user.namespace, phase=phase, conditions=ended(status, reason))
        out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"demo in namespace {user.namespace.name}: {phase}" in out
    assert "as the operator says" in out
    assert ("skymap-scanner fetch demo" if code == 0 else "skymap-scanner logs demo") in out


# --- status ---


def test_status_lists_all_scans_and_describes_one(user: User) -> None:
    assert "There are no scans in this namespace" in user.call("status")
    assert "there is no SkymapScan demo in this namespace; there are none" in user.refused("status", "demo")
    for name in ("one", "two"):
        user.call("submit", "demo", "-n", name)
    set_status(user.namespace, "two", phase="Scanning", progress="3/12", level=1)
    rows = [line.split()[:4] for line in user.call("status").splitlines()]
    assert rows[0][:2] == ["NAME", "PHASE"]
    assert rows[1][:2] == ["one", "New"]
    assert rows[2] == ["two", "Scanning", "1", "3/12"]
    assert f"two in namespace {user.namespace.name}: Scanning" in user.call("status", "two")
    plain = [json.loads(line) for line in user.call("status", "--json").splitlines()]
    assert [(one["metadata"]["name"], one.get("status", {}).get("progress")) for one in plain] == [
        ("one", None),
        ("two", "3/12"),
    ]
    assert "there are one, two" in user.refused("status", "three")


def test_watch_ends_with_the_scan_or_on_interrupt(user: User) -> None:
    user.call("submit", "demo")
    with user.start("status", "demo", "--watch", "--json") as process:
        assert process.stdout is not None
        assert "status" not in json.loads(process.stdout.readline())
        set_status(user.namespace, phase="Succeeded", conditions=ended("True", "Completed"))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["status"]["phase"] == "Succeeded"
    set_status(user.namespace, phase="Scanning")
    with user.start("status", "demo", "--watch") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "Stopped.")


def test_missing_permission_is_explained(user: User, tmp_path: Path) -> None:
    nobody = User(user.namespace, kubeconfig_of(user.namespace, "default", tmp_path / "nobody"), user.home)
    for words in (["status"], ["submit", "demo"], ["logs", "demo"], ["fetch", "demo"], ["abort", "demo"]):
        error = nobody.refused(*words)
        assert "is forbidden" in error
        assert "ask the cluster's administrators for permission" in error


# --- logs ---


def scan_pod(name: str, role: str, spec: Object) -> Object:
    labels = {SCAN_LABEL: "demo", COMPONENT_LABEL: role}
    spec["containers"][0]["name"] = role
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def test_logs_include_finished_pods(user: User, python_image: str) -> None:
    user.call("submit", "demo")
    assert "Scan demo has no pods: they are not created yet." in user.call("logs", "demo")
    say = ["sh", "-c", "echo one; echo 'Authorization: Bearer abcdefgh'; echo three"]
    # Its second run stays: of two that have ended, Kubernetes keeps the log of the last.
    fail_once = "[ -e /state/1 ] && echo 2nd run && exec sleep 600; echo 1st run; touch /state/1; exit 1"
    fails = pod_spec(python_image, "sh", "-c", fail_once, restartPolicy="OnFailure")
    fails["volumes"] = [{"name": "state", "emptyDir": {}}]
    fails["containers"][0]["volumeMounts"] = [{"name": "state", "mountPath": "/state"}]
    user.namespace.apply(
        scan_pod("demo-producer-a", "producer", pod_spec(python_image, *say)),
        scan_pod("demo-worker-b", "worker", fails),
        scan_pod("demo-saver-c", "saver", pod_spec("registry.invalid/none:1", "true")),
    )
    again = lambda: user.namespace.kubectl("logs", "demo-worker-b")  # noqa: E731
    eventually(again, lambda output: output == "2nd run\n")
    eventually(lambda: user.namespace.get("pod", "demo-producer-a")["status"]["phase"], lambda now: now == "Succeeded")
    lines = user.call("logs", "demo").splitlines()
    assert [line for line in lines if line.startswith("[producer demo-producer-a]")] == [
        "[producer demo-producer-a] one",
        "[producer demo-producer-a] Authorization: Bearer ***",
        "[producer demo-producer-a] three",
    ]
    assert [line for line in lines if line.startswith("[worker")] == [
        "[worker demo-worker-b (previous)] 1st run",
        "[worker demo-worker-b] 2nd run",
    ]
    assert any(line.startswith("[saver demo-saver-c] has not started: ") for line in lines)
    assert user.call("logs", "demo", "--role", "producer", "--tail", "1") == "[producer demo-producer-a] three\n"
    assert "there is no SkymapScan other" in user.refused("logs", "other")


def test_following_logs_includes_new_pods_until_the_end(user: User, python_image: str) -> None:
    user.call("submit", "demo")
    with user.start("logs", "demo", "--follow") as process:
        assert process.stdout is not None
        hold = ["sh", "-c", "echo here; while [ ! -e /dev/shm/go ]; do sleep 0.2; done; echo there"]
        user.namespace.apply(scan_pod("demo-worker-a", "worker", pod_spec(python_image, *hold)))
        seen = [process.stdout.readline()]
        while "has not started" in seen[-1]:
            seen.append(process.stdout.readline())
        assert seen[-1] == "[worker demo-worker-a] here\n"
        user.namespace.apply(scan_pod("demo-saver-b", "saver", pod_spec(python_image, "echo", "written")))
        seen.append(process.stdout.readline())
        while "has not started" in seen[-1]:
            seen.append(process.stdout.readline())
        assert seen[-1] == "[saver demo-saver-b] written\n"
        set_status(user.namespace, phase="Succeeded")
        user.namespace.kubectl("exec", "demo-worker-a", "--", "touch", "/dev/shm/go")  # noqa: S108 - of the pod
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "[worker demo-worker-a] there\n", "")


# --- abort ---


def test_aborted_scan_resumes(user: User) -> None:
    user.call("submit", "demo")
    suspended = lambda: user.namespace.get("sms", "demo")["spec"]["suspend"]  # noqa: E731
    assert "is not stopped" in user.call("abort", "demo", "--resume")
    assert "The fits so far stay in Pulsar" in user.call("abort", "demo")
    assert suspended() is True
    assert "is stopped already" in user.call("abort", "demo")
    assert "Scan demo resumes." in user.call("abort", "demo", "--resume")
    assert suspended() is False
    set_status(user.namespace, phase="Succeeded")
    assert "is finished (Succeeded): there is nothing to stop" in user.call("abort", "demo")
    assert suspended() is False


def test_deletion_reports_what_it_waits_for(user: User) -> None:
    user.call("submit", "demo")
    assert "is New: give --yes to delete it" in user.refused("abort", "demo", "--delete")
    user.namespace.kubectl("patch", "sms", "demo", "--type=merge", "-p", '{"metadata": {"finalizers": ["a/b"]}}')
    error = user.refused("abort", "demo", "--delete", "--yes", "--timeout", "1")
    assert "still exists after 1 s: check that an operator runs" in error
    assert "is being deleted already" in user.call("abort", "demo")
    assert "is being deleted: wait until it is deleted" in user.refused("submit", "demo")
    waiting = [{"type": "Degraded", "reason": "PulsarUnavailable"}]
    degraded = [ended("True", "Completed")[0] | waiting[0]]
    set_status(user.namespace, conditions=degraded)
    error = user.refused("abort", "demo", "--delete", "--timeout", "1")
    assert "PulsarUnavailable: as the operator says" in error
    assert "It had no results." in user.call("abort", "demo", "--delete", "--timeout", "0")
    user.namespace.kubectl("patch", "sms", "demo", "--type=merge", "-p", '{"metadata": {"finalizers": []}}')
    eventually(lambda: user.namespace.run("get", "sms", "demo").returncode)
