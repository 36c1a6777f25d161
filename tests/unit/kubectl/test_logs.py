from __future__ import annotations

from typing import Any

from skymap_api.names import COMPONENT_LABEL
from skymap_scanner.kubectl.logs import Silent, Stream, streams_of


def pod(role: str, name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {COMPONENT_LABEL: role}}, "status": status}


def container(name: str, state: str, restarts: int = 0, **more: Any) -> dict[str, Any]:
    last = {"terminated": {"exitCode": 1}} if restarts else {}
    return {"name": name, "restartCount": restarts, "state": {state: more}, "lastState": last}


def test_every_container_that_has_begun_has_a_log() -> None:
    pods = [
        pod("producer", "p", initContainerStatuses=[container("simulate", "terminated")], containerStatuses=[
            container("producer", "terminated")]),
        pod("worker", "w", containerStatuses=[container("worker", "running", restarts=2)]),
    ]  # fmt: skip
    streams, silent = streams_of(pods)
    assert [one.prefix for one in streams] == [
        "producer p simulate",
        "producer p",
        "worker w (before)",
        "worker w",
    ]
    assert silent == []


def test_a_container_that_has_not_begun_says_why() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "no node has room"}
    waiting = container("saver", "waiting", reason="ImagePullBackOff", message="no such image")
    crashing = container("worker", "waiting", restarts=1, reason="CrashLoopBackOff")
    pods = [
        pod("saver", "s", containerStatuses=[waiting]),
        pod("worker", "w", conditions=[unscheduled]),
        pod("worker", "x"),
        pod("worker", "y", containerStatuses=[crashing]),
    ]
    streams, silent = streams_of(pods)
    assert streams == [Stream("worker", "y", "worker", 1, previous=True)]
    assert silent == [
        Silent(Stream("saver", "s", "saver"), "no such image"),
        Silent(Stream("worker", "w", "worker"), "no node has room"),
        Silent(Stream("worker", "x", "worker"), "it has no node yet"),
    ]


def test_how_kubectl_is_asked_for_a_log() -> None:
    stream = Stream("worker", "w", "worker")
    assert stream.words(None, follow=False) == ["logs", "w", "--container", "worker"]
    assert stream.words(5, follow=True) == ["logs", "w", "--container", "worker", "--tail=5", "--follow"]
    before = Stream("worker", "w", "worker", previous=True)
    assert before.words(0, follow=False) == ["logs", "w", "--container", "worker", "--tail=0", "--previous"]
