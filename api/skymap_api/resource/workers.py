"""Number of workers, and their pods."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from skymap_api.resource.base import Count, Model, OnCluster, Positive, Rule
from skymap_api.resource.pods import PodTemplate
from skymap_api.resource.resources import Resources

#: Default maximum of workers on a cluster.
DEFAULT_MAX = 100


class Workers(Model):
    """Number of workers, and their pods."""

    min: OnCluster[Count] = 0
    """Minimum number of workers, which also stay while no task waits."""
    # The default applies on a cluster; one machine starts a worker for each core.
    max: Annotated[Positive | None, Field(json_schema_extra={"default": DEFAULT_MAX})] = None
    """Maximum number of workers; kubectl scale sets it. On one machine at most one for each core."""
    target_seconds: OnCluster[Positive] = 900
    """Time in which the scan should finish (s). It decides the number of workers between min and max."""
    resources: OnCluster[Resources | None] = None
    """Resource requests and limits of a worker. Default: the operator's setting."""
    pod_template: OnCluster[PodTemplate | None] = None
    """Additions to the pods of the workers, over those of podTemplate."""

    rules: ClassVar = (
        Rule(
            "min must not be more than max",
            cel="!has(self.max) || self.min <= self.max",
            holds=lambda workers: workers.min <= (workers.max or DEFAULT_MAX),
            field="min",
        ),
    )
