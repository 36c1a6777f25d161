"""An SBOM lists exactly the packages of the lock files, with licences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dev.supply import lock, sbom
from packaging.utils import canonicalize_name


@pytest.mark.timeout(1200)  # on a slow machine that downloads everything
def test_sbom_of_an_image_lists_its_locked_packages(tmp_path: Path) -> None:
    path = tmp_path / "operator.cdx.json"
    sbom.describe(lock.IMAGES["operator"], "skymap-scanner/operator", path)
    document = json.loads(path.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "skymap-scanner/operator"
    pins = [pin for pin in lock.read_pins((lock.FOLDER / "operator.txt").read_text()) if pin.applies({})]
    found = {canonicalize_name(one["name"]): one for one in document["components"]}
    assert {name: one["version"] for name, one in found.items()} == {pin.name: str(pin.version) for pin in pins}
    assert all(one["purl"] == f"pkg:pypi/{name}@{one['version']}" for name, one in found.items())
    assert found["kopf"]["licenses"]
    graph = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert found["kopf"]["bom-ref"] in graph[document["metadata"]["component"]["bom-ref"]]
