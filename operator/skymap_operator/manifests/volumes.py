"""The ConfigMap with the scan, the Secret for its tokens, and the claim for its results."""

from __future__ import annotations

import json

from skymap_api.names import API_VERSION, GROUP, KIND
from skymap_api.resource.base import Manifest, to_manifest
from skymap_operator.manifests.labels import build
from skymap_operator.manifests.pod import ADMIN_KEY, BROKER_KEY, SCAN_KEY
from skymap_operator.manifests.recipe import Recipe

#: Type of the Secrets that the operator creates. It cannot be changed, so no other Secret can be replaced by one.
TOKEN_SECRET_TYPE = f"{GROUP}/tokens"


def config_map(recipe: Recipe) -> Manifest:
    """Return the ConfigMap with the addresses of Pulsar and the scan as a manifest for ``skymap-scanner run``."""
    # One machine has no pods. Without their templates the longest scan fits into a ConfigMap, which holds 1 MiB.
    workers = recipe.spec.workers.model_copy(update={"pod_template": None})
    spec = recipe.spec.model_copy(update={"pod_template": None, "workers": workers})
    scan = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": recipe.name}, "spec": to_manifest(spec)}
    data = {
        BROKER_KEY: recipe.pulsar.service_url,
        ADMIN_KEY: recipe.pulsar.admin_url,
        SCAN_KEY: json.dumps(scan, indent=2),  # JSON is YAML, and forty times as fast to write
    }
    return build(recipe, "ConfigMap", recipe.names.config_map, "scan", {"data": data})


def token_secret(recipe: Recipe) -> Manifest:
    """Return the Secret for the tokens of the scan's roles, without the tokens."""
    return build(recipe, "Secret", recipe.token_secret, "tokens", {"type": TOKEN_SECRET_TYPE})


def claim(recipe: Recipe) -> Manifest | None:
    """Return the claim for the results, which outlives the scan; None if the user names one."""
    wanted = recipe.spec.output.claim
    if wanted.name is not None:
        return None
    storage_class = wanted.storage_class_name or recipe.settings.claim_storage_class
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": wanted.size or recipe.settings.claim_size}},
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return build(recipe, "PersistentVolumeClaim", recipe.names.claim, "results", {"spec": spec}, owned=False)
