"""The Jobs of a scan: producer, collector and saver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.operator.recipes import FULL, URL, Manifest, made, metadata, pods, template, unsigned

from skymap_operator import manifests
from skymap_operator.manifests.jobs import producer_arguments

ROLE = {
    "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
    "restart": "Never",
    "grace": 30,
}


def test_saver_job_is_complete() -> None:
    arguments = ["saver", "-n", "alerts.alert"]
    arguments += ["-c", "persistent://icecube/skymap/collected", "-t", "persistent://icecube/skymap/to_be_scanned"]
    arguments += ["-o", "/results/alert/{stem}.i3.zst"]
    assert unsigned(manifests.jobs(made(URL))["saver"]) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata("alert-saver", "saver", "2Gi"),
        "spec": {
            "backoffLimit": 5,
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [75, 130, 143]}},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2, 3, 4]}},
                ]
            },
            "podReplacementPolicy": "Failed",
            "suspend": False,
            "template": template(
                "saver",
                arguments,
                volumes=[{"name": "results", "persistentVolumeClaim": {"claimName": "alert-results"}}],
                mounts=[{"name": "results", "mountPath": "/results"}],
                **ROLE,
            ),
        },
    }


def test_producer_arguments_determine_the_map() -> None:
    topics = ["-t", "to_be_scanned", "-c", "collected"]
    named = [word if word.startswith("-") else f"persistent://icecube/skymap/{word}" for word in topics]
    assert producer_arguments(made(FULL | {"reconstruction": {"name": "dummy", "parameters": {"a": 1, "b": "x"}}})) == [
        "producer",
        "https://live.example.org/events/138632-31747601.json",
        *("-n", "alerts.alert", "--auth-token", "/pulsar/token/token"),
        *(*named, "-m", "persistent://icecube/skymap_metadata-alerts/mf_"),
        *("--levels", "8:0 64:0.999:96 512:24", "--seeds", "7", "--first-seeds", "1", "--predictive", "0.9"),
        *("--reconstruction", "dummy"),
        *("--parameter", "a=1", "--parameter", 'b="x"', "--area", "1,4,400", "--pulses", "SplitInIcePulses"),
        *("--calibrate", "100"),
    ]
    more = {"pixels": [7, 3, 7], "output": {"keepAllSeeds": True}, "event": URL["event"] | {"select": "1/2"}}
    assert producer_arguments(made(more))[-5:] == ["--pixel-list", "3,7", "--keep-all-seeds", "--select", "1/2"]


@pytest.mark.parametrize(
    ("event", "argument", "volume"),
    [
        (
            {"configMap": {"name": "events", "key": "a.json"}},
            "/event/a.json",
            {"name": "event", "configMap": {"name": "events"}},
        ),
        (
            {"persistentVolumeClaim": {"claimName": "disk", "path": "x/e.i3"}},
            "/event/x/e.i3",
            {"name": "event", "persistentVolumeClaim": {"claimName": "disk"}},
        ),
        (
            {"simulate": {"ra": 120.0, "dec": -5.5}},
            "/event/event.i3.zst",
            {"name": "event", "emptyDir": {"sizeLimit": "1Gi"}},
        ),
        (
            {"url": "https://example.org/e", "credentialsSecret": {"name": "live"}},
            "https://example.org/e",
            {"name": "event-credentials", "secret": {"secretName": "live"}},
        ),
    ],
)
def test_event_source_has_its_path_and_volume(event: Manifest, argument: str, volume: Manifest) -> None:
    pod = pods(made({"event": event}))["producer"]
    assert pod["containers"][0]["args"][:2] == ["producer", argument]
    assert volume in pod["volumes"]
    if "simulate" in event:
        [first] = pod["initContainers"]
        words = ["simulate", "/event/event.i3.zst", "--topology", "track", "--energy", "100000.0", "--seed", "0"]
        assert first["args"] == [*words, "--ra=120.0", "--dec=-5.5"]
        assert first["securityContext"] == pod["containers"][0]["securityContext"]
    else:
        assert "initContainers" not in pod


def test_credentials_are_only_references() -> None:
    producer = pods(made(FULL))["producer"]
    env = {one["name"]: one.get("valueFrom") for one in producer["containers"][0]["env"]}
    assert env["SKYMAP_EVENT_USER"] == {"secretKeyRef": {"name": "i3live", "key": "username", "optional": True}}
    assert env["SKYMAP_EVENT_PASSWORD"] == {"secretKeyRef": {"name": "i3live", "key": "password", "optional": True}}
    assert env["SKYMAP_EVENT_TOKEN"] == {"secretKeyRef": {"name": "i3live", "key": "token", "optional": True}}
    for role in ("collector", "saver", "worker"):  # no other role gets the credentials
        assert "i3live" not in set(walk(pods(made(FULL))[role]))


def test_only_the_producer_gets_the_allowed_addresses() -> None:
    def allowed(spec: Manifest) -> dict[str, str]:
        return {
            role: one["value"]
            for role, pod in pods(made(spec)).items()
            for one in pod["containers"][0]["env"]
            if one["name"] == "SKYMAP_EVENT_ADDRESSES"
        }

    assert allowed({"event": {"url": "https://example.org/e"}}) == {"producer": "public"}
    assert allowed({"event": {"simulate": {}}}) == {}


def test_jobs_take_retries_and_deadline_from_the_spec() -> None:
    for job in manifests.jobs(made(FULL)).values():
        assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (5, 7200)


def walk(found: Any) -> Iterator[Any]:
    """Yield every value in a manifest."""
    if isinstance(found, dict):
        for value in found.values():
            yield from walk(value)
    elif isinstance(found, list):
        for value in found:
            yield from walk(value)
    else:
        yield found
