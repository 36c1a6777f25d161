"""``submit``, ``status``, ``logs``, ``fetch`` and ``abort`` on a real cluster; the tests play the operator's part.

They run as a user who may do what docs/cluster-scans.md lists and nothing else, in a namespace of the restricted level.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.cluster import Namespace
from tests.cluster.waiting import consistently, eventually

from skymap_operator.manifests.common import COMPONENT_LABEL, SCAN_LABEL
from skymap_scanner.simulation import demo_event_path

GROUP = "skymap.icecube.wisc.edu"
ROOT = Path(__file__).resolve().parents[2]
Object = dict[str, Any]

#: The table of docs/cluster-scans.md.
RIGHTS = [
    ([GROUP], ["skymapscans"], ["get", "list", "create", "patch", "delete"]),
    ([""], ["configmaps"], ["get", "list", "watch", "create", "delete", "patch"]),
    ([""], ["persistentvolumeclaims"], ["get"]),
    (["batch"], ["jobs"], ["get", "create", "delete"]),
    ([""], ["pods"], ["get", "list"]),
    ([""], ["pods/log"], ["get"]),
    ([""], ["pods/exec"], ["get", "create"]),
    ([""], ["events"], ["list"]),
]


@dataclass(frozen=True)
class User:
    """Somebody at a terminal who uses a cluster with few rights."""

    namespace: Namespace
    kubeconfig: Path
    home: Path

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "SKYMAP_KUBECTL": self.namespace.cluster.kubectl_program,
            "KUBECACHEDIR": str(self.namespace.cluster.cache),
            "COLUMNS": "120",
        }
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "skymap_scanner", *map(str, words)],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command, which may fail."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def call(self, *words: str | Path) -> str:
        """Run a command, which must succeed; return all that it said."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self, *words: str | Path) -> str:
        """Run a command that must end with one line that explains why."""
        done = self.run(*words)
        assert done.returncode == 1, done.stdout + done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        return line


def kubeconfig_of(namespace: Namespace, account: str, path: Path) -> Path:
    """Write a kubeconfig that is let in as a service account."""
    config = yaml.safe_load(namespace.kubectl("config", "view", "--raw", "-o", "yaml"))
    config["users"][0]["user"] = {"token": namespace.kubectl("create", "token", account).strip()}
    config["contexts"][0]["context"]["namespace"] = namespace.name
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def user(namespace: Namespace, definition: None, tmp_path: Path) -> User:
    namespace.cluster.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "user"},
        "rules": [dict(zip(("apiGroups", "resources", "verbs"), right, strict=True)) for right in RIGHTS],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "user"}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "user"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "user"},
        "subjects": [{"kind": "ServiceAccount", "name": "user", "namespace": namespace.name}],
    }
    namespace.apply(role, account, binding)
    home = tmp_path / "home"
    home.mkdir()
    return User(namespace, kubeconfig_of(namespace, "user", tmp_path / "kubeconfig"), home)


def tell(namespace: Namespace, name: str = "demo", **status: Any) -> None:
    """Write a scan's status, as the operator does."""
    patch = json.dumps({"status": status})
    namespace.kubectl("patch", "sms", name, "--subresource=status", "--type=merge", "-p", patch)


def ended(status: str, reason: str) -> list[Object]:
    return [
        {
            "type": "Succeeded",
            "status": status,
            "reason": reason,
            "message": "as the operator says",
            "lastTransitionTime": "2026-01-02T12:00:00Z",
        }
    ]


def pod_spec(image: str, *command: str, **more: Any) -> Object:
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "containers": [container],
        "restartPolicy": "Never",
        "securityContext": security,
        "terminationGracePeriodSeconds": 1,
    } | more


# --- submit ---


def test_a_scan_is_submitted_once_and_never_changed(user: User) -> None:
    said = user.call("submit", "demo", "--levels", "1:0", "--set", "workers.max=3")
    assert "SkymapScan demo is made." in said
    assert "skymap-scanner status demo --watch" in said
    made = user.namespace.get("sms", "demo")
    assert made["spec"]["levels"] == [{"nside": 1, "parents": 0}]
    assert made["spec"]["event"]["simulate"] == {
        "topology": "track", "ra": 77.43, "dec": 5.69, "energy": 1e5, "seed": 8,
    }  # fmt: skip
    assert made["spec"]["workers"]["max"] == 3

    assert "is there already" in user.call("submit", "demo", "--levels", "1:0")
    told = user.refused("submit", "demo", "--levels", "2:0", "--set", "workers.max=4")
    assert "another SkymapScan demo" in told
    assert "it differs in levels, workers.max" in told
    now = user.namespace.get("sms", "demo")
    assert (now["spec"], now["metadata"]["generation"]) == (made["spec"], 1)


