"""Obstacles of scans in real pods: the status names the obstacle and gives advice; the scan continues or ends.

All scans run at the same time. Each is one case of the table in docs/explanation/faults.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.scans import PASSWORD, QUICK, SETTINGS, USER, Scan, Start, degraded, ended, manifest

from skymap_scanner.event.demo import demo_event_path

DONE, COMPLETED = "True", "Completed"


@dataclass(frozen=True)
class Case:
    """A scan with an obstacle.

    ``before``: creates the obstacle. ``reason``, ``words``: the expected reason and words of the condition Degraded;
    without ``reason`` the scan ends by itself. ``done``: removes the obstacle. ``ends``, ``last_words``: the expected
    status and reason of the condition Succeeded, and words of its message.
    """

    spec: Scan
    reason: str = ""
    words: tuple[str, ...] = ()
    done: Callable[[Namespace], object] = lambda _: None
    ends: tuple[str, str] = (DONE, COMPLETED)
    last_words: tuple[str, ...] = ()
    before: Callable[[Namespace], object] = field(default=lambda _: None)


@pytest.fixture
def storage_class(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """Create a storage class that is named after this function's ``__name__``."""
    name = f"late-{uuid4().hex[:8]}"

    def make() -> None:
        [standard] = [
            one
            for one in cluster.get("storageclasses")["items"]
            if one["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true"
        ]
        wanted = {key: value for key, value in standard.items() if key != "metadata"} | {"metadata": {"name": name}}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))

    make.__name__ = name
    yield make
    cluster.kubectl("delete", "storageclass", name, "--ignore-not-found")


def secret(name: str, password: str) -> Callable[[Namespace], object]:
    literals = [f"--from-literal=username={USER}", f"--from-literal=password={password}"]
    return lambda namespace: namespace.kubectl("create", "secret", "generic", name, *literals)


def patched(name: str, change: Scan) -> Callable[[Namespace], object]:
    words = ["patch", "sms", name, "--type=merge", "-p", json.dumps({"spec": change})]
    return lambda namespace: namespace.kubectl(*words)


def claim(name: str) -> Callable[[Namespace], object]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
    return lambda namespace: namespace.apply(made)


def missing(url: str, storage: Callable[[], None]) -> dict[str, Case]:
    """Scans that name objects that do not exist yet."""
    event = {"url": f"{url}/event"}
    config_map = ["create", "configmap", "late-event", f"--from-file=event.i3.zst={demo_event_path()}"]
    output = QUICK["output"]
    return {
        "config-map-missing": Case(
            {"event": {"configMap": {"name": "late-event", "key": "event.i3.zst"}}},
            "ConfigMapNotFound",
            ('configmap "late-event" not found', "create the ConfigMap in the scan's namespace"),
            lambda namespace: namespace.kubectl(*config_map),
        ),
        "claim-missing": Case(
            {"event": event, "output": output | {"claim": {"name": "late-claim"}}},
            "ClaimNotFound",
            ("the claim late-claim does not exist", "create the claim, or leave out output.claim.name"),
            claim("late-claim"),
        ),
        "event-claim-missing": Case(
            {"event": {"persistentVolumeClaim": {"claimName": "late-data", "path": "event.json"}}},
            "ClaimNotFound",
            ('persistentvolumeclaim "late-data" not found',),
            claim("late-data"),
            ("False", "EventUnusable"),
            ("/event/event.json",),
        ),
        "claim-unbound": Case(
            {"event": event, "output": output | {"claim": {"storageClassName": storage.__name__}}},
            "ClaimUnbound",
            (f'"{storage.__name__}" not found', "check the storage class and the volumes of the cluster"),
            lambda _: storage(),
        ),
        "secret-missing": Case(
            {"event": {"url": f"{url}/guarded"} | {"credentialsSecret": {"name": "late"}}},
            "SecretNotFound",
            ('secret "late" not found', "create the Secret in the scan's namespace"),
            secret("late", PASSWORD),
        ),
    }


