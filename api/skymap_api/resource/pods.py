"""Additions to the pods of a scan: where they may run, and what a site asks of them.

The rules are those of a pod (k8s.io/kubernetes, pkg/apis/core/validation): what they allow, a pod accepts.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skymap_api.names import GROUP
from skymap_api.resource.affinity import Affinity
from skymap_api.resource.base import INT32, Count, Model, ObjectName, Rule, Whole
from skymap_api.resource.event import SecretName
from skymap_api.resource.keys import ANNOTATION_KEY, Key, LabelValue, keys_rule

#: With at most 16 values in each of two templates, UTF-8 takes half of the 256 KiB that a pod may have.
Text = Annotated[str, Field(max_length=1024)]

#: Labels by which the operator finds its objects, and those that the controllers of Kubernetes set.
_OUR_LABELS = f"{GROUP}/|app.kubernetes.io/"
_CONTROLLERS = "controller-uid$|job-name$|pod-template-hash$|batch.kubernetes.io/"
#: Annotations that the operator sets, that stand for fields of a pod, or that only the kubelet may set.
_OUR_ANNOTATIONS = (
    f"{GROUP}/|controller.kubernetes.io/pod-deletion-cost$|(container.)?seccomp.security.alpha.kubernetes.io/"
    "|container.apparmor.security.beta.kubernetes.io/|scheduler.alpha.kubernetes.io/|kubernetes.io/config."
)


def is_reserved_label(key: str) -> bool:
    """Return whether a label of a pod belongs to the operator or to Kubernetes' controllers: no template sets it."""
    return _pattern(f"{_OUR_LABELS}|{_CONTROLLERS}").match(key) is not None


def is_reserved_annotation(key: str) -> bool:
    """Return whether an annotation of a pod is one that no template sets."""
    return _pattern(_OUR_ANNOTATIONS).match(key) is not None


def _pattern(begins: str) -> re.Pattern[str]:
    """Return the pattern of keys that begin with one of ``begins``, in which a dot is a dot."""
    return re.compile(f"({begins.replace('.', '[.]')})")


def _reserved(field: str, begins: str, message: str) -> Rule:
    """Return the rule that no key of ``field`` begins with one of ``begins``, a pattern in which a dot is a dot."""
    pattern = _pattern(begins)
    return Rule(
        message,
        cel=f"!has(self.{field}) || self.{field}.all(key, !key.matches('^{pattern.pattern}'))",
        holds=lambda pod: not any(pattern.match(key) for key in getattr(pod, field) or ()),
        field=field,
    )


class Toleration(Model):
    """A toleration, as in a pod."""

    key: Key | None = None
    """Key of the taint. Without a key, and with Exists: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the value must be equal (Equal), or the key suffices (Exists)."""
    value: LabelValue | None = None
    """Value of the taint, with Equal."""
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
        Rule(
            "value: with the operator Exists there is none: leave it out, or write Equal",
            cel="self.operator == 'Equal' || !has(self.value) || self.value == ''",
            holds=lambda toleration: toleration.operator == "Equal" or not toleration.value,
            field="value",
        ),
        Rule(
            "tolerationSeconds needs the effect NoExecute",
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            holds=lambda toleration: toleration.toleration_seconds is None or toleration.effect == "NoExecute",
            field="tolerationSeconds",
        ),
    )


Id = Annotated[Whole, Field(ge=0, le=INT32)]


class SecurityContext(Model):
    """User and group ids, as in a pod. They own the files that the pods write."""

    run_as_user: Annotated[Whole, Field(ge=1, le=INT32)] | None = None
    """User id. Pods never run as root."""
    run_as_group: Id | None = None
    """Group id."""
    fs_group: Id | None = None
    """Group id of the files on claims."""
    supplemental_groups: Annotated[tuple[Id, ...], Field(max_length=16)] | None = None
    """Further group ids."""


class PodTemplate(Model):
    """Additions to pods, as in a pod."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Additional labels."""
    annotations: Annotated[dict[str, Text], Field(max_length=16)] | None = None
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
    """Secrets for the registry of the image."""
    security_context: SecurityContext | None = None
    """User and group ids."""

    rules: ClassVar = (
        keys_rule("labels"),
        keys_rule("annotations", ANNOTATION_KEY),
        keys_rule("nodeSelector"),
        _reserved(
            "labels", _OUR_LABELS, f"labels that begin with {GROUP}/ or app.kubernetes.io/ belong to the operator"
        ),
        _reserved(
            "labels",
            _CONTROLLERS,
            "labels: Kubernetes itself sets controller-uid, job-name, pod-template-hash and batch.kubernetes.io/...",
        ),
        _reserved(
            "annotations",
            _OUR_ANNOTATIONS,
            "annotations of the operator and the kubelet, and those for security profiles, cannot be set",
        ),
        Rule(
            "priorityClassName: classes that begin with system- are reserved for the cluster's own pods",
            cel="!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')",
            holds=lambda pod: not (pod.priority_class_name or "").startswith("system-"),
            field="priorityClassName",
        ),
    )