def test_a_file_travels_in_a_config_map_that_goes_with_the_scan(user: User) -> None:
    event = demo_event_path()
    user.call("submit", event, "-n", "alert")
    source = user.namespace.get("sms", "alert")["spec"]["event"]["configMap"]
    carried = user.namespace.get("configmap", source["name"])
    assert base64.b64decode(carried["binaryData"][source["key"]]) == event.read_bytes()
    assert "is there already" in user.call("submit", event, "-n", "alert")

    user.namespace.kubectl("delete", "sms", "alert")
    assert "is made" in user.call("submit", event, "-n", "alert"), "at once, with the old ConfigMap on its way out"
    uid = user.namespace.get("sms", "alert")["metadata"]["uid"]
    owners = lambda: user.namespace.get("configmap", source["name"])["metadata"]["ownerReferences"]  # noqa: E731
    consistently(owners, lambda found: [owner["uid"] for owner in found] == [uid])
    user.namespace.kubectl("delete", "sms", "alert")
    eventually(lambda: user.namespace.run("get", "configmap", source["name"]).returncode)


def test_a_manifest_goes_as_it_is_and_the_api_server_judges_it(user: User) -> None:
    user.call("submit", ROOT / "examples/scan.yaml")
    written = yaml.safe_load((ROOT / "examples/scan.yaml").read_text())
    assert user.namespace.get("sms", "demo")["spec"]["event"]["simulate"] == written["spec"]["event"]["simulate"]
    written["metadata"]["name"] = "here"
    written["spec"]["event"] = {"path": "event.json"}
    (user.home / "scan.yaml").write_text(json.dumps(written))
    assert "path is a file of one machine" in user.refused("submit", "scan.yaml")


@pytest.mark.parametrize(("phase", "status", "code"), [("Succeeded", "True", 0), ("Failed", "False", 1)])
def test_waiting_ends_with_the_scan(user: User, phase: str, status: str, code: int) -> None:
    with user.start("submit", "demo", "--wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "demo: New\n"
        tell(user.namespace, phase="Scanning", progress="3/12")
        assert process.stdout.readline() == "demo: Scanning 3/12 pixels\n"
        reason = "Completed" if code == 0 else "RoleFailed"
        tell(user.namespace, phase=phase, conditions=ended(status, reason))
        out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"demo in namespace {user.namespace.name}: {phase}" in out
    assert "as the operator says" in out
    assert ("skymap-scanner fetch demo" if code == 0 else "skymap-scanner logs demo") in out


# --- status ---


def test_status_tells_of_all_and_of_one(user: User) -> None:
    assert "There are no scans in this namespace" in user.call("status")
    assert "there is no SkymapScan demo in this namespace; there is none" in user.refused("status", "demo")
    for name in ("one", "two"):
        user.call("submit", "demo", "-n", name)
    tell(user.namespace, "two", phase="Scanning", progress="3/12", level=1)
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


def test_watching_ends_with_the_scan_or_by_ctrl_c(user: User) -> None:
    user.call("submit", "demo")
    with user.start("status", "demo", "--watch", "--json") as process:
        assert process.stdout is not None
        assert "status" not in json.loads(process.stdout.readline())
        tell(user.namespace, phase="Succeeded", conditions=ended("True", "Completed"))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["status"]["phase"] == "Succeeded"
    tell(user.namespace, phase="Scanning")
    with user.start("status", "demo", "--watch") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "Stopped.")


def test_who_may_not_is_told_so(user: User, tmp_path: Path) -> None:
    nobody = User(user.namespace, kubeconfig_of(user.namespace, "default", tmp_path / "nobody"), user.home)
    for words in (["status"], ["submit", "demo"], ["logs", "demo"], ["fetch", "demo"], ["abort", "demo"]):
        told = nobody.refused(*words)
        assert "is forbidden" in told
        assert "ask the cluster's administrators for this right" in told


# --- logs ---


