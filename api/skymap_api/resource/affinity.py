"""Affinity to nodes and pods, as in a pod.

The schema is written out: a field without a schema may be nested so deeply that no JSON parser can read a list of all
scans.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from skymap_api.resource.base import Model, NamespaceName, ObjectName, Rule, Whole
from skymap_api.resource.keys import Key, LabelValue, keys_rule

Weight = Annotated[Whole, Field(ge=1, le=100)]

_VALUES = "In and NotIn need at least one, Exists and DoesNotExist none"
_FITS = (
    "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : "
    "self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || self.values.size() == 0 : "
)


def _values_fit(one: Any) -> bool:
    """Return whether a requirement has as many values as its operator needs."""
    values: tuple[str, ...] = one.values or ()
    if one.operator in {"Gt", "Lt"}:
        return len(values) == 1 and re.fullmatch("[0-9]{1,18}", values[0]) is not None
    return (len(values) > 0) is (one.operator in {"In", "NotIn"})


class NodeRequirement(Model):
    """A requirement on a label of a node."""

    key: Key
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """Comparison with the values."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] | None = None
    """Values to compare with."""

    rules: ClassVar = (
        Rule(
            f"values: {_VALUES}, Gt and Lt a single whole number",
            cel=f"{_FITS}has(self.values) && self.values.size() == 1 && self.values[0].matches('^[0-9]{{1,18}}$')",
            holds=_values_fit,
            field="values",
        ),
    )


class FieldRequirement(Model):
    """A requirement on the name of a node."""

    key: Literal["metadata.name"]
    """The only field that nodes can be selected by."""
    operator: Literal["In", "NotIn"]
    """Comparison with the value."""
    values: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=1)]
    """Name of the node."""


class NodeTerm(Model):
    """Nodes that meet all requirements."""

    match_expressions: Annotated[tuple[NodeRequirement, ...], Field(max_length=16)] | None = None
    """Requirements on labels."""
    match_fields: Annotated[tuple[FieldRequirement, ...], Field(max_length=16)] | None = None
    """Requirements on names."""


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

    rules: ClassVar = (Rule(f"values: {_VALUES}", cel=f"{_FITS}false", holds=_values_fit, field="values"),)


class LabelSelector(Model):
    """Selects pods or namespaces by label; an empty selector selects all."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels and their values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=16)] | None = None
    """Requirements on labels."""

    rules: ClassVar = (keys_rule("matchLabels"),)


def _keys_not_repeated(term: PodTerm) -> bool:
    """Return whether no key of matchLabelKeys is in the selector or in mismatchLabelKeys."""
    selector = term.label_selector or LabelSelector()
    taken = {*(term.mismatch_label_keys or ()), *(selector.match_labels or ())}
    taken |= {one.key for one in selector.match_expressions or ()}
    return taken.isdisjoint(term.match_label_keys or ())


class PodTerm(Model):
    """Selects pods, and the nodes that count as close to them."""

    topology_key: Key
    """Label of nodes. Nodes with the same value count as close to each other."""
    label_selector: LabelSelector | None = None
    """Labels of the pods."""
    namespaces: Annotated[tuple[NamespaceName, ...], Field(max_length=32)] | None = None
    """Namespaces of the pods. Default, without namespaceSelector too: the namespace of the scan."""
    namespace_selector: LabelSelector | None = None
    """Labels of the namespaces of the pods."""
    match_label_keys: Annotated[tuple[Key, ...], Field(max_length=16)] | None = None
    """Labels whose values must equal those of the scan's pods."""
    mismatch_label_keys: Annotated[tuple[Key, ...], Field(max_length=16)] | None = None
    """Labels whose values must differ from those of the scan's pods."""

    rules: ClassVar = (
        Rule(
            "matchLabelKeys and mismatchLabelKeys need a labelSelector",
            cel="has(self.labelSelector) || ((!has(self.matchLabelKeys) || self.matchLabelKeys.size() == 0) && "
            "(!has(self.mismatchLabelKeys) || self.mismatchLabelKeys.size() == 0))",
            holds=lambda term: (
                term.label_selector is not None or not (term.match_label_keys or term.mismatch_label_keys)
            ),
            field="labelSelector",
        ),
        Rule(
            "matchLabelKeys: a key of them must not be in labelSelector or mismatchLabelKeys",
            cel="!has(self.matchLabelKeys) || self.matchLabelKeys.all(key, "
            "!(has(self.mismatchLabelKeys) && key in self.mismatchLabelKeys) && !(has(self.labelSelector) && "
            "((has(self.labelSelector.matchLabels) && key in self.labelSelector.matchLabels) || "
            "(has(self.labelSelector.matchExpressions) && "
            "self.labelSelector.matchExpressions.exists(one, one.key == key)))))",
            holds=_keys_not_repeated,
            field="matchLabelKeys",
        ),
    )


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
