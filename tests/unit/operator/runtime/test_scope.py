"""Operators that watch the same namespaces: one of them reconciles there, the others stand by, all say so."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.operator.fakes import FakeAdmin, FakeCluster, FakePulsars, merge
from tests.unit.operator.world import NAME, NAMESPACE, SETTINGS, resource

from skymap_api.names import NamespacedName
from skymap_api.resource.base import Manifest
from skymap_operator.cluster.client import ClusterError, NotFound, Refused, Unavailable
from skymap_operator.install.check import CheckError, check_scope
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.reconciler import Reconciler
from skymap_operator.runtime.scope import (
    DURATION,
    RENEWAL,
    Scope,
    lease_name,
    lease_of,
    namespaces_of_leases,
    operators_of,
    trimmed,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


class Leases(FakeCluster):
    """An API server that holds Leases only, by namespace and name, with a clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.leases: dict[tuple[str, str], Manifest] = {}
        self.time = START
        self.fault: ClusterError | None = None

    def now(self) -> datetime:
        return self.time

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def list(self, kind: str, namespace: str | None = None, **_: Any) -> list[Manifest]:
        assert kind == "Lease"
        self._check()
        return [one for (place, _), one in self.leases.items() if namespace in {None, place}]

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest) -> Manifest:
        assert kind == "Lease"
        self._check()
        if (namespace, name) not in self.leases:
            raise NotFound("no such Lease")
        merge(self.leases[namespace, name], change)
        return self.leases[namespace, name]

    async def create(self, manifest: Manifest) -> Manifest:
        self._check()
        meta = manifest["metadata"] | {"creationTimestamp": self.time.strftime("%Y-%m-%dT%H:%M:%SZ")}
        made = self.leases[meta["namespace"], meta["name"]] = manifest | {"metadata": meta}
        return made


def operator(cluster: Leases, name: str | None, *namespaces: str, scans: Sequence[str] = ()) -> Scope:
    return Scope(cluster, SETTINGS.model_copy(update={"name": name, "namespaces": namespaces}), lambda: scans)


def refresh(*scopes: Scope) -> None:
    for scope in scopes:
        asyncio.run(scope.refresh())


def other(scope: Scope, namespace: str = "alerts") -> str | None:
    return asyncio.run(scope.other(namespace))


def pass_time(cluster: Leases, seconds: float) -> None:
    cluster.time += timedelta(seconds=seconds)