def scan_pod(name: str, role: str, spec: Object) -> Object:
    labels = {SCAN_LABEL: "demo", COMPONENT_LABEL: role}
    spec["containers"][0]["name"] = role
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def test_logs_of_all_pods_also_of_those_that_ended(user: User, python_image: str) -> None:
    user.call("submit", "demo")
    assert "There are no pods of scan demo: not made yet." in user.call("logs", "demo")
    say = ["sh", "-c", "echo one; echo 'Authorization: Bearer abcdefgh'; echo three"]
    fails = pod_spec(python_image, "sh", "-c", "echo $((++n)) run; exit 1", restartPolicy="OnFailure")
    user.namespace.apply(
        scan_pod("demo-producer-a", "producer", pod_spec(python_image, *say)),
        scan_pod("demo-worker-b", "worker", fails),
        scan_pod("demo-saver-c", "saver", pod_spec("registry.invalid/none:1", "true")),
    )
    restarts = lambda: user.namespace.get("pod", "demo-worker-b")["status"]["containerStatuses"][0]["restartCount"]  # noqa: E731
    eventually(restarts)
    eventually(lambda: user.namespace.get("pod", "demo-producer-a")["status"]["phase"], lambda now: now == "Succeeded")
    lines = user.call("logs", "demo").splitlines()
    assert [line for line in lines if line.startswith("[producer demo-producer-a]")] == [
        "[producer demo-producer-a] one",
        "[producer demo-producer-a] Authorization: Bearer ***",
        "[producer demo-producer-a] three",
    ]
    assert "[worker demo-worker-b (before)] 1 run" in lines
    assert any(line.startswith("[saver demo-saver-c] has not started: ") for line in lines)
    assert user.call("logs", "demo", "--role", "producer", "--tail", "1") == "[producer demo-producer-a] three\n"
    assert "there is no SkymapScan other" in user.refused("logs", "other")


def test_following_goes_on_with_new_pods_until_the_scan_is_done(user: User, python_image: str) -> None:
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
        tell(user.namespace, phase="Succeeded")
        user.namespace.kubectl("exec", "demo-worker-a", "--", "touch", "/dev/shm/go")  # noqa: S108 - of the pod
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "[worker demo-worker-a] there\n", "")


# --- fetch ---

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "demo-results"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
}
#: Makes results in /results, and prints the digest of each file.
FILL = r"""
import hashlib, os, random
def make(name, data):
    path = os.path.join(b"/results/demo", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    print(hashlib.sha256(data).hexdigest(), name.hex())
make(b"a.summary.txt", b"Best fit: pixel 7 of nside 1\n")
make(b"a.plot_allsky.png", random.Random(1).randbytes(50_000_000))
make(b"inner/empty", b"")
make(b"odd \xff\n\x1b[31m name", b"odd")
make(b"-rf", b"dash")
os.symlink("/etc/passwd", b"/results/demo/link")
open("/results/demo/.a.json.x", "w").write("half")
os.mkdir("/results/empty")
os.truncate(os.open("/results/large", os.O_CREAT | os.O_RDWR), 600_000_000)
"""


