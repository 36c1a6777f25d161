from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skymap_api.names import COMPONENT_LABEL
from skymap_api.standard_streams import ReaderGoneError
from skymap_scanner.kubectl.client import Kubectl
from skymap_scanner.kubectl.logs import (
    LEFT_OUT,
    LONGEST_LINE,
    LONGEST_SECRET,
    ContainerLog,
    LogFollower,
    NotStarted,
    container_logs,
)


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


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    kubectl = folder / "kubectl"
    kubectl.write_text(f"#!/bin/sh\n{script}\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_begin_of_a_line_without_end_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "echo before\nexec tr '\\0' a </dev/zero")
    worker = pod("worker", "w", containerStatuses=[container("worker", "running")])
    lines: list[str] = []

    def emit(prefix: str, line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise ReaderGoneError

    with pytest.raises(ReaderGoneError):
        LogFollower(Kubectl(), lambda: [worker], emit).run(lambda: False)
    assert lines == ["before", "a" * (LONGEST_LINE - LONGEST_SECRET) + LEFT_OUT]


@pytest.mark.parametrize("secret", ["eyJhbGciOiJIUzI1NiJ9.payload.signature", "pulsar://user:password@broker"])
def test_no_half_of_a_secret_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Wherever the first piece of a long line ends within the secret."""
    cuts = range(len(secret))
    texts = [f"{'a' * (LONGEST_LINE - cut - 1)} {secret} {'b' * LONGEST_LINE}\nafter {cut}\n" for cut in cuts]
    (tmp_path / "log").write_text("".join(texts))
    program(tmp_path, monkeypatch, f"exec cat {tmp_path}/log")
    worker = pod("worker", "w", containerStatuses=[container("worker", "running")])
    lines: list[str] = []
    LogFollower(Kubectl(), lambda: [worker], lambda _, line: lines.append(line)).run(lambda: True)
    assert lines[1::2] == [f"after {cut}" for cut in cuts]
    shown = [line.removesuffix(LEFT_OUT) for line in lines[::2]]
    least = LONGEST_LINE - LONGEST_SECRET - len(secret)
    assert all(set(text) == {"a"} and len(text) > least for text in shown)


def test_followed_logs_end_when_nobody_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "echo a line\nexec sleep 600")
    worker = pod("worker", "w", containerStatuses=[container("worker", "running")])

    def emit(prefix: str, line: str) -> None:
        assert (prefix, line) == ("worker w", "a line")
        raise ReaderGoneError

    with pytest.raises(ReaderGoneError):
        LogFollower(Kubectl(), lambda: [worker], emit).run(lambda: False)
