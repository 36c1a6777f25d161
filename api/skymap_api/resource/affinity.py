"""Affinity to nodes and pods, as in a pod.

The schema is written out: a field without a schema may be nested so deeply that no JSON parser can read a list of all
scans.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from skymap_api.resource.base import Model, ObjectName, Whole

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
#: A key of a label, annotation or taint. The API server checks it further when a pod is created.
Key = Annotated[str, Field(max_length=317)]
Weight = Annotated[Whole, Field(ge=1, le=100)]


class NodeRequirement(Model):
    """A requirement on a label or field of a node."""

    key: Key
    """Key of the label or name of the field."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """Comparison with the values."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] | None = None
    """Values to compare with."""


class NodeTerm(Model):
    """Nodes that meet all requirements."""

    match_expressions: Annotated[tuple[NodeRequirement, ...], Field(max_length=16)] | None = None
    """Requirements on labels."""
    match_fields: Annotated[tuple[NodeRequirement, ...], Field(max_length=16)] | None = None
    """Requirements on fields."""


class NodeSelector(Model):
    """Nodes that match one of the terms."""

    node_selector_terms: Annotated[tuple[NodeTerm, ...], Field(min_length=1, max_length=16)]
    """Terms, of which a node must match one."""


class PreferredNodes(Model):
    """Nodes to prefer."""

    weight: Weight
    """Weight of the preference."""
    preference: NodeTerm
    """Nodes to prefer."""


class NodeAffinity(Model):
    """Affinity to nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Nodes that a pod may run on."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredNodes, ...], Field(max_length=16)] | None
    ) = None
    """Nodes to prefer."""


class LabelRequirement(Model):
    """A requirement on a label of a pod or namespace."""

    key: Key
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """Comparison with the values."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] | None = None
    """Values to compare with."""


class LabelSelector(Model):
    """Selects pods or namespaces by label; an empty selector selects all."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels and their values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=16)] | None = None
    """Requirements on labels."""


class PodTerm(Model):
    """Selects pods, and the nodes that count as close to them."""

    topology_key: Key
    """Label of nodes. Nodes with the same value count as close to each other."""
    label_selector: LabelSelector | None = None
    """Labels of the pods."""
    namespaces: Annotated[tuple[ObjectName, ...], Field(max_length=32)] | None = None
    """Namespaces of the pods. Default, without namespaceSelector too: the namespace of the scan."""
    namespace_selector: LabelSelector | None = None
    """Labels of the namespaces of the pods."""
    match_label_keys: Annotated[tuple[Key, ...], Field(max_length=16)] | None = None
    """Labels whose values must equal those of the scan's pods."""
    mismatch_label_keys: Annotated[tuple[Key, ...], Field(max_length=16)] | None = None
    """Labels whose values must differ from those of the scan's pods."""


class PreferredPods(Model):
    """Pods that the scan's pods prefer to be close to, or away from."""

    weight: Weight
    """Weight of the preference."""
    pod_affinity_term: PodTerm
    """The pods."""


class PodAffinity(Model):
    """Affinity to pods, or anti-affinity."""

    required_during_scheduling_ignored_during_execution: Annotated[tuple[PodTerm, ...], Field(max_length=16)] | None = (
        None
    )
    """Pods that a pod must be close to, or away from."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredPods, ...], Field(max_length=16)] | None
    ) = None
    """Pods that a pod prefers to be close to, or away from."""


class Affinity(Model):
    """Affinity to nodes and pods, as in a pod."""

    node_affinity: NodeAffinity | None = None
    """Affinity to nodes."""
    pod_affinity: PodAffinity | None = None
    """Affinity to pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Anti-affinity to pods."""
