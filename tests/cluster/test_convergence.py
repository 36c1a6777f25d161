"""A scan in real pods that is disturbed while it runs: it continues, and its files are bit for bit the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from testing.cluster.cluster import Cluster, Namespace
from testing.cluster.scans import (
    KINDS,
    NAME,
    QUICK,
    SETTINGS,
    Scan,
    Start,
    children,
    complete,
    condition,
    degraded,
    embedded,
    ended,
    manifest,
    phase,
    progressed,
    results,
    scan,
    unfinished_pods,
)
from testing.pulsar.server import PulsarAddress, PulsarServer
from testing.waiting import consistently, eventually

from skymap_api.names import Names, metadata_namespace

#: 12 pixels of 7 seeds take one worker 20 s, which is long enough for a disturbance.
SLOW: Scan = QUICK | {
    "event": {"simulate": {"topology": "cascade", "seed": 3}},
    "seeds": 7,
    "firstSeeds": 7,
    "reconstruction": {"name": "dummy", "parameters": {"seconds": 0.25}},
    "workers": {"min": 0, "max": 2},
}
COMPLETED = ("True", "Completed", "the results are written")


def stored(server: PulsarAddress, tenant: str, namespace: str = "skymap") -> set[str]:
    """The topics that exist in Pulsar."""
    answer = httpx.get(f"{server.admin_url}/admin/v2/persistent/{tenant}/{namespace}", timeout=30)
    return set(answer.json()) if answer.status_code == httpx.codes.OK else set()


def patch(namespace: Namespace, change: Scan, name: str = NAME) -> None:
    namespace.kubectl("patch", "sms", name, "--type=merge", "-p", json.dumps({"spec": change}))


def replicas(namespace: Namespace) -> int:
    return int(namespace.get("deployment", f"{NAME}-workers")["spec"]["replicas"])


def uids(found: dict[tuple[str, str], Scan]) -> dict[tuple[str, str], str]:
    return {key: child["metadata"]["uid"] for key, child in found.items()}


@pytest.mark.timeout(600)
def test_interference_with_objects_changes_no_bit(
    operators: Start, namespace: Namespace, worker_image: str, python_image: str, tmp_path: Path
) -> None:
    namespace.cluster.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    operator = operators(IMAGE=worker_image, **SETTINGS)
    # The workers are unschedulable at first, so that the scan cannot end before this test lets it.
    held = {"min": 2, "max": 3, "podTemplate": {"nodeSelector": {"example.org/gate": "closed"}}}
    namespace.apply(manifest(SLOW | {"workers": held}))
    phase(namespace, "Scanning")
    eventually(lambda: replicas(namespace), lambda count: count >= 2)
    patch(namespace, {"workers": {"min": 1, "max": 1}})
    eventually(lambda: replicas(namespace) == 1)
    patch(namespace, {"suspend": True})
    phase(namespace, "Suspended")
    eventually(lambda: unfinished_pods(namespace), lambda found: not found)
    assert condition(scan(namespace), "Progressing")[1] == "Suspended"
    patch(namespace, {"suspend": False, "workers": {"min": 0, "max": 2, "podTemplate": None}})
    before = uids(complete(namespace))
    refused = namespace.run("patch", "sms", NAME, "--type=merge", "-p", '{"spec": {"seeds": 1}}')
    assert "cannot be changed: apply another SkymapScan, or delete this one first" in refused.stderr

    progressed(namespace, 1)
    doomed = ["job/alert-producer", "job/alert-collector", "job/alert-saver", "configmap/alert-scan"]
    namespace.kubectl("delete", *doomed, "deployment/alert-workers", "--wait=false")
    eventually(lambda: complete(namespace), lambda found: not set(uids(found).values()) & set(before.values()))
    namespace.kubectl("delete", "pod", "-l", "skymap.icecube.wisc.edu/scan", "--wait=false")
    operator.kill()
    operator.start()
    assert ended(namespace) == COMPLETED
    assert results(namespace, python_image) == embedded(SLOW, tmp_path)
    assert "Traceback" not in operator.log.read_text()


@pytest.mark.timeout(600)
def test_scan_survives_a_restart_of_pulsar(
    own_pulsar: Callable[..., PulsarServer],  # set up before the operators, which need it until they end
    operators: Start,
    namespace: Namespace,
    cluster: Cluster,
    worker_image: str,
    python_image: str,
    tmp_path: Path,
) -> None:
    server = own_pulsar(host=cluster.host)
    there = {"PULSAR_SERVICE_URL": server.url, "PULSAR_ADMIN_URL": server.admin_url}
    operators(IMAGE=worker_image, **SETTINGS, **there)
    namespace.apply(manifest(SLOW))
    progressed(namespace, 1)
    server.kill()
    degraded(namespace, "PulsarUnavailable", words=[f"cannot reach Pulsar's admin interface at {server.admin_url}"])
    held = replicas(namespace)
    consistently(lambda: replicas(namespace) == held)
    server.start()
    eventually(lambda: condition(scan(namespace), "Degraded")[1] == "AsExpected", within=120)
    assert ended(namespace) == COMPLETED
    assert results(namespace, python_image) == embedded(SLOW, tmp_path)
    reasons = {event["reason"] for event in namespace.get("events")["items"]}
    assert {"PulsarUnavailable", "Recovered"} <= reasons


@pytest.mark.timeout(600)
def test_topics_are_deleted_with_their_scan(
    operators: Start, namespace: Namespace, worker_image: str, pulsar_server: PulsarAddress, pulsar_tenant: str
) -> None:
    operators(IMAGE=worker_image, **SETTINGS)
    # One scan has an endless fit, the other is held while it runs: neither can end before this test lets it.
    stuck = manifest(SLOW | {"reconstruction": {"name": "dummy", "parameters": {"seconds": 1000}}})
    namespace.apply(stuck, manifest(SLOW, "other"))
    progressed(namespace, 1, "other")
    patch(namespace, {"suspend": True}, "other")
    phase(namespace, "Suspended", "other")
    eventually(lambda: scan(namespace).get("status", {}).get("workers", {}).get("busy"), within=120)
    metadata = metadata_namespace(namespace.name)
    mine, others = (Names.of(namespace.name, name).topics(pulsar_tenant) for name in (NAME, "other"))
    frames = stored(pulsar_server, pulsar_tenant, metadata)
    kept = {topic for topic in frames if topic.startswith(others.metadata)}
    assert len(kept) >= 3
    assert len(frames) == 2 * len(kept)  # of one event
    assert stored(pulsar_server, pulsar_tenant) == {*mine.all(), *others.all()}

    namespace.kubectl("delete", "sms", NAME, "--timeout=60s")
    assert stored(pulsar_server, pulsar_tenant) == set(others.all())
    assert stored(pulsar_server, pulsar_tenant, metadata) == kept
    eventually(lambda: {key[1].rpartition("-")[0] for key in children(namespace, KINDS)} == {"other"})
    patch(namespace, {"suspend": False}, "other")
    assert ended(namespace, "other") == COMPLETED

    namespace.apply(manifest(SLOW))
    progressed(namespace, 1)
    namespace.kubectl("delete", "namespace", namespace.name, "--wait=false")  # while scans run
    eventually(lambda: not namespace.get("sms")["items"], within=120)
    assert stored(pulsar_server, pulsar_tenant) == set()
    assert stored(pulsar_server, pulsar_tenant, metadata) == set()


@pytest.mark.timeout(600)
def test_new_operator_reconciles_a_hundred_existing_scans(operators: Start, namespace: Namespace) -> None:
    """A quota forbids all pods, so that only the operator has work."""
    namespace.kubectl("create", "quota", "no-pods", "--hard=pods=0")
    eventually(lambda: namespace.get("quota", "no-pods")["status"]["hard"])
    names = [f"scan-{number:03d}" for number in range(100)]
    namespace.apply(*(manifest(SLOW, name) for name in names))
    operator = operators(RESYNC_INTERVAL="600", RETRY_INTERVAL="5", SCALING_INTERVAL="10")
    wanted = {f"job.batch/{name}-{role}" for name in names for role in ("producer", "collector", "saver")}
    wanted |= {
        f"{kind}/{name}-{part}"
        for name in names
        for kind, part in (("deployment.apps", "workers"), ("configmap", "scan"))
    }

    def made() -> set[str]:
        """Return names only: with five hundred whole objects kubectl would take longer than the operator."""
        return set(namespace.kubectl("get", KINDS, "-l", "skymap.icecube.wisc.edu/scan", "-o", "name").split())

    def reasons() -> list[str]:
        each = "{.items[*].status.conditions[?(@.type=='Degraded')].reason}"
        return namespace.kubectl("get", "sms", "-o", f"jsonpath={each}").split()

    eventually(made, lambda found: wanted == found, within=240)
    eventually(reasons, lambda found: found == ["QuotaExceeded"] * 100, within=240)
    assert operator.get("/healthz").text.startswith("ok\n")
    assert 'skymap_operator_scans{phase="Pending"} 100.0' in operator.get("/metrics").text
    namespace.kubectl("delete", "sms", "--all", "--wait=false")
    eventually(lambda: not namespace.kubectl("get", "sms", "-o", "name"), within=240)
    assert "Traceback" not in operator.log.read_text()
