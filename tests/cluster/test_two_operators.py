"""Two operators that watch one namespace of a real API server: the second stands by, and both are reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from testing.cluster.cluster import Namespace
from testing.cluster.operators import OperatorProcess
from testing.cluster.scans import QUICK, manifest
from testing.waiting import consistently, eventually
from tests.unit.operator.world import SETTINGS

from skymap_operator.cluster.client import Cluster, connect
from skymap_operator.install.check import CheckError, check_scope

FIRST, SECOND = "registry.invalid/first:0", "registry.invalid/second:0"


def test_second_operator_of_a_namespace_stands_by(
    operators: Callable[..., OperatorProcess], namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def holders() -> list[str]:
        return sorted(one["spec"]["holderIdentity"] for one in namespace.get("leases")["items"])

    async def check() -> str:
        async with Cluster(await connect()) as cluster:
            return await check_scope(cluster, SETTINGS.model_copy(update={"namespaces": (namespace.name,)}))

    def images() -> set[str]:
        found = namespace.get("jobs,deployments")["items"]
        return {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in found}

    monkeypatch.setenv("KUBECONFIG", str(namespace.cluster.kubeconfig))
    operators(NAME="z/first", IMAGE=FIRST)
    eventually(holders, lambda found: found == ["z/first"])
    assert asyncio.run(check()) == "no other operator watches the same namespaces"
    second = operators(NAME="a/second", IMAGE=SECOND)
    eventually(holders, lambda found: found == ["a/second", "z/first"])

    namespace.apply(manifest(QUICK | {"event": {"simulate": {}}}))
    eventually(lambda: namespace.get("deployment", "alert-workers"))
    assert consistently(images, lambda found: found == {FIRST}, 10) == {FIRST}
    assert "z/first reconciles the scans here, and a/second stands by" in second.log.read_text()
    with pytest.raises(CheckError, match=f"z/first and a/second watch the same namespaces: {namespace.name}"):
        asyncio.run(check())
