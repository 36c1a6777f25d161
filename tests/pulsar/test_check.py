"""The check of an installation and a real Pulsar: the policies of its namespaces."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from testing.pulsar.server import PulsarAddress
from tests.unit.operator.fakes import FakeCluster
from tests.unit.operator.world import SETTINGS

from skymap_operator.install.check import CheckError, check_pulsar
from skymap_operator.pulsar.admin import PulsarAdmin
from skymap_operator.pulsar.connections import Pulsars


def test_check_finds_namespaces_of_pulsar_that_lose_messages(pulsar_server: PulsarAddress, pulsar_tenant: str) -> None:
    settings = SETTINGS.model_copy(
        update={
            "pulsar_service_url": pulsar_server.url,
            "pulsar_admin_url": pulsar_server.admin_url,
            "pulsar_tenant": pulsar_tenant,
        }
    )

    async def check() -> str:
        async with Pulsars(FakeCluster(), settings) as pulsars:
            return await check_pulsar(pulsars, settings)

    def put(path: str, body: object) -> None:
        answer = httpx.put(f"{pulsar_server.admin_url}/admin/v2{path}", json=body, timeout=30)
        answer.raise_for_status()

    assert asyncio.run(check()).endswith("keeps what scans send"), "the first scan creates them"
    put(f"/tenants/{pulsar_tenant}", {"allowedClusters": ["standalone"], "adminRoles": []})
    eviction = {"destination_storage": {"limitSize": 1 << 30, "limitTime": -1, "policy": "consumer_backlog_eviction"}}
    put(f"/namespaces/{pulsar_tenant}/skymap", {"message_ttl_in_seconds": 60, "backlog_quota_map": eviction})
    put(f"/namespaces/{pulsar_tenant}/elsewhere", {})
    with pytest.raises(CheckError) as caught:
        asyncio.run(check())
    words = ["no retention", "no deduplication", "a message TTL", "drops the tasks"]
    assert [word in fault for word, fault in zip(words, caught.value.args, strict=True)] == [True] * 4

    httpx.delete(f"{pulsar_server.admin_url}/admin/v2/namespaces/{pulsar_tenant}/skymap", timeout=30).raise_for_status()

    async def prepare() -> None:
        async with PulsarAdmin(pulsar_server.admin_url) as admin:
            await admin.prepare(pulsar_tenant, "alerts")

    asyncio.run(prepare())
    assert asyncio.run(check()).endswith("keeps what scans send"), "as the operator creates them"
