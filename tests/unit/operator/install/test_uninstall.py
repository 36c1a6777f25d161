"""Before an uninstall no scan keeps its finalizer, whatever is unavailable; what may be left is reported."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.operator.fakes import FakeAdmin, FakeCluster, FakePulsars, pod
from tests.unit.operator.world import NAME, NAMESPACE, SETTINGS, resource

from skymap_api.names import FINALIZER, Names, NamespacedName
from skymap_api.pulsar_admin import PulsarUnavailable
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import Conflict, NotFound, Refused, Unavailable
from skymap_operator.install import uninstall
from skymap_operator.install.uninstall import Uninstall
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.reconciler import Reconciler
from skymap_operator.runtime.scope import LEASE, lease_name, lease_of

KEY = ("SkymapScan", NAME)
TOPICS = Names.of(NAMESPACE, NAME).topics("icecube")
SPEC = {"event": {"simulate": {}}}


class Cluster(FakeCluster):
    """Objects go when their last finalizer does; pods end some lists after their Job is deleted."""

    pods_end_after = 3

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace: int | None = None
    ) -> None:
        found = self.objects.get((kind, name))
        if found is not None and found["metadata"].get("finalizers"):
            self._begin("delete", kind, name)
            found["metadata"]["deletionTimestamp"] = datetime.now(UTC).isoformat()
            return
        await super().delete(kind, namespace, name, uid=uid, grace=grace)

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> None:
        await super().patch(kind, namespace, name, change)
        meta = self.objects[kind, name]["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            del self.objects[kind, name]

    async def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "", **_: Any
    ) -> list[Manifest]:
        if "list" in self.faults:
            raise self.faults.pop("list")
        running = ("Job", "alert-producer") in self.objects
        if kind == "Pod" and not running:
            self.pods_end_after -= 1
            if self.pods_end_after <= 0:
                self.objects = {key: one for key, one in self.objects.items() if key[0] != "Pod"}
        return await super().list(kind, namespace, labels=labels, fields=fields)


class Bench:
    """A scan that runs: its objects, a pod and its topics are there."""

    def __init__(self, spec: dict[str, Any] | None = None, **metadata: Any) -> None:
        self.cluster = Cluster(resource(SPEC | (spec or {}), resourceVersion="1", **metadata))
        self.admin = FakeAdmin()
        self.pulsars = FakePulsars(self.admin)

    def begun(self) -> Bench:
        """The same, once the operator has reconciled it."""
        reconcile = Reconciler(self.cluster, self.cluster, self.pulsars, SETTINGS, Metrics()).reconcile
        asyncio.run(reconcile(NamespacedName(NAMESPACE, NAME)))
        self.cluster.objects["Pod", "alert-producer-x"] = pod("alert-producer-x", phase="Running")
        assert FINALIZER in self.scan["metadata"]["finalizers"]
        assert set(self.admin.stored) == set(TOPICS.all())
        self.cluster.done.clear()
        return self

    def uninstall(self, *, delete: bool, timeout: float = 30.0) -> None:
        asyncio.run(Uninstall(self.cluster, self.pulsars, SETTINGS, delete=delete).run(timeout))

    @property
    def scan(self) -> Manifest:
        return self.cluster.objects[KEY]

    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.cluster.objects}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uninstall, "PAUSE", 0.0)


def test_deleted_scans_keep_only_their_results() -> None:
    bench = Bench().begun()
    bench.uninstall(delete=True)
    assert KEY not in bench.cluster.objects
    assert bench.admin.stored == {}
    assert bench.cluster.pods_end_after <= 0, "it waited for the pods"
    assert ("PersistentVolumeClaim", "alert-results") in bench.cluster.objects
    assert not bench.kinds() & {"Job", "Deployment", "Pod"}
    assert bench.cluster.done[0] == "delete SkymapScan alert"


def test_released_scans_stay_suspended_and_are_not_resumed() -> None:
    bench = Bench().begun()
    before = bench.scan["status"]
    bench.uninstall(delete=False)
    assert (bench.scan["spec"]["suspend"], bench.scan["metadata"]["finalizers"]) == (True, [])
    assert "deletionTimestamp" not in bench.scan["metadata"]
    assert bench.scan["status"] == before, "a released scan keeps its last status"
    assert bench.admin.stored == {}
    assert not bench.kinds() & {"Job", "Deployment", "Pod"}
    # An operator that still runs reconciles it again.
    reconcile = Reconciler(bench.cluster, bench.cluster, bench.pulsars, SETTINGS, Metrics()).reconcile
    for _ in range(3):
        asyncio.run(reconcile(NamespacedName(NAMESPACE, NAME)))
    assert bench.scan["metadata"]["finalizers"] == []
    assert bench.admin.stored == {}


def test_finished_scan_is_not_suspended() -> None:
    bench = Bench().begun()
    conditions = bench.scan["status"]["conditions"]
    [succeeded] = [one for one in conditions if one["type"] == "Succeeded"]
    succeeded |= {"status": "True", "reason": "Completed"}
    bench.uninstall(delete=False)
    assert "suspend" not in bench.scan["spec"]
    assert bench.scan["metadata"]["finalizers"] == []
    assert bench.admin.stored == {}


@pytest.mark.parametrize("delete", [True, False])
def test_scan_that_never_began_is_released_without_pulsar(delete: bool) -> None:
    bench = Bench()
    bench.admin.fault = PulsarUnavailable("cannot reach http://pulsar:8080")
    bench.uninstall(delete=delete)
    assert (KEY in bench.cluster.objects) is not delete
    assert bench.admin.stored == {}


def test_topics_with_policy_never_stay() -> None:
    bench = Bench({"cleanupPolicy": {"topics": "Never"}}).begun()
    bench.uninstall(delete=True)
    assert KEY not in bench.cluster.objects
    assert set(bench.admin.stored) == set(TOPICS.all())


@pytest.mark.parametrize("delete", [True, False])
def test_timeout_without_pulsar_reports_what_is_left(delete: bool, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench().begun()
    bench.admin.fault = PulsarUnavailable("cannot reach http://pulsar:8080")
    with caplog.at_level(logging.WARNING, "skymap_operator.install.uninstall"):
        bench.uninstall(delete=delete, timeout=0.2)
    assert (KEY in bench.cluster.objects) is not delete
    if not delete:
        assert bench.scan["metadata"]["finalizers"] == []
    assert not bench.kinds() & {"Job", "Deployment", "Pod"}, "pods end even without Pulsar"
    [reported] = caplog.messages
    for word in ("alerts/alert", "cannot reach http://pulsar:8080", f"{TOPICS.plan.removesuffix('plan')}..."):
        assert word in reported
    [event] = [
        one for (kind, _), one in bench.cluster.objects.items() if kind == "Event" and one["reason"] == "Released"
    ]
    assert event["message"] in reported


def test_finalizers_of_others_stay_and_are_not_waited_for() -> None:
    bench = Bench(finalizers=["example.org/backup"]).begun()
    bench.uninstall(delete=True)
    assert bench.scan["metadata"]["finalizers"] == ["example.org/backup"]
    assert bench.admin.stored == {}


def test_uninstall_continues_after_conflicts_and_short_outages() -> None:
    bench = Bench().begun()
    bench.cluster.faults = {
        "list": Unavailable("cannot reach the API server"),
        "patch": Conflict("changed"),
        "delete": Refused("not now"),
    }
    bench.uninstall(delete=True)
    assert KEY not in bench.cluster.objects


def test_lasting_outage_of_the_api_server_is_an_error() -> None:
    class Gone(Cluster):
        async def list(self, *_: Any, **__: Any) -> list[Manifest]:
            raise Unavailable("cannot reach the API server")

    bench = Bench()
    bench.cluster = Gone()
    with pytest.raises(Unavailable):
        bench.uninstall(delete=True, timeout=0.05)


def test_uninstall_without_the_definition_does_nothing() -> None:
    bench = Bench().begun()
    bench.cluster.faults["list"] = NotFound("the server could not find the requested resource")
    asyncio.run(_one_pass(bench))
    assert bench.cluster.done == []


async def _one_pass(bench: Bench) -> None:
    assert await Uninstall(bench.cluster, bench.pulsars, SETTINGS, delete=True)._pass() == []


@pytest.mark.parametrize("first", ["theirs/operator", "ours/operator"])
def test_scans_of_another_operator_are_left_to_it(first: str) -> None:
    bench = Bench().begun()
    for number, name in enumerate(["theirs/operator", "ours/operator"]):
        lease = lease_of(name, NAMESPACE, datetime.now(UTC))
        lease["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:0{0 if name == first else 1 + number}Z"
        bench.cluster.objects[LEASE, lease["metadata"]["name"]] = lease
    settings = SETTINGS.model_copy(update={"name": "ours/operator", "namespaces": (NAMESPACE,)})
    asyncio.run(Uninstall(bench.cluster, bench.pulsars, settings, delete=True).run(5.0))
    assert (KEY in bench.cluster.objects) is (first == "theirs/operator")
    left = {name for kind, name in bench.cluster.objects if kind == LEASE}
    assert left == {lease_name("theirs/operator")}


def test_expired_leases_are_deleted_too() -> None:
    bench = Bench()
    for name in ("ours/operator", "theirs/operator"):
        lease = lease_of(name, NAMESPACE, datetime.now(UTC) - timedelta(days=1))
        bench.cluster.objects[LEASE, lease["metadata"]["name"]] = lease
    settings = SETTINGS.model_copy(update={"name": "ours/operator"})
    asyncio.run(Uninstall(bench.cluster, bench.pulsars, settings, delete=True).run(5.0))
    assert {name for kind, name in bench.cluster.objects if kind == LEASE} == {lease_name("theirs/operator")}