@pytest.fixture
def scanned(user: User, python_image: str) -> User:
    """A scan whose results lie on its claim."""
    spec = pod_spec(python_image, "python3", "-c", FILL)
    spec["volumes"] = [{"name": "results", "persistentVolumeClaim": {"claimName": "demo-results"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "results", "mountPath": "/results"}]
    fill = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fill"}, "spec": spec}
    user.namespace.apply(CLAIM, fill)
    user.call("submit", "demo")
    pulsar = {"serviceUrl": "pulsar://p:6650", "adminUrl": "http://p:8080", "tenant": "icecube"}
    tell(user.namespace, phase="Succeeded", runsWith={"image": python_image} | pulsar)
    eventually(lambda: user.namespace.get("pod", "fill")["status"]["phase"], lambda now: now == "Succeeded")
    return user


def nothing_is_left(namespace: Namespace, within: float = 60) -> None:
    """Wait until neither Job nor pod of a fetch is there."""
    look = lambda: namespace.kubectl("get", "jobs,pods", "-l", f"{COMPONENT_LABEL}=fetch", "-o", "name")  # noqa: E731
    eventually(look, lambda found: found == "", within)


def test_results_come_byte_for_byte(scanned: User) -> None:
    said = scanned.call("fetch", "demo", "-o", "here")
    told = dict(reversed(line.split()) for line in scanned.namespace.kubectl("logs", "fill").splitlines())
    here = scanned.home / "here"
    files = [path for path in here.rglob("*") if path.is_file()]
    digests = {
        os.fsencode(path.relative_to(here)).hex(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    assert digests == told
    assert "Best fit: pixel 7 of nside 1" in said
    assert "  a.plot_allsky.png" in said
    assert r"  odd \udcff\n\x1b[31m name" in said
    assert "Not copied, as it is no plain file or cannot be read: link" in said
    assert "not finished" not in said
    nothing_is_left(scanned.namespace)


def test_what_is_there_of_a_scan_that_runs_or_of_none(scanned: User, python_image: str) -> None:
    tell(scanned.namespace, phase="Scanning", progress="3/12")
    assert "not finished yet (Scanning, 3/12 pixels): these are the files so far" in scanned.call("fetch", "demo")
    assert (scanned.home / "demo/a.summary.txt").exists()
    for path, why in (("empty", "is empty"), ("nowhere", "is not there")):
        said = scanned.call("fetch", "demo", "--path", path, "-o", path)
        assert f"There are no results: folder {path} of claim demo-results {why}." in said
    assert "more than the 10 MB wanted: raise --limit" in scanned.refused("fetch", "demo", "--limit", "0.01")

    said = scanned.call("abort", "demo", "--delete", "--yes")
    assert "Scan demo is deleted." in said
    (again,) = re.findall(r"skymap-scanner (fetch demo --claim .*?)   copies them", said)
    assert "give --claim and --image" not in scanned.refused("fetch", "demo")
    scanned.call(*again.split(), "-o", "again")
    assert (scanned.home / "again/a.summary.txt").read_text() == "Best fit: pixel 7 of nside 1\n"
    nothing_is_left(scanned.namespace)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_killed_in_the_middle_nothing_is_left(scanned: User, how: signal.Signals) -> None:
    with scanned.start("fetch", "demo", "--path", ".", "-o", "here") as process:
        waiting = scanned.home / "here" / ".fetch"
        eventually(lambda: waiting.is_dir() and any(waiting.iterdir()))
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == (-9 if how is signal.SIGKILL else 128 + how)
    assert [path.name for path in (scanned.home / "here").iterdir()] == ([".fetch"] if how is signal.SIGKILL else [])
    nothing_is_left(scanned.namespace, within=120)


def test_what_keeps_results_from_coming_is_told(scanned: User) -> None:
    told = scanned.refused("fetch", "demo", "--image", "registry.invalid/none:1")
    assert "the image registry.invalid/none:1 cannot be had" in told
    assert "there is no claim nothing:" in scanned.refused("fetch", "demo", "--claim", "nothing")
    unbound = CLAIM | {"metadata": {"name": "unbound"}, "spec": CLAIM["spec"] | {"storageClassName": "nothing"}}  # type: ignore[operator]
    scanned.namespace.apply(unbound)
    told = scanned.refused("fetch", "demo", "--claim", "unbound", "--patience", "5")
    assert "has not started within 5 s: no node can take it: " in told
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    scanned.namespace.apply(quota)
    quota_seen = lambda: scanned.namespace.get("quota", "none").get("status", {}).get("hard")  # noqa: E731
    eventually(quota_seen)
    assert "exceeded quota: none" in scanned.refused("fetch", "demo", "--patience", "5")
    scanned.namespace.kubectl("delete", "quota", "none")
    nothing_is_left(scanned.namespace)


# --- abort ---


def test_a_scan_is_stopped_and_goes_on(user: User) -> None:
    user.call("submit", "demo")
    suspended = lambda: user.namespace.get("sms", "demo")["spec"]["suspend"]  # noqa: E731
    assert "is not stopped" in user.call("abort", "demo", "--resume")
    assert "What is done stays in Pulsar" in user.call("abort", "demo")
    assert suspended() is True
    assert "is stopped already" in user.call("abort", "demo")
    assert "goes on where it was" in user.call("abort", "demo", "--resume")
    assert suspended() is False
    tell(user.namespace, phase="Succeeded")
    assert "is done (Succeeded): there is nothing to stop" in user.call("abort", "demo")
    assert suspended() is False


def test_a_scan_is_deleted_and_what_holds_it_is_told(user: User) -> None:
    user.call("submit", "demo")
    assert "is New: give --yes to delete it" in user.refused("abort", "demo", "--delete")
    user.namespace.kubectl("patch", "sms", "demo", "--type=merge", "-p", '{"metadata": {"finalizers": ["a/b"]}}')
    told = user.refused("abort", "demo", "--delete", "--yes", "--patience", "1")
    assert "is still there after 1 s: does an operator run?" in told
    assert "is being deleted already" in user.call("abort", "demo")
    assert "is being deleted: wait until it is gone" in user.refused("submit", "demo")
    waiting = [{"type": "Degraded", "reason": "PulsarUnavailable"}]
    degraded = [ended("True", "Completed")[0] | waiting[0]]
    tell(user.namespace, conditions=degraded)
    told = user.refused("abort", "demo", "--delete", "--patience", "1")
    assert "PulsarUnavailable: as the operator says" in told
    assert "It had no results." in user.call("abort", "demo", "--delete", "--patience", "0")
    user.namespace.kubectl("patch", "sms", "demo", "--type=merge", "-p", '{"metadata": {"finalizers": []}}')
    eventually(lambda: user.namespace.run("get", "sms", "demo").returncode)
