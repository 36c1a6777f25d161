"""The scripts of dev/cluster/: which engine they choose, what they say, and that nothing is left of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from testing.cluster.cluster import SCRIPTS
from testing.waiting import eventually

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script with programs of our own before those of the machine: ``run(script, *words, docker=..., ...)``."""
    for name in ("CI", "SKYMAP_TEST_KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def run(script: str, *words: str, **bodies: str) -> subprocess.CompletedProcess[str]:
        for name, body in bodies.items():
            program = programs / name
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        command = [SCRIPTS / script, *words] if script.endswith(".sh") else ["bash", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


ENGINE = f". {SCRIPTS}/common.sh; engine"
WORKS, BROKEN = "exit 0", "exit 1"
NOBODY = "echo 1000"


def test_kind_is_preferred_over_native(run: Run) -> None:
    assert run(ENGINE, docker=WORKS, kind=WORKS, kubectl=WORKS, id=NOBODY).stdout == "kind\n"


@pytest.mark.parametrize("programs", [{"docker": BROKEN, "kind": WORKS}, {"docker": BROKEN}])
def test_missing_docker_and_root_is_an_error(run: Run, programs: dict[str, str]) -> None:
    asked = run(ENGINE, id=NOBODY, **programs)
    assert asked.returncode == 1
    assert asked.stderr == "cluster: needs kind and a running Docker engine, or root on Linux\n"
    started = run("up.sh")
    assert (started.returncode, started.stdout, started.stderr) == (1, "", asked.stderr)


def test_missing_cgroup_v1_is_named(run: Run) -> None:
    asked = run(ENGINE, docker=BROKEN, id="echo 0", grep=BROKEN)
    assert asked.returncode == 1
    assert "a cluster needs control groups of version 1" in asked.stderr


def test_missing_engine_fails_only_in_ci(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("install.sh", docker=BROKEN, id=NOBODY)
    assert result.returncode == 0
    assert result.stderr.startswith("The tests that need a Kubernetes cluster will be skipped: needs kind")
    monkeypatch.setenv("CI", "true")
    result = run("install.sh")
    assert result.returncode == 1
    assert result.stderr.startswith("cluster: no test is skipped in CI: needs kind")
    monkeypatch.setenv("SKYMAP_TEST_KUBECONFIG", "/some/kubeconfig")
    result = run("install.sh")
    assert (result.returncode, result.stderr) == (0, "")


KIND = """
echo "$@" >>"$XDG_CACHE_HOME/calls"
[ "$1 $2" != "create cluster" ] || echo kubeconfig >"$6"
"""
DOCKER = """
[ "$1" != network ] || printf 'fc00:f853::1\\n172.18.0.1\\n'
"""


def test_kind_cluster_is_created_and_deleted(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "cache/skymap-scanner/cluster/running/one"
    for _ in range(2):  # the second time it runs already
        started = run("up.sh", "one", kind=KIND, docker=DOCKER, kubectl=WORKS)
        assert started.returncode == 0, started.stderr
        assert started.stdout.splitlines()[-1] == f"export KUBECONFIG={folder}/kubeconfig"
    assert (folder / "kubeconfig").read_text() == "kubeconfig\n"
    assert (folder / "host").read_text() == "172.18.0.1\n"
    assert run("load.sh", "one", "image.tar").returncode == 0
    ended = run("down.sh", "one")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "unset KUBECONFIG")
    assert not folder.exists()
    calls = (tmp_path / "cache/calls").read_text().splitlines()
    assert [call.split()[:2] for call in calls] == [
        ["create", "cluster"],
        ["load", "image-archive"],
        ["delete", "cluster"],
    ]
    assert all("--name one" in call for call in calls)


def test_failed_start_leaves_nothing(run: Run, tmp_path: Path) -> None:
    started = run("up.sh", "one", kind="[ $1 = delete ] || { echo no room >&2; exit 1; }", docker=DOCKER, kubectl=WORKS)
    assert started.returncode == 1
    assert "no room" in started.stderr
    assert list((tmp_path / "cache/skymap-scanner/cluster/running").iterdir()) == []


@pytest.mark.parametrize("name", ["A", "a_b", "../a", "-a", "a-", "a" * 41, ""])
def test_invalid_cluster_name_is_rejected(run: Run, name: str) -> None:
    for script in ("up.sh", "down.sh"):
        refused = run(script, name, docker=WORKS, kind=BROKEN, kubectl=WORKS)
        assert refused.returncode, refused.stdout
        assert "is not a valid cluster name" in refused.stderr or refused.stderr.startswith("cluster: unknown option")


def test_invalid_arguments_are_rejected(run: Run) -> None:
    assert "unknown option --for" in run("up.sh", "--for", "1").stderr
    assert "no cluster nowhere runs here" in run("load.sh", "nowhere", "image.tar").stderr
    assert "usage: load.sh NAME ARCHIVE" in run("load.sh", "nowhere").stderr
    assert run("down.sh", "nowhere").returncode == 0


def traces(name: str) -> set[str]:
    """Return what a native cluster can leave on this machine."""
    found = {f"link {path.name}" for path in Path("/sys/class/net").iterdir()}
    found |= {f"group {path}" for path in Path("/sys/fs/cgroup").glob(f"*/{name}")}
    found |= {f"mount {line.split(maxsplit=3)[3]}" for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if f"/{name}/" in path.read_text():
                found.add(f"process {path.parent.name}")
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended in the meantime
    for place in ("/usr/libexec/kubernetes", "/var/lib/kubelet", "/var/lib/cni", "/etc/cni", "/etc/kubernetes"):
        found |= {f"file {path}" for path in Path(place).rglob("*")}
    for command in (["nft", "list", "ruleset"], ["ip", "route"]):
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found |= {f"{command[0]} {line}" for line in output.splitlines() if not line.startswith("unreachable ")}
    return found


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[bytes]]:
    """A process with whose end a cluster ends."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_deleted_native_cluster_leaves_nothing(engine: str, owner: subprocess.Popen[bytes]) -> None:
    if engine != "native":
        pytest.skip("clusters are kind's here")
    name = f"skymap-test-{uuid4().hex[:8]}"

    def script(which: str, *words: str) -> str:
        done = subprocess.run([SCRIPTS / which, *words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    script("build.sh")
    before = traces(name)
    try:
        folder = Path(script("up.sh", name).splitlines()[-1].removeprefix("export KUBECONFIG=")).parent
        there = traces(name) - before
        assert {trace.split()[0] for trace in there} >= {"link", "group", "process", "ip"}
        assert script("kubectl.sh", name, "get", "node", "-o", "name") == f"node/{name}\n"
        script("up.sh", name)  # leaves it as it is
        assert traces(name) >= {trace for trace in there if trace.startswith(("link", "group"))}

        # The node dies; the same command makes another in its place, this time for as long as its owner lives.
        os.kill(int((folder / "unshare.pid").read_text()), signal.SIGKILL)
        eventually(lambda: traces(name), lambda found: not any(trace.startswith("process") for trace in found))
        script("up.sh", name, "--until", str(owner.pid))
        assert script("kubectl.sh", name, "get", "node", "-o", "name") == f"node/{name}\n"
        owner.kill()
        owner.wait()
        eventually(folder.exists, lambda there: not there)
        assert traces(name) - before == set()
    finally:
        script("down.sh", name)
