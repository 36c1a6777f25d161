"""The operator on a real cluster with a real Pulsar: a scan gets its objects, reports obstacles, and is deleted.

The image of its pods does not exist, so that none of them runs.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from testing.cluster import scans
from testing.cluster.cluster import KubectlError, Namespace
from testing.cluster.operators import NO_IMAGE
from testing.cluster.scans import KINDS, NAME, Scan, Start, children, complete, condition, degraded, scan
from testing.cluster.users import submitter_of
from testing.pulsar.raw_messages import BOMB, COMPRESSION, UNCOMPRESSED_SIZE, ZSTD, bomb, publish
from testing.pulsar.server import PulsarAddress
from testing.waiting import consistently, eventually

from skymap_api.names import FINALIZER, Names, ScanTopics
from skymap_scanner.broker import Access, Outgoing, open_broker

SPEC = {"event": {"simulate": {}}, "levels": [{"nside": 1}], "workers": {"max": 3}}


@contextmanager
def listener(hits: list[str]) -> Iterator[int]:
    """Listen on a port of this machine, and note who connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    client, peer = server.accept()
                    hits.append(str(peer))
                    client.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def manifest(spec: dict[str, Any] | None = None, name: str = NAME) -> Scan:
    return scans.manifest(SPEC | (spec or {}), name)


@pytest.fixture
def topics(namespace: Namespace, pulsar_tenant: str) -> ScanTopics:
    return Names.of(namespace.name, NAME).topics(pulsar_tenant)


@pytest.fixture
def stored(pulsar_server: PulsarAddress, pulsar_tenant: str) -> Callable[[], set[str]]:
    """List the scans' topics in Pulsar."""

    def look() -> set[str]:
        answer = httpx.get(f"{pulsar_server.admin_url}/admin/v2/persistent/{pulsar_tenant}/skymap", timeout=30)
        return set(answer.json()) if answer.status_code == httpx.codes.OK else set()

    return look


def test_scan_gets_its_objects_and_reports_a_missing_image(
    operators: Start,
    namespace: Namespace,
    topics: ScanTopics,
    stored: Callable[[], set[str]],
    pulsar_server: PulsarAddress,
) -> None:
    operator = operators()
    namespace.apply(manifest())
    made = complete(namespace)
    assert stored() == set(topics.all())
    subscriptions = [
        httpx.get(f"{pulsar_server.admin_url}/admin/v2/{topic.replace('://', '/')}/subscriptions", timeout=30).json()
        for topic in (topics.to_be_scanned, topics.scanned)
    ]
    assert subscriptions == [["workers"], ["collector"]]
    found = scan(namespace)
    uid = found["metadata"]["uid"]
    assert {child["metadata"]["ownerReferences"][0]["uid"] for child in made.values()} == {uid}
    assert found["metadata"]["finalizers"] == [FINALIZER]
    annotations = set(found["metadata"].get("annotations", ())) - {"kubectl.kubernetes.io/last-applied-configuration"}
    assert not annotations, "the operator keeps no state on the resource"
    claim = namespace.get("pvc", "alert-results")
    assert "ownerReferences" not in claim["metadata"], "results outlive the scan"

    message = degraded(namespace, "ImageUnavailable")
    assert NO_IMAGE in message
    assert "check the image's name" in message
    assert condition(scan(namespace), "Succeeded")[:2] == ("Unknown", "InProgress")
    assert "ImageUnavailable" in namespace.kubectl("get", "sms", "-o", "wide")
    list_events = lambda: namespace.get("events", "--field-selector", "involvedObject.kind=SkymapScan")["items"]  # noqa: E731
    events = eventually(list_events, lambda events: len(events) > 1)
    assert {(one["type"], one["reason"]) for one in events} == {("Normal", "Waiting"), ("Warning", "ImageUnavailable")}

    assert operator.get("/healthz").text.startswith("ok\n")
    figures = operator.get("/metrics").text
    assert 'skymap_operator_scans{phase="Pending"} 1.0' in figures
    assert "skymap_operator_scans_degraded 1.0" in figures

    namespace.kubectl("delete", "sms", NAME, "--timeout=60s")
    eventually(lambda: not children(namespace, f"{KINDS},pods"))
    assert stored() == set()
    assert namespace.get("pvc", "alert-results")["status"]["phase"] == "Bound"
    eventually(lambda: 'skymap_operator_scans{phase="Deleting"} 0.0' in operator.get("/metrics").text)
    assert operator.end() == 0
    assert "Traceback" not in operator.log.read_text()


