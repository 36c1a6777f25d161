"""How many workers there are, and what their pods look like."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skymap_api.resource.affinity import Affinity, Key, LabelValue
from skymap_api.resource.base import Count, Model, ObjectName, OnCluster, Positive, Quantity, Rule
from skymap_api.resource.event import SecretName

Text = Annotated[str, Field(max_length=4096)]
Amounts = Annotated[dict[str, Quantity], Field(max_length=16)]

#: The operator finds its objects by these.
_OURS = ("skymap.icecube.wisc.edu/", "app.kubernetes.io/")


class Resources(Model):
    """What one worker asks for and may use."""

    requests: Amounts | None = None
    """What is set aside for each worker, such as cpu: 1 and memory: 1Gi."""
    limits: Amounts | None = None
    """What a worker may use at most; beyond its memory it is ended."""


class Toleration(Model):
    """A taint of nodes that the pods tolerate, as in a pod."""

    key: Key | None = None
    """Key of the taint; none, with Exists: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the value must be equal, or the key is enough."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; none: every effect."""
    toleration_seconds: Count | None = None
    """How long NoExecute is tolerated (s); none: for ever."""

    rules: ClassVar = (
        Rule(
            "without a key the operator must be Exists",
            cel="has(self.key) || self.operator == 'Exists'",
            holds=lambda toleration: toleration.key is not None or toleration.operator == "Exists",
            field="operator",
        ),
    )


class PodTemplate(Model):
    """What the workers' pods have beside what the operator gives them, as in a pod."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """More labels."""
    annotations: Annotated[dict[str, Text], Field(max_length=32)] | None = None
    """More annotations."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] | None = None
    """Taints of nodes that are tolerated."""
    affinity: Affinity | None = None
    """Affinity to nodes and pods, as in a pod."""
    priority_class_name: ObjectName | None = None
    """Name of a PriorityClass."""
    service_account_name: ObjectName | None = None
    """Name of the ServiceAccount; its token is not mounted."""
    image_pull_secrets: Annotated[tuple[SecretName, ...], Field(max_length=16)] | None = None
    """Secrets for the registry of the image, which all pods of the scan have."""

    rules: ClassVar = (
        Rule(
            f"labels that begin with {' or '.join(_OURS)} belong to the operator",
            cel="!has(self.labels) || self.labels.all(key, !key.matches('^(skymap[.]icecube[.]wisc[.]edu|"
            "app[.]kubernetes[.]io)/'))",
            holds=lambda pod: not any(key.startswith(_OURS) for key in pod.labels or ()),
            field="labels",
        ),
        Rule(
            "priorityClassName: classes that begin with system- are those of the cluster's own pods",
            cel="!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')",
            holds=lambda pod: not (pod.priority_class_name or "").startswith("system-"),
            field="priorityClassName",
        ),
    )


#: The most workers where a scan on a cluster does not say.
DEFAULT_MAX = 100


class Workers(Model):
    """How many workers fit, and what their pods look like."""

    min: OnCluster[Count] = 0
    """Workers that are kept even when nothing waits for them."""
    # The default is the API server's alone: one machine takes as many as it has cores.
    max: Annotated[Positive | None, Field(json_schema_extra={"default": DEFAULT_MAX})] = None
    """Most workers at a time; kubectl scale sets it. On one machine never more than one a core."""
    target_seconds: OnCluster[Positive] = 900
    """Time in which the scan should be done (s): decides how many workers there are between min and max."""
    resources: OnCluster[Resources | None] = None
    """What one worker asks for and may use. Without it: what the operator is set to."""
    pod_template: OnCluster[PodTemplate | None] = None
    """What the workers' pods have beside what the operator gives them."""

    rules: ClassVar = (
        Rule(
            "min must not be more than max",
            cel="!has(self.max) || self.min <= self.max",
            holds=lambda workers: workers.min <= (workers.max or DEFAULT_MAX),
            field="min",
        ),
    )
