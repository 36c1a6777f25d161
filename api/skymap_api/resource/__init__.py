"""``SkymapScan`` as objects: the one definition of the manifest that a laptop runs and a cluster applies.

Field names are Kubernetes' (camelCase) in the manifest and Python's here. The custom resource definition
(``skymap_api.crd``) and the reference (``skymap_api.reference``) are made of these models: a field's
docstring is what ``kubectl explain`` shows. No Kubernetes client is imported here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from skymap_api.resource.base import Model, ObjectName, given_for_clusters
from skymap_api.resource.event import EventSource, Simulation
from skymap_api.resource.spec import SkymapScanSpec
from skymap_api.resource.status import SkymapScanStatus

__all__ = [
    "EventSource",
    "Metadata",
    "Simulation",
    "SkymapScan",
    "SkymapScanSpec",
    "SkymapScanStatus",
    "given_for_clusters",
]


class Metadata(BaseModel):
    """The part of Kubernetes' metadata that a scan needs; the rest is the cluster's."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: ObjectName


class SkymapScan(Model):
    """One scan of one event: a sky map, a direction with its contours, and a file with every pixel's fit."""

    api_version: Literal["skymap.icecube.wisc.edu/v1alpha1"]
    kind: Literal["SkymapScan"]
    metadata: Metadata
    spec: SkymapScanSpec
    """What is to be scanned, and how."""
    status: SkymapScanStatus | None = None
    """How far the scan is; written by the operator."""
