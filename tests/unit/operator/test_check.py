"""What ``helm test`` asks: each part of an installation that is not as it should be is named, with what to do."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from click.testing import CliRunner
from tests.unit.operator.fakes import FakeAdmin, FakeCluster, FakePulsars
from tests.unit.operator.world import SETTINGS

from skymap_api.crd import resource_schema
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
from skymap_operator.pulsar.admin import PulsarAway
from skymap_operator.runtime import health
from skymap_operator.runtime.metrics import Metrics


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


def test_the_definition_must_know_all_that_the_operator_knows() -> None:
    assert asyncio.run(check_definition(Cluster(schema()))) == "the cluster knows what a SkymapScan is"
    newer = schema()
    newer["properties"]["spec"]["properties"]["later"] = {"type": "string"}
    asyncio.run(check_definition(Cluster(newer)))
    older = schema()
    del older["properties"]["spec"]["properties"]["workers"]["properties"]["max"]
    with pytest.raises(CheckError, match=r"is an older one, without spec\.workers\.max: upgrade it"):
        asyncio.run(check_definition(Cluster(older)))
    with pytest.raises(CheckError, match=r"does not know what a SkymapScan is .* install the definition"):
        asyncio.run(check_definition(Cluster()))


def test_fields_have_paths() -> None:
    found = set(paths(resource_schema()))
    assert {"spec", "spec.levels", "spec.levels[].nside", "spec.workers.podTemplate.labels", "status.best.ra"} <= found
    assert not [path for path in found if path.startswith("metadata")]


def test_a_scan_must_be_taken() -> None:
    cluster = Cluster()
    assert "would be taken in the namespace alerts" in asyncio.run(check_scan(cluster, "alerts"))
    assert cluster.done == ["ask for SkymapScan check-"]
    assert cluster.objects == {}
    cluster.faults["ask for"] = Refused("exceeded quota")
    with pytest.raises(CheckError, match="not taken in the namespace alerts: exceeded quota"):
        asyncio.run(check_scan(cluster, "alerts"))


def test_the_operator_must_answer_and_reconcile() -> None:
    async def ask(stalled: float) -> str:
        async with health.serve("127.0.0.1", 0, Metrics(), lambda: 0.0, lambda: stalled) as port:
            return await check_operator(f"http://127.0.0.1:{port}")

    assert asyncio.run(ask(0.0)).startswith("the operator is well at http://127.0.0.1:")
    with pytest.raises(CheckError, match="not well: reconciling has stopped"):
        asyncio.run(ask(1000.0))
    with pytest.raises(CheckError, match=r"does not answer at http://127\.0\.0\.1:1: "):
        asyncio.run(check_operator("http://127.0.0.1:1"))


def test_pulsar_must_answer() -> None:
    admin = FakeAdmin()
    assert asyncio.run(check_pulsar(FakePulsars(admin), SETTINGS)) == "Pulsar answers at http://pulsar:8080"
    admin.fault = PulsarAway("cannot reach it")
    with pytest.raises(CheckError, match="cannot reach it"):
        asyncio.run(check_pulsar(FakePulsars(admin), SETTINGS))


def test_every_part_is_asked_for_and_one_fault_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = FakeAdmin()

    class Opened(Cluster):
        @classmethod
        async def open(cls) -> Opened:
            return cls(schema())

        async def __aexit__(self, *_: object) -> None:
            pass

    class Reached(FakePulsars):
        def __init__(self, *_: object) -> None:
            super().__init__(admin)
            self._own = {}

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
    assert [line.split()[0] for line in done.output.splitlines()] == ["ok", "ok", "FAILED", "ok"]