def test_repeatedly_killed_operator_still_creates_everything(
    operators: Start, namespace: Namespace, topics: ScanTopics, stored: Callable[[], set[str]]
) -> None:
    draw = random.Random(5)
    operator = operators()
    eventually(lambda: operator.get("/healthz").is_success)
    namespace.apply(manifest())
    for _ in range(4):
        time.sleep(draw.uniform(0.0, 0.6))  # the moment is what is tested
        operator.kill()
        operator.start()
    before = complete(namespace)
    assert stored() == set(topics.all())
    degraded(namespace, "ImageUnavailable")
    operator.kill()
    operator.start()
    eventually(lambda: operator.get("/metrics").text, lambda text: "scans_degraded 1.0" in text)
    after = children(namespace)
    uids = lambda found: {key: child["metadata"]["uid"] for key, child in found.items()}  # noqa: E731
    assert uids(after) == uids(before), "no object was created twice or replaced"

    operator.kill()
    namespace.kubectl("delete", "sms", NAME, "--wait=false")
    consistently(lambda: stored() == set(topics.all()) and scan(namespace)["metadata"]["finalizers"] == [FINALIZER])
    operator.start()
    time.sleep(draw.uniform(1.0, 2.0))
    operator.kill()
    operator.start()
    eventually(lambda: not namespace.get("sms")["items"])
    assert stored() == set()
    eventually(lambda: not children(namespace, f"{KINDS},pods"))


def test_manually_deleted_or_changed_objects_are_restored(operators: Start, namespace: Namespace) -> None:
    operators()
    namespace.apply(manifest())
    before = complete(namespace)
    namespace.kubectl("delete", "job/alert-saver", "configmap/alert-scan", "deployment/alert-workers")
    namespace.kubectl("patch", "job", "alert-collector", "--type=merge", "-p", '{"spec": {"backoffLimit": 77}}')
    after = complete(namespace)
    assert before["Job", "alert-saver"]["metadata"]["uid"] != after["Job", "alert-saver"]["metadata"]["uid"]
    eventually(lambda: namespace.get("job", "alert-collector")["spec"]["backoffLimit"] == 5)
    eventually(lambda: namespace.get("configmap", "alert-scan")["data"])
    namespace.kubectl("patch", "configmap", "alert-scan", "--type=merge", "-p", '{"data": {"broker": "pulsar://evil"}}')
    broker = before["ConfigMap", "alert-scan"]["data"]["broker"]
    eventually(lambda: namespace.get("configmap", "alert-scan")["data"]["broker"] == broker)


def test_workers_follow_the_queue_and_status_the_snapshot(
    operators: Start, namespace: Namespace, topics: ScanTopics, pulsar_server: PulsarAddress
) -> None:
    operators(SECONDS_PER_TASK="900")
    namespace.apply(manifest())
    complete(namespace)
    level = {"nside": 1, "done": 5, "planned": 12, "decided": True, "failed": 0}
    best = {"nside": 1, "pixel": 3, "ra": 10.5, "dec": -20.25, "llh": 5.0, "area_90": 42.0}
    fits = {"done": 44, "started": 84, "planned": 84}
    snapshot = {"name": "x", "phase": "scanning", "levels": [level], "fits": fits, "rate": 0.5, "eta": 14.0}
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        broker.producer(topics.to_be_scanned, "p").send(*(Outgoing(b"task") for _ in range(40)))
        broker.producer(topics.progress, "s").send(
            Outgoing(json.dumps(snapshot | {"elapsed": 3.0, "best": best, "outputs": []}).encode())
        )
    replicas = lambda: namespace.get("deployment", "alert-workers")["spec"]["replicas"]  # noqa: E731
    eventually(lambda: replicas() == 3)
    found = eventually(lambda: scan(namespace)["status"], lambda status: status.get("progress") == "5/12")
    assert found["phase"] == "Scanning"
    assert (found["best"]["ra"], found["best"]["dec"], found["best"]["area90"]) == (10.5, -20.25, 42.0)
    assert (found["backlog"], found["workers"]["desired"], found["rate"]) == (40, 3, 0.5)
    assert "eta" in found

    # A bomb as the last snapshot harms neither the broker nor the operator, and hinders neither scaling nor suspension.
    publish(pulsar_server.url, topics.progress, bomb(), {COMPRESSION: ZSTD, UNCOMPRESSED_SIZE: BOMB})
    eventually(lambda: "eta" not in scan(namespace)["status"] and "rate" not in scan(namespace)["status"])
    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"workers": {"max": 2}}}')
    eventually(lambda: replicas() == 2)
    assert scan(namespace)["status"]["progress"] == "5/12", "what was known stays"
    health = httpx.get(f"{pulsar_server.admin_url}/admin/v2/brokers/health", timeout=30)
    assert (health.status_code, health.text) == (200, "ok")
    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"suspend": true}}')
    eventually(lambda: scan(namespace)["status"]["phase"] == "Suspended")
    eventually(lambda: not children(namespace, "pods"))
    assert replicas() == 0
    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    eventually(lambda: replicas() == 2)


