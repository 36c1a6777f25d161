"""The SkymapScan resource as pydantic models, for laptops and clusters alike.

Field names are camelCase in the manifest and snake_case in Python. The custom resource definition (`skymap_api.crd`)
and the reference page (`skymap_api.reference`) are generated from these models; ``kubectl explain`` shows the
docstrings of the fields.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from skymap_api.resource.base import Model, ObjectName, Rule, given_for_clusters
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
    """The part of Kubernetes' metadata that a scan needs."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: ObjectName


class SkymapScan(Model):
    """A scan of one event: its sky map, its direction with contours, and an .i3 file with the fit of every pixel."""

    api_version: Literal["skymap.icecube.wisc.edu/v1alpha1"]
    kind: Literal["SkymapScan"]
    metadata: Metadata
    spec: SkymapScanSpec
    """What to scan, and how."""
    status: SkymapScanStatus | None = None
    """Status of the scan, written by the operator."""

    rules: ClassVar = (
        Rule(
            "output cannot be changed any more, since the results are written: apply another SkymapScan",
            cel="!has(oldSelf.status) || !has(oldSelf.status.outputs) || self.spec.output == oldSelf.spec.output",
            holds=None,
            field="spec.output",
        ),
    )
