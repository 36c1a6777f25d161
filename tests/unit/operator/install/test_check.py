"""The checks of ``helm test``: each fault of an installation is reported with what to do."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from click.testing import CliRunner
from tests.unit.operator.fakes import FakeAdmin, FakeCluster, FakePulsars
from tests.unit.operator.world import SETTINGS

from skymap_api.crd import resource_schema
from skymap_api.pulsar_admin import PulsarUnavailable
from skymap_api.pulsar_policies import POLICIES
from skymap_api.resource.base import Manifest
from skymap_operator import main
from skymap_operator.cluster.client import NotFound, Refused
from skymap_operator.install.check import (
    CheckError,
    check_definition,
    check_operator,
    check_pulsar,
    check_scan,
    paths,
)
from skymap_operator.runtime import health
from skymap_operator.runtime.metrics import Metrics
from skymap_operator.runtime.workqueue import Load


class Cluster(FakeCluster):
    """Publishes a schema, or knows none."""

    def __init__(self, published: Manifest | None = None) -> None:
        super().__init__()
        self.published = published

    async def schema(self, kind: str) -> Manifest:  # noqa: ARG002 - as the real one
        if self.published is None:
            raise NotFound("the server could not find the requested resource")
        return self.published


def schema(**changes: Any) -> Manifest:
    return copy.deepcopy(resource_schema()) | changes


def test_definition_must_have_every_field() -> None:
    assert asyncio.run(check_definition(Cluster(schema()))) == "the cluster has the definition of SkymapScan"
    newer = schema()
    newer["properties"]["spec"]["properties"]["later"] = {"type": "string"}
    asyncio.run(check_definition(Cluster(newer)))
    older = schema()
    del older["properties"]["spec"]["properties"]["workers"]["properties"]["max"]
    with pytest.raises(CheckError, match=r"is outdated, it lacks spec\.workers\.max: upgrade it"):
        asyncio.run(check_definition(Cluster(older)))
    with pytest.raises(CheckError, match=r"has no definition of SkymapScan .* install it"):
        asyncio.run(check_definition(Cluster()))


def test_field_paths_are_listed() -> None:
    found = set(paths(resource_schema()))
    assert {"spec", "spec.levels", "spec.levels[].nside", "spec.workers.podTemplate.labels", "status.best.ra"} <= found
    assert not [path for path in found if path.startswith("metadata")]


def test_namespace_must_accept_scans() -> None:
    cluster = Cluster()
    assert asyncio.run(check_scan(cluster, "alerts")) == "the namespace alerts accepts a SkymapScan"
    assert cluster.done == ["dry_run SkymapScan check-"]
    assert cluster.objects == {}
    cluster.faults["dry_run"] = Refused("exceeded quota")
    with pytest.raises(CheckError, match="the namespace alerts does not accept a SkymapScan: exceeded quota"):
        asyncio.run(check_scan(cluster, "alerts"))


def test_operator_must_answer_and_reconcile() -> None:
    async def ask(stalled: float) -> str:
        async with health.serve("127.0.0.1", 0, Metrics(), lambda: Load(stalled=stalled)) as port:
            return await check_operator(f"http://127.0.0.1:{port}")

    assert asyncio.run(ask(0.0)).startswith("the operator is healthy at http://127.0.0.1:")
    with pytest.raises(CheckError, match="unhealthy: reconciling has stopped"):
        asyncio.run(ask(1000.0))
    with pytest.raises(CheckError, match=r"does not answer at http://127\.0\.0\.1:1: "):
        asyncio.run(check_operator("http://127.0.0.1:1"))


def test_pulsar_must_answer() -> None:
    admin = FakeAdmin()
    assert asyncio.run(check_pulsar(FakePulsars(admin), SETTINGS)) == (
        "Pulsar answers at http://pulsar:8080 and pulsar://pulsar:6650 and keeps what scans send"
    )
    admin.fault = PulsarUnavailable("cannot reach it")
    with pytest.raises(CheckError, match="cannot reach it"):
        asyncio.run(check_pulsar(FakePulsars(admin), SETTINGS))


def test_every_fault_of_a_namespace_in_pulsar_is_reported() -> None:
    admin = FakeAdmin()
    admin.found_policies = {
        "icecube/other": {},
        "icecube/skymap-archive": {},
        "icecube/skymap2": {},
        "icecube/skymap": POLICIES | {"message_ttl_in_seconds": 3600},
        "icecube/skymap_metadata-alerts": {"retention_policies": None},
    }
    with pytest.raises(CheckError) as caught:
        asyncio.run(check_pulsar(FakePulsars(admin), SETTINGS))
    assert [fault.partition(", so")[0] for fault in caught.value.args] == [
        "the Pulsar namespace icecube/skymap has a message TTL",
        "the Pulsar namespace icecube/skymap_metadata-alerts has no retention",
        "the Pulsar namespace icecube/skymap_metadata-alerts has no deduplication",
    ]


def test_one_fault_fails_the_command_after_all_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = FakeAdmin()

    class Opened(Cluster):
        def __init__(self, _: object) -> None:
            super().__init__(schema())

        async def __aexit__(self, *_: object) -> None:
            pass

    class Reached(FakePulsars):
        def __init__(self, *_: object) -> None:
            super().__init__(admin)
            self._own = {}

    async def connect() -> None: ...

    monkeypatch.setattr(main, "connect", connect)
    monkeypatch.setattr(main, "Cluster", Opened)
    monkeypatch.setattr(main, "Pulsars", Reached)
    for name, value in {
        "IMAGE": "x",
        "PULSAR_SERVICE_URL": "pulsar://p:6650",
        "PULSAR_ADMIN_URL": "http://p:8080",
    }.items():
        monkeypatch.setenv(f"SKYMAP_OPERATOR_{name}", value)
    done = CliRunner().invoke(main.main, ["check", "--operator", "http://127.0.0.1:1/", "--namespace", "alerts"])
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.output.splitlines()] == ["ok", "ok", "FAILED", "ok", "ok"]
