"""Number of workers, and their pods."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skymap_api.names import GROUP
from skymap_api.resource.affinity import Affinity, Key, LabelValue
from skymap_api.resource.base import Count, Model, ObjectName, OnCluster, Positive, Quantity, Rule
from skymap_api.resource.event import SecretName

Text = Annotated[str, Field(max_length=4096)]
Amounts = Annotated[dict[str, Quantity], Field(max_length=16)]

#: Prefixes of the labels by which the operator finds its objects.
_OURS = (f"{GROUP}/", "app.kubernetes.io/")
_OURS_PATTERN = "|".join(prefix.removesuffix("/").replace(".", "[.]") for prefix in _OURS)


class Resources(Model):
    """Resource requests and limits of a worker."""

    requests: Amounts | None = None
    """Resources that are reserved for each worker, such as cpu: 1 and memory: 1Gi."""
    limits: Amounts | None = None
    """Most that a worker may use. A worker that exceeds its memory is killed."""


class Toleration(Model):
    """A toleration, as in a pod."""

    key: Key | None = None
    """Key of the taint. Without a key, and with Exists: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the value must be equal (Equal), or the key suffices (Exists)."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Default: every effect."""
    toleration_seconds: Count | None = None
    """How long NoExecute is tolerated (s). Default: for ever."""

    rules: ClassVar = (
        Rule(
            "without a key the operator must be Exists",
            cel="has(self.key) || self.operator == 'Exists'",
            holds=lambda toleration: toleration.key is not None or toleration.operator == "Exists",
            field="operator",
        ),
    )


class PodTemplate(Model):
    """Additions to the pods of the workers, as in a pod."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Additional labels."""
    annotations: Annotated[dict[str, Text], Field(max_length=32)] | None = None
    """Additional annotations."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] | None = None
    """Tolerations of the nodes' taints."""
    affinity: Affinity | None = None
    """Affinity to nodes and pods, as in a pod."""
    priority_class_name: ObjectName | None = None
    """Name of a PriorityClass."""
    service_account_name: ObjectName | None = None
    """Name of the ServiceAccount. Its token is not mounted."""
    image_pull_secrets: Annotated[tuple[SecretName, ...], Field(max_length=16)] | None = None
    """Secrets for the registry of the image, for all pods of the scan."""

    rules: ClassVar = (
        Rule(
            f"labels that begin with {' or '.join(_OURS)} belong to the operator",
            cel=f"!has(self.labels) || self.labels.all(key, !key.matches('^({_OURS_PATTERN})/'))",
            holds=lambda pod: not any(key.startswith(_OURS) for key in pod.labels or ()),
            field="labels",
        ),
        Rule(
            "priorityClassName: classes that begin with system- are reserved for the cluster's own pods",
            cel="!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')",
            holds=lambda pod: not (pod.priority_class_name or "").startswith("system-"),
            field="priorityClassName",
        ),
    )


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
    """Additions to the pods of the workers."""

    rules: ClassVar = (
        Rule(
            "min must not be more than max",
            cel="!has(self.max) || self.min <= self.max",
            holds=lambda workers: workers.min <= (workers.max or DEFAULT_MAX),
            field="min",
        ),
    )
