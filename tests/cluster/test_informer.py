"""The informer on a real API server: it receives ConfigMaps without their data, and requests what a scan needs."""

from __future__ import annotations

import asyncio

import pytest
from testing.cluster.cluster import Namespace
from testing.waiting import eventually_async

from skymap_api.names import SCAN_LABEL, SCAN_NAME_ANNOTATION, NamespacedName
from skymap_operator.cluster.cached import CachedReads
from skymap_operator.cluster.client import Cluster, connect
from skymap_operator.cluster.informer import Informer
from skymap_operator.cluster.store import Store
from skymap_operator.cluster.trim import data_digest, is_whole


@pytest.mark.usefixtures("definition")
def test_config_maps_are_received_without_their_data(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(namespace.cluster.kubeconfig))
    for name in ("one", "two"):
        namespace.kubectl("create", "configmap", name, f"--from-literal=x={'y' * 100_000}")
        namespace.kubectl("label", "configmap", name, f"{SCAN_LABEL}={name}")
        namespace.kubectl("annotate", "configmap", name, f"{SCAN_NAME_ANNOTATION}={name}")

    async def inside() -> None:
        store, changed = Store(), set[NamespacedName]()
        async with Cluster(await connect(10)) as cluster:
            informer, reads = Informer(cluster, store, changed.add, 300), CachedReads(cluster, store)
            assert await cluster.list("ConfigMap", namespace.name, labels="none", metadata_only=True) == []
            await informer.start([namespace.name])
            try:
                assert changed == {NamespacedName(namespace.name, name) for name in ("one", "two")}
                listed = store.get("ConfigMap", namespace.name, "one")
                assert listed is not None
                assert not is_whole("ConfigMap", listed)
                found = await reads.get("ConfigMap", namespace.name, "one")
                assert found is not None
                assert data_digest(found) == data_digest({"data": {"x": "y" * 100_000}})
                assert is_whole("ConfigMap", store.get("ConfigMap", namespace.name, "one") or {})
                await cluster.patch("ConfigMap", namespace.name, "one", {"data": {"x": "z"}})
                await eventually_async(
                    lambda: not is_whole("ConfigMap", store.get("ConfigMap", namespace.name, "one") or {})
                )
                found = await reads.get("ConfigMap", namespace.name, "one")
                assert data_digest(found or {}) == data_digest({"data": {"x": "z"}})
            finally:
                await informer.stop()

    asyncio.run(inside())