def test_unavailable_pulsar_is_reported_until_it_returns(
    operators: Start, namespace: Namespace, stored: Callable[[], set[str]]
) -> None:
    away = {"serviceUrl": "pulsar://127.0.0.1:9", "adminUrl": "http://127.0.0.1:9"}
    operators(ALLOWED_PULSARS=json.dumps([away | {"addresses": ["127.0.0.1"]}]))
    namespace.apply(manifest({"pulsar": away}))
    assert "http://127.0.0.1:9" in degraded(namespace, "PulsarUnavailable")
    assert not children(namespace), "nothing is created before the topics"
    assert "finalizers" not in scan(namespace)["metadata"]
    namespace.kubectl("delete", "sms", NAME, "--timeout=30s")  # no topics exist, so nothing delays the deletion
    assert stored() == set()


def test_pulsar_of_a_scan_is_refused_at_once(operators: Start, namespace: Namespace, tmp_path: Path) -> None:
    """By default: whoever may only create SkymapScans sends the operator to no server and into no other tenant."""
    hits: list[str] = []
    with listener(hits) as port:
        there = {"serviceUrl": f"pulsar://127.0.0.1:{port}", "adminUrl": f"http://127.0.0.1:{port}"}
        listed = {"serviceUrl": f"pulsar://localhost:{port}", "adminUrl": f"http://localhost:{port}"}
        operators(ALLOWED_PULSARS=json.dumps([listed]))
        asked = {
            "admin": {"adminUrl": there["adminUrl"]},
            "both": there,
            "private": listed,  # the administrator lists the name, which resolves to an address that is not public
            "tenant": {"tenant": "others"},
            "secret": {"tokenSecret": {"name": "database", "key": "password"}},
        }
        submitter = submitter_of(namespace, tmp_path)
        for name, pulsar in asked.items():
            submitter.kubectl("create", "-f", "-", stdin=json.dumps(manifest({"pulsar": pulsar}, name)))
        for name in asked:
            found = degraded(submitter, "PulsarRefused" if name == "private" else "NotAllowed", name)
            assert "settings.allowedPulsars" in found
        assert not children(namespace)
        assert not any("finalizers" in one["metadata"] for one in namespace.get("sms")["items"])
        assert hits == []
        namespace.kubectl("delete", "sms", "--all", "--timeout=30s")


def test_exhausted_quota_is_reported_until_it_is_raised(operators: Start, namespace: Namespace) -> None:
    operators()
    namespace.kubectl("create", "quota", "few-jobs", "--hard=count/jobs.batch=0")
    eventually(lambda: namespace.get("quota", "few-jobs")["status"]["hard"])
    namespace.apply(manifest())
    message = degraded(namespace, "QuotaExceeded")
    assert "few-jobs" in message
    assert set(children(namespace)) == {("ConfigMap", "alert-scan")}
    namespace.kubectl("delete", "quota", "few-jobs")
    complete(namespace)
    degraded(namespace, "ImageUnavailable")

    namespace.kubectl("create", "quota", "no-pods", "--hard=pods=0")
    eventually(lambda: namespace.get("quota", "no-pods")["status"]["hard"])
    namespace.apply(manifest(name="second"))
    assert "no-pods" in degraded(namespace, "QuotaExceeded", "second")


def test_missing_claim_is_reported(operators: Start, namespace: Namespace) -> None:
    operators()
    namespace.apply(manifest({"output": {"claim": {"name": "missing"}}}))
    assert "missing" in degraded(namespace, "ClaimNotFound")


def test_namespace_is_deleted_with_its_scans(
    operators: Start, namespace: Namespace, stored: Callable[[], set[str]]
) -> None:
    operators()
    namespace.apply(manifest(), manifest(name="other"))
    complete(namespace)
    complete(namespace, "other")
    assert len(stored()) == 12
    namespace.kubectl("delete", "namespace", namespace.name, "--wait=false")
    eventually(lambda: not namespace.get("sms")["items"])
    assert stored() == set()


def test_foreign_object_is_untouched(operators: Start, namespace: Namespace) -> None:
    namespace.kubectl("create", "configmap", "alert-scan", "--from-literal=mine=1")
    operators()
    namespace.apply(manifest())
    assert "alert-scan" in degraded(namespace, "NameTaken")
    assert namespace.get("configmap", "alert-scan")["data"] == {"mine": "1"}
    namespace.kubectl("delete", "configmap", "alert-scan")
    complete(namespace)


def test_missing_cluster_is_explained(operators: Start, namespace: Namespace) -> None:
    operator = operators(IMAGE="")
    assert operator.process is not None
    assert operator.process.wait(timeout=60) == 1
    assert "SKYMAP_OPERATOR_IMAGE: Field required" in operator.log.read_text()
    operator.settings.clear()
    operator.process = None
    with pytest.raises(KubectlError, match="not found"):
        scan(namespace)