def test_first_operator_reconciles_and_the_second_stands_by(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Leases()
    first, second = operator(cluster, "z/first", "alerts"), operator(cluster, "a/second", "tests", "alerts")
    refresh(first)
    pass_time(cluster, 1)
    with caplog.at_level(logging.ERROR):
        refresh(second, first, second, first)
    assert (other(first), other(second), other(second, "tests")) == (None, "z/first", None)
    assert caplog.messages == ["alerts: z/first reconciles the scans here, and a/second stands by"] * 2


def test_second_operator_takes_over_after_the_lease_of_the_first() -> None:
    cluster = Leases()
    first, second = operator(cluster, "a/first", "alerts"), operator(cluster, "a/second", "alerts")
    refresh(first, second)
    for _ in range(20):  # the first renews its Lease, so that it never ends
        pass_time(cluster, RENEWAL)
        refresh(first, second)
        assert other(second) == "a/first"
    pass_time(cluster, DURATION - 1)
    refresh(second)
    assert other(second) == "a/first"
    pass_time(cluster, 1)
    refresh(second)
    assert other(second) is None
    refresh(first, second)
    assert (other(first), other(second)) == (None, "a/first")


def test_restarted_operator_keeps_its_place() -> None:
    cluster = Leases()
    refresh(operator(cluster, "a/first", "alerts"), operator(cluster, "a/second", "alerts"))
    pass_time(cluster, 30)
    assert other(operator(cluster, "a/first", "alerts")) is None


def test_deleted_lease_is_created_again_later(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Leases()
    first, second = operator(cluster, "a/first", "alerts", "tests"), operator(cluster, "b/second", "alerts")
    refresh(first, second)
    assert other(second) == "a/first"
    for _ in range(2):  # each deletion is waited for anew
        del cluster.leases["alerts", lease_name("a/first")]
        for _ in range(int(DURATION / RENEWAL)):
            pass_time(cluster, RENEWAL)
            refresh(first, second)
            assert (other(first), other(second)) == ("b/second", None), "one of them reconciles"
            assert asyncio.run(namespaces_of_leases(cluster, "a/first", ())) == ["tests"]
        pass_time(cluster, RENEWAL)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            refresh(first)
        assert "alerts: the Lease of this operator was deleted, and is created again" in caplog.messages
        assert asyncio.run(namespaces_of_leases(cluster, "a/first", ())) == ["tests", "alerts"]
        assert (other(first), other(second)) == ("b/second", None), "it comes last"


def test_restart_creates_a_deleted_lease_at_once() -> None:
    cluster = Leases()
    refresh(operator(cluster, "a/first", "alerts"))
    cluster.leases.clear()
    refresh(operator(cluster, "a/first", "alerts"))
    assert asyncio.run(namespaces_of_leases(cluster, "a/first", ())) == ["alerts"]


def test_namespace_that_is_made_anew_has_a_lease_again() -> None:
    cluster, scans = Leases(), ["alerts"]
    scope = operator(cluster, "ops/whole", scans=scans)
    refresh(scope)
    scans.clear()
    del cluster.leases["alerts", lease_name("ops/whole")]
    refresh(scope)
    scans.append("alerts")
    refresh(scope)
    assert asyncio.run(namespaces_of_leases(cluster, "ops/whole", ())) == ["ops", "alerts"]


def test_operator_of_the_cluster_meets_those_of_namespaces() -> None:
    cluster = Leases()
    whole, one = operator(cluster, "ops/whole"), operator(cluster, "b/one", "alerts")
    refresh(whole, one, whole, one)
    assert other(whole) == "b/one"
    assert other(one) is None
    assert other(whole, "ops") is None
    with pytest.raises(CheckError, match=r"b/one and ops/whole watch the same namespaces: alerts\. Only b/one") as seen:
        asyncio.run(check_scope(cluster, SETTINGS.model_copy(update={"namespaces": ("alerts",)})))
    with pytest.raises(CheckError) as also:
        asyncio.run(check_scope(cluster, SETTINGS))
    assert seen.value.args == also.value.args, "the check of either finds it"
    assert "no other operator" in asyncio.run(check_scope(cluster, SETTINGS.model_copy(update={"namespaces": ("b",)})))


def test_two_operators_of_the_cluster_meet_without_any_scan() -> None:
    cluster = Leases()
    first, second = operator(cluster, "a/first"), operator(cluster, "b/second")
    refresh(first, second, first)
    assert (other(first, "a"), other(second, "a")) == (None, "a/first")
    with pytest.raises(CheckError, match="a/first and b/second"):
        asyncio.run(check_scope(cluster, SETTINGS))


def test_namespace_without_scans_and_others_loses_its_lease() -> None:
    cluster, scans = Leases(), ["alerts"]
    scope = operator(cluster, "ops/whole", scans=scans)
    refresh(scope)
    scans.clear()
    for _ in range(4):
        pass_time(cluster, RENEWAL)
        refresh(scope)
    assert set(operators_of(cluster.leases.values(), cluster.time)) == {"ops"}


def test_operator_without_name_holds_no_lease() -> None:
    cluster = Leases()
    scope = operator(cluster, None, "alerts")
    refresh(scope)
    asyncio.run(scope.run())
    assert other(scope) is None
    assert cluster.leases == {}


def test_refused_leases_stop_no_scan(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Leases()
    scope = operator(cluster, "a/first", "alerts")
    cluster.fault = Refused("leases is forbidden")
    with caplog.at_level(logging.WARNING):
        refresh(scope, scope)
        assert other(scope) is None
    assert len(caplog.messages) == 2, "each once"
    with pytest.raises(CheckError, match="Leases of operators cannot be listed: leases is forbidden"):
        asyncio.run(check_scope(cluster, SETTINGS))


def test_unavailable_api_server_changes_no_place() -> None:
    cluster = Leases()
    first, second = operator(cluster, "a/first", "alerts"), operator(cluster, "a/second", "alerts")
    refresh(first, second)
    cluster.fault = Unavailable("no answer")
    with pytest.raises(Unavailable):
        refresh(second)
    assert other(second) == "a/first"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"holderIdentity": "a/b"},
        {"holderIdentity": "a/b", "renewTime": "yesterday"},
        {"holderIdentity": "a/b", "renewTime": "2026-01-01T00:00:00"},
        {"holderIdentity": "a/b", "renewTime": "2026-01-01T01:00:00Z"},
        {"holderIdentity": "a/b", "renewTime": "2025-12-31T23:50:00Z", "leaseDurationSeconds": 10**9},
        {"holderIdentity": "a b", "renewTime": "2026-01-01T00:00:00Z"},
        {"holderIdentity": f"a/{'b' * 400}", "renewTime": "2026-01-01T00:00:00Z"},
        {"holderIdentity": "", "renewTime": "2026-01-01T00:00:00Z"},
        {"holderIdentity": "a/b", "renewTime": "2025-12-31T23:00:00Z"},
    ],
)
def test_lease_that_is_not_valid_has_no_holder(spec: Manifest) -> None:
    lease = lease_of("a/b", "alerts", START)
    assert operators_of([lease], START) == {"alerts": ("a/b",)}
    assert operators_of([lease | {"spec": spec}], START) == {}


