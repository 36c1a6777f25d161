"""The ConfigMap and the claim of a scan."""

from __future__ import annotations

import yaml
from tests.unit.operator.recipes import URL, made, metadata, spec_of, unsigned

from skymap_api.resource import SkymapScan
from skymap_operator import manifests


def test_config_map_and_claim_are_complete() -> None:
    config = unsigned(manifests.config_map(made(URL)))
    assert SkymapScan.model_validate(yaml.safe_load(config["data"].pop("scan.yaml"))).spec == spec_of(URL)
    assert config == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata("alert-scan", "scan"),
        "data": {"broker": "pulsar://pulsar:6650", "admin-url": "http://pulsar:8080"},
    }
    claim = manifests.claim(made(URL | {"output": {"claim": {"storageClassName": "fast"}}}))
    assert claim is not None
    meta = metadata("alert-results", "results")
    del meta["ownerReferences"]  # the claim outlives the scan
    assert unsigned(claim) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": meta,
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "2Gi"}},
            "storageClassName": "fast",
        },
    }
    assert manifests.claim(made(URL | {"output": {"claim": {"name": "mine"}}})) is None
