"""Builds the manifests of a scan's objects: pure functions of a `Recipe`."""

from __future__ import annotations

from skymap_operator.manifests.commands import image_by_digest, keep_commands, record_commands, with_image
from skymap_operator.manifests.jobs import jobs
from skymap_operator.manifests.volumes import claim, config_map, token_secret
from skymap_operator.manifests.workers import workers

__all__ = [
    "claim",
    "config_map",
    "image_by_digest",
    "jobs",
    "keep_commands",
    "record_commands",
    "token_secret",
    "with_image",
    "workers",
]
