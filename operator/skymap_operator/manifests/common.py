"""What all objects of a scan share: the recipe they are made of, labels, owner, and how a change is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skymap_operator.models import API_VERSION, KIND, SkymapScanSpec
from skymap_operator.models.base import Model
from skymap_operator.models.spec import TokenSecret
from skymap_operator.names import GROUP, Names, Topics
from skymap_operator.settings import Settings

Manifest = dict[str, Any]

SCAN_LABEL = f"{GROUP}/scan"
COMPONENT_LABEL = "app.kubernetes.io/component"
HASH = f"{GROUP}/content"
FULL_NAME = f"{GROUP}/scan-name"


@dataclass(frozen=True)
class PulsarAccess:
    """How a scan reaches Pulsar. ``own``: the admin interface is the operator's, so its own token may go there."""

    service_url: str
    admin_url: str
    tenant: str
    token: TokenSecret | None = None
    tls_secret: str | None = None
    own: bool = True


@dataclass(frozen=True)
class Recipe:
    """All that the objects of one scan are made of.

    ``tls_keys``: the keys of the Secret with the certificates: only files that are there may be named in a command.
    """

    namespace: str
    name: str
    uid: str
    spec: SkymapScanSpec
    names: Names
    topics: Topics
    image: str
    pulsar: PulsarAccess
    settings: Settings
    tls_keys: frozenset[str] = frozenset()

    @property
    def claim(self) -> str:
        """Name of the claim that takes the results."""
        return self.spec.output.claim.name or self.names.claim

    @property
    def folder(self) -> str:
        """Folder in that claim."""
        return self.spec.output.path or self.name


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


def metadata(recipe: Recipe, name: str, component: str, *, owned: bool = True) -> Manifest:
    """Return an object's metadata; what is owned goes with the SkymapScan."""
    made = {
        "name": name,
        "namespace": recipe.namespace,
        "labels": labels(recipe, component),
        "annotations": {FULL_NAME: recipe.name},
    }
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": recipe.name,
        "uid": recipe.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return made | {"ownerReferences": [owner]} if owned else made


def signed(manifest: Manifest) -> Manifest:
    """Return the manifest with a digest of itself, so that what is wanted anew is told from what was wanted."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    meta = manifest["metadata"]
    return manifest | {"metadata": meta | {"annotations": meta["annotations"] | {HASH: digest}}}


def written(model: Model) -> Manifest:
    """Write a part of the resource as Kubernetes does."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def content(manifest: Mapping[str, Any]) -> str | None:
    """Return the digest of what an object was made to be."""
    found = manifest.get("metadata", {}).get("annotations", {}).get(HASH)
    return None if found is None else str(found)
