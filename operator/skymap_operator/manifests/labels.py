"""Labels, owner references and content digests of a scan's objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from skymap_api.names import API_VERSION, COMPONENT_LABEL, GROUP, KIND, SCAN_LABEL, SCAN_NAME_ANNOTATION, Names
from skymap_api.resource.base import Manifest
from skymap_operator.manifests.recipe import Recipe

#: Annotation with the digest of the manifest that an object was created from.
HASH = f"{GROUP}/content"
#: Annotation of a Job with the digest of its pod template, which cannot be changed.
TEMPLATE = f"{GROUP}/pod-template"
#: Annotation of a Job or Deployment with the digest of those of its settings that may change even while its pods run.
SETTINGS = f"{GROUP}/settings"
#: Annotation of a Deployment with the version of the operator that created or replaced it.
OPERATOR = f"{GROUP}/operator-version"


def labels(recipe: Recipe, component: str) -> dict[str, str]:
    """Return the labels of an object of the scan."""
    return {
        "app.kubernetes.io/name": "skymap-scanner",
        "app.kubernetes.io/instance": recipe.names.base,
        COMPONENT_LABEL: component,
        "app.kubernetes.io/managed-by": "skymap-operator",
        SCAN_LABEL: recipe.names.base,
    }


def selector(names: Names, component: str) -> dict[str, str]:
    """Return the labels that select the pods of a role."""
    return {SCAN_LABEL: names.base, COMPONENT_LABEL: component}


#: API versions of the objects of a scan.
_VERSIONS = {
    "ConfigMap": "v1",
    "Secret": "v1",
    "PersistentVolumeClaim": "v1",
    "Job": "batch/v1",
    "Deployment": "apps/v1",
}


def build(
    recipe: Recipe,
    kind: str,
    name: str,
    component: str,
    content: Mapping[str, Any],
    *,
    owned: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Return an object of the scan with ``content``. An ``owned`` object is deleted with the SkymapScan.

    A digest of the manifest is among its annotations, by which a later change of what is wanted is detected.
    """
    meta: Manifest = {
        "name": name,
        "namespace": recipe.namespace,
        "labels": labels(recipe, component),
        "annotations": {SCAN_NAME_ANNOTATION: recipe.name, **(annotations or {})},
    }
    if owned:
        owner = {"apiVersion": API_VERSION, "kind": KIND, "name": recipe.name, "uid": recipe.uid}
        meta["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
    manifest = {"apiVersion": _VERSIONS[kind], "kind": kind, "metadata": meta, **content}
    return manifest | {"metadata": meta | {"annotations": meta["annotations"] | {HASH: digest(manifest)}}}


def digest(manifest: Mapping[str, Any]) -> str:
    """Return a digest of a manifest or a part of one."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def content(manifest: Mapping[str, Any], annotation: str = HASH) -> str | None:
    """Return the digest of the manifest that an object was created from, or of a part that has its own annotation."""
    found = manifest.get("metadata", {}).get("annotations", {}).get(annotation)
    return None if found is None else str(found)
