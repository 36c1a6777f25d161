"""Affinity to nodes and pods, as in a pod.

Written out, and not left open: what the API server takes of a field that is open may be nested so deeply that nothing
that reads JSON gets through a list of all scans.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from skymap_api.resource.base import Model, ObjectName, Whole

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
#: A key of a label, annotation or taint; the API server of the pods checks it closer.
Key = Annotated[str, Field(max_length=317)]
Weight = Annotated[Whole, Field(ge=1, le=100)]


class NodeRequirement(Model):
    """What must hold for a label or a field of a node."""

    key: Key
    """Its key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How it is compared."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] | None = None
    """What it is compared with."""


class NodeTerm(Model):
    """Nodes for which all of these hold."""

    match_expressions: Annotated[tuple[NodeRequirement, ...], Field(max_length=16)] | None = None
    """Requirements of labels."""
    match_fields: Annotated[tuple[NodeRequirement, ...], Field(max_length=16)] | None = None
    """Requirements of fields."""


class NodeSelector(Model):
    """Nodes for which one of the terms holds."""

    node_selector_terms: Annotated[tuple[NodeTerm, ...], Field(min_length=1, max_length=16)]
    """The terms."""


class PreferredNodes(Model):
    """Nodes that are better than others."""

    weight: Weight
    """How much better."""
    preference: NodeTerm
    """Which they are."""


class NodeAffinity(Model):
    """Nodes for the pods."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """The only nodes that will do."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredNodes, ...], Field(max_length=16)] | None
    ) = None
    """Nodes that are better than others."""


class LabelRequirement(Model):
    """What must hold for a label of a pod or a namespace."""

    key: Key
    """Its key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How it is compared."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] | None = None
    """What it is compared with."""


class LabelSelector(Model):
    """Pods or namespaces with these labels; an empty one: all."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels with their values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=16)] | None = None
    """Requirements of labels."""


class PodTerm(Model):
    """Pods, and what counts as near to them."""

    topology_key: Key
    """Label of nodes: nodes with the same value are near to each other."""
    label_selector: LabelSelector | None = None
    """Which pods."""
    namespaces: Annotated[tuple[ObjectName, ...], Field(max_length=32)] | None = None
    """Their namespaces. Without them and without namespaceSelector: the scan's."""
    namespace_selector: LabelSelector | None = None
    """Their namespaces, by label."""
    match_label_keys: Annotated[tuple[Key, ...], Field(max_length=16)] | None = None
    """Labels that they share with the pods of the scan."""
    mismatch_label_keys: Annotated[tuple[Key, ...], Field(max_length=16)] | None = None
    """Labels in which they differ from the pods of the scan."""


class PreferredPods(Model):
    """Pods that it is better to be near to, or far from."""

    weight: Weight
    """How much better."""
    pod_affinity_term: PodTerm
    """Which they are."""


class PodAffinity(Model):
    """Pods to be near to, or far from."""

    required_during_scheduling_ignored_during_execution: Annotated[tuple[PodTerm, ...], Field(max_length=16)] | None = (
        None
    )
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredPods, ...], Field(max_length=16)] | None
    ) = None
    """What is better."""


class Affinity(Model):
    """Affinity to nodes and pods, as in a pod."""

    node_affinity: NodeAffinity | None = None
    """Nodes for the pods."""
    pod_affinity: PodAffinity | None = None
    """Pods to be near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to be far from."""
