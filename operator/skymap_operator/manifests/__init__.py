"""The objects of a scan as plain dictionaries: functions of a `Recipe`, without a look at any cluster."""

from __future__ import annotations

from skymap_operator.manifests.common import Manifest, PulsarAccess, Recipe
from skymap_operator.manifests.jobs import jobs
from skymap_operator.manifests.scaled_object import scaled_object
from skymap_operator.manifests.volumes import claim, config_map
from skymap_operator.manifests.workers import workers

__all__ = ["Manifest", "PulsarAccess", "Recipe", "claim", "config_map", "jobs", "scaled_object", "workers"]
