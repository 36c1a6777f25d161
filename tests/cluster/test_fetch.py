"""``fetch`` on a real cluster: results come byte for byte or not at all, and no pod is left, however it ends."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from pathlib import Path

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.users import User, pod_spec, set_status, user_of
from testing.waiting import eventually

from skymap_api.names import COMPONENT_LABEL

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
def user(namespace: Namespace, definition: None, tmp_path: Path) -> User:
    return user_of(namespace, tmp_path)


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
    set_status(user.namespace, phase="Succeeded", runsWith={"image": python_image, "operator": "0.1.0"} | pulsar)
    eventually(lambda: user.namespace.get("pod", "fill")["status"]["phase"], lambda now: now == "Succeeded")
    return user


def nothing_is_left(namespace: Namespace, within: float = 60) -> None:
    """Wait until neither Job nor pod of a fetch is there."""
    look = lambda: namespace.kubectl("get", "jobs,pods", "-l", f"{COMPONENT_LABEL}=fetch", "-o", "name")  # noqa: E731
    eventually(look, lambda found: found == "", within)


def test_fetched_results_are_identical(scanned: User) -> None:
    output = scanned.call("fetch", "demo", "-o", "here")
    expected = dict(reversed(line.split()) for line in scanned.namespace.kubectl("logs", "fill").splitlines())
    here = scanned.home / "here"
    files = [path for path in here.rglob("*") if path.is_file()]
    digests = {
        os.fsencode(path.relative_to(here)).hex(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    assert digests == expected
    assert "Best fit: pixel 7 of nside 1" in output
    assert "  a.plot_allsky.png" in output
    assert r"  odd \udcff\n\x1b[31m name" in output
    assert "Not copied, because it is not a regular file or not readable: link" in output
    assert "not finished" not in output
    nothing_is_left(scanned.namespace)


def test_partial_results_of_a_running_scan_are_fetched(scanned: User, python_image: str) -> None:
    set_status(scanned.namespace, phase="Scanning", progress="3/12")
    assert "not finished yet (Scanning, 3/12 pixels): these are the files so far" in scanned.call("fetch", "demo")
    assert (scanned.home / "demo/a.summary.txt").exists()
    for path, why in (("empty", "is empty"), ("nowhere", "does not exist")):
        output = scanned.call("fetch", "demo", "--path", path, "-o", path)
        assert f"There are no results: folder {path} of claim demo-results {why}." in output
    assert "more than the limit of 10 MB: raise --limit" in scanned.refused("fetch", "demo", "--limit", "0.01")

    output = scanned.call("abort", "demo", "--delete", "--yes")
    assert "Scan demo is deleted." in output
    (again,) = re.findall(r"skymap-scanner (fetch demo --claim .*?)   copies them", output)
    assert "give --claim and --image" not in scanned.refused("fetch", "demo")
    scanned.call(*again.split(), "-o", "again")
    assert (scanned.home / "again/a.summary.txt").read_text() == "Best fit: pixel 7 of nside 1\n"
    nothing_is_left(scanned.namespace)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_killed_fetch_leaves_nothing(scanned: User, how: signal.Signals) -> None:
    with scanned.start("fetch", "demo", "--path", ".", "-o", "here") as process:
        waiting = scanned.home / "here" / ".fetch"
        eventually(lambda: waiting.is_dir() and any(waiting.iterdir()))
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == (-9 if how is signal.SIGKILL else 128 + how)
    assert [path.name for path in (scanned.home / "here").iterdir()] == ([".fetch"] if how is signal.SIGKILL else [])
    nothing_is_left(scanned.namespace, within=120)


def test_fetch_explains_why_it_cannot_copy(scanned: User) -> None:
    error = scanned.refused("fetch", "demo", "--image", "registry.invalid/none:1")
    assert "the image registry.invalid/none:1 cannot be pulled" in error
    assert "there is no claim nothing:" in scanned.refused("fetch", "demo", "--claim", "nothing")
    unbound = CLAIM | {"metadata": {"name": "unbound"}, "spec": CLAIM["spec"] | {"storageClassName": "nothing"}}  # type: ignore[operator]
    scanned.namespace.apply(unbound)
    error = scanned.refused("fetch", "demo", "--claim", "unbound", "--timeout", "5")
    assert "has not started within 5 s: no node can run it: " in error
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    scanned.namespace.apply(quota)
    quota_seen = lambda: scanned.namespace.get("quota", "none").get("status", {}).get("hard")  # noqa: E731
    eventually(quota_seen)
    assert "exceeded quota: none" in scanned.refused("fetch", "demo", "--timeout", "5")
    scanned.namespace.kubectl("delete", "quota", "none")
    nothing_is_left(scanned.namespace)
