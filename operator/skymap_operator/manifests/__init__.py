"""Builds the manifests of a scan's objects: pure functions of a `Recipe`."""

from __future__ import annotations

from skymap_operator.manifests.jobs import jobs
from skymap_operator.manifests.volumes import claim, config_map
from skymap_operator.manifests.workers import workers

__all__ = ["claim", "config_map", "jobs", "workers"]
