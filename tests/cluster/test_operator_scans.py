"""The operator on a real cluster and a real Pulsar: a scan gets what it needs, says what is in its way, and goes.

The image of its pods is one that no node can have, so none of them runs.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from testing.cluster import scans
from testing.cluster.cluster import KubectlError, Namespace
from testing.cluster.operators import NO_IMAGE
from testing.cluster.scans import KINDS, NAME, Scan, Start, children, complete, condition, degraded, scan
from testing.pulsar.server import PulsarAddress
from testing.waiting import consistently, eventually

from skymap_api.names import FINALIZER, Names, ScanTopics
from skymap_scanner.broker import Access, Outgoing, open_broker

SPEC = {"event": {"simulate": {}}, "levels": [{"nside": 1}], "workers": {"max": 3}}


def manifest(spec: dict[str, Any] | None = None, name: str = NAME) -> Scan:
    return scans.manifest(SPEC | (spec or {}), name)


@pytest.fixture
def topics(namespace: Namespace, pulsar_tenant: str) -> ScanTopics:
    return Names.of(namespace.name, NAME).topics(pulsar_tenant)


@pytest.fixture
def stored(pulsar_server: PulsarAddress, pulsar_tenant: str) -> Callable[[], set[str]]:
    """List the scans' topics that Pulsar has."""

    def look() -> set[str]:
        answer = httpx.get(f"{pulsar_server.admin_url}/admin/v2/persistent/{pulsar_tenant}/skymap", timeout=30)
        return set(answer.json()) if answer.status_code == httpx.codes.OK else set()

    return look


def test_a_scan_gets_all_it_needs_and_says_that_its_image_is_missing(
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
    assert not annotations, "nothing is noted on the resource itself"
    claim = namespace.get("pvc", "alert-results")
    assert "ownerReferences" not in claim["metadata"], "results outlive the scan"

    message = degraded(namespace, "ImageUnavailable")
    assert NO_IMAGE in message
    assert "check the image's name and the pull secrets" in message
    assert condition(scan(namespace), "Succeeded")[:2] == ("Unknown", "InProgress")
    assert "ImageUnavailable" in namespace.kubectl("get", "sms", "-o", "wide")
    tell = lambda: namespace.get("events", "--field-selector", "involvedObject.kind=SkymapScan")["items"]  # noqa: E731
    told = eventually(tell, lambda events: len(events) > 1)
    assert {(one["type"], one["reason"]) for one in told} == {("Normal", "Waiting"), ("Warning", "ImageUnavailable")}

    assert operator.get("/healthz").text == "ok\n"
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


def test_an_operator_that_is_killed_again_and_again_gets_there(
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
    assert uids(after) == uids(before), "nothing is made twice, nothing made anew"

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


def test_what_is_deleted_or_changed_by_hand_comes_back(operators: Start, namespace: Namespace) -> None:
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


def test_the_queue_decides_the_workers_and_the_snapshot_the_status(
    operators: Start, namespace: Namespace, topics: ScanTopics, pulsar_server: PulsarAddress
) -> None:
    operators(SECONDS_PER_TASK="900")
    namespace.apply(manifest())
    complete(namespace)
    level = {"nside": 1, "done": 5, "planned": 12, "decided": True, "failed": 0}
    best = {"nside": 1, "pixel": 3, "ra": 10.5, "dec": -20.25, "llh": 5.0, "area_90": 42.0}
    snapshot = {"name": "x", "phase": "scanning", "levels": [level], "rate": 0.5, "eta": 14.0, "elapsed": 3.0}
    with open_broker(pulsar_server.url, Access(pulsar_server.admin_url)) as broker:
        broker.producer(topics.to_be_scanned, "p").send(*(Outgoing(b"task") for _ in range(40)))
        broker.producer(topics.progress, "s").send(
            Outgoing(json.dumps(snapshot | {"best": best, "outputs": []}).encode())
        )
    replicas = lambda: namespace.get("deployment", "alert-workers")["spec"]["replicas"]  # noqa: E731
    eventually(lambda: replicas() == 3)
    found = eventually(lambda: scan(namespace)["status"], lambda status: status.get("progress") == "5/12")
    assert found["phase"] == "Scanning"
    assert (found["best"]["ra"], found["best"]["dec"], found["best"]["area90"]) == (10.5, -20.25, 42.0)
    assert (found["backlog"], found["workers"]["wanted"]) == (40, 3)

    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"workers": {"max": 2}}}')
    eventually(lambda: replicas() == 2)
    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"suspend": true}}')
    eventually(lambda: scan(namespace)["status"]["phase"] == "Suspended")
    eventually(lambda: not children(namespace, "pods"))
    assert replicas() == 0
    namespace.kubectl("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    eventually(lambda: replicas() == 2)


def test_a_pulsar_that_is_away_is_told_and_waited_for(
    operators: Start, namespace: Namespace, stored: Callable[[], set[str]]
) -> None:
    operators()
    away = {"pulsar": {"serviceUrl": "pulsar://127.0.0.1:9", "adminUrl": "http://127.0.0.1:9"}}
    namespace.apply(manifest(away))
    assert "http://127.0.0.1:9" in degraded(namespace, "PulsarUnavailable")
    assert not children(namespace), "nothing is made for which there are no topics"
    assert "finalizers" not in scan(namespace)["metadata"]
    namespace.kubectl("delete", "sms", NAME, "--timeout=30s")  # nothing of it is in Pulsar: nothing holds it
    assert stored() == set()


def test_a_quota_is_told_and_waited_for(operators: Start, namespace: Namespace) -> None:
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


def test_a_claim_that_is_missing_is_told(operators: Start, namespace: Namespace) -> None:
    operators()
    namespace.apply(manifest({"output": {"claim": {"name": "missing"}}}))
    assert "missing" in degraded(namespace, "ClaimNotFound")


def test_a_namespace_goes_with_its_scans(
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


def test_an_object_of_somebody_else_is_left_alone(operators: Start, namespace: Namespace) -> None:
    namespace.kubectl("create", "configmap", "alert-scan", "--from-literal=mine=1")
    operators()
    namespace.apply(manifest())
    assert "alert-scan" in degraded(namespace, "NameTaken")
    assert namespace.get("configmap", "alert-scan")["data"] == {"mine": "1"}
    namespace.kubectl("delete", "configmap", "alert-scan")
    complete(namespace)


def test_without_a_cluster_the_reason_is_said(operators: Start, namespace: Namespace) -> None:
    operator = operators(IMAGE="")
    assert operator.process is not None
    assert operator.process.wait(timeout=60) == 1
    assert "SKYMAP_OPERATOR_IMAGE: Field required" in operator.log.read_text()
    operator.settings.clear()
    operator.process = None
    with pytest.raises(KubectlError, match="not found"):
        scan(namespace)
