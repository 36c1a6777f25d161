from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skymap_api.names import COMPONENT_LABEL
from skymap_api.standard_streams import ReaderGoneError
from skymap_scanner.kubectl.client import Kubectl
from skymap_scanner.kubectl.logs import LONGEST_LINE, ContainerLog, LogFollower, NotStarted, container_logs


def pod(role: str, name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {COMPONENT_LABEL: role}}, "status": status}


def container(name: str, state: str, restarts: int = 0, **more: Any) -> dict[str, Any]:
    last = {"terminated": {"exitCode": 1}} if restarts else {}
    return {"name": name, "restartCount": restarts, "state": {state: more}, "lastState": last}


def test_every_started_container_has_a_log() -> None:
    pods = [
        pod("producer", "p", initContainerStatuses=[container("simulate", "terminated")], containerStatuses=[
            container("producer", "terminated")]),
        pod("worker", "w", containerStatuses=[container("worker", "running", restarts=2)]),
    ]  # fmt: skip
    logs, not_started = container_logs(pods)
    assert [one.prefix for one in logs] == [
        "producer p simulate",
        "producer p",
        "worker w (previous)",
        "worker w",
    ]
    assert not_started == []


def test_containers_that_have_not_started_have_a_reason() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "no node has room"}
    waiting = container("saver", "waiting", reason="ImagePullBackOff", message="no such image")
    crashing = container("worker", "waiting", restarts=1, reason="CrashLoopBackOff")
    pods = [
        pod("saver", "s", containerStatuses=[waiting]),
        pod("worker", "w", conditions=[unscheduled]),
        pod("worker", "x"),
        pod("worker", "y", containerStatuses=[crashing]),
    ]
    logs, not_started = container_logs(pods)
    assert logs == [ContainerLog("worker", "y", "worker", 1, previous=True)]
    assert not_started == [
        NotStarted(ContainerLog("saver", "s", "saver"), "no such image"),
        NotStarted(ContainerLog("worker", "w", "worker"), "no node has room"),
        NotStarted(ContainerLog("worker", "x", "worker"), "not scheduled to a node yet"),
    ]


def test_log_is_read_with_the_expected_kubectl_arguments() -> None:
    log = ContainerLog("worker", "w", "worker")
    assert log.kubectl_arguments(None, follow=False) == ["logs", "w", "--container", "worker"]
    assert log.kubectl_arguments(5, follow=True) == ["logs", "w", "--container", "worker", "--tail=5", "--follow"]
    before = ContainerLog("worker", "w", "worker", previous=True)
    assert before.kubectl_arguments(0, follow=False) == ["logs", "w", "--container", "worker", "--tail=0", "--previous"]


def test_line_without_end_is_passed_on_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\nexec tr '\\0' a </dev/zero\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    worker = pod("worker", "w", containerStatuses=[container("worker", "running")])
    parts: list[str] = []

    def emit(prefix: str, line: str) -> None:
        parts.append(line)
        if len(parts) == 3:
            raise ReaderGoneError

    with pytest.raises(ReaderGoneError):
        LogFollower(Kubectl(), lambda: [worker], emit).run(lambda: False)
    assert parts == ["a" * LONGEST_LINE] * 3


def test_followed_logs_end_when_nobody_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho a line\nexec sleep 600\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    worker = pod("worker", "w", containerStatuses=[container("worker", "running")])

    def emit(prefix: str, line: str) -> None:
        assert (prefix, line) == ("worker w", "a line")
        raise ReaderGoneError

    with pytest.raises(ReaderGoneError):
        LogFollower(Kubectl(), lambda: [worker], emit).run(lambda: False)