def test_of_a_lease_only_what_is_read_is_kept() -> None:
    lease = lease_of("a/b", "alerts", START)
    large = {"annotations": {"x": "y" * 10**6}, "name": "z" * 10**6}
    kept = trimmed({"metadata": lease["metadata"] | large, "spec": lease["spec"] | {"renewTime": "9" * 10**6}})
    assert len(json.dumps(kept)) < 1000
    assert operators_of([trimmed(lease)], START) == operators_of([lease], START) == {"alerts": ("a/b",)}


def test_old_list_of_operators_is_read_again() -> None:
    cluster = Leases()
    first, second = operator(cluster, "a/first", "alerts"), operator(cluster, "a/second", "alerts")
    refresh(first, second)
    pass_time(cluster, DURATION + 1)
    assert other(first) is None, "its Lease is renewed first"
    assert other(second) == "a/first"


def test_names_of_leases_differ_and_are_valid() -> None:
    names = {lease_name(f"{'n' * 63}/{'o' * size}") for size in (1, 2, 250)}
    assert len(names) == 3
    assert all(len(name) < 63 for name in names)
    assert lease_name("scanner/skymap-operator") == "skymap-operator-c9476fb133", "as the chart computes it"


def test_scan_of_another_operator_is_left_alone() -> None:
    class Standby(Scope):
        first: str | None = "a/other"

        async def other(self, namespace: str) -> str | None:
            assert namespace == NAMESPACE
            return self.first

    cluster = FakeCluster(resource({"event": {"simulate": {}}}, resourceVersion="1"))
    scope = Standby(cluster, SETTINGS)
    reconciler = Reconciler(cluster, cluster, FakePulsars(FakeAdmin()), SETTINGS, Metrics(), scope)
    key = NamespacedName(NAMESPACE, NAME)
    assert asyncio.run(reconciler.reconcile(key)) == RENEWAL
    assert cluster.done == []
    scope.first = None
    assert asyncio.run(reconciler.reconcile(key)) == SETTINGS.retry_interval
    assert cluster.done