def unusable_events(url: str) -> dict[str, Case]:
    """Events that cannot be downloaded, or are invalid."""
    return {
        "password-wrong": Case(
            {"event": {"url": f"{url}/guarded"} | {"credentialsSecret": {"name": "wrong"}}},
            before=secret("wrong", "guessed"),
            ends=("False", "EventUnreachable"),
            last_words=(f"{url}/guarded: 401", "does not accept the credentials"),
        ),
        "event-not-found": Case(
            {"event": {"url": f"{url}/nothing"}},
            ends=("False", "EventUnreachable"),
            last_words=(f"{url}/nothing: 404",),
        ),
        "event-unreachable": Case(
            {"event": {"url": "http://127.0.0.1:9/event"}},
            ends=("False", "EventUnreachable"),
            last_words=("producer failed: Error: http://127.0.0.1:9/event", "attempts: 5"),
        ),
        "event-forbidden": Case(
            {"event": {"url": "http://169.254.169.254/latest/meta-data/iam"}},
            ends=("False", "EventUnreachable"),
            last_words=("events may not be fetched from 169.254.169.254", "SKYMAP_OPERATOR_EVENT_ADDRESSES"),
        ),
        "event-unusable": Case(
            {"event": {"url": f"{url}/text"}},
            ends=("False", "EventUnusable"),
            last_words=(f"{url}/text",),
        ),
    }


def unfit_pods(url: str) -> dict[str, Case]:
    """Pods that are unschedulable, forbidden or fail, and one scan without any obstacle."""
    event = {"url": f"{url}/event"}
    small = {"requests": {"cpu": "10m"}, "limits": {"memory": "1Gi"}}
    return {
        "no-room": Case(
            {"event": event, "workers": QUICK["workers"] | {"resources": {"requests": {"cpu": "1000"}}}},
            "Unschedulable",
            ("Insufficient cpu", "add nodes, or lower workers.resources"),
            patched("no-room", {"workers": {"resources": small}}),
        ),
        "pods-rejected": Case(
            {"event": event, "workers": QUICK["workers"] | {"podTemplate": {"serviceAccountName": "late"}}},
            "PodsRejected",
            ("serviceaccount", "not found", "check podTemplate"),
            lambda namespace: namespace.kubectl("create", "serviceaccount", "late"),
        ),
        "memory": Case(
            {"event": event, "workers": QUICK["workers"] | {"resources": {"limits": {"memory": "24Mi"}}}},
            "WorkersCrashing",
            ("crashed", "exceeded its memory limit; raise the limit"),
            patched("memory", {"workers": {"resources": small}}),
        ),
        "no-icetray": Case(
            {"event": event, "reconstruction": {"name": "icetray"}, "retries": {"roleRestarts": 1}},
            ends=("False", "RoleFailed"),
            last_words=("every worker failed", "IceTray"),
        ),
        "name-taken": Case(
            {"event": event},
            "NameTaken",
            ("ConfigMap name-taken-scan has another owner", "continues when it is deleted"),
            lambda namespace: namespace.kubectl("delete", "configmap", "name-taken-scan"),
            before=lambda namespace: namespace.kubectl("create", "configmap", "name-taken-scan"),
        ),
        "too-slow": Case(
            {
                "event": event,
                "reconstruction": {"name": "dummy", "parameters": {"seconds": 5}},
                "activeDeadlineSeconds": 20,
            },
            ends=("False", "DeadlineExceeded"),
            last_words=("did not finish within activeDeadlineSeconds",),
        ),
        "simulated": Case({"event": {"simulate": {"topology": "cascade", "seed": 7}}}),
    }


@pytest.mark.timeout(600)
def test_obstacle_is_reported_until_it_is_removed(
    operators: Start, namespace: Namespace, worker_image: str, events: str, storage_class: Callable[[], None]
) -> None:
    table = missing(events, storage_class) | unusable_events(events) | unfit_pods(events)
    for case in table.values():
        case.before(namespace)
    operators(IMAGE=worker_image, ALLOWED_IN_PODS='{"serviceAccountName": ["late"]}', **SETTINGS)
    namespace.apply(*(manifest(QUICK | case.spec, name) for name, case in table.items()))
    for name, case in table.items():
        if case.reason:
            print(f"{name}: {case.reason}: {degraded(namespace, case.reason, name, case.words)}")  # noqa: T201 - for docs
            case.done(namespace)
    faults = []
    for name, case in table.items():
        found = ended(namespace, name)
        print(f"{name}: {' '.join(found)}")  # noqa: T201 - for docs
        if found[:2] != case.ends or not all(word in found[2] for word in case.last_words):
            faults.append((name, found))
    assert not faults
