"""Reconciling a scan: what it creates, what an error leads to, and how scans share the workers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.operator.fakes import FakeAdmin, FakeCluster, FakePulsars
from tests.unit.operator.observe.test_read import NOW, SCAN, TOPICS
from tests.unit.operator.world import NAME, NAMESPACE, SETTINGS, resource

from skymap_api.names import FINALIZER, Names, NamespacedName
from skymap_api.pulsar_admin import PulsarAdminError, PulsarUnavailable
from skymap_operator.cluster.client import Conflict, Refused, Unavailable
from skymap_operator.cluster.clock import ServerClock
from skymap_operator.cluster.store import Store
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.reconciler import CONFLICT_INTERVAL, Reconciler, is_urgent
from skymap_operator.runtime.workqueue import Load
from skymap_operator.settings import Settings

KEY = NamespacedName(NAMESPACE, NAME)


#: At most eight workers in all.
EIGHT = SETTINGS.model_copy(update={"max_workers": 8})


class Bench:
    """A reconciler with its fakes."""

    def __init__(self, *objects: dict[str, Any], settings: Settings = SETTINGS) -> None:
        self.cluster, self.admin, self.metrics = FakeCluster(*objects), FakeAdmin(), Metrics()
        self.reconciler = Reconciler(self.cluster, self.cluster, FakePulsars(self.admin), settings, self.metrics)

    def reconcile(self, key: NamespacedName = KEY) -> float | None:
        return asyncio.run(self.reconciler.reconcile(key))

    def condition(self, kind: str, name: str = NAME) -> tuple[str, str, str]:
        conditions = self.cluster.objects["SkymapScan", name]["status"]["conditions"]
        [found] = [one for one in conditions if one["type"] == kind]
        return found["status"], found["reason"], found["message"]

    def count(self, result: str) -> float:
        [line] = [
            one
            for one in self.metrics.text(Load()).decode().splitlines()
            if f'reconcile_total{{result="{result}"' in one
        ]
        return float(line.split()[-1])


def test_second_reconcile_changes_nothing() -> None:
    bench = Bench(SCAN)
    assert bench.reconcile() == SETTINGS.retry_interval
    made = set(bench.cluster.objects) - {("SkymapScan", NAME)}
    assert {(kind, name) for kind, name in made if kind != "Event"} == {
        ("ConfigMap", "alert-scan"),
        ("PersistentVolumeClaim", "alert-results"),
        ("Job", "alert-producer"),
        ("Job", "alert-collector"),
        ("Job", "alert-saver"),
        ("Deployment", "alert-workers"),
    }
    assert set(bench.admin.made) == set(TOPICS.all())
    bench.reconcile()
    bench.cluster.done.clear()
    assert bench.reconcile() == SETTINGS.scaling_interval
    assert bench.cluster.done == []
    assert bench.count("success") == 3


def wrong_clock(told: bool) -> ServerClock:
    """Return the clock of a machine that is ten minutes ahead; ``told``: the API server has sent its time."""
    clock = ServerClock(wall=lambda: time.time() + 600.0)
    if told:
        clock.observe(format_datetime(datetime.now(UTC), usegmt=True), clock.timer())
    return clock


@pytest.mark.parametrize("told", [True, False])
def test_wrong_clock_of_the_machine_neither_fails_nor_deletes_a_scan(told: bool) -> None:
    now = datetime.now(UTC).replace(microsecond=0).isoformat()
    spec = {"event": {"simulate": {}}, "startingDeadlineSeconds": 300, "ttlSecondsAfterFinished": {"succeeded": 300}}
    new, done = (resource(spec, name=name, resourceVersion="1", creationTimestamp=now) for name in ("new", "done"))
    ended = {"type": "Succeeded", "status": "True", "reason": "Completed", "message": "", "lastTransitionTime": now}
    done["status"] = {"phase": "Succeeded", "completionTime": now, "conditions": [ended | {"observedGeneration": 1}]}
    bench = Bench(new, done)
    bench.cluster.clock = wrong_clock(told)
    for key in (NamespacedName(NAMESPACE, "new"), NamespacedName(NAMESPACE, "done")):
        bench.reconcile(key)
    assert (bench.cluster.objects["SkymapScan", "new"]["status"]["phase"] == "Pending") is told
    assert (("SkymapScan", "done") in bench.cluster.objects) is told, "without the answer it would be deleted"


def test_restarted_operator_signs_new_tokens(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    signed = SETTINGS.model_copy(update={"pulsar_signing_key_file": str(tmp_path / "key")})
    bench = Bench(SCAN, settings=signed)

    def written() -> list[str]:
        bench.cluster.done.clear()
        bench.reconcile()
        return [one for one in bench.cluster.done if one.startswith("put")]

    assert written() == ["put Secret scan-uid-1-tokens"]
    assert written() == written() == []
    bench.reconciler = Reconciler(bench.cluster, bench.cluster, FakePulsars(bench.admin), signed, bench.metrics)
    assert written() == ["put Secret scan-uid-1-tokens"]
    bench.cluster.objects["SkymapScan", NAME]["metadata"]["uid"] = "uid-2"
    assert written() == ["put Secret scan-uid-2-tokens"]
    assert written() == []


def test_tokens_are_signed_once_while_something_after_them_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    bench = Bench(SCAN, settings=SETTINGS.model_copy(update={"pulsar_signing_key_file": str(tmp_path / "key")}))
    for _ in range(3):
        bench.cluster.faults["create"] = Refused("exceeded quota: small")
        bench.reconcile()
    assert bench.cluster.done.count("put Secret scan-uid-1-tokens") == 1


def test_deleted_scan_is_forgotten() -> None:
    bench = Bench(SCAN)
    bench.reconcile()
    assert b'skymap_operator_scans{phase="Pending"} 1.0' in bench.metrics.text(Load())
    del bench.cluster.objects["SkymapScan", NAME]
    assert bench.reconcile() is None
    assert b'skymap_operator_scans{phase="Pending"} 0.0' in bench.metrics.text(Load())
    assert bench.count("deleted") == 1


def test_cluster_errors_lead_to_a_requeue() -> None:
    bench = Bench(SCAN)
    bench.cluster.faults["get"] = Unavailable("no answer")
    assert bench.reconcile() == SETTINGS.retry_interval
    bench.cluster.faults["get"] = Refused("no right")
    assert bench.reconcile() == SETTINGS.retry_interval
    bench.cluster.faults["apply_status"] = Conflict("changed")
    assert bench.reconcile() == CONFLICT_INTERVAL
    assert [bench.count(result) for result in ("api_server_unavailable", "refused", "conflict", "success")] == [
        1,
        1,
        1,
        0,
    ]


def test_rejected_action_degrades_the_scan_until_it_succeeds() -> None:
    bench = Bench(SCAN)
    bench.cluster.faults["create"] = Refused('configmaps "alert-scan" is forbidden: exceeded quota: small')
    bench.reconcile()  # the fault meets the Event, which is optional
    assert ("Job", "alert-saver") in bench.cluster.objects
    del bench.cluster.objects["Job", "alert-saver"]
    bench.cluster.faults["create"] = Refused('jobs "alert-saver" is forbidden: exceeded quota: small')
    assert bench.reconcile() == SETTINGS.retry_interval
    bench.reconcile()
    status, reason, message = bench.condition("Degraded")
    assert (status, reason) == ("True", "QuotaExceeded")
    assert "exceeded quota: small" in message
    for _ in range(2):
        bench.reconcile()
    assert bench.condition("Degraded")[:2] == ("False", "AsExpected")


def test_refused_enlargement_is_a_note_and_waits() -> None:
    """A storage class that cannot enlarge holds nothing up, and hides no obstacle of the pods."""
    bench = Bench(SCAN)
    for _ in range(2):
        bench.reconcile()
    bench.cluster.objects["PersistentVolumeClaim", "alert-results"]["status"] = {"phase": "Bound"}
    bench.cluster.objects["SkymapScan", NAME]["spec"]["output"] = {"claim": {"size": "9Gi"}}
    bench.cluster.faults["patch"] = Refused("only dynamically provisioned pvc can be resized")
    bench.reconcile()
    assert bench.count("refused") == 1
    notes = [one for (kind, _), one in bench.cluster.objects.items() if kind == "Event"]
    [note] = [one for one in notes if one["reason"] == "ClaimNotEnlarged"]
    assert note["type"] == "Warning"
    assert note["message"] == (
        "PersistentVolumeClaim alert-results is not enlarged to 9Gi, next try in 1 min: only dynamically provisioned "
        "pvc can be resized - the scan goes on with the claim as it is: set output.claim.size back, or let its storage "
        "class allow expansion"
    )
    bench.cluster.done.clear()
    assert bench.reconcile() == SETTINGS.scaling_interval
    assert not [one for one in bench.cluster.done if one.startswith("patch Pers")]
    assert bench.condition("Degraded")[:2] == ("False", "AsExpected")
    del bench.cluster.objects["Job", "alert-saver"]
    bench.cluster.faults["create"] = Refused('jobs "alert-saver" is forbidden: exceeded quota: small')
    for _ in range(2):
        bench.reconcile()
    assert bench.condition("Degraded")[1] == "QuotaExceeded"
    refused = bench.reconciler._enlargements[KEY]
    bench.reconciler._enlargements[KEY] = replace(refused, again=NOW)
    bench.reconcile()
    claim = bench.cluster.objects["PersistentVolumeClaim", "alert-results"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "9Gi"


def test_unavailable_pulsar_is_reported_and_nothing_is_created() -> None:
    bench = Bench(SCAN)
    bench.admin.fault = PulsarUnavailable("cannot reach http://pulsar:8080")
    assert bench.reconcile() == SETTINGS.retry_interval
    assert bench.condition("Degraded") == ("True", "PulsarUnavailable", "cannot reach http://pulsar:8080")
    assert {kind for kind, _ in bench.cluster.objects} == {"SkymapScan", "Event"}
    bench.admin.fault = PulsarAdminError("401 no token")
    bench.reconcile()
    assert bench.condition("Degraded") == ("True", "PulsarRefused", "401 no token")


@pytest.mark.parametrize(
    ("fault", "reason", "result"),
    [
        (PulsarAdminError("403 no right to make topics"), "PulsarRefused", "refused"),
        (PulsarUnavailable("500 its disk is full"), "PulsarUnavailable", "pulsar_unavailable"),
    ],
)
def test_failed_creation_of_topics_is_reported(
    fault: PulsarAdminError, reason: str, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(SCAN)

    async def create(topic: str, subscriptions: object = ()) -> None:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(bench.admin, "create", create)
        bench.reconcile()
        bench.reconcile()
    assert bench.condition("Degraded") == ("True", reason, str(fault))
    assert {kind for kind, _ in bench.cluster.objects} == {"SkymapScan", "Event"}
    assert bench.count(result) == 2
    for _ in range(3):
        bench.reconcile()
    assert bench.condition("Degraded")[:2] == ("False", "AsExpected")


def two_sharing_scans() -> Bench:
    """Two scans that each request six of eight workers, reconciled until they have their share."""
    scans = [
        resource({"event": {"simulate": {}}, "workers": {"min": 6, "max": 6}}, name=name, uid=name, resourceVersion="1")
        for name in ("first", "second")
    ]
    bench = Bench(*scans, settings=EIGHT)
    for name in ("first", "second") * 3:
        bench.reconcile(NamespacedName(NAMESPACE, name))
    return bench


def test_scans_share_the_workers() -> None:
    bench = two_sharing_scans()
    replicas = [
        bench.cluster.objects["Deployment", f"{name}-workers"]["spec"]["replicas"] for name in ("first", "second")
    ]
    assert replicas == [4, 4]


def test_deleted_scan_frees_its_workers() -> None:
    bench = two_sharing_scans()
    del bench.cluster.objects["SkymapScan", "first"]
    for name in ("first", "second", "second"):
        bench.reconcile(NamespacedName(NAMESPACE, name))
    assert bench.cluster.objects["Deployment", "second-workers"]["spec"]["replicas"] == 6


def test_restarted_operator_counts_the_workers_of_all_scans() -> None:
    bench = two_sharing_scans()
    bench.reconciler = Reconciler(bench.cluster, bench.cluster, FakePulsars(bench.admin), EIGHT, bench.metrics)
    store = Store()
    for (kind, name), found in bench.cluster.objects.items():
        if kind == "SkymapScan":
            store.put(kind, {**found, "metadata": {**found["metadata"], "resourceVersion": "2", "name": name}})
    bench.reconciler.restore(store.all("SkymapScan"))
    bench.reconcile(NamespacedName(NAMESPACE, "second"))
    assert bench.cluster.objects["Deployment", "second-workers"]["spec"]["replicas"] == 4


def test_realtime_scans_get_workers_first_then_the_oldest() -> None:
    born = {"second": "2026-01-01T00:00:00Z", "first": "2026-01-02T00:00:00Z", "alert": "2026-01-03T00:00:00Z"}
    scans = [
        resource(
            {
                "event": {"simulate": {}},
                "workers": {"min": 3, "max": 3},
                "priority": "Realtime" if name == "alert" else "Normal",
            },
            name=name,
            uid=name,
            resourceVersion="1",
            creationTimestamp=made,
        )
        for name, made in born.items()
    ]
    limited = SETTINGS.model_copy(update={"max_workers": 4, "realtime_namespaces": ("*",)})
    bench = Bench(*scans, settings=limited)

    def replicas() -> dict[str, int]:
        for name in [*born] * 3:
            bench.reconcile(NamespacedName(NAMESPACE, name))
        deployments = {name: bench.cluster.objects["Deployment", f"{name}-workers"] for name in born}
        return {name: one["spec"]["replicas"] for name, one in deployments.items()}

    assert replicas() == {"alert": 3, "second": 1, "first": 0}
    bench.cluster.objects["SkymapScan", "alert"]["spec"]["priority"] = "Normal"
    assert replicas() == {"second": 2, "first": 1, "alert": 1}


@pytest.mark.parametrize(("namespaces", "urgent"), [((NAMESPACE,), True), (("prompt",), False), ((), False)])
def test_realtime_scan_is_reconciled_first_only_where_it_may_be(namespaces: tuple[str, ...], *, urgent: bool) -> None:
    settings = SETTINGS.model_copy(update={"realtime_namespaces": namespaces})
    assert is_urgent(resource({"event": {"simulate": {}}, "priority": "Realtime"}), settings) is urgent
    assert not is_urgent(resource({"event": {"simulate": {}}}), settings)
    assert not is_urgent(None, settings)


def test_scans_deleted_together_leave_no_metadata_topic() -> None:
    scans = [
        resource(
            {"event": {"simulate": {}}}, name=name, uid=name, resourceVersion="1", deletionTimestamp=NOW.isoformat()
        )
        for name in ("first", "second")
    ]
    for one in scans:
        one["metadata"]["finalizers"] = [FINALIZER]
    bench = Bench(*scans)
    topics = [Names.of(NAMESPACE, name).topics("icecube") for name in ("first", "second")]
    bench.admin.stored = {one.plan: [] for one in topics} | {f"{one.metadata}{1:064x}": [] for one in topics}

    async def both() -> None:
        await asyncio.gather(
            *(bench.reconciler.reconcile(NamespacedName(NAMESPACE, name)) for name in ("first", "second"))
        )

    asyncio.run(both())
    assert bench.admin.stored == {}
